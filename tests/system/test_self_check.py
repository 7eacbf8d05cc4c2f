"""Each deployed function can be invoked to check itself, with its own role."""

import json

import pytest

from tests.support import builders
from tests.system.deployment import FUNCTIONS, Deployment
from tests.system.test_least_privilege import grant_of

CHECK = {"self_check": True}

#: The name under which the self-check reports each right.
NAMED = {
    ("Webhook", "secretsmanager:GetSecretValue PlivoSecret"): "the Plivo secret",
    ("Webhook", "secretsmanager:GetSecretValue ClientsSecret"): "the clients secret",
    ("Webhook", "dynamodb:GetItem ledger"): "the ledger",
    ("Event", "secretsmanager:GetSecretValue PlivoSecret"): "the Plivo secret",
    ("Event", "dynamodb:GetItem ledger"): "the ledger",
    ("Reconcile", "dynamodb:GetItem ledger"): "the ledger",
    ("Reconcile", "dynamodb:Query open-index"): "the index of open actions",
    ("Reconcile", "dynamodb:Query unresolved-index"): "the index of unresolved outcomes",
    ("Outcomes", "events:PutEvents bus"): "the event bus",
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_deployed_function_passes_and_sends_nothing_to_plivo(
    deployment: Deployment, function: str
) -> None:
    before = len(deployment.plivo.received())

    report = deployment.invoke(function, CHECK).result

    needed = [check for (name, _), check in NAMED.items() if function == f"{name}Function"]
    assert (report["ok"], report["failed"]) == (True, {})
    assert set(needed) <= set(report["checked"])
    assert len(deployment.plivo.received()) == before


@pytest.mark.parametrize(("function", "right"), NAMED)
def test_a_missing_right_is_named(deployment: Deployment, function: str, right: str) -> None:
    role = f"{function}Role"
    with deployment.without(role, grant_of(deployment, role, right)):
        report = deployment.invoke(f"{function}Function", CHECK).result

    assert report["ok"] is False
    assert list(report["failed"]) == [NAMED[function, right]]
    assert "AccessDenied" in report["failed"][NAMED[function, right]]


def test_an_invalid_secret_is_named_although_a_valid_one_is_cached(
    deployment: Deployment,
) -> None:
    assert deployment.post(deployment.fields()).status == 201
    with deployment.secret("ClientsSecret", json.dumps({"clients": {"crm": {"keys": ["x"]}}})):
        report = deployment.invoke("WebhookFunction", CHECK).result

    assert list(report["failed"]) == ["the clients secret"]


def test_neither_a_webhook_nor_an_event_can_request_it(deployment: Deployment) -> None:
    answer = deployment.post(CHECK)
    put = deployment.put_event(CHECK)
    invoked = deployment.invoke("EventFunction", builders.eventbridge_event(CHECK))

    assert (answer.status, answer.cause) == (422, "fields-invalid")
    assert put
    assert invoked.error is not None
    assert "self_check: is not a field" in invoked.error
