"""The event function: returns if the action was accepted, and raises otherwise."""

import hashlib
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause, Outcome
from cold_transfer.errors import (
    ActionFailed,
    BodyMalformed,
    ColdTransferError,
    ContractViolated,
    InProgress,
    KeyReused,
    LedgerUnavailable,
    OutOfTime,
    PhloNotAllowed,
)
from tests.support import builders, fakes

DUPLICATE = {"action_id", "outcome", "status", "api_id", "replayed", "duplicate_of"}


@pytest.fixture
def system() -> fakes.System:
    return fakes.System()


def refused(system: fakes.System, event: dict[str, Any]) -> ColdTransferError:
    """Deliver the event and return the error that it raises, whose text has no number in it."""
    with pytest.raises(ColdTransferError) as raised:
        system.event(event)
    for value in (builders.TO, builders.TO[1:], builders.TRIGGER_SOURCE[1:]):
        assert value not in str(raised.value)
    return raised.value


def test_an_accepted_action_returns(system: fakes.System) -> None:
    answer = system.event(builders.eventbridge_event())

    assert answer == {
        "action_id": answer["action_id"],
        "outcome": "accepted",
        "status": 201,
        "api_id": fakes.API_ID,
        "replayed": False,
        "duplicate_of": None,
    }
    ((action, _),) = system.plivo.sent
    assert action.to == builders.TO
    assert action.phlo_id == builders.PHLO_ID
    json.dumps(answer)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Cause.REJECTED, error="to is a mandatory param.", plivo_status=400),
        Verdict(Cause.REJECTED, error="no such node", plivo_status=200),
        Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=401),
        Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=5),
        Verdict(Cause.PLIVO_UNREACHABLE),
        Verdict(Cause.PLIVO_TIMED_OUT),
        Verdict(Cause.UNEXPECTED_STATUS, plivo_status=408),
    ],
    ids=lambda verdict: str(verdict.cause),
)
def test_every_other_verdict_is_raised_again_on_a_second_delivery(verdict: Verdict) -> None:
    system = fakes.System(verdict)
    event = builders.eventbridge_event()

    first = refused(system, event)
    again = refused(system, event)

    for error in (first, again):
        assert isinstance(error, ActionFailed)
        assert error.cause is verdict.cause
        assert error.outcome == verdict.outcome
        assert str(error) == (f"{verdict.outcome}: {verdict.cause} (Action-Id {error.action_id})")
    sent = 2 if verdict.outcome is Outcome.NOT_SENT else 1
    assert len(system.plivo.sent) == sent


def test_a_second_delivery_of_a_settled_event_returns_without_a_post(
    system: fakes.System,
) -> None:
    event = builders.eventbridge_event()
    first = system.event(event)

    again = system.event(event)

    assert again == {**first, "replayed": True}
    assert len(system.plivo.sent) == 1


@pytest.mark.parametrize("changes", [{}, {"idempotency_key": "key-1"}])
def test_a_second_delivery_while_the_first_is_in_progress_returns_without_an_outcome(
    system: fakes.System, changes: dict[str, Any]
) -> None:
    event = builders.eventbridge_event(builders.detail(**changes))
    rivals: list[dict[str, Any]] = []
    system.plivo.before_answer = lambda: rivals.append(system.event(event))

    first = system.event(event)

    assert rivals == [{"action_id": first["action_id"], "outcome": None}]
    assert len(system.plivo.sent) == 1


def test_only_the_event_that_began_the_attempt_in_progress_returns_without_an_outcome(
    system: fakes.System,
) -> None:
    detail = builders.detail(idempotency_key="key-1")
    earlier, later = (builders.eventbridge_event(detail) for _ in range(2))
    system.plivo.unreachable = True
    refused(system, earlier)
    system.plivo.unreachable = False
    found: list[object] = []

    def rivals() -> None:
        found.extend([system.event(later), refused(system, earlier).cause])

    system.plivo.before_answer = rivals
    first = system.event(later)

    assert found == [{"action_id": first["action_id"], "outcome": None}, Cause.IN_PROGRESS]


