"""What a load run measured: as a table, as values for machines, as a picture."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.load.audit import Asked, Played
from benchmarks.load.plan import Repeat
from benchmarks.load.run import Run, Soak
from benchmarks.load.soak import slope
from cold_transfer.causes import Cause
from local.svg import PALETTE, Box, document, label, nice, panel
from tools import markers

#: A leak of one small object, 56 bytes or more, in each invocation is above it.
MOST_KIB_PER_THOUSAND = 32.0

PERCENTILES = (50, 90, 99, 100)

_WIDTH, _HEIGHT, _HEAD = 1200, 494, 62


def percentile(share: int, values: Sequence[float]) -> float:
    """By nearest rank: the least value that at least ``share`` of 100 do not exceed."""
    return sorted(values)[max(math.ceil(share / 100 * len(values)), 1) - 1]


def latencies(run: Run) -> dict[str, list[float]]:
    """Milliseconds of every request that was sent once, by what it was."""
    found: dict[str, list[float]] = {}
    parts = [("", run.traffic.played), *((" alone", soak.part.played) for soak in run.soaks)]
    for suffix, played in parts:
        for each in played:
            for place, asked in enumerate(each.asked):
                kind = _kind(each, asked, first=place == 0)
                if kind and asked.tries == 1:
                    found.setdefault(f"{kind}{suffix}", []).append(asked.seconds * 1000)
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
    asked = [one for played in run.crowd.played for one in played.asked]
    return {
        "actions": len(asked),
        "accepted": sum(
            one.answer is not None and one.answer.cause == Cause.ACCEPTED for one in asked
        ),
        "throttled": sum(one.tries - 1 for one in asked),
        "most_tries": max(one.tries for one in asked),
        "seconds": run.crowd.seconds,
    }


def too_steep(run: Run) -> list[str]:
    """The entry points whose worker's memory grows."""
    return [
        f"the worker of the {soak.entry_point} entry point grows by {slope(soak.samples):.1f} KiB per 1,000"
        f" invocations, more than {MOST_KIB_PER_THOUSAND:g}"
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


def picture(run: Run) -> str:
    """Latency percentiles on the left, memory on the right."""
    left = Box(8, _HEAD, 690, _HEIGHT - _HEAD - 8)
    right = Box(706, _HEAD, 486, _HEIGHT - _HEAD - 8)
    rate = run.traffic.requests / run.traffic.seconds
    caption = (
        f"{run.traffic.requests:,} requests through both entry points, {rate:.0f} per second;"
        f" {sum(soak.samples[-1].invocations for soak in run.soaks):,} invocations of two workers"
    )
    parts = [
        *panel(left, "How long a request takes, in milliseconds"),
        *_percentiles(latencies(run), _inner(left)),
        *panel(right, "Memory of one worker, in MiB"),
        *_memory(run.soaks, _inner(right)),
    ]
    return document(_WIDTH, _HEIGHT, "A load run of the local stack", caption, parts)


def _kind(played: Played, asked: Asked, *, first: bool) -> str:
    """What is told apart in the tables; empty for what says nothing about latency."""
    answer, order = asked.answer, played.order
    if order.manner.cause is not Cause.ACCEPTED or order.repeat is Repeat.AT_ONCE:
        return ""
    if answer is None:
        return "event, until settled" if first else ""
    if answer.replayed:
        return f"{asked.entry_point}, repeat"
    return f"{asked.entry_point}, accepted" if answer.cause == Cause.ACCEPTED else ""


def _audit_table(run: Run) -> str:
    rows = [["what was asked for", "actions", "requests", "POSTs that Plivo may have acted on"]]
    found = run.found
    acted_on = found.acted_on if found is not None else {}
    for name, count in outcomes(run).items():
        these = [played for played in run.played if played.order.manner.name == name]
        rows.append(
            [
                name,
                f"{count:,}",
                f"{sum(len(played.asked) for played in these):,}",
                f"{sum(acted_on.get(played.order.trigger_source, 0) for played in these):,}",
            ]
        )
    return markers.of(rows)


def _inner(box: Box) -> Box:
    return Box(box.x + 52, box.y + 40, box.width - 76, box.height - 120)  # a legend of three lines


def _percentiles(found: Mapping[str, Sequence[float]], box: Box) -> Iterator[str]:
    """A curve each: the share of requests (across) that took at most so long (up, by powers)."""
    shown = {name: sorted(these) for name, these in found.items()}
    low = math.floor(math.log10(min(these[0] for these in shown.values())))
    high = math.ceil(math.log10(max(these[-1] for these in shown.values())))

    def y(milliseconds: float) -> float:
        return box.y + box.height * (1 - (math.log10(milliseconds) - low) / (high - low))

    for power in range(low, high + 1):
        yield _grid(box, y(10.0**power), f"{10.0**power:g}")
    for share in (0, 25, 50, 75, 100):
        x = box.x + box.width * share / 100
        yield label(x, box.y + box.height + 16, f"{share} %", "soft mid")
    for place, (name, these) in enumerate(shown.items()):
        steps = [min(len(these) - 1, round(step / 200 * (len(these) - 1))) for step in range(201)]
        points = [(box.x + box.width * step / 200, y(these[at])) for step, at in enumerate(steps)]
        yield from _curve(points, PALETTE[place], name, box, place)


def _memory(soaks: Sequence[Soak], box: Box) -> Iterator[str]:
    top = nice(max(sample.kib for soak in soaks for sample in soak.samples) / 1024)
    last = max(soak.samples[-1].invocations for soak in soaks)
    for part in (0, 0.25, 0.5, 0.75, 1):
        yield _grid(box, box.y + box.height * (1 - part), f"{top * part:g}")
        x = box.x + box.width * part
        yield label(x, box.y + box.height + 16, f"{last * part:,.0f}", "soft mid")
    for place, soak in enumerate(soaks):
        points = [
            (
                box.x + box.width * sample.invocations / last,
                box.y + box.height * (1 - sample.kib / 1024 / top),
            )
            for sample in soak.samples
        ]
        yield from _curve(points, PALETTE[place * 3], f"{soak.entry_point} entry point", box, place)


def _grid(box: Box, y: float, text: str) -> str:
    line = f'<path class="grid" d="M{box.x:.1f} {y:.1f}h{box.width:.1f}"/>'
    return line + label(box.x - 6, y + 4, text, "soft end")


def _curve(
    points: Sequence[tuple[float, float]], colour: str, name: str, box: Box, place: int
) -> Iterator[str]:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield f'<path class="line" stroke="{colour}" d="M{path}"/>'
    columns = max(1, int(box.width // 190))
    x = box.x + place % columns * 190
    y = box.y + box.height + 36 + place // columns * 16
    yield f'<rect fill="{colour}" x="{x:.1f}" y="{y - 9:.1f}" width="10" height="10" rx="2"/>'
    yield label(x + 14, y, name, "soft")
