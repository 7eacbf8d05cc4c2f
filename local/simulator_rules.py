"""What the Plivo simulator answers: the documented texts, and failures that a number asks for."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

#: The one PHLO that the simulated account does not have.
UNKNOWN_PHLO_ID = "00000000-0000-4000-8000-00000000dead"

PATH = re.compile(r"/v1/phlo/(?P<phlo_id>[^/?]+)/multi_party_call/(?P<node_id>[^/?]+)/?")
ADDRESS = re.compile(r"\+?[1-9][0-9]{6,14}|sip:[^@\s]+@[^@\s]+")
#: ``to`` = +15550100 and three digits asks for a failure.
ASKED_FAILURE = re.compile(r"\+?15550100([0-9]{3})")
LONGEST = 256  # "can be maximum <n> characters long" is documented, n is not


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. ``manner`` says how it is delivered: whole, or broken in one of five ways."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "whole"


#: The last three digits of ``to`` that are no HTTP status.
MANNERS = {
    "000": "hang",  # nothing for 30 s
    "001": "close",  # the connection ends without an answer
    "003": "cut",  # half of the body, then the end
    "004": "drip",  # one byte of the body every half second
    "005": "reset",  # RST instead of an answer
}


def reply_to(path: str, body: bytes) -> Reply:
    """The answer to an authorised POST within the rate limit."""
    place = PATH.fullmatch(path)
    if place is None:
        return _refusal(HTTPStatus.NOT_FOUND, "not found")
    if place["phlo_id"] == UNKNOWN_PHLO_ID:
        return _refusal(HTTPStatus.NOT_FOUND, "PHLO not found.")
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        return _refusal(HTTPStatus.BAD_REQUEST, "Invalid JSON.")
    fault = _fault(fields)
    if fault:
        return _refusal(HTTPStatus.BAD_REQUEST, fault)
    asked = ASKED_FAILURE.fullmatch(fields["to"])
    return _failure(asked[1]) if asked else _accepted(HTTPStatus.CREATED)


def throttled() -> Reply:
    reply = _refusal(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded.")
    return Reply(reply.status, reply.body, {"Retry-After": "2"})


def unauthorized() -> Reply:
    text = b"Could not verify your access level for that URL."
    challenge = {"WWW-Authenticate": 'Basic realm="Plivo"', "Content-Type": "text/plain"}
    return Reply(HTTPStatus.UNAUTHORIZED, text, challenge)


def _fault(fields: Mapping[str, object]) -> str:
    for name in ("action", "to", "role", "trigger_source"):
        value = fields.get(name)
        if value in (None, ""):
            return f"{name} is a mandatory param."
        if not isinstance(value, str):
            return f"Invalid value provided for {name}. {name} expects a string."
        if len(value) > LONGEST:
            return (
                f"Invalid value provided for {name}. "
                f"The {name} can be maximum {LONGEST} characters long."
            )
    allowed = {"action": ("cold_transfer",), "role": ("agent", "customer")}
    for name, values in allowed.items():
        if fields[name] not in values:
            return f"Invalid value provided for {name}."
    for name in ("to", "trigger_source"):
        if not ADDRESS.fullmatch(str(fields[name])):
            return f"Invalid value provided for {name}."
    return ""


def _failure(digits: str) -> Reply:
    if digits in MANNERS:
        reply = _accepted(HTTPStatus.CREATED)
        return Reply(reply.status, reply.body, manner=MANNERS[digits])
    if digits == "002":
        return _refusal(HTTPStatus.CREATED, "The call is no longer active.")
    status = int(digits)
    if status in SPECIAL:
        return SPECIAL[status](status)
    return _refusal(status, f"simulated {status}") if status in FINAL else _accepted(201)


def _accepted(status: int) -> Reply:
    return _json(status, "")


def _refusal(status: int, text: str) -> Reply:
    return _json(status, text)


def _json(status: int, error: str) -> Reply:
    body = json.dumps({"api_id": str(uuid.uuid4()), "error": error}).encode()
    return Reply(status, body)


def _moved(status: int) -> Reply:
    return Reply(status, b"", {"Location": "/v1/moved"})


def _empty(status: int) -> Reply:
    return Reply(status, b"")


#: Statuses whose answer is more than a JSON body with an error.
SPECIAL: Mapping[int, Callable[[int], Reply]] = {
    **dict.fromkeys((200, 201, 202), _accepted),
    **dict.fromkeys((204, 304), _empty),
    **dict.fromkeys((301, 302, 303, 307, 308), _moved),
    400: lambda status: _refusal(status, "Invalid value provided for to."),
    401: lambda _: unauthorized(),
    429: lambda _: throttled(),
}
FINAL = range(200, 600)  # 1xx would not be an answer
