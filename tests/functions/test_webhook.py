"""The webhook function: the answer for each cause, the order of the checks, the headers."""

import gzip
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ReadTimeoutError

from cold_transfer.action import Verdict
from cold_transfer.causes import TABLE, Cause
from tests.support import builders, fakes

#: A verdict for each way in which a POST to Plivo may end.
VERDICTS = {
    "accepted 200": Verdict(Cause.ACCEPTED, api_id=fakes.API_ID, plivo_status=200),
    "accepted 201": Verdict(Cause.ACCEPTED, api_id=fakes.API_ID, plivo_status=201),
    "accepted 202": Verdict(Cause.ACCEPTED, api_id=fakes.API_ID, plivo_status=202),
    "rejected 400": Verdict(
        Cause.REJECTED, fakes.API_ID, "to is a mandatory param.", plivo_status=400
    ),
    "rejected 404": Verdict(Cause.REJECTED, plivo_status=404),
    "rejected 405": Verdict(Cause.REJECTED, plivo_status=405),
    "rejected 409": Verdict(Cause.REJECTED, plivo_status=409),
    "rejected 422": Verdict(Cause.REJECTED, plivo_status=422),
    "2xx with an error": Verdict(Cause.REJECTED, fakes.API_ID, "no such node", plivo_status=200),
    "credentials 401": Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=401),
    "credentials 403": Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=403),
    "throttled": Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=7),
    "read timeout": Verdict(Cause.PLIVO_TIMED_OUT),
    "reset": Verdict(Cause.OUTCOME_UNKNOWN),
    "plivo 500": Verdict(Cause.OUTCOME_UNKNOWN, plivo_status=500),
    "plivo 408": Verdict(Cause.UNEXPECTED_STATUS, plivo_status=408),
}

#: The causes after which a retry with the same key is sent.
RETRYABLE = {Cause.PLIVO_CREDENTIALS_REFUSED, Cause.PLIVO_THROTTLED}


@pytest.fixture
def system() -> fakes.System:
    return fakes.System()


def assert_problem(answer: fakes.HttpResponse, status: int, cause: Cause) -> None:
    """Assert that the answer is a problem document with this cause."""
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.cause == cause
    assert answer.body["status"] == status
    assert answer.body["title"] == TABLE[cause].title
    assert {"type", "title", "status", "detail", "instance", "error", "api_id"} <= set(answer.body)
    assert answer.body["detail"]
    assert answer.body["error"]


# --- how an action ends -------------------------------------------------------------------------


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_is_answered_and_then_replayed_or_retried(name: str) -> None:
    verdict = VERDICTS[name]
    system = fakes.System(verdict)

    first = system.post(key="key-1")
    again = system.post(key="key-1")

    assert first.status == verdict.status
    assert first.headers.get("Retry-After") == (str(verdict.retry_after) if "thr" in name else None)
    assert "Idempotency-Replayed" not in first.headers
    assert "Duplicate-Of" not in first.headers
    if verdict.cause is Cause.ACCEPTED:
        assert first.body == {"api_id": fakes.API_ID, "error": ""}
        assert first.headers["Content-Type"] == "application/json"
    else:
        assert_problem(first, verdict.status, verdict.cause)
        assert first.body["instance"] == f"/v1/actions/{first.headers['Action-Id']}"
        assert first.body["api_id"] == verdict.api_id
        assert first.body["error"] == (verdict.error or first.body["detail"])
        assert verdict.error in first.body["detail"]
    assert again.headers["Action-Id"] == first.headers["Action-Id"]
    assert (again.status, again.body) == (first.status, first.body)
    if verdict.cause in RETRYABLE:
        assert "Idempotency-Replayed" not in again.headers
        assert len(system.plivo.sent) == 2
    else:
        assert again.headers["Idempotency-Replayed"] == "true"
        assert len(system.plivo.sent) == 1


def test_without_a_connection_the_answer_is_503_with_retry_after(system: fakes.System) -> None:
    system.plivo.unreachable = True

    answer = system.post()

    assert_problem(answer, 503, Cause.PLIVO_UNREACHABLE)
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["Action-Id"]
    assert system.plivo.sent == []


def test_an_attempt_abandoned_while_sending_is_a_504_and_never_sent_again() -> None:
    system = fakes.System(SystemExit("killed"), fakes.ACCEPTED)
    with pytest.raises(SystemExit):
        system.post(key="key-1")
    system.clock.now += 60_000

    for _ in range(2):
        answer = system.post(key="key-1")
        assert_problem(answer, 504, Cause.ABANDONED)
        assert answer.headers["Idempotency-Replayed"] == "true"
    assert len(system.plivo.sent) == 1


def test_the_same_key_while_it_is_being_sent_is_a_409(system: fakes.System) -> None:
    rivals: list[fakes.HttpResponse] = []
    system.plivo.before_answer = lambda: rivals.append(system.post(key="key-1"))

    first = system.post(key="key-1")

    (rival,) = rivals
    assert_problem(rival, 409, Cause.IN_PROGRESS)
    assert rival.headers["Action-Id"] == first.headers["Action-Id"]
    assert rival.body["instance"] == f"/v1/actions/{first.headers['Action-Id']}"
    assert 1 <= int(rival.headers["Retry-After"]) <= 5
    assert "Duplicate-Of" not in rival.headers
    assert len(system.plivo.sent) == 1


