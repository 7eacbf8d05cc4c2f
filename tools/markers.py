"""Generated tables in documents, each between two comments; the first names program and table."""

from collections.abc import Mapping

END = "<!-- end -->"


def written(document: str, program: str, tables: Mapping[str, str]) -> str:
    """Replace the tables of ``program`` in a document; ``tables`` has the new ones by name.

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
    """The rows of a table that ``program`` has written, the head first.

    Raises
    ------
    ValueError
        The document has no such table.
    """
    _, table, _ = _parts(document, program, name)
    head, _, *rows = table.strip().splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]


def of(rows: list[list[str]], *, left: int = 1) -> str:
    """A Markdown table. The first row is its head; all columns after ``left`` are numbers."""
    rule = ["---"] * left + ["--:"] * (len(rows[0]) - left)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])


def _parts(document: str, program: str, name: str) -> tuple[str, str, str]:
    """What precedes a table, including its first comment; the table; what follows it."""
    begin = f"<!-- written by {program}: {name} -->"
    before, found, rest = document.partition(begin)
    table, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"there is no place for the table {name!r}")
    return before + begin, table, END + after
