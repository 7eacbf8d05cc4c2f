"""The HTTPS entry point of the deployed stack, from the client's side and from Plivo's."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.simulator import Received
from tests.support import builders
from tests.system.deployment import FAILING, PROBLEM, Deployment, HttpResponse

#: The seed's body, character by character as its Postman item has it.
SEED_BODY = (
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


def test_plivo_gets_what_the_seeds_own_client_would_have_sent(deployment: Deployment) -> None:
    answer = deployment.post(SEED_BODY)

    assert is_accepted(answer), answer
    (sent,) = deployment.posts(json.loads(SEED_BODY))
    assert (sent.method, sent.status) == ("POST", 201)
    place = f"/v1/phlo/{builders.PHLO_ID}/multi_party_call/{builders.NODE_ID}"
    assert sent.path.removesuffix("/") == place
    assert sent.headers["content-type"] == "application/json"
    assert json.loads(sent.body) == json.loads(SEED_BODY)
    assert authorization(sent) == f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}"


def test_nothing_of_the_clients_credential_or_headers_reaches_plivo(
    deployment: Deployment,
) -> None:
    fields = deployment.fields()
    answer = deployment.post(fields, {**builders.bearer(), "X-Own": "client"}, key=new_key())

    assert is_accepted(answer), answer
    (sent,) = deployment.posts(fields)
    allowed = {"host", "authorization", "content-type", "content-length", "user-agent", "accept"}
    assert set(sent.headers) <= allowed | {"accept-encoding", "connection"}
    assert builders.PHLO_TOKEN not in json.dumps([sent.headers, sent.body])


class Way(NamedTuple):
    """How clients ask: credential, media type, end of the path."""

    name: str
    headers: dict[str, str]
    form: bool = False
    slash: str = ""


WAYS = (
    Way("a PHLO node: form and bearer token", builders.bearer(), form=True),
    Way("a Plivo SDK: basic credential and trailing slash", builders.basic(), slash="/"),
    Way("a CRM: signed", {}),
    Way("a CRM: signed form", {}, form=True, slash="/"),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_each_kind_of_client_gets_its_action_accepted(deployment: Deployment, way: Way) -> None:
    fields = deployment.fields(role="customer")
    body = urlencode(fields) if way.form else json.dumps(fields)
    kind = "application/x-www-form-urlencoded" if way.form else "application/json"
    headers = way.headers or builders.signed(body)

    answer = deployment.post(body, headers, content_type=kind, url=deployment.url() + way.slash)

    assert is_accepted(answer), answer
    (sent,) = deployment.posts(fields)
    assert json.loads(sent.body) == fields


def test_role_and_action_have_their_defaults_and_sip_goes_out_as_it_came(
    deployment: Deployment,
) -> None:
    endpoint = "sip:Desk7b3f.Agent123456789012@Phone.Plivo.com"
    deployment.private.add("Desk7b3f.Agent123456789012")
    fields = deployment.fields(to=endpoint, role=None, action=None)

    assert is_accepted(deployment.post(fields))
    (sent,) = deployment.posts(fields)
    assert json.loads(sent.body) == {**fields, "action": "cold_transfer", "role": "agent"}


def test_a_webhook_id_sent_again_gets_the_same_answer_and_no_second_post(
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


def test_the_same_key_with_another_action_is_refused(deployment: Deployment) -> None:
    key, other = new_key(), deployment.fields()
    first = deployment.post(deployment.fields(), key=key)
    second = deployment.post(other, key=key)

    assert is_accepted(first), first
    assert (second.status, second.cause) == (422, "key-reused")
    assert second.action_id == first.action_id
    assert deployment.posts(other) == []


def test_the_same_action_under_another_key_is_answered_as_its_duplicate(
    deployment: Deployment,
) -> None:
    fields = deployment.fields()
    first, second = (deployment.post(fields, key=new_key()) for _ in range(2))

    assert is_accepted(first), first
    assert (second.status, second.body) == (first.status, first.body)
    assert second.replayed
    assert second.headers["duplicate-of"] == first.action_id
    assert len(deployment.posts(fields)) == 1


def test_the_ledger_tells_a_client_of_its_own_action_and_nobody_else(
    deployment: Deployment,
) -> None:
    asked = deployment.post(deployment.fields())
    own = deployment.look_up(asked.action_id)
    foreign = deployment.look_up(asked.action_id, builders.basic())
    nobody = deployment.look_up(asked.action_id, {})
    missing = deployment.look_up("0" * 64)

    assert (own.status, own.body["state"], own.body["outcome"]) == (200, "accepted", "accepted")
    assert own.body["api_id"] == asked.body["api_id"]
    assert (foreign.status, foreign.cause) == (404, "action-not-found")
    assert {**foreign.body, "instance": ""} == {**missing.body, "instance": ""}
    assert (nobody.status, nobody.cause) == (401, "unauthorized")


class Refusal(NamedTuple):
    """A request that is refused before Plivo: what differs from a good one, and the answer."""

    name: str
    status: int
    cause: str
    fields: dict[str, Any] = {}  # noqa: RUF012 -- read only
    body: str | bytes | None = None
    headers: dict[str, str] | None = None
    content_type: str = "application/json"
    path: str = ""
    named: str = ""


LATE = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
FORM = "application/x-www-form-urlencoded"
REFUSALS = (
    Refusal("no credential", 401, "unauthorized", headers={}),
    Refusal("wrong token", 401, "unauthorized", headers=builders.bearer("x" * 40)),
    Refusal("token under another name", 401, "unauthorized", headers=builders.basic("nobody")),
    Refusal(
        "signature of another body",
        401,
        "unauthorized",
        headers={**builders.signed("{}"), **builders.bearer()},
    ),
    Refusal(
        "client without right to the PHLO",
        403,
        "phlo-not-allowed",
        headers=builders.bearer(builders.LIMITED_TOKEN),
    ),
    Refusal("no JSON", 400, "body-malformed", body='{"to": '),
    Refusal("no object", 400, "body-malformed", body="[]"),
    Refusal("no text", 400, "body-malformed", body="to=%FF", content_type=FORM),
    Refusal("empty", 400, "body-malformed", body=""),
    Refusal("too large", 413, "body-too-large", body=json.dumps({"to": "1" * 11_000})),
    Refusal("too large, from anyone", 413, "body-too-large", body="x" * 11_000, headers={}),
    Refusal("multipart", 415, "media-type-unsupported", content_type="multipart/form-data"),
    Refusal("plain text", 415, "media-type-unsupported", content_type="text/plain"),
    Refusal("bad number", 422, "fields-invalid", {"to": "+1 415"}, named="to"),
    Refusal("bad SIP", 422, "fields-invalid", {"to": "sip:a b@c"}, named="to"),
    Refusal(
        "no trigger_source", 422, "fields-invalid", {"trigger_source": None}, named="trigger_source"
    ),
    Refusal("unknown field", 422, "fields-invalid", {"callback": "x"}, named="callback"),
    Refusal("other action", 422, "fields-invalid", {"action": "hangup"}, named="action"),
    Refusal(
        "other PHLO in the body",
        422,
        "fields-invalid",
        {"phlo_id": builders.NODE_ID},
        named="phlo_id",
    ),
    Refusal(
        "doubled member",
        422,
        "fields-invalid",
        body='{"to": "+14156099991", "to": "+14156099992", "trigger_source": "+14156099993"}',
        named="to",
    ),
    Refusal(
        "space where + was meant",
        422,
        "fields-invalid",
        body="to=+14156099994&trigger_source=%2B14156099995",
        content_type=FORM,
        named="to",
    ),
    Refusal("query string", 422, "fields-invalid", path="?to=x", named="query string"),
    Refusal(
        "malformed key",
        422,
        "fields-invalid",
        headers={**builders.bearer(), "Idempotency-Key": "a b"},
        named="Idempotency-Key",
    ),
    Refusal("asked too long ago", 422, "too-old", {"requested_at": LATE}),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_a_refusal_is_a_problem_and_sends_nothing(deployment: Deployment, refusal: Refusal) -> None:
    fields = deployment.fields(**refusal.fields)
    before = len(deployment.plivo.received())
    answer = deployment.post(
        fields if refusal.body is None else refusal.body,
        refusal.headers,
        content_type=refusal.content_type,
        url=deployment.url() + refusal.path,
    )

    assert (answer.status, answer.cause) == (refusal.status, refusal.cause)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body.keys() >= PROBLEM_MEMBERS
    assert answer.body["status"] == refusal.status
    assert answer.body["error"]
    named = [fault["field"] for fault in answer.body.get("errors", [])]
    assert named == ([refusal.named] if refusal.named else [])
    assert len(deployment.plivo.received()) == before


def test_all_faulty_fields_are_named_in_one_answer_with_the_value_quoted(
    deployment: Deployment,
) -> None:
    fields = builders.fields(to="+1 415", role="boss", trigger_source="desk")
    answer = deployment.post(fields)

    named = {fault["field"]: fault["detail"] for fault in answer.body["errors"]}
    assert set(named) == {"to", "role", "trigger_source"}
    assert all(str(fields[name]) in text for name, text in named.items())


def test_a_second_key_beside_the_signed_one_is_refused(deployment: Deployment) -> None:
    fields = deployment.fields()
    body = json.dumps(fields)
    answer = deployment.post(body, builders.signed(body), key=new_key())

    assert (answer.status, answer.cause) == (422, "fields-invalid")
    assert deployment.posts(fields) == []


def test_an_old_signature_is_refused_as_any_other_wrong_one(deployment: Deployment) -> None:
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
def test_what_the_gateway_does_not_know_is_a_problem_too(
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
    """What the simulator does, by the digits that ask for it, and the answer to the client."""

    digits: str
    status: int
    cause: str

    @property
    def again(self) -> bool:
        """Whether the same key may send again."""
        return self.cause in ("plivo-credentials-refused", "plivo-throttled")


FAILURES = (
    *(Failure(str(code), code, "rejected") for code in (400, 404, 405, 409, 422)),
    Failure("002", 422, "rejected"),
    *(Failure(code, 502, "plivo-credentials-refused") for code in ("401", "403")),
    Failure("429", 503, "plivo-throttled"),
    *(Failure(code, 502, "outcome-unknown") for code in ("500", "502", "503", "302", "307")),
    *(Failure(code, 502, "outcome-unknown") for code in ("001", "003", "005")),
    *(Failure(code, 504, "plivo-timed-out") for code in ("000", "004")),
    *(Failure(code, 502, "unexpected-status") for code in ("408", "418")),
)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.digits)
def test_a_failure_of_plivo_is_answered_as_the_table_says_and_never_sent_twice(
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
    assert second.replayed is not failure.again
    assert len(deployment.posts(fields)) == (2 if failure.again else 1)


def test_plivos_own_text_reaches_the_client(deployment: Deployment) -> None:
    answer = deployment.post(deployment.fields(to=FAILING + "400"))

    assert answer.body["error"] == "Invalid value provided for to."
    assert answer.body["api_id"]


def test_a_number_that_plivo_echoes_is_masked(deployment: Deployment) -> None:
    fields = deployment.fields()
    with deployment.plivo.rejecting(f"Invalid value provided for to: {fields['to']}."):
        answer = deployment.post(fields)

    assert answer.status == 400
    assert answer.body["error"] == "Invalid value provided for to: ***."
    stored = deployment.record(answer.action_id)
    assert stored["error"] == answer.body["error"]


def test_a_throttled_action_says_when_to_come_again(deployment: Deployment) -> None:
    answer = deployment.post(deployment.fields(to=FAILING + "429"))

    assert 1 <= int(answer.headers["retry-after"]) <= 60
