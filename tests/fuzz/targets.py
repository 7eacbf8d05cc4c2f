"""The fuzz targets: each makes a request from the bytes, performs it, and checks the result.

Plivo, Secrets Manager and the table are the fakes of ``tests.support.fakes``. They never fail here,
so only the input could cause a 5xx, and none is allowed.
"""

import base64
import json
import re
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from urllib3.connection import HTTPConnection

from cold_transfer.action import Action, ActionName
from cold_transfer.auth import clients_secret
from cold_transfer.causes import Outcome
from cold_transfer.deadline import Deadline
from cold_transfer.entrypoints import body, contract
from cold_transfer.errors import ColdTransferError, RequestRefused, Unauthorized
from cold_transfer.masking import LONGEST_TEXT, masked
from cold_transfer.plivo.exchange import Connection, Exchange
from tests.fuzz.drawn import Drawn, packed
from tests.support import builders, fakes, fault_server

#: The rules for addresses and ids, written independently of the JSON schema.
ADDRESS = re.compile(
    r"\+?[1-9][0-9]{6,14}|sip:[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII
)
ID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}|[0-9A-Fa-f]{24}", re.ASCII)
#: Common texts with 7 digits that are not phone numbers, and common forms of phone numbers.
NO_NUMBER = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\d|\d\d?/\d\d?/\d{4}"
    r"|\d\d?:\d\d(:\d\d([.,]\d{1,9})?)?([+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
NUMBER = re.compile(r"\d([ .()/+-]?\d){6,}")

NAMES = (
    "Authorization",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "Idempotency-Key",
    "Content-Type",
)
TYPES = ("application/json", "application/x-www-form-urlencoded")
GOOD = json.dumps(builders.FIELDS)
HOLD = json.dumps({"action": "hold"})
FORM = "to=%2B14152225555&trigger_source=%2B14152223333"

ANSWERED = b'{"api_id": "e6e1a2b4-0c1d-4e5f-8a9b-0c1d2e3f4a5b", "error": ""}'

#: The fields of both shapes of a request.
FIELDS = tuple(
    {**dict.fromkeys(contract.ON_NODE.fields), **dict.fromkeys(contract.ON_MEMBER.fields)}
)

#: Random credentials that no input can contain: any request accepted with them shows a fault.
UNGUESSABLE = clients_secret.parse(
    json.dumps(
        {
            "clients": {
                "crm": {
                    "signing_secrets": [
                        "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
                        for _ in range(2)
                    ],
                    "tokens": [secrets.token_urlsafe(32)],
                }
            }
        }
    )
)

#: Words that a fuzzer would need long to find.
WORDS = (
    "Bearer ",
    "Basic ",
    "v1,",
    "whsec_",
    "sip:",
    "@phone.plivo.com",
    "+1415",
    "%2B",
    "\u0661\u0662",
    "\ufeff",
    "1e999",
    "NaN",
    "\\ud800",
    '{"',
    '": "',
    *FIELDS,
    *(f"{name}=" for name in FIELDS),
    "2026-03-14T15:09:26Z",
    builders.PHLO_ID,
    "HTTP/1.1 103 x\r\n",
    "Content-Length: 52\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    '{"api_id": "',
    "(415) 555-0123",
)

_system = fakes.System(event_actions=frozenset({"*"}))


def authentication(data: bytes) -> None:
    """Without a credential, any headers and body end in the one refusal."""
    drawn = Drawn(data)
    headers: dict[str, list[str]] = {}
    for _ in range(drawn.number(6)):
        name = drawn.choice((*NAMES, "webhook-", drawn.text())).casefold()
        value = drawn.choice((drawn.text(), str(int(time.time())), f"v1,{'A' * 43}="))
        headers.setdefault(name, []).append(value)
    refused: Unauthorized | None = None
    try:
        UNGUESSABLE.authenticate(headers, drawn.rest(), time.time())
    except Unauthorized as error:
        refused = error
    assert refused is not None, "accepted without a credential"
    assert str(refused) == "no valid credential"
    assert refused.__context__ is None


