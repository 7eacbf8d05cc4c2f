"""The report of `make run`: it shows everything except the token, and reports every fault."""

import json
from base64 import b64encode
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from local.demo import Seen, flatten, masked
from local.demo_report import faults, show
from local.sender import Exchange

TOKEN = "the-token-that-must-not-be-shown"
ANSWER = json.dumps({"api_id": "1b5e0d1e-0000-4000-8000-000000000001", "error": ""})
FIRST = Exchange(
    url="http://127.0.0.1:1/restapis/a/live/_user_request_/v1/phlo/P/multi_party_call/N",
    headers={"webhook-id": "msg_1"},
    body=json.dumps({"to": "+14152225555"}),
    status=201,
    answer_headers={"action-id": "f" * 64},
    answer=ANSWER,
    milliseconds=12.3,
)
RECEIVED = {
    "method": "POST",
    "path": "/v1/phlo/P/multi_party_call/N",
    "headers": {"authorization": "Basic " + b64encode(f"MAX:{TOKEN}".encode()).decode()},
    "body": "{}",
    "status": 201,
}
METRIC = {
    "_aws": {"CloudWatchMetrics": [{"Metrics": [{"Name": "ActionAccepted", "Unit": "Count"}]}]},
    "function": "webhook",
    "ActionAccepted": [1.0],
}
SEGMENT = {
    "id": "1",
    "trace_id": "1-a",
    "name": "## webhook",
    "start_time": 10.0,
    "end_time": 10.1,
    "annotations": {"function": "webhook"},
    "subsegments": [
        {
            "id": "2",
            "name": "phlorunner.plivo.com",
            "namespace": "remote",
            "start_time": 10.02,
            "end_time": 10.06,
        }
    ],
}
GOOD = Seen(
    first=FIRST,
    retry=replace(FIRST, answer_headers={"idempotency-replayed": "true"}),
    event={"Source": "s", "DetailType": "d", "Detail": '{"to": "+14152226666"}'},
    event_record={"state": "accepted", "api_id": "x"},
    received=[RECEIVED, RECEIVED],
    metrics=[METRIC, METRIC],
    segments=[SEGMENT],
)


def shown(seen: Seen, width: int = 120) -> str:
    """The report as it is written to a file or a pipe."""
    file = StringIO()
    show(seen, Console(file=file, width=width))
    return file.getvalue()


def test_a_good_run_has_no_fault() -> None:
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"first": replace(FIRST, status=502)}, "502"),
        ({"first": replace(FIRST, answer="<html>")}, "<html>"),
        ({"first": replace(FIRST, answer='{"error": "no"}')}, "no"),
        ({"retry": FIRST}, "not answered from the ledger"),
        ({"event_record": None}, "not in the ledger"),
        ({"event_record": {"state": "unknown"}}, "unknown"),
        ({"received": [RECEIVED] * 3}, "3 requests"),
        ({"metrics": [METRIC]}, "1 times"),
        ({"segments": [{**SEGMENT, "subsegments": []}]}, "no trace"),
    ],
)
def test_every_fault_is_reported(change: dict[str, Any], text: str) -> None:
    assert any(text in fault for fault in faults(replace(GOOD, **change)))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_everything_is_shown_in_lines_that_fit(width: int) -> None:
    report = shown(GOOD, width)
    words = " ".join(report.split())
    for part in (
        '{"to": "+14152225555"}',
        '{"to": "+14152226666"}',
        '"1b5e0d1e-0000-4000-8000-000000000001", "error": ""}',
        "idempotency-replayed: true",
        "webhook ActionAccepted 2",
        "phlorunner.plivo.com (Plivo)",
        "40.0 ms",
        "function=webhook",
    ):
        assert part in words, part
    assert max(map(len, report.splitlines())) <= width


def test_output_to_a_pipe_has_no_control_characters() -> None:
    assert all(character.isprintable() or character == "\n" for character in shown(GOOD))


def test_a_step_that_took_no_time_has_a_bar_too() -> None:
    post = {**SEGMENT["subsegments"][0], "end_time": 10.02}  # type: ignore[index]  # a list
    lines = shown(replace(GOOD, segments=[{**SEGMENT, "subsegments": [post]}])).splitlines()

    (line,) = (line for line in lines if "plivo.com (Plivo)" in line)
    assert line.rstrip().endswith(" 0.0 ms")
    assert not line.isascii()


def test_a_run_in_which_everything_failed_can_be_shown() -> None:
    nothing = replace(
        GOOD,
        first=replace(FIRST, status=500, answer="", answer_headers={}),
        event_record=None,
        received=[],
        metrics=[],
        segments=[],
    )
    assert "nothing in the ledger" in shown(nothing)


def test_the_token_is_never_shown() -> None:
    assert TOKEN not in shown(GOOD)
    assert RECEIVED["headers"]["authorization"] not in shown(GOOD)  # type: ignore[index]  # a dict
    assert masked("Authorization", "Basic " + b64encode(b"MAX:t").decode()) == "Basic MAX:********"
    assert masked("host", "Basic") == "Basic"


def test_a_segment_is_flattened_with_the_depth_of_each_part() -> None:
    nested = {"name": "a", "subsegments": [{"name": "b", "subsegments": [{"name": "c"}]}]}
    assert [(part["name"], part["depth"]) for part in flatten(nested)] == [
        ("a", 0),
        ("b", 1),
        ("c", 2),
    ]
