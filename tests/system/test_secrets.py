"""Secrets that are rotated, invalid or revoked while the stack is running."""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.waiting import eventually
from tests.support import builders
from tests.system.deployment import FAILING, Deployment
from tests.system.test_webhook import authorization

ROTATED = "rotated-plivo-token-not-a-secret"


def requester(deployment: Deployment, entry_point: str) -> Callable[[dict[str, object]], str]:
    """A function that requests an action, and returns ``accepted``, a cause or an error's text."""
    if entry_point == "webhook":
        return lambda fields: deployment.post(fields).cause
    return lambda fields: (
        deployment.invoke(
            "EventFunction", builders.eventbridge_event(builders.detail(**fields))
        ).cause
    )


@pytest.mark.parametrize("entry_point", ["webhook", "event"])
def test_a_rotated_token_is_read_again_and_the_action_is_accepted(
    deployment: Deployment, entry_point: str
) -> None:
    fields = deployment.fields()
    secret = json.dumps({"auth_id": PLIVO_AUTH_ID, "auth_token": ROTATED})
    with ThreadPoolExecutor(1) as pool, deployment.plivo.holding() as arrived:
        action = pool.submit(requester(deployment, entry_point), fields)
        assert arrived.wait(60)  # with the old token
        with (
            deployment.secret("PlivoSecret", secret),
            deployment.plivo.token(PLIVO_AUTH_ID, ROTATED),
        ):
            deployment.plivo.release()
            assert action.result() == "accepted"

    refused, accepted = deployment.posts(fields)
    assert (refused.status, accepted.status) == (401, 201)
    assert authorization(refused) == f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}"
    assert authorization(accepted) == f"{PLIVO_AUTH_ID}:{ROTATED}"


@pytest.mark.parametrize("entry_point", ["webhook", "event"])
def test_credentials_that_plivo_refuses_are_counted_and_not_tried_twice(
    deployment: Deployment, entry_point: str
) -> None:
    function = f"{entry_point.title()}Function"
    before = deployment.count(function, "PlivoCredentialsRefused")
    fields = deployment.fields(to=FAILING + "401")
    deployment.replace_workers(function)  # which may have cached the token of another test

    assert requester(deployment, entry_point)(fields) == "plivo-credentials-refused"
    assert len(deployment.posts(fields)) == 1  # the same token again would be refused again
    assert eventually(lambda: deployment.count(function, "PlivoCredentialsRefused") > before)


@pytest.mark.parametrize("entry_point", ["webhook", "event"])
def test_with_an_invalid_plivo_secret_nothing_is_sent_and_the_log_names_the_field(
    deployment: Deployment, entry_point: str
) -> None:
    function, request = f"{entry_point.title()}Function", requester(deployment, entry_point)
    before = deployment.count(function, "SecretInvalid")
    marker = f"leak-{uuid.uuid4()}"
    deployment.private.add(marker)
    fields = deployment.fields()
    with deployment.secret("PlivoSecret", json.dumps({"auth_id": f"{marker} x"})):
        deployment.replace_workers(function)
        assert request(fields) == "dependency-unavailable"

    assert deployment.posts(fields) == []
    assert eventually(lambda: deployment.count(function, "SecretInvalid") > before)
    (line,) = deployment.lines(function, message="dependency unavailable")[-1:]
    assert "auth_id" in line["reason"]
    deployment.replace_workers(function)
    assert request(deployment.fields()) == "accepted"


def test_with_an_invalid_clients_secret_every_request_is_refused(deployment: Deployment) -> None:
    before = deployment.count("WebhookFunction", "SecretInvalid")
    fields = deployment.fields()
    shared_token = {"clients": {name: {"tokens": [builders.PHLO_TOKEN]} for name in ("one", "two")}}
    with deployment.secret("ClientsSecret", json.dumps(shared_token)):
        deployment.replace_workers("WebhookFunction")
        answer = deployment.post(fields)
        assert (answer.status, answer.cause) == (503, "dependency-unavailable")
        assert int(answer.headers["retry-after"]) >= 1

    assert deployment.posts(fields) == []
    assert eventually(lambda: deployment.count("WebhookFunction", "SecretInvalid") > before)
    deployment.replace_workers("WebhookFunction")
    assert deployment.post(fields).status == 201


def test_a_revoked_client_is_refused_once_the_cache_has_expired(deployment: Deployment) -> None:
    assert deployment.post(deployment.fields()).status == 201
    others = {"clients": {"other": {"tokens": ["another-token-not-a-secret-0000001"]}}}
    with deployment.secret("ClientsSecret", json.dumps(others)):
        # SecretsCacheSeconds is 1 here
        assert eventually(lambda: deployment.post(deployment.fields()).status == 401, 20)
    assert eventually(lambda: deployment.post(deployment.fields()).status == 201, 20)
