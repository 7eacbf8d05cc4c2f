"""The dashboard's picture shows what a run left behind, and every widget of the dashboard."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from local import measurements
from local.dashboard_picture import Run
from local.insights import Line, QueryNotUnderstood, ask
from local.measurements import Axis, Point, dimensions

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "dashboard.svg"
SVG = "{http://www.w3.org/2000/svg}"
BEGIN = 1_795_000_000.0
OF_WEBHOOK = dimensions({"service": "plivo-cold-transfer", "entry_point": "webhook"})
AXIS = Axis(BEGIN, 5.0, 3)


def template_widgets() -> list[dict[str, Any]]:
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets: list[dict[str, Any]] = json.loads(body)["widgets"]
    return widgets


def accepted(seconds: float, value: float = 1.0) -> Point:
    return Point(BEGIN + seconds, "PlivoColdTransfer", "ActionAccepted", OF_WEBHOOK, value)


def metric(name: str = "ActionAccepted", **options: object) -> list[object]:
    where = ["service", "plivo-cold-transfer", "entry_point", "webhook"]
    return ["PlivoColdTransfer", name, *where, options]


def alarm(**changes: object) -> dict[str, Any]:
    return {
        "AlarmName": "plivo-cold-transfer-unknown",
        "AlarmArn": "arn:alarm",
        "Namespace": "PlivoColdTransfer",
        "MetricName": "ActionAccepted",
        "Dimensions": [{"Name": name, "Value": value} for name, value in OF_WEBHOOK],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 2.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        **changes,
    }


def log_line(group: str = "web", **fields: object) -> Line:
    return Line(group, BEGIN, fields)


def texts(picture: str) -> list[str]:
    root = ET.fromstring(picture)  # noqa: S314  a document of ours
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def run(widgets: list[dict[str, Any]], points: list[Point], *lines: Line) -> Run:
    return Run(BEGIN, {"widgets": widgets}, [alarm()], lines, points, 7)


def widget(kind: str, **properties: object) -> dict[str, Any]:
    shown = {"title": "A title", **properties}
    return {"type": kind, "x": 0, "y": 0, "width": 12, "height": 6, "properties": shown}


# --- the picture in docs --------------------------------------------------------------------------


def test_the_picture_in_docs_shows_every_widget_of_the_template() -> None:
    shown = texts(PICTURE.read_text(encoding="utf-8"))

    for each in template_widgets():
        properties = each["properties"]
        assert properties.get("title", properties.get("markdown", "").lstrip("# ")) in shown


def test_the_picture_in_docs_is_of_a_run_that_had_every_outcome() -> None:
    shown = texts(PICTURE.read_text(encoding="utf-8"))

    for outcome in ("accepted", "rejected", "not sent", "unknown"):
        assert f"{outcome}, webhook" in shown
    assert "▲" in shown
    assert "prefers-color-scheme: dark" in PICTURE.read_text(encoding="utf-8")


def test_the_picture_in_docs_shows_no_number_of_a_person() -> None:
    assert re.search(r"1415\d{7}|15550100", PICTURE.read_text(encoding="utf-8")) is None


# --- measuring ------------------------------------------------------------------------------------


def test_metrics_of_the_logs_become_points() -> None:
    line = {
        "_aws": {
            "Timestamp": 1_795_000_001_500,
            "CloudWatchMetrics": [
                {
                    "Namespace": "PlivoColdTransfer",
                    "Dimensions": [["service", "entry_point"]],
                    "Metrics": [{"Name": "ActionAccepted", "Unit": "Count"}],
                }
            ],
        },
        "service": "plivo-cold-transfer",
        "entry_point": "webhook",
        "ActionAccepted": [1.0, 2.0],
    }

    assert measurements.from_emf([line]) == [accepted(1.5), accepted(1.5, 2.0)]


def test_a_handlers_subsegment_becomes_duration_and_errors_of_its_function() -> None:
    inner = {"name": "## event", "start_time": BEGIN, "end_time": BEGIN + 0.25, "fault": True}
    other = {"name": "claim", "start_time": BEGIN, "end_time": BEGIN + 9}

    found = measurements.from_traces([{"name": "f", "subsegments": [inner, other]}], {"event": "F"})

    values = {point.metric: point.value for point in found}
    assert values == {"Duration": pytest.approx(250), "Errors": 1.0, "Invocations": 1.0}
    assert {point.dimensions for point in found} == {(("FunctionName", "F"),)}


def test_answers_are_counted_as_the_gateway_counts_them() -> None:
    found = measurements.from_answers([(BEGIN, 201), (BEGIN, 401), (BEGIN, 502)], "api", "live")

    sums = {
        name: sum(point.value for point in found if point.metric == name)
        for name in ("Count", "4XXError", "5XXError")
    }
    assert sums == {"Count": 3, "4XXError": 1, "5XXError": 1}


def test_a_series_has_one_value_for_each_interval_that_has_points() -> None:
    points = [accepted(1), accepted(2), accepted(11), accepted(99)]

    (found,) = measurements.series([metric(label="accepted")], "Sum", points, AXIS)

    assert (found.label, found.values) == ("accepted", (2.0, None, 1.0))


def test_a_series_takes_its_own_metric_and_no_other() -> None:
    (found,) = measurements.series([metric("ActionUnknown")], "Sum", [accepted(1)], AXIS)

    assert found.empty


@pytest.mark.parametrize(
    ("stat", "value"),
    [("Sum", 55), ("Maximum", 10), ("Minimum", 1), ("Average", 5.5), ("p50", 5), ("p99", 10)],
)
def test_statistics(stat: str, value: float) -> None:
    assert measurements.statistic(stat, [float(each) for each in range(10, 0, -1)]) == value


# --- alarms ---------------------------------------------------------------------------------------


def test_an_alarm_is_raised_by_a_period_beyond_its_threshold() -> None:
    one_minute = BEGIN // 60 * 60 - BEGIN

    assert measurements.alarm_state(alarm(), [accepted(one_minute, 3)]) == "ALARM"
    assert measurements.alarm_state(alarm(), [accepted(one_minute, 2)]) == "OK"
    apart = [accepted(one_minute, 2), accepted(one_minute + 60, 2)]
    assert measurements.alarm_state(alarm(), apart) == "OK"


def test_an_alarm_that_wants_several_periods_is_not_raised_by_one() -> None:
    patient = alarm(EvaluationPeriods=2)

    assert measurements.alarm_state(patient, [accepted(0, 3)]) == "OK"
    assert measurements.alarm_state(patient, [accepted(0, 3), accepted(60, 3)]) == "ALARM"


@pytest.mark.parametrize(
    "changes", [{"Namespace": "AWS/SQS"}, {"TreatMissingData": "breaching"}], ids=["aws", "silence"]
)
def test_an_alarm_that_a_run_cannot_judge_has_no_state(changes: dict[str, object]) -> None:
    assert measurements.alarm_state(alarm(**changes), []) == ""


# --- queries --------------------------------------------------------------------------------------


def test_every_query_of_the_dashboard_is_understood() -> None:
    queries = [each["properties"]["query"] for each in template_widgets() if each["type"] == "log"]

    assert len(queries) >= 4
    for query in queries:
        ask(
            query,
            [
                log_line(
                    "${WebhookLogGroup}", cause="rejected", entry_point="webhook", action_id="a"
                )
            ],
        )


def test_a_query_reads_its_own_log_groups() -> None:
    lines = [log_line("web", entry_point="webhook"), log_line("other", entry_point="event")]

    assert ask("SOURCE 'web' | stats count(*) as n by entry point", lines) == [
        {"entry_point": "webhook", "n": 1}
    ]


def test_a_query_filters_sums_sorts_and_limits() -> None:
    lines = [
        log_line(client="crm", ActionAccepted=[1.0]),
        log_line(client="phlo", ActionAccepted=[1.0]),
        log_line(client="phlo", ActionAccepted=[1.0]),
        log_line(ActionAccepted=[9.0]),
    ]
    query = "SOURCE 'web' | filter ispresent(client) | stats sum(ActionAccepted.0) as n by client"

    assert ask(f"{query} | sort n desc | limit 1", lines) == [{"client": "phlo", "n": 2.0}]


def test_a_query_compares_words() -> None:
    lines = [log_line(cause="accepted"), log_line(cause="rejected")]
    query = "SOURCE 'web' | filter cause {} 'accepted' | fields cause"

    assert ask(query.format("!="), lines) == [{"cause": "rejected"}]
    assert ask(query.format("="), lines) == [{"cause": "accepted"}]


@pytest.mark.parametrize("step", ["parse x", "filter a > 1", "stats pct(a, 99) as b by c"])
def test_what_is_not_understood_of_a_query_is_said(step: str) -> None:
    with pytest.raises(QueryNotUnderstood):
        ask(f"SOURCE 'web' | {step}", [log_line(a=2)])


# --- drawing --------------------------------------------------------------------------------------


def test_bars_are_as_high_as_their_values() -> None:
    one = widget("metric", stat="Sum", metrics=[metric(label="accepted")])
    picture = run([one], [accepted(1, 4), accepted(6, 2)]).picture()

    root = ET.fromstring(picture)  # noqa: S314  a document of ours
    heights = [
        float(each.attrib["height"])
        for each in root.iter(f"{SVG}rect")
        if "fill" in each.attrib and each.attrib.get("rx") is None
    ]
    assert len(heights) == 2
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)


def test_bars_of_a_stacked_widget_stand_on_each_other() -> None:
    one = widget("metric", stat="Sum", stacked=True, metrics=[metric(label="a"), metric(label="b")])
    root = ET.fromstring(run([one], [accepted(1, 1)]).picture())  # noqa: S314  a document of ours

    below, above = (
        each.attrib
        for each in root.iter(f"{SVG}rect")
        if "fill" in each.attrib and "rx" not in each.attrib
    )
    assert float(above["y"]) + float(above["height"]) == pytest.approx(float(below["y"]), abs=0.2)


def test_a_metric_without_data_is_said_to_have_none() -> None:
    ours = widget("metric", stat="Sum", metrics=[metric("ActionUnknown")])
    of_aws = widget("metric", stat="p99", metrics=[["AWS/DynamoDB", "Latency", "TableName", "T"]])

    assert "none in this run" in texts(run([ours], [accepted(1)]).picture())
    assert "AWS alone measures this" in texts(run([of_aws], [accepted(1)]).picture())


def test_an_alarm_is_drawn_with_its_name_and_state() -> None:
    shown = texts(run([widget("alarm", alarms=["arn:alarm"])], [accepted(1, 3)]).picture())

    assert shown[shown.index("▲") + 1] == "unknown"


def test_a_table_shows_its_rows_and_how_many_more_there_are() -> None:
    query = "SOURCE 'web' | stats count(*) as n by cause"
    many = [log_line(cause=f"cause-{number:02}") for number in range(30)]

    shown = texts(run([widget("log", query=query)], [accepted(1)], *many).picture())

    rows = [text for text in shown if text.startswith("cause-")]
    assert rows[0] == "cause-00"
    assert f"and {30 - len(rows)} more" in shown


def test_what_is_written_into_the_picture_is_escaped() -> None:
    one = widget("metric", stat="Sum", metrics=[metric(label="<&>")])

    assert "<&>" in texts(run([one], [accepted(1)]).picture())