class TestNoAttemptIsInProgress:
    """An event must not return without an outcome if no attempt is left to report it."""

    @pytest.fixture(autouse=True)
    def not_sent(self, system: fakes.System) -> dict[str, Any]:
        """An event whose first delivery was not sent."""
        system.plivo.unreachable = True
        event = builders.eventbridge_event()
        refused(system, event)
        system.plivo.unreachable = False
        system.table.calls.clear()
        return event

    def record(self, system: fakes.System) -> Any:
        (found,) = (item for pk, item in system.table.items.items() if pk.startswith("K#"))
        return found

    @pytest.mark.parametrize("prefix", ["K#", "C#"], ids=["record", "content lock"])
    def test_an_event_that_loses_every_race_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any], prefix: str
    ) -> None:
        """Between each read and the next write, another attempt takes the item and ends."""

        def changes_owner(number: int) -> None:
            for pk, item in system.table.items.items():
                if pk.startswith(prefix):
                    item["owner"] = {"S": f"rival-{number}"}

        system.table.before_call = changes_owner

        assert isinstance(refused(system, not_sent), InProgress)
        assert system.plivo.sent == []
        assert self.record(system)["state"]["S"] == "not_sent"

    def test_an_event_with_another_versions_fingerprint_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any]
    ) -> None:
        self.record(system)["fp_version"] = {"N": "2"}

        error = refused(system, not_sent)

        assert (error.cause, system.plivo.sent) == (Cause.PLIVO_UNREACHABLE, [])

    def test_an_event_fenced_before_it_became_a_duplicate_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any]
    ) -> None:
        record = self.record(system)
        system.event(builders.eventbridge_event())  # the same action, accepted
        system.table.calls.clear()

        def fenced(_: int) -> None:
            if system.table.calls[-1] == "duplicate":
                settled = system.table.items[record["pk"]["S"]]
                settled["state"] = {"S": "not_sent"}
                settled["cause"] = {"S": "out-of-time"}

        system.table.before_call = fenced

        assert refused(system, not_sent).cause is Cause.OUT_OF_TIME
        assert len(system.plivo.sent) == 1

    def test_an_event_whose_record_is_gone_before_mark_sending_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any]
    ) -> None:
        def gone(_: int) -> None:
            if system.table.calls[-1] == "sending":
                system.table.items.clear()

        system.table.before_call = gone

        assert isinstance(refused(system, not_sent), InProgress)
        assert system.plivo.sent == []


def test_an_event_without_an_id_cannot_be_recognised_as_the_same_delivery(
    system: fakes.System,
) -> None:
    event = builders.eventbridge_event(builders.detail(idempotency_key="key-1"))
    del event["id"]
    errors: list[ColdTransferError] = []
    system.plivo.before_answer = lambda: errors.append(refused(system, event))

    system.event(event)

    assert [error.cause for error in errors] == [Cause.IN_PROGRESS]


def test_the_record_has_only_a_hash_of_the_events_id(system: fakes.System) -> None:
    event = builders.eventbridge_event(event_id=builders.TO.removeprefix("+"))

    answer = system.event(event)

    record = system.table.record(answer["action_id"])
    assert builders.TO.removeprefix("+") not in json.dumps(record)
    assert re.fullmatch("[0-9a-f]{64}", record["delivery"]["S"])
    # a hash of the id alone could be reversed by trial
    assert record["delivery"]["S"] != hashlib.sha256(event["id"].encode()).hexdigest()


@pytest.mark.parametrize(("waited", "posts"), [(13, 1), (11, 2)])
def test_the_window_is_compared_with_when_the_bus_received_the_event(
    system: fakes.System, waited: int, posts: int
) -> None:
    system.event(builders.eventbridge_event())
    system.clock.now += 17_000
    received_at = datetime.now(tz=UTC) - timedelta(seconds=waited)

    system.event(builders.eventbridge_event(at=received_at))

    assert len(system.plivo.sent) == posts


