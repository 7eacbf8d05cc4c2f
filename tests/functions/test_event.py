"""The EventBridge entry point: what is accepted returns, and everything else is raised."""

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
    """Deliver the event; the error it ends with. Its text holds none of the event's values."""
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
def test_every_other_verdict_is_raised_and_raised_again_on_a_replay(verdict: Verdict) -> None:
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


def test_a_second_delivery_while_the_first_is_under_way_returns_quietly(
    system: fakes.System,
) -> None:
    event = builders.eventbridge_event()
    rivals: list[dict[str, Any]] = []
    system.plivo.before_answer = lambda: rivals.append(system.event(event))

    first = system.event(event)

    assert rivals == [{"action_id": first["action_id"], "outcome": None}]
    assert len(system.plivo.sent) == 1


def test_an_event_with_its_own_key_that_is_delivered_twice_returns_quietly(
    system: fakes.System,
) -> None:
    event = builders.eventbridge_event(builders.detail(idempotency_key="key-1"))
    rivals: list[dict[str, Any]] = []
    system.plivo.before_answer = lambda: rivals.append(system.event(event))

    first = system.event(event)

    assert rivals == [{"action_id": first["action_id"], "outcome": None}]
    assert len(system.plivo.sent) == 1


def test_the_event_that_began_the_last_attempt_is_the_one_that_may_come_twice(
    system: fakes.System,
) -> None:
    detail = builders.detail(idempotency_key="key-1")
    earlier, later = (builders.eventbridge_event(detail) for _ in range(2))
    system.plivo.unreachable = True
    refused(system, earlier)
    system.plivo.unreachable = False
    heard: list[object] = []

    def rivals() -> None:
        heard.extend([system.event(later), refused(system, earlier).cause])

    system.plivo.before_answer = rivals
    first = system.event(later)

    assert heard == [{"action_id": first["action_id"], "outcome": None}, Cause.IN_PROGRESS]


class TestNobodyIsAtIt:
    """An event returns without an outcome only if an attempt of its own is alive to report it."""

    @pytest.fixture(autouse=True)
    def not_sent(self, system: fakes.System) -> dict[str, Any]:
        """The event, whose first delivery could not be sent."""
        system.plivo.unreachable = True
        event = builders.eventbridge_event()
        refused(system, event)
        system.plivo.unreachable = False
        system.table.calls.clear()
        return event

    def record(self, system: fakes.System) -> Any:
        (found,) = (item for pk, item in system.table.items.items() if pk.startswith("K#"))
        return found

    @pytest.mark.parametrize("prefix", ["K#", "C#"], ids=["claim", "pointer"])
    def test_one_that_loses_every_race_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any], prefix: str
    ) -> None:
        """Others take the item and let go of it again, between each look and the write after."""

        def taken_and_let_go(number: int) -> None:
            for pk, item in system.table.items.items():
                if pk.startswith(prefix):
                    item["owner"] = {"S": f"rival-{number}"}

        system.table.before_call = taken_and_let_go

        assert isinstance(refused(system, not_sent), InProgress)
        assert system.plivo.sent == []
        assert self.record(system)["state"]["S"] == "not_sent"

    def test_one_of_another_versions_fingerprint_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any]
    ) -> None:
        self.record(system)["fp_version"] = {"N": "2"}

        error = refused(system, not_sent)

        assert (error.cause, system.plivo.sent) == (Cause.PLIVO_UNREACHABLE, [])

    def test_one_whose_claim_was_fenced_before_it_became_a_duplicate_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any]
    ) -> None:
        mine = self.record(system)
        system.event(builders.eventbridge_event())  # the same action, accepted
        system.table.calls.clear()

        def fenced(_: int) -> None:
            if system.table.calls[-1] == "duplicate":
                mine_now = system.table.items[mine["pk"]["S"]]
                mine_now["state"] = {"S": "not_sent"}
                mine_now["cause"] = {"S": "out-of-time"}

        system.table.before_call = fenced

        assert refused(system, not_sent).cause is Cause.OUT_OF_TIME
        assert len(system.plivo.sent) == 1

    def test_one_whose_record_is_gone_before_it_is_marked_as_sending_is_raised(
        self, system: fakes.System, not_sent: dict[str, Any]
    ) -> None:
        def gone(_: int) -> None:
            if system.table.calls[-1] == "sending":
                system.table.items.clear()

        system.table.before_call = gone

        assert isinstance(refused(system, not_sent), InProgress)
        assert system.plivo.sent == []


def test_an_id_that_is_no_text_is_no_delivery(system: fakes.System) -> None:
    event = builders.eventbridge_event(builders.detail(idempotency_key="key-1"))
    del event["id"]
    errors: list[ColdTransferError] = []
    system.plivo.before_answer = lambda: errors.append(refused(system, event))

    system.event(event)

    assert [error.cause for error in errors] == [Cause.IN_PROGRESS]


