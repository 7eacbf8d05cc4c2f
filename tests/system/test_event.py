"""The event entry point of the deployed stack: delivery by the bus, and dead letters."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.waiting import eventually
from tests.support import builders
from tests.system.deployment import FAILING, Deployment
from tests.system.test_webhook import authorization


def plivo_body(detail: dict[str, object]) -> dict[str, object]:
    """The body that Plivo must receive for an event."""
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
    assert json.loads(sent.body) == plivo_body(detail)
    assert authorization(sent) == f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}"
    assert deployment.record(line["action_id"])["state"] == "accepted"


def test_only_requests_of_the_configured_source_are_delivered(deployment: Deployment) -> None:
    foreign, outcome, good = (deployment.detail() for _ in range(3))
    ids = {
        deployment.put_event(foreign, Source="another.source"),
        deployment.put_event(outcome, DetailType="Cold Transfer Accepted"),
    }
    last = deployment.put_event(good)

    assert eventually(lambda: logged(deployment, last), 60)
    assert not any(logged(deployment, event_id) for event_id in ids)
    assert [len(deployment.posts(one)) for one in (foreign, outcome, good)] == [0, 0, 1]


def test_a_second_delivery_while_the_first_is_in_progress_returns(
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


def test_two_events_with_one_idempotency_key_are_sent_once(deployment: Deployment) -> None:
    detail = deployment.detail(idempotency_key=f"order-{uuid.uuid4()}")
    ids = [deployment.put_event(detail) for _ in range(2)]

    assert eventually(lambda: all(logged(deployment, event_id) for event_id in ids), 60)
    assert len(deployment.posts(detail)) == 1


def test_an_invalid_event_is_logged_with_its_fault_and_sends_nothing(
    deployment: Deployment,
) -> None:
    before = len(deployment.plivo.received())
    event_id = deployment.put_event(deployment.detail(to="+1 415"))

    assert eventually(lambda: logged(deployment, event_id), 60)
    (line,) = logged(deployment, event_id)
    assert (line["message"], line["cause"]) == ("request refused", "fields-invalid")
    assert "to: must be" in line["reason"]
    assert "+1 415" not in json.dumps(line)
    assert len(deployment.plivo.received()) == before


def test_a_failed_event_runs_once_and_is_kept_whole_in_the_dead_letter_queue(
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


def test_an_invalid_event_is_kept_whole_in_the_dead_letter_queue(
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
def test_an_outcome_other_than_accepted_is_raised(
    deployment: Deployment, digits: str, cause: str
) -> None:
    detail = deployment.detail(to=FAILING + digits)
    invoked = deployment.invoke("EventFunction", builders.eventbridge_event(detail))

    assert invoked.cause == cause
    assert len(deployment.posts(detail)) == 1