def test_another_key_while_the_same_action_is_being_sent_is_a_409(system: fakes.System) -> None:
    rivals: list[fakes.HttpResponse] = []
    system.plivo.before_answer = lambda: rivals.append(system.post(key="key-2"))

    first = system.post(key="key-1")

    (rival,) = rivals
    assert_problem(rival, 409, Cause.DUPLICATE_IN_PROGRESS)
    assert rival.headers["Duplicate-Of"] == first.headers["Action-Id"]
    assert rival.headers["Action-Id"] != first.headers["Action-Id"]
    assert int(rival.headers["Retry-After"]) >= 1
    later = system.post(key="key-2")
    assert later.status == 201
    assert later.headers["Duplicate-Of"] == first.headers["Action-Id"]
    assert len(system.plivo.sent) == 1


@pytest.mark.parametrize("name", ["accepted 201", "reset", "read timeout"])
def test_another_key_inside_the_window_gets_the_first_actions_answer(name: str) -> None:
    system = fakes.System(VERDICTS[name])
    first = system.post(key="key-1")

    other = system.post(key="key-2")
    other_again = system.post(key="key-2")

    for answer in (other, other_again):
        assert answer.status == first.status
        assert answer.headers["Idempotency-Replayed"] == "true"
        assert answer.headers["Duplicate-Of"] == first.headers["Action-Id"]
    assert other.headers["Action-Id"] != first.headers["Action-Id"]
    assert len(system.plivo.sent) == 1


def test_both_entry_points_share_the_window(system: fakes.System) -> None:
    event = system.event(builders.eventbridge_event())

    answer = system.post()

    assert answer.status == 201
    assert answer.headers["Duplicate-Of"] == event["action_id"]
    assert len(system.plivo.sent) == 1


def test_a_second_request_without_a_key_is_sent_after_the_window(system: fakes.System) -> None:
    first = system.post()
    system.clock.now += 6_000

    second = system.post()

    assert second.status == 201
    assert "Idempotency-Replayed" not in second.headers
    assert second.headers["Action-Id"] != first.headers["Action-Id"]
    assert len(system.plivo.sent) == 2


@pytest.mark.parametrize(("waited", "posts"), [(12_500, 1), (11_000, 2), (300_500, 2), (-500, 2)])
def test_the_window_is_compared_with_when_the_gateway_received_the_request(
    system: fakes.System, waited: int, posts: int
) -> None:
    system.post()
    system.clock.now += 17_000
    event = builders.webhook_event(headers=builders.bearer())
    event["requestContext"]["requestTimeEpoch"] -= waited

    assert system.webhook(event).status == 201
    assert len(system.plivo.sent) == posts


@pytest.mark.parametrize("received_at", [None, "yesterday", True, 1.5, -1, 10**30])
def test_an_invalid_time_from_the_gateway_is_ignored(
    system: fakes.System, received_at: object
) -> None:
    event = builders.webhook_event(headers=builders.bearer())
    event["requestContext"]["requestTimeEpoch"] = received_at

    answer = system.webhook(event)

    assert answer.status == 201
    record = system.table.record(answer.headers["Action-Id"])
    assert record["first_seen"]["N"] == str(system.clock.now)


def test_a_key_with_other_content_is_a_422(system: fakes.System) -> None:
    first = system.post(key="key-1")

    answer = system.post(builders.fields(to="+14152227777"), key="key-1")

    assert_problem(answer, 422, Cause.KEY_REUSED)
    assert answer.headers["Action-Id"] == first.headers["Action-Id"]
    assert len(system.plivo.sent) == 1


def test_a_key_is_the_same_whether_signed_or_sent_with_a_token(system: fakes.System) -> None:
    both = {"signing_secrets": [builders.CRM_SIGNING_SECRET], "tokens": [builders.PHLO_TOKEN]}
    system.secrets.values["clients"] = json.dumps({"clients": {"crm": both}})
    body = json.dumps(builders.FIELDS)
    first = system.post(body, headers=builders.signed(body, webhook_id="call-1001"))
    system.clock.now += 7_000

    again = system.post(body, key="call-1001")

    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["Action-Id"] == first.headers["Action-Id"]
    assert "Duplicate-Of" not in again.headers
    other = system.post(builders.fields(to="+14152227777"), key="call-1001")
    assert other.cause == "key-reused"
    assert len(system.plivo.sent) == 1


def test_two_clients_may_use_the_same_key(system: fakes.System) -> None:
    first = system.post(key="key-1")
    system.clock.now += 6_000

    second = system.post(key="key-1", headers=builders.basic())

    assert second.headers["Action-Id"] != first.headers["Action-Id"]
    assert len(system.plivo.sent) == 2


