"""The part of CloudWatch Logs Insights that the dashboard's queries use, over lines in memory.

>>> lines = [Line("entry point", 0.0, {"entry point": "webhook", "n": [2]}), Line("entry point", 1.0, {"entry point": "event"})]
>>> ask("SOURCE 'entry point' | stats sum(n.0) as n, count(*) as lines by entry point | sort n desc", lines)
[{'entry point': 'webhook', 'n': 2, 'lines': 1}, {'entry point': 'event', 'n': 0, 'lines': 1}]
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Row = dict[str, Any]

_SUM = re.compile(r"(sum|count)\(([^)]*)\) as (\w+)")
_BIN = re.compile(r"bin\((\d+)m\)")
_TEST = re.compile(
    r"ispresent\((?P<there>[\w.@]+)\)|(?P<name>[\w.@]+) (?P<how>!?=) '(?P<text>[^']*)'"
)


class QueryNotUnderstood(Exception):
    """A query uses more of the language than is known here."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log that holds JSON; ``at`` in seconds since the epoch."""

    group: str
    at: float
    fields: Mapping[str, Any]


def ask(query: str, lines: Sequence[Line]) -> list[Row]:
    """What the query answers.

    Raises
    ------
    QueryNotUnderstood
        It has a command, a condition or a function that is not known here.
    """
    steps = [step.strip() for step in query.split("|")]
    groups = {step.removeprefix("SOURCE ").strip("'") for step in steps if step[:7] == "SOURCE "}
    rows = [_row(line) for line in lines if line.group in groups]
    for step in steps:
        command, _, rest = step.partition(" ")
        match command:
            case "SOURCE":
                continue
            case "filter":
                rows = [row for row in rows if _passes(row, rest)]
            case "stats":
                rows = _stats(rows, rest)
            case "fields":
                names = [name.strip() for name in rest.split(",")]
                rows = [{name: row.get(name, "") for name in names} for row in rows]
            case "sort":
                name, order = rest.split()
                rows = sorted(rows, key=lambda row: row.get(name, 0), reverse=order == "desc")
            case "limit":
                rows = rows[: int(rest)]
            case _:
                raise QueryNotUnderstood(command)
    return rows


def _row(line: Line) -> Row:
    """The line's fields as Insights names them: element 0 of list x is ``x.0``."""
    moment = datetime.fromtimestamp(line.at, UTC)
    row: Row = {"@timestamp": moment.strftime("%H:%M:%S.%f")[:-3], "@at": line.at}
    for name, value in line.fields.items():
        if isinstance(value, list):
            row |= {f"{name}.{place}": element for place, element in enumerate(value)}
        elif value is not None:
            row[name] = value
    return row


def _passes(row: Row, condition: str) -> bool:
    for part in condition.split(" and "):
        test = _TEST.fullmatch(part.strip())
        if test is None:
            raise QueryNotUnderstood(part)
        if test["there"]:
            passed = test["there"] in row
        else:
            passed = (str(row.get(test["name"])) == test["text"]) == (test["how"] == "=")
        if not passed:
            return False
    return True


def _stats(rows: list[Row], text: str) -> list[Row]:
    sums, _, by = text.partition(" by ")
    columns = _SUM.findall(sums)
    if len(columns) != sums.count(" as "):
        raise QueryNotUnderstood(sums)
    names = [name.strip() for name in by.split(",")]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(_key(row, name) for name in names), []).append(row)
    return [
        dict(zip(names, key, strict=True))
        | {name: _total(kind, of, members) for kind, of, name in columns}
        for key, members in groups.items()
    ]


def _key(row: Row, name: str) -> object:
    minutes = _BIN.fullmatch(name)
    if minutes is None:
        return row.get(name, "")
    seconds = int(minutes[1]) * 60
    return datetime.fromtimestamp(row["@at"] // seconds * seconds, UTC).strftime("%H:%M")


def _total(kind: str, of: str, rows: list[Row]) -> float:
    return len(rows) if kind == "count" else sum(row.get(of, 0) for row in rows)
