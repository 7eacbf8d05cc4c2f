"""Start-up: what a fresh process spends until the function can take its first request."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from statistics import median

from benchmarks.artifact import Artifact
from benchmarks.process import ProgramFailed, cpu_ms, environment, fresh, instructions
from benchmarks.row import Row, Table, interleaved, ratios

IMPORT_APP = "import app"
#: The least that anybody pays who talks to two AWS services and to Plivo.
IMPORT_BOTO3 = "import boto3, urllib3; boto3.client('secretsmanager'); boto3.client('dynamodb')"

type Programs = Mapping[str, tuple[Artifact | None, str]]


def programs(artifacts: Mapping[str, Artifact]) -> dict[str, tuple[Artifact | None, str]]:
    """Each program by its name: the artifact whose packages it sees, and what it runs."""
    found: dict[str, tuple[Artifact | None, str]] = {
        "bare interpreter": (None, "pass"),
        "boto3": (artifacts["webhook"], IMPORT_BOTO3),
    }
    return found | {name: (artifact, IMPORT_APP) for name, artifact in artifacts.items()}


def measure(table: Table, started: Programs, runs: int) -> None:
    """CPU milliseconds of each program, run by run, into the table's figures."""
    measures = {
        name: partial(cpu_ms, fresh(program), environment(artifact))
        for name, (artifact, program) in started.items()
    }
    for name, values in interleaved(measures, runs).items():
        table.figures[f"start-up CPU ms, {name}"] = values


def count(table: Table, started: Programs) -> str:
    """Instructions of each program, two at a time; returns why there are none, if there are none.

    Counts do not depend on what else the machine does.
    """

    def counted(program: tuple[Artifact | None, str]) -> int:
        artifact, source = program
        return instructions(fresh(source), environment(artifact))

    try:
        with ThreadPoolExecutor(2) as pool:
            for name, value in zip(started, pool.map(counted, started.values()), strict=True):
                table.figures[f"start-up instructions, {name}"] = [float(value)]
    except (FileNotFoundError, ProgramFailed) as error:
        return str(error)
    return ""


def rows(table: Table, functions: Sequence[str], *, usual_missing: str, no_counts: str) -> None:
    """The rows of the targets, for each function; instructions for the first one alone."""
    for against, peer, target, limit in (
        ("the usual stack", "usual", 0.22, None),
        ("itself, with bytecode made anew", "{} compiled", 1.05, 1.25),
        ("boto3, two clients, urllib3", "boto3", 1.35, 1.8),
    ):
        missing = usual_missing if peer == "usual" else ""
        for function in functions:
            names = ("bare interpreter", function, peer.format(function))
            bare = Row(f"start-up of {function}, as SAM ships it", against, (), target, limit)
            table.rows.append(_measured(table, bare, names, missing))
        names = ("bare interpreter", functions[0], peer.format(functions[0]))
        bare = Row(f"the same in instructions ({functions[0]})", against, (), target)
        table.rows.append(_counted(table, bare, names, missing or no_counts))


def _measured(table: Table, row: Row, names: Sequence[str], missing: str) -> Row:
    if missing:
        return replace(row, missing=missing)
    floor, ours, peer = (table.figures[f"start-up CPU ms, {name}"] for name in names)
    net = [median(values) - median(floor) for values in (ours, peer)]
    shows = f"{net[0]:.0f} ms / {net[1]:.0f} ms over {median(floor):.0f} ms"
    return replace(row, values=ratios(ours, peer, floor), shows=shows)


def _counted(table: Table, row: Row, names: Sequence[str], missing: str) -> Row:
    if missing:
        return replace(row, missing=missing)
    floor, ours, peer = (table.figures[f"start-up instructions, {name}"] for name in names)
    net = [(count[0] - floor[0]) / 1e6 for count in (ours, peer)]
    shows = f"{net[0]:,.0f} M / {net[1]:,.0f} M over {floor[0] / 1e6:.0f} M"
    return replace(row, values=ratios(ours, peer, floor), shows=shows)