# --- refused requests ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        lambda: builders.bearer("x" * 40),
        lambda: builders.basic(builders.SDK_CLIENT, builders.PHLO_TOKEN),
        lambda: [*builders.bearer().items(), *builders.bearer().items()],
        lambda: {**builders.bearer(), "webhook-id": "msg_1"},
        lambda: builders.signed("another body"),  # a signature of now
    ],
)
def test_a_wrong_credential_gets_the_same_401_as_none(
    system: fakes.System, headers: Callable[[], builders.Headers]
) -> None:
    answer = system.post(headers=headers())

    assert_problem(answer, 401, Cause.UNAUTHORIZED)
    without = system.post(headers={})
    instance = answer.body.pop("instance")
    assert instance != without.body.pop("instance")
    assert (answer.body, answer.headers) == (without.body, without.headers)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer, Basic ")
    assert "Action-Id" not in answer.headers
    assert system.table.calls == []


def test_an_expired_signature_is_a_401(system: fakes.System) -> None:
    body = json.dumps(builders.fields())
    expired = builders.signed(body, at=datetime.now(tz=UTC) - timedelta(minutes=6))

    assert system.post(body, headers=expired).status == 401


def test_a_client_may_use_its_own_phlos_only(system: fakes.System) -> None:
    limited = builders.bearer(builders.LIMITED_TOKEN)

    refused = system.post(headers=limited)
    allowed = system.post(headers=limited, phlo_id=builders.LIMITED_PHLO_ID.upper())

    assert_problem(refused, 403, Cause.PHLO_NOT_ALLOWED)
    assert allowed.status == 201
    assert len(system.plivo.sent) == 1


def test_rights_to_phlos_are_checked_on_replays_too(system: fakes.System) -> None:
    limited = builders.bearer(builders.LIMITED_TOKEN)
    done = system.post(headers=limited, phlo_id=builders.LIMITED_PHLO_ID, key="key-1")
    assert done.status == 201
    entry = {"tokens": [builders.LIMITED_TOKEN], "phlo_ids": [builders.PHLO_ID]}
    system.secrets.values["clients"] = json.dumps({"clients": {"limited": entry}})
    system.clients.refresh()

    answer = system.post(headers=limited, phlo_id=builders.LIMITED_PHLO_ID, key="key-1")

    assert_problem(answer, 403, Cause.PHLO_NOT_ALLOWED)


@pytest.mark.parametrize("body", ["", "{", b"\xff"])
def test_a_malformed_body_is_a_400(system: fakes.System, body: str | bytes) -> None:
    assert_problem(system.post(body), 400, Cause.BODY_MALFORMED)
    assert system.table.calls == []


def test_every_faulty_field_is_named_with_its_value(system: fakes.System) -> None:
    body = {"to": "+1 415", "trigger_source": 7, "role": "boss", "hue": "blue"}

    answer = system.post(body, key="a b", phlo_id="nope", query=[("x", "1")])

    assert_problem(answer, 422, Cause.FIELDS_INVALID)
    assert answer.named() == [
        "query string",
        "Idempotency-Key",
        "phlo_id",
        "to",
        "trigger_source",
        "role",
        "hue",
    ]
    details = {fault["field"]: fault["detail"] for fault in answer.body["errors"]}
    assert details["to"] == (
        '"+1 415" is neither an E.164 number such as +14155550123 '
        "nor a SIP endpoint such as sip:agent123@phone.plivo.com"
    )
    assert '"a b"' in details["Idempotency-Key"]
    for name, detail in details.items():
        assert f"{name}: {detail}" in answer.body["detail"]
    assert system.table.calls == []


def test_a_field_that_occurs_twice_is_a_422_even_with_the_same_value(
    system: fakes.System,
) -> None:
    body = '{"to": "+14152225555", "to": "+14152225555", "trigger_source": "+14152223333"}'

    assert_problem(system.post(body), 422, Cause.FIELDS_INVALID)
    assert system.table.calls == []


@pytest.mark.parametrize("content_type", [None, "text/plain"])
def test_an_unsupported_media_type_is_a_415(system: fakes.System, content_type: str | None) -> None:
    answer = system.post(content_type=content_type)

    assert_problem(answer, 415, Cause.MEDIA_TYPE_UNSUPPORTED)


def test_a_compressed_body_is_a_415_that_names_its_header(system: fakes.System) -> None:
    sent = gzip.compress(json.dumps(builders.fields()).encode())

    answer = system.post(sent, headers={**builders.bearer(), "Content-Encoding": "gzip"})

    assert_problem(answer, 415, Cause.MEDIA_TYPE_UNSUPPORTED)
    assert "Content-Encoding" in answer.body["detail"]
    identity = {**builders.bearer(), "Content-Encoding": "identity"}
    assert system.post(headers=identity).status == 201


def test_only_a_form_gets_the_hint_about_its_plus(system: fakes.System) -> None:
    form = system.post("to=+14152225555", content_type="application/x-www-form-urlencoded")
    as_json = system.post({"to": " 14152225555"})

    assert form.named() == as_json.named() == ["to", "trigger_source"]
    assert "%2B" in form.text
    assert "%2B" not in as_json.text


