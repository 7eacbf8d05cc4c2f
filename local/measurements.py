"""What CloudWatch would know after a run of the local stack: data points, series, alarm states."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.demo import flatten

Dimensions = tuple[tuple[str, str], ...]

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

_REFUSED, _FAILED = 4, 5  # the first digit of a status


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one metric; ``at`` in seconds since the epoch."""

    at: float
    namespace: str
    metric: str
    dimensions: Dimensions
    value: float

    def belongs_to(self, namespace: str, metric: str, dimensions: Dimensions) -> bool:
        return (self.namespace, self.metric, self.dimensions) == (namespace, metric, dimensions)


@dataclass(frozen=True, slots=True)
class Axis:
    """``bins`` intervals of ``seconds`` each, from ``begin`` (epoch) on."""

    begin: float
    seconds: float
    bins: int

    def bin_of(self, at: float) -> int | None:
        found = math.floor((at - self.begin) / self.seconds)
        return found if 0 <= found < self.bins else None


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of a widget; None where there is no value."""

    label: str
    values: tuple[float | None, ...]
    colour: str | None = None
    right: bool = False

    @property
    def empty(self) -> bool:
        return all(value is None for value in self.values)


def dimensions(pairs: Mapping[str, str]) -> Dimensions:
    return tuple(sorted(pairs.items()))


def from_emf(lines: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The points that CloudWatch reads out of log lines in the embedded metric format."""
    points = []
    for line in lines:
        at = line["_aws"]["Timestamp"] / 1000
        for group in line["_aws"]["CloudWatchMetrics"]:
            for names in group["Dimensions"]:
                where = dimensions({name: str(line[name]) for name in names})
                for metric in group["Metrics"]:
                    values = line.get(metric["Name"], [])
                    points += [
                        Point(at, group["Namespace"], metric["Name"], where, float(value))
                        for value in (values if isinstance(values, list) else [values])
                    ]
    return points


def from_traces(segments: Iterable[Mapping[str, Any]], functions: Mapping[str, str]) -> list[Point]:
    """Duration and Errors of each function, told by the handler's subsegment, ``## entry_point``.

    functions
        The deployed name of each entry point's function.

    AWS's Duration holds the runtime's own share too, less than a millisecond of it.
    """
    points = []
    for part in (each for segment in segments for each in flatten(segment)):
        function = functions.get(str(part.get("name", "")).removeprefix("## "))
        if function is None or "end_time" not in part:
            continue
        where = dimensions({"FunctionName": function})
        took = (part["end_time"] - part["start_time"]) * 1000
        failed = float(bool(part.get("fault") or part.get("error")))
        points += [
            Point(part["end_time"], "AWS/Lambda", name, where, value)
            for name, value in (("Duration", took), ("Errors", failed), ("Invocations", 1.0))
        ]
    return points


def from_answers(answers: Iterable[tuple[float, int]], api: str, stage: str) -> list[Point]:
    """What API Gateway counts, told by the answers (when, status) that its clients got."""
    where = dimensions({"ApiName": api, "Stage": stage})
    points = []
    for at, status in answers:
        kind = status // 100
        counts = {"Count": True, "4XXError": kind == _REFUSED, "5XXError": kind == _FAILED}
        points += [
            Point(at, "AWS/ApiGateway", name, where, float(counted))
            for name, counted in counts.items()
        ]
    return points


def from_depths(depths: Iterable[tuple[float, str, int]]) -> list[Point]:
    """What SQS says of itself, told by looking at the queues (when, name, messages)."""
    return [
        Point(
            at,
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            dimensions({"QueueName": queue}),
            float(messages),
        )
        for at, queue, messages in depths
    ]


def series(
    metrics: Sequence[Sequence[Any]], default_stat: str, points: Sequence[Point], axis: Axis
) -> list[Series]:
    """The series of a dashboard's metric widget: each is a list as CloudWatch writes it.

    The last element may hold options; "..." and "." are not understood, since we write neither.
    """
    found = []
    for metric in metrics:
        options: Mapping[str, Any] = metric[-1] if isinstance(metric[-1], Mapping) else {}
        namespace, name, *rest = [each for each in metric if isinstance(each, str)]
        where = dimensions(dict(zip(rest[::2], rest[1::2], strict=True)))
        bins: list[list[float]] = [[] for _ in range(axis.bins)]
        for point in points:
            place = axis.bin_of(point.at)
            if place is not None and point.belongs_to(namespace, name, where):
                bins[place].append(point.value)
        stat = str(options.get("stat", default_stat))
        values = tuple(statistic(stat, each) if each else None for each in bins)
        label, right = str(options.get("label", name)), options.get("yAxis") == "right"
        found.append(Series(label, values, options.get("color"), right))
    return found


def statistic(stat: str, values: Sequence[float]) -> float:
    """Sum, Maximum, Minimum, Average, SampleCount, or a percentile by nearest rank ("p99")."""
    if stat.startswith("p"):
        rank = math.ceil(float(stat[1:]) / 100 * len(values))
        return sorted(values)[max(rank, 1) - 1]
    return {
        "Sum": sum(values),
        "Maximum": max(values),
        "Minimum": min(values),
        "Average": sum(values) / len(values),
        "SampleCount": float(len(values)),
    }[stat]


def alarm_state(alarm: Mapping[str, Any], points: Sequence[Point]) -> str:
    """ALARM if enough periods of the run breached, OK if not, empty if the run cannot tell.

    It cannot where the alarm watches metric math, or a metric of AWS's own that nothing counts
    locally, or where silence itself is the alarm.
    """
    if "MetricName" not in alarm:
        return ""
    where = dimensions({each["Name"]: each["Value"] for each in alarm["Dimensions"]})
    name, metric = alarm["Namespace"], alarm["MetricName"]
    periods: dict[int, list[float]] = {}
    for point in points:
        if point.belongs_to(name, metric, where):
            periods.setdefault(int(point.at // alarm["Period"]), []).append(point.value)
    if alarm.get("TreatMissingData") == "breaching" or (not periods and name.startswith("AWS/")):
        return ""
    stat = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    breaches = _OPERATORS[alarm["ComparisonOperator"]]
    breached = [
        each for each in periods.values() if breaches(statistic(stat, each), alarm["Threshold"])
    ]
    needed = alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"]
    return "ALARM" if len(breached) >= needed else "OK"
