"""The HTTPS entry point of the deployed stack, from the client's side and from Plivo's."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlencode

import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.simulator import Received
from tests.support import builders
from tests.system.deployment import FAILING, PROBLEM, Deployment, HttpResponse

#: The body of Plivo's own example, unchanged.
EXAMPLE_BODY = (
    '{\n"action": "cold_transfer",\n"to": "+14152225555",\n'
    '"role": "agent",\n"trigger_source": "+14152223333"\n}'
)
PROBLEM_MEMBERS = {"type", "title", "status", "detail", "instance", "error", "api_id"}


def new_key() -> str:
    return f"key-{uuid.uuid4()}"


def authorization(request: Received) -> str:
    scheme, _, encoded = request.headers["authorization"].partition(" ")
    assert scheme == "Basic"
    return base64.b64decode(encoded).decode()


def is_accepted(answer: HttpResponse) -> bool:
    return (
        answer.status == 201
        and set(answer.body) == {"api_id", "error"}
        and bool(answer.body["api_id"] and not answer.body["error"] and answer.action_id)
    )


def test_plivo_gets_the_request_of_its_own_example(deployment: Deployment) -> None:
    answer = deployment.post(EXAMPLE_BODY)

    assert is_accepted(answer), answer
    (sent,) = deployment.posts(json.loads(EXAMPLE_BODY))
    assert (sent.method, sent.status) == ("POST", 201)
    place = f"/v1/phlo/{builders.PHLO_ID}/multi_party_call/{builders.NODE_ID}"
    assert sent.path.removesuffix("/") == place
    assert sent.headers["content-type"] == "application/json"
    assert json.loads(sent.body) == json.loads(EXAMPLE_BODY)
    assert authorization(sent) == f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}"


def test_no_header_of_the_client_reaches_plivo(
    deployment: Deployment,
) -> None:
    fields = deployment.fields()
    answer = deployment.post(fields, {**builders.bearer(), "X-Own": "client"}, key=new_key())

    assert is_accepted(answer), answer
    (sent,) = deployment.posts(fields)
    allowed = {"host", "authorization", "content-type", "content-length", "user-agent", "accept"}
    assert set(sent.headers) <= allowed | {"accept-encoding", "connection"}
    assert builders.PHLO_TOKEN not in json.dumps([sent.headers, sent.body])


class Sender(NamedTuple):
    """A kind of client: its credential, media type and end of the path."""

    name: str
    headers: dict[str, str]
    form: bool = False
    slash: str = ""


SENDERS = (
    Sender("a PHLO node: form and bearer token", builders.bearer(), form=True),
    Sender("a Plivo SDK: basic credential and trailing slash", builders.basic(), slash="/"),
    Sender("a CRM: signed", {}),
    Sender("a CRM: signed form", {}, form=True, slash="/"),
)


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.name)
def test_the_action_of_each_kind_of_client_is_accepted(
    deployment: Deployment, sender: Sender
) -> None:
    fields = deployment.fields(role="customer")
    body = urlencode(fields) if sender.form else json.dumps(fields)
    kind = "application/x-www-form-urlencoded" if sender.form else "application/json"
    headers = sender.headers or builders.signed(body)

    answer = deployment.post(body, headers, content_type=kind, url=deployment.url() + sender.slash)

    assert is_accepted(answer), answer
    (sent,) = deployment.posts(fields)
    assert json.loads(sent.body) == fields


def test_role_and_action_have_defaults_and_a_sip_endpoint_is_not_changed(
    deployment: Deployment,
) -> None:
    endpoint = "sip:Desk7b3f.Agent123456789012@Phone.Plivo.com"
    deployment.private.add("Desk7b3f.Agent123456789012")
    fields = deployment.fields(to=endpoint, role=None, action=None)

    assert is_accepted(deployment.post(fields))
    (sent,) = deployment.posts(fields)
    assert json.loads(sent.body) == {**fields, "action": "cold_transfer", "role": "agent"}


def test_a_request_with_a_known_webhook_id_is_replayed(
    deployment: Deployment,
) -> None:
    fields = deployment.fields()
    body, webhook_id = json.dumps(fields), f"msg_{uuid.uuid4().hex}"
    first = deployment.post(body, builders.signed(body, webhook_id=webhook_id))
    second = deployment.post(body, builders.signed(body, webhook_id=webhook_id))

    assert is_accepted(first), first
    assert not first.replayed
    assert second.replayed
    assert (second.status, second.body) == (first.status, first.body)
    assert second.action_id == first.action_id
    assert len(deployment.posts(fields)) == 1


class Refusal(NamedTuple):
    """A request that is refused: how it differs from a valid one, and the answer.

    These are the ones that API Gateway might change on their way. tests/functions has the others.
    """

    name: str
    status: int
    cause: str
    body: str | bytes | None = None
    headers: dict[str, str] | None = None
    content_type: str = "application/json"
    query: str = ""
    fault: str = ""


FORM = "application/x-www-form-urlencoded"
REFUSALS = (
    Refusal("no credential", 401, "unauthorized", headers={}),
    Refusal(
        "signature of another body",
        401,
        "unauthorized",
        headers={**builders.signed("{}"), **builders.bearer()},
    ),
    Refusal("not UTF-8", 400, "body-malformed", body="to=%FF", content_type=FORM),
    Refusal("empty", 400, "body-malformed", body=""),
    Refusal("too large", 413, "body-too-large", body=json.dumps({"to": "1" * 11_000})),
    Refusal("multipart", 415, "media-type-unsupported", content_type="multipart/form-data"),
    Refusal(
        "space instead of +",
        422,
        "fields-invalid",
        body="to=+14156099994&trigger_source=%2B14156099995",
        content_type=FORM,
        fault="to",
    ),
    Refusal("query string", 422, "fields-invalid", query="?to=x", fault="query string"),
    Refusal(
        "malformed key",
        422,
        "fields-invalid",
        headers={**builders.bearer(), "Idempotency-Key": "a b"},
        fault="Idempotency-Key",
    ),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_refusal_is_a_problem_and_sends_nothing(deployment: Deployment, refusal: Refusal) -> None:
    before = len(deployment.plivo.received())
    answer = deployment.post(
        deployment.fields() if refusal.body is None else refusal.body,
        refusal.headers,
        content_type=refusal.content_type,
        url=deployment.url() + refusal.query,
    )

    assert (answer.status, answer.cause) == (refusal.status, refusal.cause)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body.keys() >= PROBLEM_MEMBERS
    assert answer.body["status"] == refusal.status
    assert answer.body["error"]
    faults = [fault["field"] for fault in answer.body.get("errors", [])]
    assert faults == ([refusal.fault] if refusal.fault else [])
    assert len(deployment.plivo.received()) == before


def test_an_old_signature_is_refused_like_a_wrong_one(deployment: Deployment) -> None:
    fields = deployment.fields()
    body = json.dumps(fields)
    old = builders.signed(body, at=datetime.now(UTC) - timedelta(minutes=6))
    late = deployment.post(body, old)
    wrong = deployment.post(body, builders.signed(body + " "))

    assert late.status == wrong.status == 401
    assert {**late.body, "instance": ""} == {**wrong.body, "instance": ""}
    assert deployment.posts(fields) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/warm_transfer"),
        ("DELETE", ""),
        ("GET", "/members/+14155550123"),
    ],
)
def test_the_gateways_answer_to_an_unknown_resource_is_a_problem(
    deployment: Deployment, method: str, path: str
) -> None:
    before = len(deployment.plivo.received())
    answer = deployment.request(method, deployment.url() + path, "{}", builders.bearer())

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body.keys() >= PROBLEM_MEMBERS
    assert answer.body["type"] == f"{PROBLEM}gateway-no-such-resource"
    assert len(deployment.plivo.received()) == before


class Failure(NamedTuple):
    """The digits that make the simulator fail in one way, and the answer to the client."""

    digits: str
    status: int
    cause: str

    @property
    def sent_again(self) -> bool:
        """Whether a retry with the same key is sent."""
        return self.cause in ("plivo-credentials-refused", "plivo-throttled")


FAILURES = (
    Failure("400", 400, "rejected"),
    Failure("002", 422, "rejected"),
    Failure("401", 502, "plivo-credentials-refused"),
    Failure("429", 503, "plivo-throttled"),
    Failure("500", 502, "outcome-unknown"),
    Failure("001", 502, "outcome-unknown"),
    Failure("000", 504, "plivo-timed-out"),
    Failure("418", 502, "unexpected-status"),
)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.digits)
def test_a_failure_of_plivo_has_the_documented_answer_and_retry(
    deployment: Deployment, failure: Failure
) -> None:
    fields, key = deployment.fields(to=FAILING + failure.digits), new_key()
    first = deployment.post(fields, key=key)
    sent = len(deployment.posts(fields))
    second = deployment.post(fields, key=key)

    assert (first.status, first.cause) == (failure.status, failure.cause)
    assert first.headers["content-type"] == "application/problem+json"
    assert first.body.keys() >= PROBLEM_MEMBERS
    assert first.action_id
    assert sent == 1
    assert (second.status, second.cause) == (failure.status, failure.cause)
    assert second.replayed is not failure.sent_again
    assert len(deployment.posts(fields)) == (2 if failure.sent_again else 1)


def test_plivos_error_text_is_passed_on_with_its_numbers_masked(deployment: Deployment) -> None:
    fields = deployment.fields()
    with deployment.plivo.rejecting(f"Invalid value provided for to: {fields['to']}."):
        answer = deployment.post(fields)

    assert answer.status == 400
    assert answer.body["api_id"]
    assert answer.body["error"] == "Invalid value provided for to: ***."
    stored = deployment.record(answer.action_id)
    assert stored["error"] == answer.body["error"]