def test_a_large_body_is_a_413_even_without_a_credential(system: fakes.System) -> None:
    answer = system.post("x" * 10_241, headers={})

    assert_problem(answer, 413, Cause.BODY_TOO_LARGE)
    assert system.post("x" * 10_240, headers={}).status == 401


def test_a_request_that_is_too_old_is_a_422_and_stays_one(system: fakes.System) -> None:
    requested_at = datetime.now(tz=UTC) - timedelta(seconds=62)
    body = builders.fields(requested_at=requested_at.isoformat())

    answer = system.post(body, key="key-1")

    assert_problem(answer, 422, Cause.TOO_OLD)
    assert answer.headers["Action-Id"]
    assert system.post(key="key-1").cause == Cause.TOO_OLD
    assert system.plivo.sent == []


@pytest.mark.parametrize(("seconds", "status"), [(55, 201), (62, 422), (290, 422)])
def test_the_time_of_a_signature_counts_as_requested_at(
    system: fakes.System, seconds: int, status: int
) -> None:
    signed_at = datetime.now(tz=UTC) - timedelta(seconds=seconds)
    now = datetime.now(tz=UTC).isoformat()
    for body in (builders.fields(), builders.fields(to="+14152227777", requested_at=now)):
        text = json.dumps(body)

        answer = system.post(text, headers=builders.signed(text, at=signed_at))

        assert answer.status == status
        assert status == 201 or answer.cause == Cause.TOO_OLD
    assert len(system.plivo.sent) == (2 if status == 201 else 0)


def test_an_earlier_requested_at_counts_more_than_the_signatures_time(
    system: fakes.System,
) -> None:
    requested_at = datetime.now(tz=UTC) - timedelta(seconds=62)
    text = json.dumps(builders.fields(requested_at=requested_at.isoformat()))

    assert_problem(system.post(text, headers=builders.signed(text)), 422, Cause.TOO_OLD)


def test_an_answer_is_replayed_although_the_signature_is_too_old_to_send(
    system: fakes.System,
) -> None:
    text, at = json.dumps(builders.fields()), datetime.now(tz=UTC) - timedelta(seconds=290)
    system.post(text, headers=builders.signed(text, webhook_id="msg_1"))

    again = system.post(text, headers=builders.signed(text, webhook_id="msg_1", at=at))

    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")


# --- unavailable dependencies -------------------------------------------------------------------


def test_an_unavailable_ledger_is_a_503(system: fakes.System) -> None:
    system.table.out = {0}

    answer = system.post()

    assert_problem(answer, 503, Cause.DEPENDENCY_UNAVAILABLE)
    assert int(answer.headers["Retry-After"]) >= 1
    assert system.plivo.sent == []


def test_plivos_answer_is_returned_though_the_ledger_fails_after_the_post(
    system: fakes.System,
) -> None:
    system.table.out = set(range(3, 8))

    with fakes.emitted() as output:
        answer = system.post()

    assert answer.status == 201
    assert output.counted()["SettleFailed"] == 1


@pytest.mark.parametrize("secret", ["clients", "plivo"])
def test_an_unreachable_secrets_manager_is_a_503(system: fakes.System, secret: str) -> None:
    if secret == "plivo":
        system.post(headers={})  # the clients are cached by now
    system.secrets.out = ReadTimeoutError(endpoint_url="https://secretsmanager.invalid")

    answer = system.post()

    assert_problem(answer, 503, Cause.DEPENDENCY_UNAVAILABLE)
    assert int(answer.headers["Retry-After"]) >= 1
    assert system.plivo.sent == []


def test_an_invalid_clients_secret_is_a_503_even_with_a_right_token(system: fakes.System) -> None:
    system.secrets.values["clients"] = "{}"

    with fakes.emitted() as output:
        answer = system.post()

    assert_problem(answer, 503, Cause.DEPENDENCY_UNAVAILABLE)
    assert output.counted()["SecretInvalid"] == 1
    assert system.table.calls == []


def test_too_little_time_is_a_503(system: fakes.System) -> None:
    system.context = builders.FakeLambdaContext(fixed_ms=3_000)

    answer = system.post()

    assert_problem(answer, 503, Cause.OUT_OF_TIME)
    assert int(answer.headers["Retry-After"]) >= 1
    assert system.table.calls == []


def test_without_a_context_the_function_timeout_is_the_deadline(system: fakes.System) -> None:
    system.context = None

    assert system.post().status == 201
    assert 9 < system.plivo.patience[0] <= 10


# --- the order of the checks --------------------------------------------------------------------


def test_the_checks_run_in_this_order(system: fakes.System) -> None:
    unknown = builders.bearer("x" * 40)
    limited = builders.bearer(builders.LIMITED_TOKEN)
    system.table.out = {0}

    assert system.post("x" * 10_241, headers=unknown, content_type="text/plain").status == 413
    assert system.post("x", headers=unknown, content_type="text/plain").status == 401
    assert system.post("x", headers=limited, content_type="text/plain").status == 415
    assert system.post("x", headers=limited).status == 400
    assert system.post(builders.fields(to="x"), headers=limited).status == 422
    assert system.post(headers=limited).status == 403
    assert system.table.calls == []
    assert system.post(headers=limited, phlo_id=builders.LIMITED_PHLO_ID).status == 503
    assert system.table.calls == ["claimed"]


