"""The table, as Markdown and for machines."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.row import Row, Table


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "| what | against | median | min | max | target | behind it |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for row in rows:
        figures = ["missing", "", ""]
        if not row.missing:
            figures = [_figure(value) for value in (row.median, min(row.values), max(row.values))]
        behind = row.missing or f"{_unit(row)}{row.shows}"
        cells = [row.what, row.against, *figures, _target(row), behind]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def for_machines(table: Table) -> dict[str, Any]:
    """Everything as JSON can hold it: the rows, and every run's figures."""

    def of(row: Row) -> dict[str, Any]:
        known = asdict(row) | {"values": list(row.values), "met": row.met}
        return known if row.missing else known | {"median": row.median}

    return {
        "machine": machine(),
        "rows": [of(row) for row in table.rows],
        "figures": table.figures,
    }


def machine() -> str:
    """What it ran on, in words."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*: (.+)$", info.read_text(), re.MULTILINE)
        if info.exists()
        else None
    )
    cores = os.cpu_count()
    return (
        f"{found[1] if found else model}, {cores} cores, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _figure(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    if row.met is None:
        return f"≤ {row.target:g}"
    return f"≤ {row.target:g} {'met' if row.met else 'NOT MET'}"


def _unit(row: Row) -> str:
    if row.unit == "x":
        return ""
    return f"{row.unit}: " if row.shows else row.unit
