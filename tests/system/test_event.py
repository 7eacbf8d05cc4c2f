"""The event entry point of the deployed stack: what the bus delivers, and where failures end up."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.waiting import eventually
from tests.support import builders
from tests.system.deployment import FAILING, Deployment
from tests.system.test_webhook import authorization


def sent_of(detail: dict[str, object]) -> dict[str, object]:
    """What Plivo has to get for it."""
    return {name: detail[name] for name in ("action", "to", "role", "trigger_source")}


def logged(deployment: Deployment, event_id: str) -> list[dict[str, Any]]:
    return deployment.lines("EventFunction", correlation_id=event_id)


def test_an_event_on_the_bus_becomes_an_action(deployment: Deployment) -> None:
    detail = deployment.detail(role="customer")
    event_id = deployment.put_event(detail)

    eventually(lambda: logged(deployment, event_id), 60)
    (line,) = logged(deployment, event_id)
    assert (line["message"], line["client"]) == ("action accepted", builders.EVENT_SOURCE)
    (sent,) = deployment.posts(detail)
    assert sent.path == f"/v1/phlo/{builders.PHLO_ID}/multi_party_call/{builders.NODE_ID}"
    assert json.loads(sent.body) == sent_of(detail)
    assert authorization(sent) == f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}"
    assert deployment.record(line["action_id"])["state"] == "accepted"


def test_only_requests_of_the_configured_source_are_delivered(deployment: Deployment) -> None:
    foreign, outcome, good = (deployment.detail() for _ in range(3))
    ids = {
        deployment.put_event(foreign, Source="somebody.else"),
        deployment.put_event(outcome, DetailType="Cold Transfer Accepted"),
    }
    last = deployment.put_event(good)

    assert eventually(lambda: logged(deployment, last), 60)
    assert not any(logged(deployment, event_id) for event_id in ids)
    assert [len(deployment.posts(one)) for one in (foreign, outcome, good)] == [0, 0, 1]


def test_an_event_that_is_delivered_twice_is_sent_once(deployment: Deployment) -> None:
    detail = deployment.detail()
    event = builders.eventbridge_event(detail)
    first, second = (deployment.invoke("EventFunction", event) for _ in range(2))

    assert first.cause == second.cause == "accepted"
    assert [first.result["replayed"], second.result["replayed"]] == [False, True]
    assert second.result["api_id"] == first.result["api_id"]
    assert len(deployment.posts(detail)) == 1


def test_the_second_delivery_of_an_event_in_flight_returns_quietly(
    deployment: Deployment,
) -> None:
    detail = deployment.detail()
    event = builders.eventbridge_event(detail)
    with ThreadPoolExecutor(1) as pool:
        with deployment.plivo.holding() as arrived:
            first = pool.submit(deployment.invoke, "EventFunction", event)
            assert arrived.wait(60)
            second = deployment.invoke("EventFunction", event)
        assert first.result().cause == "accepted"

    assert second.error is None
    assert second.result["outcome"] is None
    assert len(deployment.posts(detail)) == 1


def test_a_producers_own_key_covers_its_repeated_put_events(deployment: Deployment) -> None:
    detail = deployment.detail(idempotency_key=f"order-{uuid.uuid4()}")
    ids = [deployment.put_event(detail) for _ in range(2)]

    assert eventually(lambda: all(logged(deployment, event_id) for event_id in ids), 60)
    assert len(deployment.posts(detail)) == 1


BAD: dict[str, tuple[dict[str, object], str]] = {
    "bad number": ({"to": "+1 415"}, "to: must be"),
    "unknown field": ({"callback": "x"}, "callback"),
    "no PHLO": ({"phlo_id": None}, "phlo_id"),
}


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_event_fails_visibly_and_sends_nothing(deployment: Deployment, bad: str) -> None:
    changes, said = BAD[bad]
    before = len(deployment.plivo.received())
    detail = deployment.detail(**changes)
    event_id = deployment.put_event(detail)

    assert eventually(lambda: logged(deployment, event_id), 60)
    (line,) = logged(deployment, event_id)
    assert (line["message"], line["cause"]) == ("request refused", "fields-invalid")
    assert said in line["reason"]
    assert "+1 415" not in json.dumps(line)
    assert len(deployment.plivo.received()) == before


def test_a_failed_event_is_invoked_once_and_waits_whole_in_the_dead_letter_queue(
    deployment: Deployment,
) -> None:
    event = builders.eventbridge_event(deployment.detail(to=FAILING + "500"))
    deployment.invoke_async("EventFunction", event)

    letter = eventually(lambda: deployment.dead_letter(event["id"]), 60)
    assert letter
    assert letter["requestPayload"] == event
    assert letter["responsePayload"]["errorMessage"].startswith("unknown: outcome-unknown")
    assert len(logged(deployment, event["id"])) == 1
    assert len(deployment.posts(event["detail"])) == 1


def test_an_event_that_is_no_action_waits_whole_in_the_dead_letter_queue_too(
    deployment: Deployment,
) -> None:
    event = builders.eventbridge_event(deployment.detail(to="nobody"))
    deployment.invoke_async("EventFunction", event)

    letter = eventually(lambda: deployment.dead_letter(event["id"]), 60)
    assert letter
    assert letter["requestPayload"] == event
    assert letter["responsePayload"]["errorMessage"].startswith("to: ")


@pytest.mark.parametrize(
    ("digits", "cause"),
    [
        ("002", "rejected"),
        ("401", "plivo-credentials-refused"),
        ("429", "plivo-throttled"),
        ("001", "outcome-unknown"),
    ],
)
def test_what_plivo_does_not_accept_is_raised(
    deployment: Deployment, digits: str, cause: str
) -> None:
    detail = deployment.detail(to=FAILING + digits)
    invoked = deployment.invoke("EventFunction", builders.eventbridge_event(detail))

    assert invoked.cause == cause
    assert len(deployment.posts(detail)) == 1


def test_an_event_that_comes_too_late_is_not_sent(deployment: Deployment) -> None:
    detail = deployment.detail()
    old = datetime.now(UTC) - timedelta(minutes=2)
    invoked = deployment.invoke("EventFunction", builders.eventbridge_event(detail, at=old))

    assert invoked.cause == "too-old"
    assert deployment.posts(detail) == []


def test_an_event_that_was_settled_in_time_is_answered_however_late_it_comes_again(
    deployment: Deployment,
) -> None:
    detail = deployment.detail()
    event = builders.eventbridge_event(detail)
    late = builders.eventbridge_event(
        detail, event_id=event["id"], at=datetime.now(UTC) - timedelta(hours=1)
    )

    assert deployment.invoke("EventFunction", event).cause == "accepted"
    again = deployment.invoke("EventFunction", late)
    assert (again.cause, again.result["replayed"]) == ("accepted", True)
    assert len(deployment.posts(detail)) == 1