@pytest.mark.parametrize(
    ("first", "other", "cause"),
    [
        ({"idempotency_key": "key-1"}, {"idempotency_key": "key-1"}, Cause.IN_PROGRESS),
        ({}, {}, Cause.DUPLICATE_IN_PROGRESS),
        ({"idempotency_key": "key-1"}, {}, Cause.DUPLICATE_IN_PROGRESS),
    ],
)
def test_another_event_for_an_action_in_progress_is_raised(
    system: fakes.System, first: dict[str, Any], other: dict[str, Any], cause: Cause
) -> None:
    errors: list[ColdTransferError] = []
    system.plivo.before_answer = lambda: errors.append(
        refused(system, builders.eventbridge_event(builders.detail(**other)))
    )

    system.event(builders.eventbridge_event(builders.detail(**first)))

    (error,) = errors
    assert isinstance(error, InProgress)
    assert error.cause is cause
    assert len(system.plivo.sent) == 1


def test_another_event_with_the_same_key_is_the_same_request(system: fakes.System) -> None:
    detail = builders.detail(idempotency_key="ticket-8812:action-1")
    first = system.event(builders.eventbridge_event(detail))
    system.clock.now += 7_000

    again = system.event(builders.eventbridge_event(detail))

    assert again == {**first, "replayed": True}
    assert len(system.plivo.sent) == 1


def test_an_idempotency_key_equal_to_another_events_id_is_the_same_key(
    system: fakes.System,
) -> None:
    first = builders.eventbridge_event()
    answer = system.event(first)
    system.clock.now += 7_000

    again = system.event(builders.eventbridge_event(builders.detail(idempotency_key=first["id"])))

    assert again == {**answer, "replayed": True}
    assert len(system.plivo.sent) == 1


def test_another_event_inside_the_window_returns_the_first_actions_outcome(
    system: fakes.System,
) -> None:
    first = system.event(builders.eventbridge_event())

    other = system.event(builders.eventbridge_event())

    assert other["duplicate_of"] == first["action_id"]
    assert set(other) == DUPLICATE
    assert len(system.plivo.sent) == 1


def test_a_key_with_other_content_is_raised(system: fakes.System) -> None:
    system.event(builders.eventbridge_event(builders.detail(idempotency_key="key-1")))
    other = builders.detail(idempotency_key="key-1", to="+14152227777")

    assert isinstance(refused(system, builders.eventbridge_event(other)), KeyReused)
    assert len(system.plivo.sent) == 1


def test_an_attempt_abandoned_while_sending_is_raised_and_never_sent_again() -> None:
    system = fakes.System(SystemExit("killed"), fakes.ACCEPTED)
    event = builders.eventbridge_event()
    with pytest.raises(SystemExit):
        system.event(event)
    system.clock.now += 40_000

    assert refused(system, event).cause is Cause.ABANDONED
    assert len(system.plivo.sent) == 1


# --- time -----------------------------------------------------------------------------------


def test_an_old_event_is_not_sent(system: fakes.System) -> None:
    old = builders.eventbridge_event(at=datetime.now(tz=UTC) - timedelta(hours=1))

    assert refused(system, old).cause is Cause.TOO_OLD
    assert system.plivo.sent == []
    assert system.table.states() == ["not_sent"]


def test_an_old_event_that_was_accepted_returns(system: fakes.System) -> None:
    event = builders.eventbridge_event()
    system.event(event)
    system.clock.now += 3_600_000

    assert system.event(event)["outcome"] == "accepted"


def from_archive(event: dict[str, Any]) -> dict[str, Any]:
    """The event as EventBridge replays it from an archive."""
    return {**event, "replay-name": "replay-of-yesterday"}


@pytest.mark.parametrize("max_age", [60, 300])
def test_an_event_from_an_archive_is_not_sent(max_age: int) -> None:
    system = fakes.System(max_request_age_seconds=max_age)
    event = from_archive(builders.eventbridge_event())

    for _ in range(2):
        assert refused(system, event).cause is Cause.TOO_OLD
    assert system.plivo.sent == []
    assert system.table.states() == ["not_sent"]


