"""The Plivo simulator's answers: the documented ones, and failures for certain numbers."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from local.simulator_calls import Calls, Params

#: The only PHLO that the simulated account does not have.
UNKNOWN_PHLO_ID = "00000000-0000-4000-8000-00000000dead"

NODE_TYPE = "multi_party_call"
PATH = re.compile(
    r"/v1/phlo/(?P<phlo_id>[^/?]+)"
    rf"(/{NODE_TYPE}/(?P<node_id>[^/?]+)(/members/(?P<member_address>[^/?]+))?)?/?"
)
ADDRESS = re.compile(r"\+?[1-9][0-9]{6,14}|sip:[^@\s]+@[^@\s]+")
#: This prefix and three digits, as ``to``, as the member or at the end of a PHLO's id, cause a
#: failure.
FAILING = "+15550100"
REQUESTED_FAILURE = re.compile(rf"(?:\+?|0{{8}}-0000-4000-8000-0){FAILING[1:]}([0-9]{{3}})")
LONGEST = 256  # Plivo documents the text "can be maximum <n> characters long", but not n

CALL_ACTIONS = ("cold_transfer", "warm_transfer", "call")
MEMBER_ACTIONS = ("abort_transfer", "resume_call", "voicemail_drop", "hangup", "hold", "unhold")
#: The same for every PHLO and node, in the form that Plivo documents.
CREATED_ON = "2026-01-05 09:05:11.846982+00:00"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. ``manner`` says how it is delivered: whole, or broken in one of five ways."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "whole"


#: The last three digits that are not an HTTP status.
MANNERS = {
    "000": "hang",  # nothing for 30 s
    "001": "close",  # the connection ends without an answer
    "003": "cut",  # half of the body, then the end
    "004": "drip",  # one byte of the body every half second
    "005": "reset",  # RST instead of an answer
}


def fields_of(body: bytes) -> Mapping[str, object] | None:
    """The JSON object in a body; None for anything else."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def reply_to(
    method: str, path: str, fields: Mapping[str, object] | None, calls: Calls, *, strict: bool
) -> Reply:
    """The answer to an authorised request within the rate limit.

    An acknowledged action is applied to ``calls``, whether or not the answer arrives.
    """
    # plivo-node repeats the ids in the query of a GET; no other request has one.
    place = PATH.fullmatch(urlsplit(path).path if method == "GET" else path)
    if place is None:
        return _refusal(HTTPStatus.NOT_FOUND, "not found")
    ids = {name: unquote(value) for name, value in place.groupdict().items() if value}
    if method not in _methods(ids):
        return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed")
    if ids["phlo_id"] == UNKNOWN_PHLO_ID:
        return _refusal(HTTPStatus.NOT_FOUND, "PHLO not found.")
    if method == "GET":
        return _failing_as_requested(_description(ids), ids)
    if fields is None:
        return _refusal(HTTPStatus.BAD_REQUEST, "Invalid JSON.")
    return _reply_to_action(ids, fields, calls, strict=strict)


def throttled() -> Reply:
    reply = _refusal(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded.")
    return replace(reply, headers={"Retry-After": "2"})


def unauthorized() -> Reply:
    text = b"Could not verify your access level for that URL."
    challenge = {"WWW-Authenticate": 'Basic realm="Plivo"', "Content-Type": "text/plain"}
    return Reply(HTTPStatus.UNAUTHORIZED, text, challenge)


def _methods(ids: Mapping[str, str]) -> tuple[str, ...]:
    if "member_address" in ids:
        return ("POST",)
    return ("GET", "POST") if "node_id" in ids else ("GET",)


def _description(ids: Mapping[str, str]) -> Reply:
    """The description of a node or a PHLO."""
    more = {"name": "simulated", "created_on": CREATED_ON}
    if "node_id" in ids:
        more["node_type"] = NODE_TYPE
    return _json(HTTPStatus.OK, **ids, **more)


def _reply_to_action(
    ids: Mapping[str, str], fields: Mapping[str, object], calls: Calls, *, strict: bool
) -> Reply:
    if "member_address" in ids:
        names: tuple[str, ...] = ("action", "member_address")
        accepted = _json(HTTPStatus.CREATED, error="", node_type=NODE_TYPE, **ids)
    else:
        names = ("action", "to", "role", "trigger_source")
        accepted = _json(HTTPStatus.CREATED, error="")
    params = {name: {**fields, **ids}.get(name) for name in names}
    fault = _fault(params)
    if fault:
        return _refusal(HTTPStatus.BAD_REQUEST, fault)
    given = {name: str(value) for name, value in params.items()}
    reply = _failing_as_requested(accepted, {**given, **ids})
    if reply.body != accepted.body:
        return reply
    unknown = calls.act(Params(ids["phlo_id"], ids["node_id"], **given), strict=strict)
    if unknown:
        status = HTTPStatus.NOT_FOUND if unknown in ids else HTTPStatus.BAD_REQUEST
        return _refusal(status, _invalid(unknown))
    return reply


def _fault(params: Mapping[str, object]) -> str:
    """Plivo's text for the first invalid parameter; empty if all are valid."""
    for name, value in params.items():
        if value in (None, ""):
            return f"{name} is a mandatory param."
        if not isinstance(value, str):
            return f"{_invalid(name)} {name} expects a string."
        if len(value) > LONGEST:
            return f"{_invalid(name)} The {name} can be maximum {LONGEST} characters long."
    actions = MEMBER_ACTIONS if "member_address" in params else CALL_ACTIONS
    for name, value in params.items():
        match name:
            case "action":
                valid = value in actions
            case "role":
                valid = value in ("agent", "customer")
            case _:
                valid = bool(ADDRESS.fullmatch(str(value)))
        if not valid:
            return _invalid(name)
    return ""


def _invalid(name: str) -> str:
    return f"Invalid value provided for {name}."


def _failing_as_requested(success: Reply, given: Mapping[str, str]) -> Reply:
    """``success``, unless a parameter causes a failure."""
    for name in ("phlo_id", "member_address", "to"):
        requested = REQUESTED_FAILURE.fullmatch(given.get(name, ""))
        if requested:
            return _failure(requested[1], name, success)
    return success


def _failure(digits: str, name: str, success: Reply) -> Reply:
    if digits in MANNERS:
        return replace(success, manner=MANNERS[digits])
    if digits == "002":
        return _refusal(HTTPStatus.CREATED, "The call is no longer active.")
    status = int(digits)
    if status in ACKNOWLEDGING:
        return replace(success, status=status)
    if status == HTTPStatus.BAD_REQUEST:
        return _refusal(status, _invalid(name))
    if status in SPECIAL:
        return SPECIAL[status](status)
    return _refusal(status, f"simulated {status}") if status in FINAL else success


def _refusal(status: int, text: str) -> Reply:
    return _json(status, error=text)


def _json(status: int, **members: str) -> Reply:
    return Reply(status, json.dumps({"api_id": str(uuid.uuid4()), **members}).encode())


def _moved(status: int) -> Reply:
    return Reply(status, b"", {"Location": "/v1/moved"})


def _empty(status: int) -> Reply:
    return Reply(status, b"")


ACKNOWLEDGING = (200, 201, 202)
#: Statuses whose answer is more than a JSON body with an error.
SPECIAL: Mapping[int, Callable[[int], Reply]] = {
    **dict.fromkeys((204, 304), _empty),
    **dict.fromkeys((301, 302, 303, 307, 308), _moved),
    401: lambda _: unauthorized(),
    429: lambda _: throttled(),
}
FINAL = range(200, 600)  # 1xx would not be an answer
