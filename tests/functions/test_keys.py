"""Which clients must send a key, and how a request without one is answered."""

import json

import pytest

from cold_transfer.action import ActionName
from cold_transfer.entrypoints.webhook_request import LIKE_A_KEY
from tests.support import builders, fakes


def system_with(**members: object) -> fakes.System:
    """A system whose client ``phlo`` has a token and these members in the clients secret."""
    system = fakes.System()
    entry = {"tokens": [builders.PHLO_TOKEN], "actions": ["*"], **members}
    crm = {"signing_secrets": [builders.CRM_SIGNING_SECRET], "require_key": True}
    document = {"clients": {"phlo": entry, "crm": crm}}
    system.secrets.values["clients"] = json.dumps(document)
    return system


@pytest.mark.parametrize("name", ActionName)
def test_a_client_that_must_send_a_key_is_refused_without_one(name: ActionName) -> None:
    system = system_with(require_key=True)

    refused = system.ask(name)
    sent = system.ask(name, key="key-1")

    assert (refused.status, refused.cause) == (400, "key-required")
    assert "there is no idempotency-key" in refused.body["detail"].casefold()
    assert "Action-Id" not in refused.headers
    assert sent.status == 201
    assert len(system.plivo.sent) == 1


def test_a_signed_request_has_a_key() -> None:
    body = json.dumps(builders.fields())

    answer = system_with().post(body, headers=builders.signed(body))

    assert answer.status == 201
    assert "Idempotency-Key" not in answer.headers


def test_a_read_needs_no_key() -> None:
    assert system_with(require_key=True).webhook(builders.read_event()).status == 200


@pytest.mark.parametrize("name", [*LIKE_A_KEY, "x-idempotency-key", "IDEMPOTENCY_KEY"])
def test_a_header_mistaken_for_the_key_gets_a_hint(name: str) -> None:
    value = "key-that-is-not-read"

    answer = system_with(require_key=True).post(headers={**builders.bearer(), name: value})

    assert answer.cause == "key-required"
    assert f"{name.casefold()} is not read" in answer.body["detail"].casefold()
    assert value not in answer.text


@pytest.mark.parametrize("name", ["X-Amzn-Trace-Id", "X-Forwarded-For", "Accept"])
def test_other_headers_get_no_hint(name: str) -> None:
    answer = system_with(require_key=True).post(headers={**builders.bearer(), name: "x"})

    assert "is not read" not in answer.body["detail"]


def test_a_malformed_key_does_not_count_as_missing() -> None:
    assert system_with(require_key=True).post(key="a b").cause == "fields-invalid"


@pytest.mark.parametrize("name", ActionName)
def test_a_request_without_a_key_is_sent_marked_and_counted(name: ActionName) -> None:
    system = system_with()

    with fakes.emitted() as output:
        answer = system.ask(name)

    assert answer.status == 201
    assert answer.headers["Idempotency-Key"] == "none"
    assert answer.headers["Action-Id"]
    assert output.counted()["RequestWithoutKey"] == 1


def test_a_refused_duplicate_without_a_key_is_marked_too() -> None:
    system = system_with()
    rivals: list[fakes.HttpResponse] = []
    system.plivo.before_answer = lambda: rivals.append(system.post())

    system.post(key="key-1")

    assert [(rival.cause, rival.headers["Idempotency-Key"]) for rival in rivals] == [
        ("duplicate-in-progress", "none")
    ]


def test_a_request_with_a_key_is_neither_marked_nor_counted() -> None:
    with fakes.emitted() as output:
        answer = system_with().post(key="key-1")

    assert "Idempotency-Key" not in answer.headers
    assert "RequestWithoutKey" not in output.counted()
