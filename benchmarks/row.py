"""One line of the table: what was measured, against what, and what was wanted."""

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True, slots=True)
class Row:
    """``values`` has one entry a run.

    against
        The peer of a ratio; empty for an absolute value.
    target
        The upper limit for the median; None for a row that is for comparison only.
    limit
        The most that ``make bench-check`` lets pass: the target with a wide margin.
    shows
        The figures behind it, in words.
    missing
        Why it could not be measured; there are no values then.
    of_medians
        For a ratio: that of the medians over all runs; see ``ratio``.
    """

    what: str
    against: str = ""
    values: Sequence[float] = ()
    target: float | None = None
    limit: float | None = None
    unit: str = "x"
    shows: str = ""
    missing: str = ""
    of_medians: float | None = None

    @classmethod
    def ratio(  # noqa: PLR0913  as many as a line has columns
        cls,
        what: str,
        against: str,
        ours: Sequence[float],
        peer: Sequence[float],
        *,
        floor: Sequence[float] | None = None,
        target: float | None = None,
        limit: float | None = None,
        shows: str = "",
    ) -> Self:
        """Ours / peer for each run, both minus the floor (such as a bare interpreter).

        The median is the ratio of the medians. A run in which the machine was slow for only one of
        the two affects it less than the median of the ratios, which is also biased upwards if the
        peer's figures scatter.
        """
        base = floor if floor is not None else [0.0] * len(ours)
        runs = zip(ours, peer, base, strict=True)
        low = statistics.median(base)
        return cls(
            what,
            against,
            [(a - c) / (b - c) for a, b, c in runs],
            target,
            limit,
            shows=shows,
            of_medians=(statistics.median(ours) - low) / (statistics.median(peer) - low),
        )

    @property
    def median(self) -> float:
        return statistics.median(self.values) if self.of_medians is None else self.of_medians

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


def interleaved(
    measures: Mapping[str, Callable[[], float]], runs: int, turns: int = 1
) -> dict[str, list[float]]:
    """Take turns with the measures, ``runs`` times, so that changes in speed affect all of them.

    The order differs from turn to turn but not between processes, so that no measure always follows
    the same one and its effect on the processor's caches.

    turns
        How many turns make a run; its value is their mean. Many short turns meet the same changes.

    A first run fills caches and is discarded.
    """
    values: dict[str, list[float]] = {name: [] for name in measures}
    order, lots = list(measures), random.Random(0)  # noqa: S311  lots, no secret
    for run in range(runs + 1):
        taken: list[dict[str, float]] = []
        for _ in range(turns):
            lots.shuffle(order)
            taken.append({name: measures[name]() for name in order})
        if run:
            for name, found in values.items():
                found.append(statistics.mean(turn[name] for turn in taken))
    return values


@dataclass
class Table:
    """The rows, and the figures that they were made from, by name."""

    rows: list[Row] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