def test_invalid_base64_is_a_401_without_a_credential_and_a_400_with_one(
    system: fakes.System,
) -> None:
    event = builders.webhook_event(headers={})
    event |= {"body": "***", "isBase64Encoded": True}
    assert system.webhook(event).status == 401

    event = builders.webhook_event()
    event |= {"body": "***", "isBase64Encoded": True}
    answer = system.webhook(event)
    assert_problem(answer, 400, Cause.BODY_MALFORMED)
    assert "cannot be decoded" in answer.body["detail"]


# --- accepted forms of a request ----------------------------------------------------------------


@pytest.mark.parametrize(
    "pieces",
    [
        {},
        {"trailing_slash": True},
        {"base64_encoded": True},
        {"content_type": "application/json; charset=utf-8"},
        {"content_type": "application/json; charset=iso-8859-1"},
        {"body": builders.detail(phlo_id=builders.PHLO_ID.upper())},
        {"headers": builders.basic()},
        {"phlo_id": "5f0c9d3ab1e24c7788d06e1f"},
    ],
)
def test_a_request_as_plivo_takes_it_is_sent(system: fakes.System, pieces: dict[str, Any]) -> None:
    assert system.post(**pieces).status == 201

    ((action, _),) = system.plivo.sent
    assert (action.to, action.trigger_source) == (builders.TO, builders.TRIGGER_SOURCE)
    assert action.role == "agent"
    assert action.phlo_id == pieces.get("phlo_id", builders.PHLO_ID)
    assert action.node_id == builders.NODE_ID


def test_a_form_is_accepted_and_its_addresses_are_sent_unchanged(system: fakes.System) -> None:
    form = urlencode({"to": "14152225555", "trigger_source": "+14152223333", "role": "customer"})

    answer = system.post(form, content_type="application/x-www-form-urlencoded")

    assert answer.status == 201
    ((action, _),) = system.plivo.sent
    assert (action.to, action.trigger_source, action.role) == (
        "14152225555",
        "+14152223333",
        "customer",
    )


@pytest.mark.parametrize("encode", [str, str.encode])
def test_the_webhook_id_of_a_signed_request_is_its_key(
    system: fakes.System, encode: Callable[[str], str | bytes]
) -> None:
    body = json.dumps(builders.fields())

    first = system.post(encode(body), headers=builders.signed(body, webhook_id="msg_1"))
    again = system.post(encode(body), headers=builders.signed(body, webhook_id="msg_1"))
    system.clock.now += 6_000
    other = system.post(encode(body), headers=builders.signed(body, webhook_id="msg_2"))

    assert [first.status, again.status, other.status] == [201, 201, 201]
    assert again.headers == {**first.headers, "Idempotency-Replayed": "true"}
    assert "Idempotency-Replayed" not in other.headers
    assert len(system.plivo.sent) == 2


# --- headers ------------------------------------------------------------------------------------


def test_headers_are_read_from_multi_value_headers_only(system: fakes.System) -> None:
    event = builders.webhook_event(headers={})
    event["headers"] |= builders.bearer()

    assert system.webhook(event).status == 401
    assert system.webhook({**builders.webhook_event(), "multiValueHeaders": None}).status == 401
    assert system.webhook({**builders.webhook_event(), "headers": None}).status == 201


def test_header_names_are_case_insensitive(system: fakes.System) -> None:
    headers = {"AUTHORIZATION": f"bearer {builders.PHLO_TOKEN}", "IDEMPOTENCY-KEY": "key-1"}

    assert system.post(headers=headers).status == 201
    assert system.post(key="key-1").headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("second", ["Authorization", "authorization"])
def test_a_repeated_credential_is_a_401(system: fakes.System, second: str) -> None:
    value = builders.bearer()["Authorization"]

    assert system.post(headers=[("Authorization", value), (second, value)]).status == 401


def test_a_repeated_content_type_is_a_415(system: fakes.System) -> None:
    pairs = [*builders.bearer().items(), ("content-type", "application/json")]

    assert system.post(headers=pairs).status == 415


@pytest.mark.parametrize("second", ["Idempotency-Key", "idempotency-key"])
def test_a_repeated_key_is_a_422(system: fakes.System, second: str) -> None:
    pairs = [*builders.bearer().items(), ("Idempotency-Key", "a"), (second, "a")]

    answer = system.post(headers=pairs)

    assert_problem(answer, 422, Cause.FIELDS_INVALID)
    assert answer.named() == ["Idempotency-Key"]


def test_an_empty_key_is_a_422(system: fakes.System) -> None:
    answer = system.post(key="")

    assert_problem(answer, 422, Cause.FIELDS_INVALID)
    assert answer.named() == ["Idempotency-Key"]
    assert system.table.calls == []


def test_a_quoted_key_is_the_same_key(system: fakes.System) -> None:
    system.post(key='"key-1"')

    assert system.post(key="key-1").headers["Idempotency-Replayed"] == "true"


