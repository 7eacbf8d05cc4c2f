"""A warm function: CPU of a call, round trips, handshakes, memory; and a cold one's first call."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import peers
from benchmarks.artifact import Artifact
from benchmarks.process import (
    OPTIONS,
    PROGRAMS,
    ProgramFailed,
    Worker,
    cpu_ms,
    environment,
    fresh,
    instructions,
    python,
)
from benchmarks.row import Row, Table, interleaved
from benchmarks.servers import Servers, waits_in_a_row
from local.build import ROOT

HANDLER = str(PROGRAMS / "handler.py")
POST = str(PROGRAMS / "post.py")
IN_QUICK_SUCCESSION = 100

#: In how many turns the calls of a run are made, ours and the peers' one after the other.
TURNS = 5

#: Clients that need nothing, or what the layer has.
PLAIN = ("socket", "urllib3", "urllib3-reconnecting")


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement here needs.

    runs, calls
        How many runs, and how many calls make one figure of a run.
    usual
        The usual stack in its state, or why it is missing.
    """

    table: Table
    servers: Servers
    folder: Path
    webhook: Artifact
    usual: Artifact | str
    runs: int
    calls: int

    @property
    def turn(self) -> int:
        """How many calls one turn of a run has."""
        return self.calls // TURNS

    def variables(self, artifact: Artifact | None) -> dict[str, str]:
        """Those of a function, those of the servers, and the programs on the import path."""
        found = environment(artifact) | self.servers.environment()
        path = [found.get("PYTHONPATH"), str(ROOT)]
        return found | {"PYTHONPATH": os.pathsep.join(filter(None, path))}

    def worker(
        self,
        name: str,
        command: list[str],
        artifact: Artifact | None,
        variables: Mapping[str, str] | None = None,
    ) -> Worker:
        environment = self.variables(artifact) | dict(variables or {})
        return Worker(command, environment, self.folder / f"{name}.log")

    def function(
        self,
        name: str,
        artifact: Artifact,
        *form: str,
        variables: Mapping[str, str] | None = None,
    ) -> Worker:
        """The handler of ``artifact``, called as often as it is told."""
        return self.worker(name, python(HANDLER, *form), artifact, variables)


def posts(bench: Bench, clients: Mapping[str, tuple[str, str]]) -> None:
    """An action without its ledger, compared with other clients' POST of the same.

    clients
        By the client's name for ``programs/post.py``: what the table calls it, and why it is
        missing, if it is.
    """
    table = bench.table
    with ExitStack() as stack:
        ours = stack.enter_context(bench.function("action", bench.webhook, "without-ledger"))
        measures: dict[str, Callable[[], float]] = {"action": partial(_cpu, ours, bench.turn)}
        missing: dict[str, str] = {}
        for client, (_, reason) in clients.items():
            if reason:
                missing[client] = reason
                continue
            # urllib3 is the layer's own; other clients are in an environment of theirs
            command = python(POST, client) if client in PLAIN else _of_peers(client)
            worker = stack.enter_context(
                bench.worker(client, command, bench.webhook if client in PLAIN else None)
            )
            try:
                worker.run(1)
            except ProgramFailed as error:
                missing[client] = str(error).strip().splitlines()[-1]
                continue
            measures[client] = partial(_cpu, worker, bench.turn)
        segments = bench.servers.traces.segments
        values = interleaved(measures, bench.runs, TURNS)
        if bench.servers.traces.segments == segments:
            raise AssertionError("the traces were not sampled")
    for name, found in values.items():
        table.figures[f"warm CPU µs, {name}"] = found
    for client, (called, _) in clients.items():
        target, limit = (2.5, 5.0) if client == "urllib3" else (None, None)
        what = "warm action, CPU, traced, ledger taken out"
        if client in missing:
            table.rows.append(Row(what, called, (), target, limit, missing=missing[client]))
            continue
        table.rows.append(
            Row.ratio(
                what,
                called,
                values["action"],
                values[client],
                target=target,
                limit=limit,
                shows=f"{median(values['action']):.0f} µs / {median(values[client]):.0f} µs",
            )
        )


def _of_peers(client: str) -> list[str]:
    return [str(peers.PYTHON), *OPTIONS, POST, client]


def _cpu(worker: Worker, calls: int) -> float:
    return worker.run(calls).cpu


