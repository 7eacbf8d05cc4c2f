"""The outcomes function: which changes of the ledger it publishes, and what the events contain."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cold_transfer.action import ActionName, Verdict
from cold_transfer.causes import Cause
from cold_transfer.telemetry import Telemetry, Unexpected
from tests.support import builders, fakes

DOCS = Path(__file__).parents[2] / "docs"

REJECTED = Verdict(Cause.REJECTED, error="to is a mandatory param.", plivo_status=400)
THROTTLED = Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=5)
UNKNOWN = Verdict(Cause.PLIVO_TIMED_OUT)


class Bus:
    """EventBridge: keeps the entries, and fails as the script says."""

    def __init__(self, *script: str | Exception) -> None:
        self.entries: list[dict[str, Any]] = []
        self._script = list(script)

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803  boto3's own
        failure = self._script.pop(0) if self._script else ""
        if isinstance(failure, Exception):
            raise failure
        if failure:
            failed = {"ErrorCode": failure, "ErrorMessage": f"about {builders.TO}"}
            return {"FailedEntryCount": 1, "Entries": [failed]}
        self.entries += Entries
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "an id"}]}

    def details(self) -> list[dict[str, Any]]:
        return [json.loads(entry["Detail"]) for entry in self.entries]


def publish(bus: Bus, stream: list[dict[str, Any]]) -> dict[str, Any]:
    telemetry = Telemetry("outcomes", fakes.Xray())
    publisher = fakes.entry_point("outcomes").Publisher(bus, "a-stack", "a-bus", telemetry)
    answer: dict[str, Any] = publisher({"Records": stream}, builders.FakeLambdaContext())
    return answer


@pytest.mark.parametrize(
    ("verdict", "detail_type"),
    [
        (fakes.ACCEPTED, "Cold Transfer Accepted"),
        (REJECTED, "Cold Transfer Rejected"),
        (THROTTLED, "Cold Transfer Not Sent"),
        (UNKNOWN, "Cold Transfer Unknown"),
    ],
)
def test_each_outcome_is_published_once(verdict: Verdict, detail_type: str) -> None:
    system = fakes.System(verdict)
    action_id = system.post().headers["Action-Id"]
    bus = Bus()

    assert publish(bus, system.table.stream) == {"batchItemFailures": []}

    (entry,) = bus.entries
    assert set(entry) == {"Source", "DetailType", "Detail", "EventBusName"}
    assert entry["Source"] == "a-stack"
    assert entry["DetailType"] == detail_type
    assert entry["EventBusName"] == "a-bus"
    (detail,) = bus.details()
    assert detail == {
        "event_id": f"{action_id}:1:{verdict.outcome}",
        "entry_point": "webhook",
        "client": "phlo",
        "attempt": 1,
        "action_id": action_id,
        "action": "cold_transfer",
        "reference": "",
        "state": verdict.outcome,
        "outcome": verdict.outcome,
        "cause": verdict.cause,
        "status": verdict.status,
        "api_id": verdict.api_id,
        "error": verdict.error,
        "first_seen": detail["first_seen"],
        "settled_at": detail["settled_at"],
        "resolution": None,
        "resolved_at": None,
        "duplicate_of": None,
    }
    assert datetime.fromisoformat(detail["first_seen"]) <= datetime.fromisoformat(
        detail["settled_at"]
    )


def test_a_redelivered_change_is_published_as_the_same_event() -> None:
    system = fakes.System()
    system.post()
    bus = Bus()

    publish(bus, system.table.stream)
    publish(bus, system.table.stream)

    first, again = bus.entries
    assert first == again


def test_each_attempt_has_its_own_event() -> None:
    system = fakes.System(THROTTLED, THROTTLED, fakes.ACCEPTED)
    for _ in range(3):
        action_id = system.post(key="key-1").headers["Action-Id"]
    bus = Bus()

    publish(bus, system.table.stream)

    assert [detail["event_id"] for detail in bus.details()] == [
        f"{action_id}:1:not_sent",
        f"{action_id}:2:not_sent",
        f"{action_id}:3:accepted",
    ]


def test_the_correction_of_an_unknown_outcome_is_published_too() -> None:
    system = fakes.System()

    def reconciled() -> None:
        system.clock.now += 60_000
        (action_id,) = (pk[2:] for pk in system.table.items if pk.startswith("K#"))
        system.webhook(builders.lookup_event(action_id))

    system.plivo.before_answer = reconciled
    assert system.post(key="key-1").status == 201
    bus = Bus()

    publish(bus, system.table.stream)

    assert [detail["outcome"] for detail in bus.details()] == ["unknown", "accepted"]
    assert len({detail["event_id"] for detail in bus.details()}) == 2


def test_duplicates_and_replays_are_not_published() -> None:
    system = fakes.System()
    system.post(key="key-1")
    system.post(key="key-1")
    system.post(key="key-2")
    bus = Bus()

    publish(bus, system.table.stream)

    assert sorted(system.table.states()) == ["accepted", "duplicate"]
    assert len(bus.entries) == 1


def test_deletions_and_changes_without_a_new_outcome_are_not_published() -> None:
    system = fakes.System()
    system.post()
    settled = system.table.stream[-1]["dynamodb"]
    deleted = {"Keys": settled["Keys"], "OldImage": settled["NewImage"], "SequenceNumber": "1"}
    touched = {**settled, "OldImage": settled["NewImage"], "SequenceNumber": "2"}
    bus = Bus()

    publish(bus, [{"dynamodb": deleted}, {"dynamodb": touched}])

    assert bus.entries == []


def test_a_state_of_a_later_version_is_not_published() -> None:
    system = fakes.System()
    system.post()
    settled = system.table.stream[-1]["dynamodb"]
    settled["NewImage"]["state"] = {"S": "a later one"}
    bus = Bus()

    publish(bus, system.table.stream)

    assert bus.entries == []


@pytest.mark.parametrize("failure", ["ThrottlingException", TimeoutError(f"to {builders.TO}")])
def test_the_batch_is_redelivered_from_the_first_failure_on(failure: str | Exception) -> None:
    system = fakes.System()
    for number in range(3):
        system.post(builders.fields(to=f"+1415222555{number}"))
    settled = [
        item
        for item in system.table.stream
        if item["dynamodb"]["NewImage"].get("state") == {"S": "accepted"}
    ]
    bus = Bus("", failure)

    with fakes.emitted() as output:
        answer = publish(bus, system.table.stream)

    second = settled[1]["dynamodb"]["SequenceNumber"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": second}]}
    assert len(bus.entries) == 1
    (line,) = output.logs()
    assert line["reason"] in ("ThrottlingException", "TimeoutError")
    assert output.counted()["OutcomeNotPublished"] == 1
    assert builders.TO not in output.text

    left = system.table.stream[system.table.stream.index(settled[1]) :]
    assert publish(bus, left) == {"batchItemFailures": []}
    assert len({detail["event_id"] for detail in bus.details()}) == 3


@pytest.mark.parametrize("event", [*builders.NO_EVENTS, {}, {"Records": [None]}])
def test_an_event_that_is_not_a_batch_of_the_stream_is_raised_and_logged(event: object) -> None:
    make, telemetry = fakes.entry_point("outcomes").Publisher, Telemetry("outcomes")
    publisher = make(Bus(), "a-stack", "a-bus", telemetry)

    with fakes.emitted() as output, pytest.raises(Unexpected):
        publisher(event, builders.FakeLambdaContext())

    (line,) = output.logs()
    assert line["message"] == "unexpected error"


def test_the_sample_has_the_form_of_a_published_event() -> None:
    sample = json.loads((DOCS / "outcome-accepted.json").read_text(encoding="utf-8"))
    system = fakes.System()
    system.post()
    bus = Bus()
    publish(bus, system.table.stream)

    (entry,), (detail,) = bus.entries, bus.details()
    assert sample["detail-type"] == entry["DetailType"]
    assert sample["source"] == builders.OUTCOME_SOURCE
    assert set(sample) == set(builders.eventbridge_event())
    assert list(sample["detail"]) == list(detail)
    for name, value in detail.items():
        assert type(sample["detail"][name]) is type(value), name
    shown = sample["detail"]
    assert shown["event_id"] == f"{shown['action_id']}:{shown['attempt']}:{shown['state']}"


def test_the_document_names_every_type_and_every_member() -> None:
    text = (DOCS / "outcome-events.md").read_text(encoding="utf-8")
    sample = json.loads((DOCS / "outcome-accepted.json").read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)

    outcomes = ["Accepted", "Rejected", "Not Sent", "Unknown", "Resolved"]
    titles = [name.replace("_", " ").title() for name in ActionName]
    assert rows == [*outcomes, *sample["detail"]]
    assert [title for title in titles if f"`{title}`" not in text] == []