def test_an_idempotency_key_beside_a_webhook_id_is_a_422(system: fakes.System) -> None:
    body = json.dumps(builders.fields())

    answer = system.post(body, headers=builders.signed(body), key="key-1")

    assert_problem(answer, 422, Cause.FIELDS_INVALID)
    assert answer.named() == ["Idempotency-Key"]
    assert system.plivo.sent == []


@pytest.mark.parametrize("name", ["queryStringParameters", "multiValueQueryStringParameters"])
def test_a_query_string_is_a_422(system: fakes.System, name: str) -> None:
    event = builders.webhook_event(query=[("to", "+14152225555")])
    for other in ("queryStringParameters", "multiValueQueryStringParameters"):
        if other != name:
            event[other] = None

    answer = system.webhook(event)

    assert_problem(answer, 422, Cause.FIELDS_INVALID)
    assert answer.named() == ["query string"]


def test_the_instance_of_a_refusal_is_the_gateways_request_id(system: fakes.System) -> None:
    request_id = str(uuid.uuid4())

    answer = system.post(headers={}, request_id=request_id)

    assert answer.body["instance"] == f"urn:uuid:{request_id}"


def test_an_event_with_missing_parts_is_answered(system: fakes.System) -> None:
    assert_problem(system.webhook({}), 401, Cause.UNAUTHORIZED)
    bare = {"multiValueHeaders": {"Authorization": [f"Bearer {builders.PHLO_TOKEN}"]}}
    assert_problem(system.webhook(bare), 415, Cause.MEDIA_TYPE_UNSUPPORTED)
    bare["multiValueHeaders"]["Content-Type"] = ["application/json"]
    answer = system.webhook({**bare, "requestContext": None, "body": "{}", "headers": None})
    assert_problem(answer, 422, Cause.FIELDS_INVALID)
    assert answer.named() == ["phlo_id", "node_id", "to", "trigger_source"]
    uuid.UUID(answer.body["instance"].removeprefix("urn:uuid:"))


#: What an HTTP API, or a function URL, sends by default.
HTTP_API_EVENT = {
    "version": "2.0",
    "routeKey": "POST /v1/phlo/{phlo_id}/multi_party_call/{node_id}",
    "rawPath": f"/v1/phlo/{builders.PHLO_ID}/multi_party_call/{builders.NODE_ID}",
    "headers": {"content-type": "application/json", **builders.bearer()},
    "pathParameters": {"phlo_id": builders.PHLO_ID, "node_id": builders.NODE_ID},
    "requestContext": {"http": {"method": "POST"}, "requestId": "JKJaXmPLvHcESHA="},
    "body": json.dumps(builders.fields()),
    "isBase64Encoded": False,
}


@pytest.mark.parametrize(
    "event",
    [
        *builders.NO_EVENTS,
        HTTP_API_EVENT,
        builders.eventbridge_event(),
        *(
            {**builders.webhook_event(), **change}
            for change in (
                {"version": 1},
                {"body": {"to": "+14152225555"}},
                {"body": 5},
                {"pathParameters": [builders.PHLO_ID]},
                {"pathParameters": {"phlo_id": 5, "node_id": builders.NODE_ID}},
                {"pathParameters": {"action_id": ["a" * 64]}},
                {"multiValueHeaders": [["Authorization", "x"]]},
                {"multiValueHeaders": {"Authorization": builders.bearer()["Authorization"]}},
                {"multiValueHeaders": {"Authorization": [5]}},
                {"multiValueHeaders": {"Authorization": {"x": 1}}},
            )
        ),
    ],
)
def test_an_event_of_another_shape_is_a_400_that_is_logged_and_counted(
    system: fakes.System, event: Any
) -> None:
    with fakes.emitted() as output:
        answer = system.webhook(event)

    assert_problem(answer, 400, Cause.BODY_MALFORMED)
    assert "not that of a REST API" in answer.body["detail"]
    assert output.counted() == {"ColdStart": 1, "RequestInvalid": 1}
    (line,) = output.logs()
    uuid.UUID(line["correlation_id"])
    assert system.table.calls == []


@pytest.mark.parametrize("context", [None, "text", {"requestId": 7, "requestTimeEpoch": {}}, []])
def test_an_invalid_request_context_is_ignored(system: fakes.System, context: object) -> None:
    assert system.webhook({**builders.webhook_event(), "requestContext": context}).status == 201


# --- lookups ------------------------------------------------------------------------------------


def look_up(
    system: fakes.System, action_id: str, headers: builders.Headers | None = None
) -> fakes.HttpResponse:
    return system.webhook(builders.lookup_event(action_id, headers=headers))


def test_a_client_can_look_up_its_own_action(system: fakes.System) -> None:
    action_id = system.post().headers["Action-Id"]

    answer = look_up(system, action_id)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == {
        "action_id": action_id,
        "action": "cold_transfer",
        "reference": "",
        "state": "accepted",
        "outcome": "accepted",
        "cause": "accepted",
        "status": 201,
        "api_id": fakes.API_ID,
        "error": "",
        "first_seen": answer.body["first_seen"],
        "settled_at": answer.body["settled_at"],
        "resolution": None,
        "resolved_at": None,
        "duplicate_of": None,
    }
    seen = datetime.fromisoformat(answer.body["first_seen"]).timestamp() * 1000
    assert seen == pytest.approx(system.clock.now, abs=10_000)  # minus real time spent
    assert answer.body["first_seen"].endswith("Z")


