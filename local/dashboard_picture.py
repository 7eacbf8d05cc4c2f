"""Draws the deployed dashboard after a minute of traffic: `make dashboard`.

    .venv/bin/python -m local.dashboard_picture docs/dashboard.svg

The numbers are those of a local stack: the functions' metrics and logs, their traces, what clients
were answered, what waits in the queues. What AWS alone can count stays empty.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import insights, measurements
from local.dashboard_svg import Sources, draw
from local.deploy import STACK_NAME
from local.insights import Line
from local.measurements import Axis, Point
from local.progress import Progress, StackFailed
from local.signals import leave_on_signals
from local.stack import Stack
from local.traffic import Traffic

SECONDS_PER_BIN = 5.0
#: What is still on its way when the last answer is there: events, outcomes, lines of the logs.
SETTLING_SECONDS = 8.0

_ENTRY_POINTS = {
    "webhook": "WebhookFunction",
    "event": "EventFunction",
    "reconcile": "ReconcileFunction",
    "outcomes": "OutcomesFunction",
}


@dataclass(frozen=True, slots=True)
class Run:
    """What a run left behind.

    body
        The dashboard as it is deployed.
    alarms
        As CloudWatch describes them.
    lines
        Every log line that holds JSON.
    """

    begin: float
    body: Mapping[str, Any]
    alarms: Sequence[Mapping[str, Any]]
    lines: Sequence[Line]
    points: Sequence[Point]
    requests: int

    def picture(self) -> str:
        last = max(point.at for point in self.points)
        axis = Axis(self.begin, SECONDS_PER_BIN, int((last - self.begin) // SECONDS_PER_BIN) + 1)
        named = {alarm["AlarmArn"]: alarm for alarm in self.alarms}

        def alarms(wanted: Sequence[str]) -> list[tuple[str, str]]:
            return [
                (
                    named[arn]["AlarmName"].removeprefix(f"{STACK_NAME}-"),
                    measurements.alarm_state(named[arn], self.points),
                )
                for arn in wanted
            ]

        sources = Sources(
            axis,
            lambda properties: measurements.series(
                properties["metrics"], properties["stat"], self.points, axis
            ),
            lambda query: insights.ask(query, self.lines),
            alarms,
        )
        day = datetime.fromtimestamp(self.begin, UTC).strftime("%-d %B %Y")
        return draw(
            self.body,
            sources,
            "plivo-cold-transfer: the dashboard",
            f"{self.requests} requests to a local stack in {last - self.begin:.0f} s, {day}; a"
            " simulator in place of Plivo. A point is 5 s here, a minute in CloudWatch. Alarms: ▲"
            " raised, ✓ not raised, · not fed locally.",
        )


def run(stack: Stack, seconds_per_round: float = SECONDS_PER_BIN) -> Run:
    """Send the traffic to a stack, and read everything that it holds by then."""
    begin = time.time()
    with Traffic(stack, seconds_per_round) as traffic:
        requests = traffic.send()
        time.sleep(SETTLING_SECONDS)
    deployed = stack.deployed
    lines = [
        Line(deployed.log_groups[function], *line)
        for function in _ENTRY_POINTS.values()
        for line in _json_lines(stack, deployed.log_groups[function])
    ]
    points = [
        *measurements.from_emf(line.fields for line in lines if "_aws" in line.fields),
        *measurements.from_traces(
            stack.traces(),
            {entry_point: deployed.resources[name] for entry_point, name in _ENTRY_POINTS.items()},
        ),
        *measurements.from_answers(
            [(answer.at, answer.status) for answer in traffic.answers],
            STACK_NAME,
            deployed.stage,
        ),
        *measurements.from_depths(
            [(depth.at, depth.queue, depth.messages) for depth in traffic.depths]
        ),
    ]
    cloudwatch = stack.aws("cloudwatch")
    name = deployed.resources["Dashboard"]
    body = json.loads(cloudwatch.get_dashboard(DashboardName=name)["DashboardBody"])
    pages = cloudwatch.get_paginator("describe_alarms").paginate()
    alarms = [alarm for page in pages for alarm in page["MetricAlarms"]]
    return Run(begin, body, alarms, lines, points, requests)


def _json_lines(stack: Stack, group: str) -> list[tuple[float, dict[str, Any]]]:
    pages = stack.aws("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
    return [
        (event["timestamp"] / 1000, json.loads(event["message"]))
        for page in pages
        for event in page["events"]
        if event["message"].startswith("{")
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Draws the dashboard after a minute of traffic.")
    parser.add_argument("file", type=Path, help="the picture, an SVG, goes here")
    options = parser.parse_args()
    leave_on_signals()
    progress = Progress()
    try:
        with Stack(progress=progress) as stack:
            progress.say("sending a minute of traffic through both entry points")
            seen = run(stack)
    except StackFailed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    options.file.write_text(seen.picture(), encoding="utf-8")
    progress.say(f"drawn: {options.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