def test_an_event_from_an_archive_is_not_a_retry_of_one_that_was_not_sent(
    system: fakes.System,
) -> None:
    event = builders.eventbridge_event()
    system.plivo.unreachable = True
    refused(system, event)
    system.plivo.unreachable = False

    assert refused(system, from_archive(event)).cause is Cause.TOO_OLD
    assert system.plivo.sent == []


def test_an_event_from_an_archive_returns_if_it_was_accepted(system: fakes.System) -> None:
    event = builders.eventbridge_event()
    first = system.event(event)

    assert system.event(from_archive(event)) == {**first, "replayed": True}
    assert len(system.plivo.sent) == 1


def test_a_redriven_event_is_compared_with_the_window_of_when_it_was_put() -> None:
    """A double click under another key that could not be delivered, redriven minutes later."""
    system = fakes.System(max_request_age_seconds=300)
    system.event(builders.eventbridge_event())
    system.clock.now += 138_000

    put_at = datetime.now(tz=UTC) - timedelta(seconds=140)
    system.event(builders.eventbridge_event(at=put_at))

    assert len(system.plivo.sent) == 1


def test_the_earlier_of_time_and_requested_at_counts(system: fakes.System) -> None:
    earlier = (datetime.now(tz=UTC) - timedelta(minutes=2)).isoformat()
    event = builders.eventbridge_event(builders.detail(requested_at=earlier))
    assert refused(system, event).cause is Cause.TOO_OLD

    now = datetime.now(tz=UTC)
    event = builders.eventbridge_event(
        builders.detail(requested_at=now.isoformat()), at=now - timedelta(minutes=2)
    )
    assert refused(system, event).cause is Cause.TOO_OLD


def test_an_event_without_a_time_counts_as_sent_now(system: fakes.System) -> None:
    event = builders.eventbridge_event()
    del event["time"]

    assert system.event(event)["outcome"] == "accepted"


@pytest.mark.parametrize(
    "time",
    [
        "",
        "yesterday",
        "2026-01-31",
        "2026-01-31T09:30:00",
        1_773_500_966,
        None,
        ["2026-01-31T09:30:00Z"],
        "2026-02-31T09:30:00Z",
    ],
)
def test_an_invalid_time_is_raised(system: fakes.System, time: object) -> None:
    error = refused(system, {**builders.eventbridge_event(), "time": time})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["time"]
    assert system.table.calls == []


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z"])
def test_the_earliest_possible_times_are_too_old(system: fakes.System, time: str) -> None:
    assert refused(system, {**builders.eventbridge_event(), "time": time}).cause is Cause.TOO_OLD


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", None])
def test_a_time_in_the_future_is_raised(system: fakes.System, time: str | None) -> None:
    soon = datetime.now(tz=UTC) + timedelta(seconds=40)
    event = builders.eventbridge_event(at=soon)

    error = refused(system, event if time is None else {**event, "time": time})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["time"]


def test_a_time_up_to_30_seconds_ahead_is_accepted(system: fakes.System) -> None:
    event = builders.eventbridge_event(at=datetime.now(tz=UTC) + timedelta(seconds=20))

    assert system.event(event)["outcome"] == "accepted"


def test_too_little_time_is_raised(system: fakes.System) -> None:
    system.context = builders.FakeLambdaContext(fixed_ms=3_000)

    assert isinstance(refused(system, builders.eventbridge_event()), OutOfTime)
    assert system.table.calls == []


# --- refused events -----------------------------------------------------------------------------


def test_every_faulty_field_of_event_and_detail_is_named(system: fakes.System) -> None:
    event = builders.eventbridge_event(
        builders.detail(to="+1 415", role="boss", trigger_source=None, hue="blue"),
        source="another.source",
    )
    event |= {"detail-type": "Something Else", "time": "yesterday"}

    error = refused(system, event)

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == [
        "source",
        "detail-type",
        "time",
        "to",
        "trigger_source",
        "role",
        "hue",
    ]
    for value in ("+1 415", "boss", "blue", "another.source", "Something Else", "yesterday"):
        assert value not in str(error)