def round_trips(bench: Bench) -> None:
    """The requests that one warm function made to the servers."""
    table, servers = bench.table, bench.servers
    with bench.function("round-trips", bench.webhook) as worker:
        servers.forget()
        worker.run(IN_QUICK_SUCCESSION)
        handshakes = servers.plivo.handshakes
        waits: list[float] = []
        seen: Counter[str] = Counter()
        for _ in range(bench.runs):
            servers.forget()
            worker.run(1)
            exchanges = servers.exchanges()
            waits.append(waits_in_a_row(exchanges))
            seen.update(each.operation for each in exchanges)
    shows = ", ".join(f"{count / bench.runs:g} {name}" for name, count in seen.items())
    table.rows += [
        Row("waits in a row on a warm action", "", waits, 5, 5, "round trips", shows),
        Row(
            f"TLS handshakes with Plivo for {IN_QUICK_SUCCESSION} actions",
            "",
            [float(handshakes)],
            1,
            1,
            "handshakes",
        ),
    ]


def everything_on(bench: Bench) -> None:
    """CPU of a warm call and peak memory, ours and the usual stack's, on the same DynamoDB API."""
    table = bench.table
    what = "warm action, CPU, everything on"
    memory = f"peak memory after {(bench.runs + 1) * bench.calls} actions"
    if isinstance(bench.usual, str):
        against = "the usual stack"
        table.rows += [
            Row(what, against, target=1.0, missing=bench.usual),
            Row(memory, against, target=0.6, missing=bench.usual),
        ]
        return
    peaks: dict[str, int] = {}

    def cost(name: str, worker: Worker) -> float:
        cost = worker.run(bench.turn)
        peaks[name] = cost.peak
        return cost.cpu

    with (
        bench.function("ours", bench.webhook) as ours,
        bench.function("usual", bench.usual) as usual,
    ):
        values = interleaved(
            {"ours": partial(cost, "ours", ours), "usual": partial(cost, "usual", usual)},
            bench.runs,
            TURNS,
        )
    for name, found in values.items():
        table.figures[f"warm CPU µs, everything on, {name}"] = found
        table.figures[f"peak memory kB, {name}"] = [float(peaks[name])]
    shows = f"{median(values['ours']):.0f} µs / {median(values['usual']):.0f} µs"
    table.rows.append(
        Row.ratio(what, "the usual stack", values["ours"], values["usual"], target=1.0, shows=shows)
    )
    table.rows.append(_counted(bench, bench.usual))
    table.rows.append(
        Row(memory, "the usual stack", target=0.6, missing="no /proc, which Linux has")
        if not all(peaks.values())
        else Row(
            memory,
            "the usual stack",
            [peaks["ours"] / peaks["usual"]],
            0.6,
            shows=f"{peaks['ours'] / 1024:.0f} MB / {peaks['usual'] / 1024:.0f} MB",
        )
    )


def _counted(bench: Bench, usual: Artifact) -> Row:
    """Everything on, in instructions: those of many actions less those of few, two at a time."""
    few, many = (bench.calls // 2, bench.calls * 2)
    jobs = [(artifact, times) for artifact in (bench.webhook, usual) for times in (few, many)]
    what, against = "the same in instructions", "the usual stack"

    def count(job: tuple[Artifact, int]) -> int:
        artifact, times = job
        return instructions(python(HANDLER, "make", str(times)), bench.variables(artifact))

    try:
        with ThreadPoolExecutor(2) as pool:
            counts = list(pool.map(count, jobs))
    except (FileNotFoundError, ProgramFailed) as error:
        return Row(what, against, missing=str(error))
    each = [(counts[place + 1] - counts[place]) / (many - few) for place in (0, 2)]
    for name, value in zip(("ours", "usual"), each, strict=True):
        bench.table.figures[f"warm instructions, everything on, {name}"] = [value]
    shows = f"{each[0] / 1e6:.1f} M / {each[1] / 1e6:.1f} M"
    return Row.ratio(what, against, each[:1], each[1:], shows=shows)


def first_action(bench: Bench) -> None:
    """CPU of a fresh process that imports the function and makes one action, over a bare one."""
    what, against = "import and first action, CPU", "the usual stack"
    if isinstance(bench.usual, str):
        bench.table.rows.append(Row(what, against, target=0.25, missing=bench.usual))
        return
    once = python(HANDLER, "make")
    values = interleaved(
        {
            "bare": partial(cpu_ms, fresh("pass"), environment(None)),
            "ours": partial(cpu_ms, once, bench.variables(bench.webhook)),
            "usual": partial(cpu_ms, once, bench.variables(bench.usual)),
        },
        bench.runs,
    )
    for name, found in values.items():
        bench.table.figures[f"import and first action CPU ms, {name}"] = found
    floor = median(values["bare"])
    net = [median(values[name]) - floor for name in ("ours", "usual")]
    bench.table.rows.append(
        Row.ratio(
            what,
            against,
            values["ours"],
            values["usual"],
            floor=values["bare"],
            target=0.25,
            shows=f"{net[0]:.0f} ms / {net[1]:.0f} ms over {floor:.0f} ms",
        )
    )
