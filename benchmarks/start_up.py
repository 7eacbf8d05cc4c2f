"""Start-up: what a fresh process spends until the function can take its first request."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from benchmarks.artifact import Artifact
from benchmarks.process import ProgramFailed, cpu_ms, environment, fresh, instructions
from benchmarks.row import Row, Table, interleaved

IMPORT_APP = "import app"
#: The least that anybody pays who talks to two AWS services and to Plivo.
IMPORT_BOTO3 = "import boto3, urllib3; boto3.client('secretsmanager'); boto3.client('dynamodb')"

type Programs = Mapping[str, tuple[Artifact | None, str]]


def programs(artifacts: Mapping[str, Artifact]) -> dict[str, tuple[Artifact | None, str]]:
    """Each program by its name: the artifact whose packages it sees, and what it runs."""
    found: dict[str, tuple[Artifact | None, str]] = {
        "bare interpreter": (None, "pass"),
        "trimmed boto3": (artifacts["webhook"], IMPORT_BOTO3),
    }
    if "boto3" in artifacts:
        found["boto3"] = (artifacts["boto3"], IMPORT_BOTO3)
    functions = {name: artifact for name, artifact in artifacts.items() if name != "boto3"}
    return found | {name: (artifact, IMPORT_APP) for name, artifact in functions.items()}


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
    """The rows of the targets, for each function; instructions, without a target, for the first."""
    for against, peer, target, limit in (
        ("the usual stack", "usual", 0.22, None),
        ("itself, with recompiled bytecode", "{} compiled", 1.05, 1.25),
        ("boto3 as pip leaves it, two clients, urllib3", "boto3", 1.35, None),
        ("the layer's boto3, two clients, urllib3", "trimmed boto3", 1.35, 1.8),
    ):
        missing = usual_missing if peer == "usual" else ""
        for function in functions:
            what = f"start-up of {function}, as SAM ships it"
            if missing:
                table.rows.append(Row(what, against, target=target, missing=missing))
                continue
            floor, ours, theirs = (
                table.figures.get(f"start-up CPU ms, {name}", ())
                for name in ("bare interpreter", function, peer.format(function))
            )
            if not theirs:
                continue  # a row that the light form leaves out
            net = [median(values) - median(floor) for values in (ours, theirs)]
            shows = f"{net[0]:.0f} ms / {net[1]:.0f} ms over {median(floor):.0f} ms"
            table.rows.append(
                Row.ratio(
                    what,
                    against,
                    ours,
                    theirs,
                    floor=floor,
                    target=target,
                    limit=limit,
                    shows=shows,
                )
            )
        what = f"the same in instructions ({functions[0]})"
        if missing or no_counts:
            table.rows.append(Row(what, against, missing=missing or no_counts))
            continue
        floor, ours, theirs = (
            table.figures[f"start-up instructions, {name}"]
            for name in ("bare interpreter", functions[0], peer.format(functions[0]))
        )
        net = [(count[0] - floor[0]) / 1e6 for count in (ours, theirs)]
        shows = f"{net[0]:,.0f} M / {net[1]:,.0f} M over {floor[0] / 1e6:.0f} M"
        table.rows.append(Row.ratio(what, against, ours, theirs, floor=floor, shows=shows))