@pytest.mark.parametrize("detail", ["text", 7, [], None])
def test_a_detail_that_is_not_an_object_is_raised(system: fakes.System, detail: object) -> None:
    event = {**builders.eventbridge_event(), "detail": detail}

    assert isinstance(refused(system, event), BodyMalformed)
    assert isinstance(refused(system, {**event, "source": "else"}), ContractViolated)
    assert system.table.calls == []


@pytest.mark.parametrize("event_id", [None, "", 7, "a b", "x" * 256, "+14152225555\r\n"])
def test_an_id_that_is_not_a_valid_key_is_raised(system: fakes.System, event_id: object) -> None:
    error = refused(system, {**builders.eventbridge_event(), "id": event_id})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["id"]


def test_an_empty_event_is_raised_with_all_missing_fields(system: fakes.System) -> None:
    error = refused(system, {})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["source", "detail-type", "detail"]


@pytest.mark.parametrize("event", builders.NO_EVENTS)
def test_an_event_that_is_not_an_object_is_raised_logged_and_counted(
    system: fakes.System, event: Any
) -> None:
    with fakes.emitted() as output:
        error = refused(system, event)

    assert isinstance(error, BodyMalformed)
    assert str(error) == "the event is not an object"
    assert output.counted() == {"ColdStart": 1, "RequestInvalid": 1}
    (line,) = output.logs()
    uuid.UUID(line["correlation_id"])


def test_only_the_phlos_of_event_phlo_ids_are_allowed() -> None:
    system = fakes.System(event_phlo_ids=frozenset({builders.PHLO_ID}))
    other = builders.detail(phlo_id=builders.LIMITED_PHLO_ID)
    upper_case = builders.detail(phlo_id=builders.PHLO_ID.upper())

    assert isinstance(refused(system, builders.eventbridge_event(other)), PhloNotAllowed)
    assert system.table.calls == []
    assert system.event(builders.eventbridge_event(upper_case))["outcome"] == "accepted"


def test_the_client_of_an_event_is_its_source(system: fakes.System) -> None:
    answer = system.event(builders.eventbridge_event())

    item = system.table.record(answer["action_id"])
    assert item["client"] == {"S": builders.EVENT_SOURCE}
    assert item["entry_point"] == {"S": "event"}


# --- unavailable dependencies -------------------------------------------------------------------


def test_an_unavailable_ledger_is_raised(system: fakes.System) -> None:
    system.table.out = {0}

    assert isinstance(refused(system, builders.eventbridge_event()), LedgerUnavailable)
    assert system.plivo.sent == []


def test_an_unreachable_secrets_manager_is_raised(system: fakes.System) -> None:
    system.secrets.out = ReadTimeoutError(endpoint_url="https://secretsmanager.invalid")

    assert refused(system, builders.eventbridge_event()).cause is Cause.DEPENDENCY_UNAVAILABLE
    assert system.plivo.sent == []


# --- logs and metrics ---------------------------------------------------------------------------


def test_logs_and_metrics_have_the_functions_name_and_the_events_id(system: fakes.System) -> None:
    event_id = str(uuid.uuid4())

    with fakes.emitted() as output:
        system.event(builders.eventbridge_event(event_id=event_id))

    (line,) = output.logs()
    assert line["correlation_id"] == event_id
    assert (line["function"], line["client"]) == ("event", builders.EVENT_SOURCE)
    (metrics,) = output.metrics()
    assert metrics["function"] == "event"
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service", "function"]]
    assert set(output.counted()) == {"ColdStart", "PlivoLatency", "ActionAccepted"}


@pytest.mark.parametrize(
    ("change", "metrics"),
    [
        ({"detail": {}}, {"RequestInvalid"}),
        ({"time": "2026-01-01T00:00:00Z"}, {"ActionNotSent", "RequestStale"}),
    ],
)
def test_a_raised_event_is_counted_and_logged_once(
    system: fakes.System, change: dict[str, Any], metrics: set[str]
) -> None:
    with fakes.emitted() as output:
        refused(system, {**builders.eventbridge_event(), **change})

    assert output.counted() == dict.fromkeys(["ColdStart", *metrics], 1)
    assert len(output.logs()) == 1
