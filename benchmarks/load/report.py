"""What a load run measured: as tables, and as values for machines."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.load.audit import Played, Sent
from benchmarks.load.plan import Resend
from benchmarks.load.run import Run
from benchmarks.load.soak import slope
from cold_transfer.causes import Cause
from tools import markers

#: A leak of one small object, 56 bytes or more, in each invocation is above it.
MOST_KIB_PER_THOUSAND = 32.0

PERCENTILES = (50, 90, 99, 100)


def percentile(share: int, values: Sequence[float]) -> float:
    """By nearest rank: the least value that at least ``share`` of 100 do not exceed."""
    return sorted(values)[max(math.ceil(share / 100 * len(values)), 1) - 1]


def latencies(run: Run) -> dict[str, list[float]]:
    """Milliseconds of every request that was sent once, by what it was."""
    found: dict[str, list[float]] = {}
    parts = [("", run.traffic.played), *((" alone", soak.part.played) for soak in run.soaks)]
    for suffix, played in parts:
        for each in played:
            for place, sent in enumerate(each.requests):
                kind = _kind(each, sent, first=place == 0)
                if kind and sent.tries == 1:
                    found.setdefault(f"{kind}{suffix}", []).append(sent.seconds * 1000)
    return dict(sorted(found.items(), key=lambda item: (item[0].endswith("alone"), item[0])))


def values(run: Run) -> dict[str, Any]:
    """Everything for machines."""
    return {
        "requests": run.traffic.requests,
        "seconds": run.traffic.seconds,
        "outcomes": outcomes(run),
        "latency_ms": {
            name: {f"p{each}": percentile(each, these) for each in PERCENTILES}
            | {"count": len(these)}
            for name, these in latencies(run).items()
        },
        "memory": {
            soak.entry_point: {
                "invocations": soak.samples[-1].invocations,
                "seconds": soak.part.seconds,
                "kib_per_thousand": slope(soak.samples),
                "samples": [(sample.invocations, sample.kib) for sample in soak.samples],
            }
            for soak in run.soaks
        },
        "crowd": crowd(run),
        "faults": run.faults(),
    }


def outcomes(run: Run) -> dict[str, int]:
    """How many orders of the whole run ended in each manner."""
    counted: dict[str, int] = {}
    for played in run.played:
        name = played.order.manner.name
        counted[name] = counted.get(name, 0) + 1
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def crowd(run: Run) -> dict[str, float]:
    """What became of the crowd that was more than Plivo takes."""
    if run.crowd is None:
        return {}
    sent = [one for played in run.crowd.played for one in played.requests]
    return {
        "actions": len(sent),
        "accepted": sum(
            one.answer is not None and one.answer.cause == Cause.ACCEPTED for one in sent
        ),
        "throttled": sum(one.tries - 1 for one in sent),
        "most_tries": max(one.tries for one in sent),
        "seconds": run.crowd.seconds,
    }


def too_steep(run: Run) -> list[str]:
    """The entry points whose worker's memory grows."""
    return [
        f"the worker of the {soak.entry_point} entry point grows by {slope(soak.samples):.1f} KiB"
        f" per 1,000 invocations, more than {MOST_KIB_PER_THOUSAND:g}"
        for soak in run.soaks
        if slope(soak.samples) > MOST_KIB_PER_THOUSAND
    ]


def written(run: Run) -> dict[str, str]:
    """The tables of docs/throughput.md, by name."""
    latency = [["milliseconds", "requests", "median", "90 %", "99 %", "longest"]]
    for name, these in latencies(run).items():
        numbers = [f"{percentile(each, these):.1f}" for each in PERCENTILES]
        latency.append([name, f"{len(these):,}", *numbers])
    memory = [["worker", "invocations", "after 20 %", "at the end", "KiB per 1,000 invocations"]]
    for soak in run.soaks:
        samples = soak.samples
        memory.append(
            [
                f"{soak.entry_point}",
                f"{samples[-1].invocations:,}",
                f"{samples[len(samples) // 5].kib / 1024:.1f} MiB",
                f"{samples[-1].kib / 1024:.1f} MiB",
                f"{slope(samples):.2f}",
            ]
        )
    return {
        "outcomes": _audit_table(run),
        "latency": markers.of(latency),
        "memory": markers.of(memory),
        "crowd": crowd_table(crowd(run)),
    }


def crowd_table(numbers: Mapping[str, float]) -> str:
    return markers.of(
        [
            ["actions", "accepted", "answers 503", "most tries of one", "seconds"],
            [f"{number:.0f}" for number in numbers.values()],
        ],
        left=0,
    )


def _kind(played: Played, sent: Sent, *, first: bool) -> str:
    """The row of the latency table; empty if the request belongs to none."""
    answer, order = sent.answer, played.order
    if order.manner.cause is not Cause.ACCEPTED or order.resend is Resend.AT_ONCE:
        return ""
    if answer is None:
        return "event, until settled" if first else ""
    if answer.replayed:
        return f"{sent.entry_point}, replayed"
    return f"{sent.entry_point}, accepted" if answer.cause == Cause.ACCEPTED else ""


def _audit_table(run: Run) -> str:
    rows = [["intended outcome", "actions", "requests", "POSTs that Plivo may have acted on"]]
    found = run.found
    acted_on = found.acted_on if found is not None else {}
    for name, count in outcomes(run).items():
        these = [played for played in run.played if played.order.manner.name == name]
        rows.append(
            [
                name,
                f"{count:,}",
                f"{sum(len(played.requests) for played in these):,}",
                f"{sum(acted_on.get(played.order.trigger_source, 0) for played in these):,}",
            ]
        )
    return markers.of(rows)
