"""Resolutions: what a person found out about an unknown outcome, and what it changes."""

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
    """Resolve the outcome as the operator's command does."""
    Records(system.table, "ledger").resolve(action_id, resolution, "ann", system.clock.now, note)


def unknown_system(name: str = "cold_transfer") -> tuple[fakes.System, str]:
    """A system with an unknown outcome with the key ``key-1``, and its Action-Id."""
    system = fakes.System(UNKNOWN, fakes.ACCEPTED)
    answer = system.ask(name, key="key-1")
    assert answer.status == 504
    return system, answer.headers["Action-Id"]


def settle_as_unknown(system: fakes.System) -> str:
    """Let the lease of the only request expire, so that it becomes unknown; its Action-Id."""
    system.clock.now += 60_000
    (action_id,) = (pk[2:] for pk in system.table.items if pk.startswith("K#"))
    assert system.webhook(builders.lookup_event(action_id)).body["outcome"] == "unknown"
    return action_id


def test_after_did_not_happen_a_new_key_is_sent() -> None:
    system, action_id = unknown_system()
    resolve(system, action_id)

    answer = system.post(key="key-2")

    assert answer.status == 201
    assert "Duplicate-Of" not in answer.headers
    assert len(system.plivo.sent) == 2


@pytest.mark.parametrize("resolution", [None, HAPPENED])
def test_without_that_resolution_a_new_key_is_still_a_duplicate(
    resolution: Resolution | None,
) -> None:
    system, action_id = unknown_system()
    if resolution is not None:
        resolve(system, action_id, resolution)

    answer = system.post(key="key-2")

    assert answer.headers["Duplicate-Of"] == action_id
    assert answer.body.get("resolution") == resolution
    assert len(system.plivo.sent) == 1


def test_an_action_sent_before_the_resolved_one_still_counts() -> None:
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
def test_the_key_is_never_sent_again_and_its_replays_have_the_resolution(
    name: ActionName, resolution: Resolution
) -> None:
    system, action_id = unknown_system(name=name)
    resolve(system, action_id, resolution)

    answer = system.ask(name, key="key-1")

    assert (answer.status, answer.cause) == (504, "plivo-timed-out")
    assert answer.headers["Idempotency-Replayed"] == "true"
    assert answer.body["resolution"] == resolution
    assert f"the action {resolution.replace('_', ' ')}" in answer.body["detail"]
    assert ("new key" in answer.body["detail"]) == (resolution is DID_NOT_HAPPEN)
    assert len(system.plivo.sent) == 1


def test_a_duplicate_has_the_first_actions_resolution() -> None:
    system, action_id = unknown_system()
    assert system.post(key="key-2").headers["Duplicate-Of"] == action_id
    resolve(system, action_id)

    answer = system.post(key="key-2")

    assert answer.headers["Duplicate-Of"] == action_id
    assert answer.body["resolution"] == "did_not_happen"


def test_a_resolved_event_is_still_raised() -> None:
    system = fakes.System(UNKNOWN)
    event = builders.eventbridge_event()
    with pytest.raises(ActionFailed) as raised:
        system.event(event)
    resolve(system, raised.value.action_id)

    with pytest.raises(ActionFailed, match="unknown: plivo-timed-out"):
        system.event(event)


def test_a_lookup_has_the_resolution_and_the_outcome_stays_unknown() -> None:
    system, action_id = unknown_system()
    system.clock.now += 1_000
    resolve(system, action_id, note="by ann")

    found = system.webhook(builders.lookup_event(action_id)).body

    assert (found["outcome"], found["resolution"]) == ("unknown", "did_not_happen")
    assert found["resolved_at"] > found["settled_at"]
    assert "ann" not in str(found)


def test_a_replay_of_a_resolved_outcome_is_not_urgent() -> None:
    system, action_id = unknown_system()

    with fakes.emitted() as output:
        system.post(key="key-1")
        resolve(system, action_id)
        system.post(key="key-1")

    assert [line["level"] for line in output.logs()] == ["FATAL", "INFO"]
    assert output.logs()[1]["resolution"] == "did_not_happen"


# --- the event of a resolution ------------------------------------------------------------------


def test_a_resolution_is_published_with_person_time_and_masked_note() -> None:
    system, action_id = unknown_system(name="hold")
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
    system, _ = unknown_system()
    bus = Bus()

    publish(bus, system.table.stream)

    (detail,) = bus.details()
    assert (detail["resolution"], detail["resolved_at"]) == (None, None)
    assert not {"resolved_by", "note"} & detail.keys()


# --- an attempt that ends after its resolution --------------------------------------------------


@pytest.mark.parametrize("resolution", Resolution)
def test_plivos_answer_replaces_any_resolution(resolution: Resolution) -> None:
    system = fakes.System()
    system.plivo.before_answer = lambda: resolve(system, settle_as_unknown(system), resolution)

    answer = system.post(key="key-1")

    assert answer.status == 201
    found = system.webhook(builders.lookup_event(answer.headers["Action-Id"])).body
    assert found["outcome"] == "accepted"
    assert "resolution" not in system.post(key="key-1").body


def test_an_outcome_that_stays_unknown_keeps_its_resolution() -> None:
    system = fakes.System(UNKNOWN)
    system.plivo.before_answer = lambda: resolve(system, settle_as_unknown(system))

    answer = system.post(key="key-1")

    assert answer.status == 504
    record: Any = system.table.record(answer.headers["Action-Id"])
    assert "unresolved" not in record
    assert record["resolution"] == {"S": "did_not_happen"}


def test_the_next_attempt_begins_without_a_resolution() -> None:
    """A resolved attempt proves to be not_sent; the retry becomes unknown."""
    system = fakes.System(Verdict(Cause.PLIVO_THROTTLED), UNKNOWN, max_request_age_seconds=300)
    system.plivo.before_answer = lambda: resolve(system, settle_as_unknown(system))
    assert system.post(key="key-1").status == 503
    system.plivo.before_answer = lambda: None

    answer = system.post(key="key-1")

    assert answer.status == 504
    record: Any = system.table.record(answer.headers["Action-Id"])
    assert "unresolved" in record
    assert not {"resolution", "resolved_by", "resolved_at", "note"} & set(record)
