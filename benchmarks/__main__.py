"""`make bench`: what the built artifact costs, as ratios against peers measured in the same run."""

import argparse
import json
import os
import sys
from pathlib import Path

from rich.markdown import Markdown

from benchmarks import growth, peers, report, servers, start_up, warm
from benchmarks.artifact import Artifact, remove
from benchmarks.peers import PeerMissing
from benchmarks.row import Row, Table
from local.build import ROOT, STATE
from local.progress import Progress, report_console
from local.signals import leave_on_signals
from tools import markers

DOCUMENT = ROOT / "docs" / "performance.md"
MAX_ARCHIVE_MB = 6.0

#: Other people's clients, by their name in ``programs/post.py``.
CLIENTS = {
    "urllib3": "a bare urllib3 POST",
    "socket": "the floor: a raw TLS socket",
    "urllib3-reconnecting": "urllib3, a new connection for each POST",
    "plivo": "plivo-python's POST",
}
#: How many start-ups make a run of the complete form: they are short, and scatter.
START_UPS = 3
#: The start-ups of the light form.
LIGHT = ("bare interpreter", "trimmed boto3", "webhook", "webhook compiled")


def artifacts(folder: Path, usual: Artifact | str) -> dict[str, Artifact]:
    """Every artifact in the state in which it is measured, by the name of its start-up."""
    functions = {"webhook": "WebhookFunction", "event": "EventFunction"}
    found: dict[str, Artifact] = {}
    for name, function in functions.items():
        ours = peers.ours(function)
        found[name] = ours.copy(folder / name).read_only()
        found[f"{name} compiled"] = ours.copy(folder / f"{name}-compiled").compiled().read_only()
    if isinstance(usual, Artifact):
        found["usual"] = usual.copy(folder / "usual").read_only()
    return found


def size(table: Table, found: dict[str, Artifact]) -> None:
    megabytes = {name: artifact.zipped_bytes() / 1e6 for name, artifact in found.items()}
    beside = f"the usual stack: {megabytes['usual']:.1f} MB" if "usual" in megabytes else ""
    table.rows.append(
        Row(
            "artifact of a function with its layer, zipped",
            "",
            [megabytes["webhook"]],
            MAX_ARCHIVE_MB,
            MAX_ARCHIVE_MB,
            "MB",
            beside,
        )
    )


def complete(folder: Path, runs: int, progress: Progress) -> Table:
    """Every row of the table."""
    table = Table()
    usual: Artifact | str
    try:
        progress.say("the usual stack: sam build, if its sources changed")
        usual = peers.powertools_stack()
    except PeerMissing as missing:
        usual = str(missing)
    found = artifacts(folder, usual)
    found["boto3"] = peers.plain_boto3(folder / "boto3").read_only()
    shipped = found.get("usual", usual)
    programs = start_up.programs(found)
    progress.say("start-up")
    start_up.measure(table, programs, runs * START_UPS)
    progress.say("start-up, instructions")
    counted = {name: each for name, each in programs.items() if not name.startswith("event")}
    no_counts = start_up.count(table, counted)
    usual_missing = usual if isinstance(usual, str) else ""
    both = ("webhook", "event")
    start_up.rows(table, both, usual_missing=usual_missing, no_counts=no_counts)
    with servers.running() as running:
        bench = warm.Bench(table, running, folder, found["webhook"], shipped, runs, calls=100)
        progress.say("warm calls")
        absent = {"plivo": peers.why_missing()}
        warm.posts(
            bench, {name: (called, absent.get(name, "")) for name, called in CLIENTS.items()}
        )
        progress.say("everything on")
        warm.first_action(bench)
        warm.everything_on(bench)
        warm.round_trips(bench)
        size(table, found)
        progress.say("the ledger, with 1,000 and with 100,000 recorded actions")
        growth.measure(bench)
    return table


def light(folder: Path) -> Table:
    """The rows that need no peer but what the build itself holds, from a few runs."""
    table = Table()
    found = artifacts(folder, "left out")
    programs = start_up.programs(found)
    start_up.measure(table, {name: programs[name] for name in LIGHT}, runs=5)
    start_up.rows(table, ("webhook",), usual_missing="left out", no_counts="left out")
    with servers.running() as running:
        bench = warm.Bench(table, running, folder, found["webhook"], "", runs=5, calls=100)
        warm.posts(bench, {"urllib3": (CLIENTS["urllib3"], "")})
        warm.round_trips(bench)
    size(table, found)
    table.rows = [row for row in table.rows if row.limit is not None]
    return table


def document(table: Table) -> None:
    """Write what was measured into docs/performance.md."""
    written = {
        "machine": f"Measured on: {report.machine()}.",
        "table": report.markdown(table.rows),
    }
    DOCUMENT.write_text(markers.written(DOCUMENT.read_text(), "make bench-docs", written))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="the light form; fails on a regression"
    )
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md")
    parser.add_argument("--json", type=Path, default=STATE / "bench.json", help="%(default)s")
    parser.add_argument("--runs", type=int, default=11, help="%(default)s")
    options = parser.parse_args(arguments)
    leave_on_signals()
    folder = STATE / f"bench-{os.getpid()}"
    try:
        table = light(folder) if options.check else complete(folder, options.runs, Progress())
    finally:
        remove(folder)
    report_console().print(Markdown(report.markdown(table.rows)))
    options.json.write_text(json.dumps(report.for_machines(table), indent=1))
    if options.docs:
        document(table)
    if options.check:
        worse = [row for row in table.rows if row.regressed]
        for row in worse:
            reason = row.missing or f"{row.median:.3g} is over the limit of {row.limit:g}"
            print(f"REGRESSION: {row.what} / {row.against}: {reason}")
        if not worse:
            print("no regression: every row is within its limit, which is wider than its target")
        return 1 if worse else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
