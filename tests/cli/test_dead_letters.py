"""Dead letters and records: how they are parsed and shown, and what a redrive does to them."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from cold_transfer_cli import records
from cold_transfer_cli.dead_letters import DeadLetter, Invoked, Redriven, redrive
from cold_transfer_cli.records import Records
from tests.support import builders
from tests.support.builders import EVENT_SOURCE, TO, TRIGGER_SOURCE, eventbridge_event
from tests.support.fakes import ACCEPTED, System, emitted

UNKNOWN = Verdict(Cause.OUTCOME_UNKNOWN, plivo_status=500)
REJECTED = Verdict(Cause.REJECTED, plivo_status=400, error="Invalid value provided for to.")
THROTTLED = Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=1)


def message(body: object, attributes: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A message as SQS returns it."""
    return {
        "MessageId": "6f1f6c3e-6a52-4f6a-9a3e-2f1f4b8f7d10",
        "ReceiptHandle": "receipt",
        "Body": body if isinstance(body, str) else json.dumps(body),
        "Attributes": {"SentTimestamp": "1795348800000"},
        "MessageAttributes": {
            name: {"StringValue": value, "DataType": "String"}
            for name, value in (attributes or {}).items()
        },
    }


def failed(event: object, text: str = "unknown: outcome-unknown") -> dict[str, Any]:
    """The body of the message that the on-failure destination writes for an event."""
    return {
        "version": "1.0",
        "requestContext": {"condition": "RetriesExhausted", "approximateInvokeCount": 1},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "functionError": "Unhandled"},
        "responsePayload": {"errorType": "ActionFailed", "errorMessage": text},
    }


def letter(event: dict[str, Any]) -> DeadLetter:
    return DeadLetter.of(message(failed(event)))


def redriven(system: System, event: dict[str, Any], **invoking: Any) -> Redriven:
    client: Any = system.table
    invoke = invoking.get("invoke", lambda given: invoked(system, given))
    return redrive(letter(event), Records(client, "ledger"), EVENT_SOURCE, invoke)


def invoked(system: System, event: dict[str, Any]) -> Invoked:
    """Invoke the event function as Lambda does."""
    with emitted():
        try:
            return Invoked(raised=False, text=json.dumps(system.event(event)))
        except Exception as error:  # noqa: BLE001  as Lambda does
            return Invoked(raised=True, text=str(error))


def test_a_failed_event_is_read_from_its_envelope() -> None:
    event = eventbridge_event()

    read = DeadLetter.of(message(failed(event)))

    assert read.event == event
    assert read.reason == "ActionFailed: unknown: outcome-unknown"


