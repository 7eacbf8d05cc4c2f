"""What a person found out about an unknown outcome: an annotation, and what follows from it."""

from typing import Any

import pytest

from cold_transfer.action import ActionName, Verdict
from cold_transfer.causes import Cause, Resolution
from cold_transfer.errors import ActionFailed
from cold_transfer_cli.records import Records
from tests.functions.test_outcomes import Bus, publish
from tests.support import builders, fakes

UNKNOWN = Verdict(Cause.PLIVO_TIMED_OUT)
HAPPENED, DID_NOT_HAPPEN = Resolution.HAPPENED, Resolution.DID_NOT_HAPPEN


def resolve(
    system: fakes.System, action_id: str, resolution: Resolution = DID_NOT_HAPPEN, note: str = ""
) -> None:
    """As the operator's command does it."""
    Records(system.table, "ledger").resolve(action_id, resolution, "ann", system.clock.now, note)


def unknown(*script: Verdict, name: str = "cold_transfer") -> tuple[fakes.System, str]:
    """A system with an unknown outcome under ``key-1``, and its Action-Id."""
    system = fakes.System(UNKNOWN, *(script or (fakes.ACCEPTED,)))
    answer = system.ask(name, key="key-1")
    assert answer.status == 504
    return system, answer.headers["Action-Id"]


def reconciled(system: fakes.System) -> str:
    """The Action-Id of the one request, which becomes unknown: its lease is over."""
    system.clock.now += 60_000
    (action_id,) = (pk[2:] for pk in system.table.items if pk.startswith("K#"))
    assert system.webhook(builders.lookup_event(action_id)).body["outcome"] == "unknown"
    return action_id


def test_what_did_not_happen_does_not_stand_in_the_way_of_a_new_key() -> None:
    system, action_id = unknown()
    resolve(system, action_id)

    answer = system.post(key="key-2")

    assert answer.status == 201
    assert "Duplicate-Of" not in answer.headers
    assert len(system.plivo.sent) == 2


@pytest.mark.parametrize("resolution", [None, HAPPENED])
def test_otherwise_the_window_goes_on(resolution: Resolution | None) -> None:
    system, action_id = unknown()
    if resolution is not None:
        resolve(system, action_id, resolution)

    answer = system.post(key="key-2")

    assert answer.headers["Duplicate-Of"] == action_id
    assert answer.body.get("resolution") == resolution
    assert len(system.plivo.sent) == 1


def test_what_went_out_before_it_still_counts() -> None:
    system = fakes.System(fakes.ACCEPTED, UNKNOWN, fakes.ACCEPTED)
    first = system.post(key="key-1").headers["Action-Id"]
    system.clock.now += 6_000
    second = system.post(key="key-2").headers["Action-Id"]
    resolve(system, second)
    waited = builders.webhook_event(headers={**builders.bearer(), "Idempotency-Key": "key-3"})
    waited["requestContext"]["requestTimeEpoch"] -= 4_000

    answer = system.webhook(waited)

    assert answer.headers["Duplicate-Of"] == first
    assert len(system.plivo.sent) == 2


@pytest.mark.parametrize("name", ActionName)
@pytest.mark.parametrize("resolution", Resolution)
def test_the_key_is_never_sent_again_and_its_replays_tell_the_resolution(
    name: ActionName, resolution: Resolution
) -> None:
    system, action_id = unknown(name=name)
    resolve(system, action_id, resolution)

    answer = system.ask(name, key="key-1")

    assert (answer.status, answer.cause) == (504, "plivo-timed-out")
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.body["resolution"] == resolution
    assert f"the action {resolution.replace('_', ' ')}" in answer.body["detail"]
    assert ("new key" in answer.body["detail"]) == (resolution is DID_NOT_HAPPEN)
    assert len(system.plivo.sent) == 1


def test_a_duplicate_tells_the_resolution_of_the_first() -> None:
    system, action_id = unknown()
    assert system.post(key="key-2").headers["Duplicate-Of"] == action_id
    resolve(system, action_id)

    answer = system.post(key="key-2")

    assert answer.headers["Duplicate-Of"] == action_id
    assert answer.body["resolution"] == "did_not_happen"


