"""One line of the table: what was measured, against what, and what was wanted."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """``values`` has one entry a run; a run's ratio is made of figures of that run alone.

    against
        The peer of a ratio; empty where the value stands for itself.
    target
        The most that the median may be; None where the row is there to compare with.
    limit
        The most that ``make bench-check`` lets pass: the target with a wide margin.
    shows
        The figures behind it, in words.
    missing
        Why it could not be measured; there are no values then.
    """

    what: str
    against: str = ""
    values: Sequence[float] = ()
    target: float | None = None
    limit: float | None = None
    unit: str = "x"
    shows: str = ""
    missing: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none, or nothing was measured."""
        if self.target is None or self.missing:
            return None
        return self.median <= self.target

    @property
    def regressed(self) -> bool:
        """Whether it is over its limit, or should have been measured and was not."""
        return self.limit is not None and (bool(self.missing) or self.median > self.limit)


def interleaved(measures: Mapping[str, Callable[[], float]], runs: int) -> dict[str, list[float]]:
    """Each measure in turn, ``runs`` times: a change of the machine's speed meets all of them.

    One run more is made, first, and thrown away: it fills caches.
    """
    values: dict[str, list[float]] = {name: [] for name in measures}
    for run in range(runs + 1):
        for name, measure in measures.items():
            value = measure()
            if run:
                values[name].append(value)
    return values


def ratios(
    ours: Sequence[float], peer: Sequence[float], floor: Sequence[float] | None = None
) -> list[float]:
    """Run by run, ours / peer, both on top of the floor (a bare interpreter, say)."""
    base = floor if floor is not None else [0.0] * len(ours)
    return [(a - c) / (b - c) for a, b, c in zip(ours, peer, base, strict=True)]


@dataclass
class Table:
    """The rows, and the figures that they were made from, by name."""

    rows: list[Row] = field(default_factory=list)
    levers: list[Row] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