def test_the_record_keeps_no_id_that_somebody_gave_an_event(system: fakes.System) -> None:
    event = builders.eventbridge_event(event_id=builders.TO.removeprefix("+"))

    answer = system.event(event)

    record = system.table.record(answer["action_id"])
    assert builders.TO.removeprefix("+") not in json.dumps(record)
    assert re.fullmatch("[0-9a-f]{64}", record["delivery"]["S"])
    # of the id alone, it could be found by trial
    assert record["delivery"]["S"] != hashlib.sha256(event["id"].encode()).hexdigest()


@pytest.mark.parametrize(("waited", "posts"), [(13, 1), (11, 2)])
def test_an_event_that_waited_for_its_function_counts_from_when_the_bus_took_it(
    system: fakes.System, waited: int, posts: int
) -> None:
    system.event(builders.eventbridge_event())
    system.clock.now += 17_000
    taken = datetime.now(tz=UTC) - timedelta(seconds=waited)

    system.event(builders.eventbridge_event(at=taken))

    assert len(system.plivo.sent) == posts


@pytest.mark.parametrize(
    ("mine", "rival", "cause"),
    [
        ({"idempotency_key": "key-1"}, {"idempotency_key": "key-1"}, Cause.IN_PROGRESS),
        ({}, {}, Cause.DUPLICATE_IN_PROGRESS),
        ({"idempotency_key": "key-1"}, {}, Cause.DUPLICATE_IN_PROGRESS),
    ],
)
def test_another_event_for_an_action_under_way_is_raised(
    system: fakes.System, mine: dict[str, Any], rival: dict[str, Any], cause: Cause
) -> None:
    errors: list[ColdTransferError] = []
    system.plivo.before_answer = lambda: errors.append(
        refused(system, builders.eventbridge_event(builders.detail(**rival)))
    )

    system.event(builders.eventbridge_event(builders.detail(**mine)))

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


def test_an_events_id_and_a_key_of_its_producers_are_keys_alike(system: fakes.System) -> None:
    first = builders.eventbridge_event()
    answer = system.event(first)
    system.clock.now += 7_000

    again = system.event(builders.eventbridge_event(builders.detail(idempotency_key=first["id"])))

    assert again == {**answer, "replayed": True}
    assert len(system.plivo.sent) == 1


def test_another_event_inside_the_window_returns_the_firsts_outcome(system: fakes.System) -> None:
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


def test_an_attempt_that_died_while_sending_is_raised_and_never_sent_again() -> None:
    system = fakes.System(SystemExit("killed"), fakes.ACCEPTED)
    event = builders.eventbridge_event()
    with pytest.raises(SystemExit):
        system.event(event)
    system.clock.now += 40_000

    assert refused(system, event).cause is Cause.ABANDONED
    assert len(system.plivo.sent) == 1


# --- time -----------------------------------------------------------------------------------


def test_an_event_of_an_hour_ago_is_not_sent(system: fakes.System) -> None:
    late = builders.eventbridge_event(at=datetime.now(tz=UTC) - timedelta(hours=1))

    assert refused(system, late).cause is Cause.TOO_OLD
    assert system.plivo.sent == []
    assert system.table.states() == ["not_sent"]


def test_an_old_event_that_was_accepted_returns(system: fakes.System) -> None:
    event = builders.eventbridge_event()
    system.event(event)
    system.clock.now += 3_600_000

    assert system.event(event)["outcome"] == "accepted"


def replayed(event: dict[str, Any]) -> dict[str, Any]:
    """The event as a replay of an archive delivers it."""
    return {**event, "replay-name": "replay-of-yesterday"}


@pytest.mark.parametrize("max_age", [60, 300])
def test_a_replayed_event_that_the_ledger_does_not_know_is_not_sent(max_age: int) -> None:
    system = fakes.System(max_request_age_seconds=max_age)
    event = replayed(builders.eventbridge_event())

    for _ in range(2):
        assert refused(system, event).cause is Cause.TOO_OLD
    assert system.plivo.sent == []
    assert system.table.states() == ["not_sent"]


def test_a_replayed_event_that_was_not_sent_is_not_sent_either(system: fakes.System) -> None:
    event = builders.eventbridge_event()
    system.plivo.unreachable = True
    refused(system, event)
    system.plivo.unreachable = False

    assert refused(system, replayed(event)).cause is Cause.TOO_OLD
    assert system.plivo.sent == []


def test_a_replayed_event_that_was_accepted_returns(system: fakes.System) -> None:
    event = builders.eventbridge_event()
    first = system.event(event)

    assert system.event(replayed(event)) == {**first, "replayed": True}
    assert len(system.plivo.sent) == 1


def test_the_window_knows_when_an_event_arrived_that_comes_back_minutes_later() -> None:
    """By a redrive: it was a double click of another key's, and could not be delivered."""
    system = fakes.System(max_request_age_seconds=300)
    system.event(builders.eventbridge_event())
    system.clock.now += 138_000

    taken = datetime.now(tz=UTC) - timedelta(seconds=140)
    system.event(builders.eventbridge_event(at=taken))

    assert len(system.plivo.sent) == 1


