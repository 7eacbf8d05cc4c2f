"""Tables in documents that a program writes: each stands between two comments that name both."""

from collections.abc import Mapping

END = "<!-- end -->"


def written(document: str, program: str, tables: Mapping[str, str]) -> str:
    """The document with the tables that ``program`` writes, by name, as they are now.

    Raises
    ------
    ValueError
        The document has no place for one of them.
    """
    for name, table in tables.items():
        before, _, after = _parts(document, program, name)
        document = f"{before}\n{table}\n{after}"
    return document


def read(document: str, program: str, name: str) -> list[list[str]]:
    """The rows of a table that ``program`` wrote, the head first.

    Raises
    ------
    ValueError
        The document has no such table.
    """
    _, table, _ = _parts(document, program, name)
    head, _, *rows = table.strip().splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]


def of(rows: list[list[str]], *, left: int = 1) -> str:
    """A Markdown table; the first row is its head, and only ``left`` columns are not numbers."""
    rule = ["---"] * left + ["--:"] * (len(rows[0]) - left)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])


def _parts(document: str, program: str, name: str) -> tuple[str, str, str]:
    """What stands before a table, with its first comment; the table; what stands after it."""
    begin = f"<!-- written by {program}: {name} -->"
    before, found, rest = document.partition(begin)
    table, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"there is no place for the table {name!r}")
    return before + begin, table, END + after