def test_an_undelivered_event_is_the_message_itself() -> None:
    event = eventbridge_event()
    attributes = {"ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "may not invoke"}

    read = DeadLetter.of(message(event, attributes))

    assert read.event == event
    assert read.reason == "not delivered: NO_PERMISSIONS: may not invoke"


def test_an_event_that_was_too_old_for_lambda_has_its_condition_as_the_reason() -> None:
    body = failed(eventbridge_event())
    del body["responsePayload"]
    body["requestContext"]["condition"] = "EventAgeExceeded"

    assert DeadLetter.of(message(body)).reason == "not processed: EventAgeExceeded"


@pytest.mark.parametrize("body", ["no JSON", "[]", '"text"', "{}", '{"requestPayload": 7}'])
def test_a_message_of_another_system_is_never_invoked_with(body: str) -> None:
    client: Any = System().table
    read = DeadLetter.of(message(body))

    result = redrive(
        read, Records(client, "ledger"), EVENT_SOURCE, lambda _: pytest.fail("invoked")
    )

    assert read.event is None
    assert not result.done


@pytest.mark.parametrize(
    "changes", [{}, {"idempotency_key": "call-1001"}], ids=["event id", "idempotency_key"]
)
def test_the_action_id_is_the_one_that_the_event_entry_point_gives(changes: dict[str, str]) -> None:
    event, system = eventbridge_event(builders.detail(**changes)), System()

    with emitted():
        answer = system.event(event)

    assert letter(event).action_id(EVENT_SOURCE) == answer["action_id"]


def test_a_dead_letter_is_shown_without_numbers() -> None:
    event = eventbridge_event(
        builders.detail(to="sip:alice@phone.plivo.com", idempotency_key=TRIGGER_SOURCE[1:])
    )
    body = failed(event, f"no luck with {TO} and sip:alice@phone.plivo.com")

    shown = DeadLetter.of(message(body)).described(EVENT_SOURCE)

    for secret in (TO[1:], TRIGGER_SOURCE[1:], "alice"):
        assert secret not in shown
    assert builders.PHLO_ID in shown
    assert event["id"] in shown


@pytest.mark.parametrize(
    "number", ["+1 415 222 5555", "(415) 222-3333", "+1.415.222.3333", "+1/415/222/5555"]
)
def test_a_badly_formatted_number_is_not_shown_either(number: str) -> None:
    event = eventbridge_event(builders.detail(to=number))

    shown = DeadLetter.of(message(failed(event, "fields-invalid"))).described(EVENT_SOURCE)

    assert not {"415", "222", "5555", "3333"} & set(re.findall(r"\d+", shown.rsplit("to ")[1]))
    assert event["time"] in shown


def test_an_action_on_a_member_is_shown_with_its_name_but_not_the_members_number() -> None:
    event = eventbridge_event(builders.detail(member_address=TO, reference="INC-12"))
    event["detail-type"] = "Hangup Requested"

    shown = letter(event).described(EVENT_SOURCE)

    assert "request      Hangup Requested" in shown
    assert "reference INC-12" in shown
    assert TO[1:] not in shown


def test_an_event_without_a_time_gets_the_time_of_its_message() -> None:
    event = eventbridge_event()
    del event["time"]

    assert letter(event).dated()["time"] == "2026-11-22T12:00:00.000Z"


def test_an_event_keeps_its_own_time() -> None:
    event = eventbridge_event()

    assert letter(event).dated() == event


def test_a_redrive_sends_an_action_that_was_not_sent() -> None:
    event, system = eventbridge_event(), System(THROTTLED, ACCEPTED)
    invoked(system, event)

    result = redriven(system, event)

    assert result.done
    assert result.before is not None
    assert result.before.own.cause == Cause.PLIVO_THROTTLED
    assert result.after is not None
    assert result.after.own.state == "accepted"


def test_redriving_an_accepted_action_sends_nothing() -> None:
    event, system = eventbridge_event(), System()
    invoked(system, event)

    result = redriven(system, event)

    assert result.done
    assert len(system.plivo.sent) == 1


def test_a_duplicate_is_done_when_the_first_action_was_accepted() -> None:
    system = System()
    invoked(system, eventbridge_event())

    result = redriven(system, eventbridge_event())

    assert result.done
    assert result.after is not None
    assert result.after.own.state == "duplicate"
    assert len(system.plivo.sent) == 1


def test_redriving_an_unknown_outcome_sends_nothing_and_keeps_the_message() -> None:
    event, system = eventbridge_event(), System(UNKNOWN, ACCEPTED)
    invoked(system, event)

    result = redriven(system, event)

    assert not result.done
    assert "unknown" in result.verdict
    assert len(system.plivo.sent) == 1


@pytest.mark.parametrize(
    ("plivo", "done", "verdict"),
    [
        (ACCEPTED, True, "deleted: accepted"),
        (REJECTED, True, "deleted: rejected"),
        (THROTTLED, False, "kept: nothing was sent"),
        (UNKNOWN, False, "kept: unknown"),
    ],
    ids=["accepted", "rejected", "not sent", "unknown"],
)
def test_the_outcome_of_a_redrive_decides_about_the_message(
    plivo: Verdict, *, done: bool, verdict: str
) -> None:
    result = redriven(System(plivo), eventbridge_event())

    assert result.done is done
    assert result.verdict.startswith(verdict)


def test_an_event_that_is_too_old_is_not_sent_and_its_message_is_deleted() -> None:
    system = System()
    event = eventbridge_event(at=datetime.now(UTC) - timedelta(seconds=90))

    result = redriven(system, event)

    assert result.verdict.startswith("deleted: too old")
    assert system.plivo.sent == []


def test_an_invalid_event_stays_in_the_queue() -> None:
    system = System()
    event = eventbridge_event(builders.detail(to="nobody"))

    result = redriven(system, event)

    assert not result.done
    assert result.after is None


def test_the_record_of_another_action_under_the_same_key_does_not_count() -> None:
    system = System()
    invoked(system, eventbridge_event(builders.detail(idempotency_key="call-1")))
    other = eventbridge_event(builders.detail(idempotency_key="call-1", to="+14155550199"))

    result = redriven(system, other)

    assert result.after is not None
    assert result.after.own.state == "accepted"
    assert not result.done


def test_an_action_that_another_attempt_is_sending_stays_in_the_queue() -> None:
    event, system = eventbridge_event(), System()
    results: list[Redriven] = []
    system.plivo.before_answer = lambda: results.append(redriven(system, event))

    invoked(system, event)

    assert [result.done for result in results] == [False]
    assert len(system.plivo.sent) == 1


def test_a_failed_invocation_keeps_the_message_even_if_the_record_is_settled() -> None:
    event, system = eventbridge_event(), System()
    invoked(system, event)
    out_of_time = Invoked(raised=True, text="Task timed out after 25.00 seconds")

    assert not redriven(system, event, invoke=lambda _: out_of_time).done


def test_a_record_is_described_with_what_it_means() -> None:
    event, system = eventbridge_event(), System(UNKNOWN)
    invoked(system, event)
    client: Any = system.table
    action_id = letter(event).action_id(EVENT_SOURCE)
    assert action_id is not None

    known = Records(client, "ledger").look(action_id)

    assert known is not None
    text = records.described(known)
    assert action_id in text
    assert "it may have happened" in text
    assert "Plivo answered  500" in text


def test_a_duplicate_is_described_with_the_outcome_of_the_first() -> None:
    system = System()
    with emitted():
        first = system.post(key="call-1")
        duplicate = system.post(key="call-2")
    client: Any = system.table

    known = Records(client, "ledger").look(duplicate.headers["Action-Id"])

    assert known is not None
    assert known.line().startswith(f"a duplicate of {first.headers['Action-Id']}: accepted")
    assert "outcome         accepted" in records.described(known)


def test_reading_settles_nothing() -> None:
    event, system = eventbridge_event(), System(UNKNOWN)
    invoked(system, event)
    client: Any = system.table
    before = len(system.table.calls)

    Records(client, "ledger").look(str(letter(event).action_id(EVENT_SOURCE)))

    assert system.table.calls[before:] == ["get"]