def test_an_event_is_raised_again_all_the_same() -> None:
    system = fakes.System(UNKNOWN)
    event = builders.eventbridge_event()
    with pytest.raises(ActionFailed) as raised:
        system.event(event)
    resolve(system, raised.value.action_id)

    with pytest.raises(ActionFailed, match="unknown: plivo-timed-out"):
        system.event(event)


def test_the_lookup_shows_it_and_the_outcome_stays_unknown() -> None:
    system, action_id = unknown()
    system.clock.now += 1_000
    resolve(system, action_id, note="by ann")

    found = system.webhook(builders.lookup_event(action_id)).body

    assert (found["outcome"], found["resolution"]) == ("unknown", "did_not_happen")
    assert found["resolved_at"] > found["settled_at"]
    assert "ann" not in str(found)


def test_a_replay_of_a_resolved_outcome_is_not_urgent() -> None:
    system, action_id = unknown()

    with fakes.emitted() as output:
        system.post(key="key-1")
        resolve(system, action_id)
        system.post(key="key-1")

    assert [line["level"] for line in output.logs()] == ["FATAL", "INFO"]
    assert output.logs()[1]["resolution"] == "did_not_happen"


# --- its event ----------------------------------------------------------------------------------


def test_a_resolution_is_published_once_with_who_and_when() -> None:
    system, action_id = unknown(name="hold")
    resolve(system, action_id, HAPPENED, "asked +1 (415) 555-0123")
    bus = Bus()

    publish(bus, system.table.stream)
    publish(bus, system.table.stream)

    assert [entry["DetailType"] for entry in bus.entries] == ["Hold Unknown", "Hold Resolved"] * 2
    _, resolved, _, again = bus.details()
    assert resolved == again
    assert resolved["event_id"] == f"{action_id}:1:resolved"
    assert (resolved["outcome"], resolved["resolution"]) == ("unknown", "happened")
    assert (resolved["resolved_by"], resolved["note"]) == ("ann", "asked +* (***) ***-****")
    assert resolved["resolved_at"] is not None


def test_other_events_name_no_person() -> None:
    system, _ = unknown()
    bus = Bus()

    publish(bus, system.table.stream)

    (detail,) = bus.details()
    assert (detail["resolution"], detail["resolved_at"]) == (None, None)
    assert not {"resolved_by", "note"} & detail.keys()


# --- an attempt that was alive after all --------------------------------------------------------


@pytest.mark.parametrize("resolution", Resolution)
def test_plivos_answer_is_recorded_whatever_was_said_of_it(resolution: Resolution) -> None:
    system = fakes.System()
    system.plivo.before_answer = lambda: resolve(system, reconciled(system), resolution)

    answer = system.post(key="key-1")

    assert answer.status == 201
    found = system.webhook(builders.lookup_event(answer.headers["Action-Id"])).body
    assert found["outcome"] == "accepted"
    assert "resolution" not in system.post(key="key-1").body


def test_an_outcome_that_stays_unknown_does_not_wait_for_a_person_again() -> None:
    system = fakes.System(UNKNOWN)
    system.plivo.before_answer = lambda: resolve(system, reconciled(system))

    answer = system.post(key="key-1")

    assert answer.status == 504
    record: Any = system.table.record(answer.headers["Action-Id"])
    assert "unresolved" not in record
    assert record["resolution"] == {"S": "did_not_happen"}


def test_the_next_attempt_begins_without_a_resolution() -> None:
    """What was resolved proves not to have been sent; it is sent again, and unknown again."""
    system = fakes.System(Verdict(Cause.PLIVO_THROTTLED), UNKNOWN, max_request_age_seconds=300)
    system.plivo.before_answer = lambda: resolve(system, reconciled(system))
    assert system.post(key="key-1").status == 503
    system.plivo.before_answer = lambda: None

    answer = system.post(key="key-1")

    assert answer.status == 504
    record: Any = system.table.record(answer.headers["Action-Id"])
    assert "unresolved" in record
    assert not {"resolution", "resolved_by", "resolved_at", "note"} & set(record)