def test_another_clients_action_is_not_found(system: fakes.System) -> None:
    action_id = system.post().headers["Action-Id"]

    answer = look_up(system, action_id, builders.basic())

    assert_problem(answer, 404, Cause.ACTION_NOT_FOUND)
    missing = look_up(system, "0" * 64, builders.basic())
    del answer.body["instance"], missing.body["instance"]
    assert answer.body == missing.body


def test_an_events_action_is_not_found_by_a_client_of_the_same_name() -> None:
    system = fakes.System(event_source="phlo")
    event = system.event(builders.eventbridge_event(source="phlo"))

    assert look_up(system, event["action_id"]).status == 404


def test_an_open_action_has_no_outcome_yet(system: fakes.System) -> None:
    found: list[fakes.HttpResponse] = []

    def during() -> None:
        (pk,) = (pk for pk in system.table.items if pk.startswith("K#"))
        found.append(look_up(system, pk.removeprefix("K#")))

    system.plivo.before_answer = during
    system.post()

    (answer,) = found
    assert answer.status == 200
    assert (answer.body["state"], answer.body["outcome"]) == ("sending", None)
    assert answer.body["settled_at"] is None


def test_an_abandoned_action_is_unknown_when_it_is_looked_up() -> None:
    system = fakes.System(SystemExit("killed"))
    with pytest.raises(SystemExit):
        system.post(key="key-1")
    (pk,) = (pk for pk in system.table.items if pk.startswith("K#"))
    system.clock.now += 60_000

    answer = look_up(system, pk.removeprefix("K#"))

    assert (answer.body["state"], answer.body["cause"]) == ("unknown", "abandoned")


def test_a_duplicate_shows_the_first_actions_outcome(system: fakes.System) -> None:
    first = system.post(key="key-1").headers["Action-Id"]
    second = system.post(key="key-2").headers["Action-Id"]

    answer = look_up(system, second)

    assert answer.body["action_id"] == second
    assert answer.body["state"] == "duplicate"
    assert answer.body["outcome"] == "accepted"
    assert answer.body["duplicate_of"] == first


def test_a_lookup_without_a_credential_is_a_401(system: fakes.System) -> None:
    action_id = system.post().headers["Action-Id"]
    calls = len(system.table.calls)

    assert_problem(look_up(system, action_id, {}), 401, Cause.UNAUTHORIZED)
    assert len(system.table.calls) == calls


@pytest.mark.parametrize("action_id", ["", "x", "0" * 63, "A" * 64, "0" * 3000, "0" * 64 + "\n"])
def test_an_invalid_action_id_is_a_404_without_a_call_to_the_ledger(
    system: fakes.System, action_id: str
) -> None:
    assert_problem(look_up(system, action_id), 404, Cause.ACTION_NOT_FOUND)
    assert system.table.calls == []


def test_a_lookup_may_be_signed(system: fakes.System) -> None:
    body = json.dumps(builders.fields())
    action_id = system.post(body, headers=builders.signed(body)).headers["Action-Id"]

    assert look_up(system, action_id, builders.signed("")).status == 200


def test_a_captured_post_cannot_be_replayed_as_a_lookup(system: fakes.System) -> None:
    body = json.dumps(builders.fields())
    captured = builders.signed(body)
    action_id = system.post(body, headers=captured).headers["Action-Id"]

    answer = system.webhook({**builders.lookup_event(action_id, headers=captured), "body": body})

    assert_problem(answer, 400, Cause.BODY_MALFORMED)
    assert look_up(system, action_id, captured).status == 401  # without the body


@pytest.mark.parametrize(("body", "encoded"), [(" ", False), ("{}", False), ("***", True)])
def test_a_lookup_with_a_body_is_a_400_after_authentication(
    system: fakes.System, body: str, *, encoded: bool
) -> None:
    action_id = system.post().headers["Action-Id"]
    calls = len(system.table.calls)
    sent = {"body": body, "isBase64Encoded": encoded}
    event = builders.lookup_event(action_id) | sent

    assert_problem(system.webhook(event), 400, Cause.BODY_MALFORMED)
    assert len(system.table.calls) == calls
    without_credential = builders.lookup_event(action_id, headers={}) | sent
    assert system.webhook(without_credential).status == 401


def test_a_lookup_with_an_unavailable_ledger_is_a_503(system: fakes.System) -> None:
    system.table.out = {0}

    answer = look_up(system, "0" * 64)

    assert_problem(answer, 503, Cause.DEPENDENCY_UNAVAILABLE)
    assert int(answer.headers["Retry-After"]) >= 1