def test_the_earlier_of_time_and_requested_at_counts(system: fakes.System) -> None:
    asked = (datetime.now(tz=UTC) - timedelta(minutes=2)).isoformat()
    event = builders.eventbridge_event(builders.detail(requested_at=asked))
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
def test_a_time_that_is_none_is_raised(system: fakes.System, time: object) -> None:
    error = refused(system, {**builders.eventbridge_event(), "time": time})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["time"]
    assert system.table.calls == []


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z"])
def test_a_time_at_the_edge_of_the_calendar_is_old(system: fakes.System, time: str) -> None:
    assert refused(system, {**builders.eventbridge_event(), "time": time}).cause is Cause.TOO_OLD


@pytest.mark.parametrize("time", ["9999-12-31T23:59:59-23:59", None])
def test_a_time_in_the_future_is_raised(system: fakes.System, time: str | None) -> None:
    soon = datetime.now(tz=UTC) + timedelta(seconds=40)
    event = builders.eventbridge_event(at=soon)

    error = refused(system, event if time is None else {**event, "time": time})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["time"]


def test_clocks_may_differ_a_little(system: fakes.System) -> None:
    event = builders.eventbridge_event(at=datetime.now(tz=UTC) + timedelta(seconds=20))

    assert system.event(event)["outcome"] == "accepted"


def test_too_little_time_is_raised(system: fakes.System) -> None:
    system.context = builders.FakeLambdaContext(fixed_ms=3_000)

    assert isinstance(refused(system, builders.eventbridge_event()), OutOfTime)
    assert system.table.calls == []


# --- what the event has to be -----------------------------------------------------------------


def test_every_faulty_field_of_event_and_detail_is_named(system: fakes.System) -> None:
    event = builders.eventbridge_event(
        builders.detail(to="+1 415", role="boss", trigger_source=None, hue="blue"),
        source="somebody.else",
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
    for value in ("+1 415", "boss", "blue", "somebody.else", "Something Else", "yesterday"):
        assert value not in str(error)


@pytest.mark.parametrize("detail", ["text", 7, [], None])
def test_a_detail_that_is_no_object_is_raised(system: fakes.System, detail: object) -> None:
    event = {**builders.eventbridge_event(), "detail": detail}

    assert isinstance(refused(system, event), BodyMalformed)
    assert isinstance(refused(system, {**event, "source": "else"}), ContractViolated)
    assert system.table.calls == []


@pytest.mark.parametrize("event_id", [None, "", 7, "a b", "x" * 256, "+14152225555\r\n"])
def test_an_id_that_can_be_no_key_is_raised(system: fakes.System, event_id: object) -> None:
    error = refused(system, {**builders.eventbridge_event(), "id": event_id})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["id"]


def test_an_empty_event_is_raised_with_everything_it_lacks(system: fakes.System) -> None:
    error = refused(system, {})

    assert isinstance(error, ContractViolated)
    assert [fault.field for fault in error.faults] == ["source", "detail-type", "detail"]


@pytest.mark.parametrize("event", builders.NO_EVENTS)
def test_what_is_no_event_is_raised_logged_and_counted(system: fakes.System, event: Any) -> None:
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
    shouted = builders.detail(phlo_id=builders.PHLO_ID.upper())

    assert isinstance(refused(system, builders.eventbridge_event(other)), PhloNotAllowed)
    assert system.table.calls == []
    assert system.event(builders.eventbridge_event(shouted))["outcome"] == "accepted"


def test_the_event_entry_points_client_is_its_source(system: fakes.System) -> None:
    answer = system.event(builders.eventbridge_event())

    item = system.table.record(answer["action_id"])
    assert item["client"] == {"S": builders.EVENT_SOURCE}
    assert item["entry_point"] == {"S": "event"}


# --- dependencies -------------------------------------------------------------------------------


def test_a_ledger_that_does_not_answer_is_raised(system: fakes.System) -> None:
    system.table.out = {0}

    assert isinstance(refused(system, builders.eventbridge_event()), LedgerUnavailable)
    assert system.plivo.sent == []


def test_secrets_manager_out_of_reach_is_raised(system: fakes.System) -> None:
    system.secrets.out = ReadTimeoutError(endpoint_url="https://secretsmanager.invalid")

    assert refused(system, builders.eventbridge_event()).cause is Cause.DEPENDENCY_UNAVAILABLE
    assert system.plivo.sent == []


# --- what is said to the operator -----------------------------------------------------------------


def test_metrics_and_logs_are_those_of_the_event_entry_point(system: fakes.System) -> None:
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
def test_what_is_raised_is_counted_and_logged_once(
    system: fakes.System, change: dict[str, Any], metrics: set[str]
) -> None:
    with fakes.emitted() as output:
        refused(system, {**builders.eventbridge_event(), **change})

    assert output.counted() == dict.fromkeys(["ColdStart", *metrics], 1)
    assert len(output.logs()) == 1
