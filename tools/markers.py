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
        begin = f"<!-- written by {program}: {name} -->"
        before, found, rest = document.partition(begin)
        _, ended, after = rest.partition(END)
        if not found or not ended:
            raise ValueError(f"there is no place for the table {name!r}")
        document = f"{before}{begin}\n{table}\n{END}{after}"
    return document


def of(rows: list[list[str]], *, left: int = 1) -> str:
    """A Markdown table; the first row is its head, and only ``left`` columns are not numbers."""
    rule = ["---"] * left + ["--:"] * (len(rows[0]) - left)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]])