def body_and_contract(data: bytes) -> None:
    """Any body with any media type is a valid action, or refused."""
    drawn = Drawn(data)
    content_type = drawn.choice((*TYPES, drawn.text()))
    path = _path(drawn)
    now_ms = int(time.time() * 1000)
    try:
        raw = body.read_raw(drawn.rest().decode("utf-8", "surrogateescape"), is_base64=False)
        sent = body.parse(raw, [content_type])
        action = contract.from_webhook(
            sent.fields, path, now_ms=now_ms, is_form=sent.is_form
        ).action
    except RequestRefused as error:
        _assert_safe_to_log(error)
        return
    _assert_valid(action)


def webhook(data: bytes) -> None:
    """A webhook never gets a 5xx, and sends only what its client may send."""
    drawn = Drawn(data)
    kind = drawn.number(4)
    path = _path(drawn)
    content_type = drawn.choice((*TYPES, None, drawn.text()))
    query = [(drawn.text(), drawn.text()) for _ in range(drawn.number(8) // 7)]
    base64_encoded = drawn.number(8) == 7
    pairs = [(drawn.choice((*NAMES, drawn.text())), drawn.text()) for _ in range(drawn.number(4))]
    text = drawn.rest().decode("utf-8", "surrogateescape")
    if kind == 1:
        pairs.append(("Authorization", f"Bearer {builders.PHLO_TOKEN}"))
    elif kind == 2:
        pairs.append(("Authorization", f"Bearer {builders.LIMITED_TOKEN}"))
    elif kind == 3:
        pairs += builders.signed(text.encode("utf-8", "replace").decode()).items()
    made = builders.webhook_event(headers=pairs, content_type=content_type, query=query)
    made["pathParameters"] = path
    made["body"], made["isBase64Encoded"] = text, base64_encoded
    answer, sent = _perform(made)
    if kind == 0:
        assert answer.status in (401, 413), answer
    _assert_answered(answer, sent, path)
    if kind == 2:
        assert not sent or path["phlo_id"].lower() == builders.LIMITED_PHLO_ID


def lookup(data: bytes) -> None:
    """A lookup of any Action-Id finds nothing, and sends nothing."""
    drawn = Drawn(data)
    headers = builders.bearer() if drawn.number(2) else {drawn.choice(NAMES): drawn.text()}
    action_id = drawn.text()
    made = builders.lookup_event("x", headers=headers)
    made["pathParameters"] = {"action_id": action_id}
    made["body"] = drawn.rest().decode("utf-8", "surrogateescape")
    answer, sent = _perform(made)
    assert answer.status in (400, 401, 404, 413), answer
    assert answer.status in (401, 413) or (answer.status == 400) == bool(made["body"])
    assert not sent


def event(data: bytes) -> None:
    """An event is sent once, or refused with one of this package's errors."""
    drawn = Drawn(data)
    name_of_action = drawn.choice(tuple(ActionName))
    made = builders.eventbridge_event(detail_type=builders.detail_type_of(name_of_action))
    for name in ("id", "time", "source", "detail-type", "account"):
        if drawn.number(8) == 7:
            made[name] = _json(drawn.text())
    changes = {_name(drawn): _json(drawn.text()) for _ in range(drawn.number(4))}
    whole = drawn.rest().decode("utf-8", "surrogateescape")
    made["detail"] = _json(whole) if whole else builders.detail_of(name_of_action) | changes
    _reset()
    result: dict[str, Any] | None = None
    with fakes.emitted():
        try:
            result = _system.event(made)
        except ColdTransferError as error:
            _assert_safe_to_log(error)
    sent = [action for action, _ in _system.plivo.sent]
    assert len(sent) == (1 if result is not None else 0)
    for action in sent:
        _assert_valid(action)


def shapes(data: bytes) -> None:
    """Any value in place of an event or its parts ends in an answer or one of our own errors."""
    drawn = Drawn(data)
    of_webhook = drawn.number(2) == 0
    made: Any = builders.webhook_event() if of_webhook else builders.eventbridge_event()
    for _ in range(drawn.number(4)):
        name = drawn.choice((*made, "version"))
        if drawn.number(4) == 3:
            made.pop(name, None)
        else:
            made[name] = _json(drawn.text())
    whole = drawn.rest().decode("utf-8", "surrogateescape")
    made = _json(whole) if whole else made
    _reset()
    with fakes.emitted() as output:
        if of_webhook:
            assert _system.webhook(made).status < 500
        else:
            try:
                _system.event(made)
            except ColdTransferError as error:
                _assert_safe_to_log(error)
    assert len(output.logs()) == 1


def plivo_answer(data: bytes) -> None:
    """Any bytes from Plivo lead to a verdict: accepted only with a new api_id."""
    exchange = Exchange(HTTPConnection("plivo.invalid"), Deadline.after(10))
    exchange.prepare("POST", "/", {}, b"{}")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        answer = exchange.run(Connection(ours, {fault_server.API_ID}))
        sent = theirs.recv(1_000)
    assert sent.endswith(b"\r\n\r\n{}")
    assert answer is not None
    verdict = answer.verdict((builders.TO, "+14152223333"), time.time())
    if verdict.outcome is Outcome.ACCEPTED:
        assert b"api_id" in data
        assert verdict.status in (200, 201, 202)
        assert verdict.api_id not in ("", fault_server.API_ID)
    if verdict.outcome is Outcome.NOT_SENT:
        assert verdict.plivo_status in (401, 403, 429)
    if exchange.may_go_on():
        assert verdict.plivo_status is not None
        assert verdict.api_id
    for text in (verdict.api_id, verdict.error):
        _assert_masked(text)


def masking(data: bytes) -> None:
    """A masked text has no number and no private value, and masking it again changes nothing."""
    drawn = Drawn(data)
    private = drawn.text()
    shown = masked(drawn.rest().decode("utf-8", "surrogateescape"), private)
    _assert_masked(shown)
    assert len(shown) <= LONGEST_TEXT
    assert len(private) < 2 or private not in shown or not private.strip("*")
    assert masked(shown) == shown


#: Each target, and the seeds that a fuzzer starts from.
TARGETS: Mapping[str, tuple[Callable[[bytes], None], list[bytes]]] = MappingProxyType(
    {
        "authentication": (
            authentication,
            [
                packed(1, "", 0, f"Bearer {'t' * 40}", 0),
                packed(1, "", 0, f"Basic {base64.b64encode(b'crm:' + b't' * 40).decode()}", 0),
                packed(3, "", 1, "msg_1", 0, "", 2, "", 1, "", 3, "", 2) + b"{}",
            ],
        ),
        "body_and_contract": (
            body_and_contract,
            [
                packed("", 0, "", "", 0, 0) + GOOD.encode(),
                packed("", 1, "", "", 0, 0) + FORM.encode(),
                packed("", 0, "", "", 0, 0) + b"[" * 10_200,
                packed("", 0, "", "", 0, 1) + HOLD.encode(),
                packed("", 0, "", "", 0, 0) + GOOD.replace("5555", "\u0665" * 4).encode(),
                packed("Application/JSON; charset=utf-8", 2, "", "", 0, 0) + GOOD.encode(),
            ],
        ),
        "webhook": (
            webhook,
            [
                packed(kind, "", "", path, 0, "", of_type, 0, 0, 0) + text.encode()
                for kind in range(4)
                for path in (0, 2)
                for of_type, text in enumerate((GOOD, FORM, "[" * 10_200))
            ]
            + [packed(kind, "", "", 0, 1, "", 0, 0, 0, 0) + HOLD.encode() for kind in range(4)],
        ),
        "shapes": (
            shapes,
            [
                packed(entry_point, 0) + text
                for entry_point in range(2)
                for text in (b"", b"null", b"[]", b"{}")
            ]
            + [
                packed(0, 1, 4, 0, '{"Authorization": "x"}'),
                packed(0, 1, 12, 0, '"2.0"'),
                packed(0, 1, 7, 0, '{"phlo_id": 5}'),
                packed(0, 1, 10, 0, "5"),
            ],
        ),
        "plivo_answer": (
            plivo_answer,
            [
                fault_server.http_answer(201, ANSWERED),
                fault_server.http_answer(201, ANSWERED) + b"\r\n",
                fault_server.http_answer(201, fault_server.ACCEPTED_BODY),
                b"HTTP/1.1 103 x\r\nLink: a\r\n\r\n" + fault_server.http_answer(202, ANSWERED),
                fault_server.framed(
                    "Transfer-Encoding: chunked",
                    body=fault_server.chunks(ANSWERED) + b"X: y\r\n\r\n",
                ),
                fault_server.framed(body=ANSWERED, version="HTTP/1.0"),
                fault_server.http_answer(429, b"", {"Retry-After": "7"}),
                fault_server.http_answer(400, fault_server.plivo_text("no +1 (415) 555-0123")),
            ],
        ),
        "masking": (
            masking,
            [
                packed("+14152225555") + b"no +1 415-222-5555 or (415) 555.0123",
                packed("sip:a@b") + b"sip:a@b at 2026-11-25 10:05:33.123456+00:00",
                packed("")
                + f"{builders.PHLO_ID} 14155550123 {fault_server.API_ID} 400/401".encode(),
            ],
        ),
        "lookup": (lookup, [packed(1, "a" * 64), packed(0, 0, "Bearer x", "a" * 64)]),
        "event": (
            event,
            [
                packed(0, 0, 0, 0, 0, 0, 0),
                packed(7, 0, 0, 0, 0, 0, 0),
                packed(0, 0, 0, 0, 0, 0, 1, "", 2, '"sip:agent1@phone.plivo.com"'),
                packed(0, 0, 0, 0, 0, 0, 0) + json.dumps(builders.detail(role="customer")).encode(),
            ],
        ),
    }
)


def _assert_masked(text: str) -> None:
    assert text.isprintable()
    assert not NUMBER.search(NO_NUMBER.sub("x", text)), text


def _path(drawn: Drawn) -> dict[str, str]:
    own = {"phlo_id": drawn.text(), "node_id": drawn.text()}
    valid = {"phlo_id": builders.PHLO_ID, "node_id": builders.NODE_ID}
    path: dict[str, str] = drawn.choice(
        (valid, own, {**valid, "phlo_id": builders.LIMITED_PHLO_ID})
    )
    of_member = drawn.number(3)
    if of_member:
        path["member_address"] = builders.TRIGGER_SOURCE if of_member == 1 else drawn.text()
    return path


def _name(drawn: Drawn) -> str:
    names: tuple[str, ...] = (*FIELDS, drawn.text())
    return drawn.choice(names)


def _json(text: str) -> Any:
    """``text`` parsed as JSON, or the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _reset() -> None:
    """Remove everything that the last input left behind, except caches."""
    _system.clock.now = int(time.time() * 1000)
    _system.context = builders.FakeLambdaContext(fixed_ms=25_000)
    _system.plivo.sent.clear()
    _system.plivo.patience.clear()
    _system.table.items.clear()
    _system.table.calls.clear()
    _system.table.stream.clear()
    _system.xray.sent.clear()


def posts() -> int:
    """How many POSTs the last input sent to Plivo."""
    return len(_system.plivo.sent)


def _perform(made: dict[str, Any]) -> tuple[fakes.HttpResponse, list[Action]]:
    _reset()
    with fakes.emitted():
        answer = _system.webhook(made)
    return answer, [action for action, _ in _system.plivo.sent]


def _assert_answered(
    answer: fakes.HttpResponse, sent: list[Action], path: Mapping[str, str]
) -> None:
    assert answer.status < 500, answer
    assert answer.text.isascii()
    assert all(value.isprintable() and value.isascii() for value in answer.headers.values())
    assert len(sent) == (1 if answer.status == 201 else 0)
    for action in sent:
        _assert_valid(action)
        assert (action.phlo_id, action.node_id) == (path["phlo_id"], path["node_id"])
        assert action.member_address == unquote(path.get("member_address", ""))


def _assert_valid(action: Action) -> None:
    addresses = (action.to, action.trigger_source, action.member_address)
    kept = [ADDRESS.fullmatch(address) is not None for address in addresses if address]
    assert kept == ([True, True] if action.name.dials else [True])
    assert ID.fullmatch(action.phlo_id)
    assert ID.fullmatch(action.node_id)
    assert action.role in ("agent", "customer")


def _assert_safe_to_log(error: ColdTransferError) -> None:
    text = str(error)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 4_000