# --- logs, metrics, traces ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("accepted 201", "ActionAccepted"),
        ("rejected 400", "ActionRejected"),
        ("credentials 401", "ActionNotSent"),
        ("reset", "ActionUnknown"),
    ],
)
def test_each_outcome_is_counted_once_and_a_replay_as_a_replay(name: str, metric: str) -> None:
    system = fakes.System(VERDICTS[name])

    with fakes.emitted() as output:
        system.post(key="key-1")

    counted = output.counted()
    assert counted[metric] == 1
    assert [other for other in counted if other.startswith("Action")] == [metric]
    assert counted.get("PlivoCredentialsRefused", 0) == (1 if "credentials" in name else 0)
    if "credentials" not in name:
        with fakes.emitted() as output:
            system.post(key="key-1")
        assert output.counted() == {"ActionReplayed": 1}


def test_metrics_have_the_dimensions_service_and_function_and_the_client_as_metadata() -> None:
    system = fakes.System()

    with fakes.emitted() as output:
        system.post(key="key-1")
        system.clock.now += 6_000
        system.post(key="key-2")

    first, second = output.metrics()
    for line in (first, second):
        (declared,) = line["_aws"]["CloudWatchMetrics"]
        assert declared["Namespace"] == "PlivoColdTransfer"
        assert declared["Dimensions"] == [["service", "function"]]
        assert (line["service"], line["function"]) == ("plivo-cold-transfer", "webhook")
        assert line["client"] == "phlo"
        assert {"Name": "PlivoLatency", "Unit": "Milliseconds"} in declared["Metrics"]
        assert "client" not in {metric["Name"] for metric in declared["Metrics"]}
    assert first["ColdStart"] == [1.0]
    assert "ColdStart" not in second


@pytest.mark.parametrize(
    ("pieces", "metric"),
    [
        ({"headers": {}}, "RequestUnauthorized"),
        ({"body": "{"}, "RequestInvalid"),
        ({"body": {}}, "RequestInvalid"),
        ({"content_type": "text/plain"}, "RequestInvalid"),
        ({"headers": builders.bearer(builders.LIMITED_TOKEN)}, "RequestInvalid"),
    ],
)
def test_refusals_are_counted_and_not_marked_as_without_a_key(
    system: fakes.System, pieces: dict[str, Any], metric: str
) -> None:
    with fakes.emitted() as output:
        answer = system.post(**pieces)

    assert output.counted() == {"ColdStart": 1, metric: 1}
    assert "Idempotency-Key" not in answer.headers


def test_a_key_with_other_content_is_counted_as_an_invalid_request(system: fakes.System) -> None:
    system.post(key="key-1")

    with fakes.emitted() as output:
        system.post(builders.fields(to="+14152227777"), key="key-1")

    assert output.counted() == {"RequestInvalid": 1}


def test_every_log_line_has_the_request_id_and_the_client_once_it_is_known(
    system: fakes.System,
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(3)]

    with fakes.emitted() as output:
        system.post(key="key-1", request_id=ids[0])
        system.post(headers={}, request_id=ids[1])
        system.post({}, headers=builders.basic(), request_id=ids[2])

    logs = output.logs()
    assert [line["correlation_id"] for line in logs] == ids
    assert [line.get("client") for line in logs] == ["phlo", None, builders.SDK_CLIENT]
    assert {line["function"] for line in logs} == {"webhook"}
    assert {line["service"] for line in logs} == {"plivo-cold-transfer"}


def test_replays_and_duplicates_are_not_traced_as_failures(system: fakes.System) -> None:
    system.post(key="key-1")
    with fakes.emitted() as output:
        for key in ("key-1", "key-2"):
            assert system.post(key=key).headers["Idempotency-Replayed"] == "true"

    subsegments = system.xray.subsegments()
    assert [part["name"] for part in subsegments].count("claim") == 3
    assert [part for part in subsegments if {"fault", "error", "cause"} & part.keys()] == []
    assert {line["level"] for line in output.logs()} == {"INFO"}


def test_the_trace_has_annotations_steps_and_the_remote_call(
    system: fakes.System,
) -> None:
    system.post()

    top, *steps = system.xray.subsegments()
    assert top["name"] == "## webhook"
    assert top["annotations"] == {
        "function": "webhook",
        "client": "phlo",
        "action": "cold_transfer",
        "outcome": "accepted",
        "cause": "accepted",
    }
    assert [step["name"] for step in steps] == [
        "claim",
        "deduplicate",
        "connect",
        "mark sending",
        "phlorunner.plivo.com",
        "settle",
    ]
    remote = steps[4]
    assert remote["namespace"] == "remote"
    template = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"
    assert remote["http"] == {
        "request": {"url": template, "method": "POST"},
        "response": {"status": 201},
    }


def test_an_unexpected_error_is_raised_without_its_text() -> None:
    system = fakes.System(RuntimeError(f"could not dial {builders.TO}"))

    with fakes.emitted() as output, pytest.raises(Exception, match="RuntimeError at") as raised:
        system.post()

    assert builders.TO not in str(raised.value)
    assert builders.TO not in output.text
    (line,) = output.logs()
    assert (line["message"], line["type"]) == ("unexpected error", "RuntimeError")
