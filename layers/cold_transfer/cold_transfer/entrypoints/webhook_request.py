"""Turns an event from API Gateway into a request."""

import secrets
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any
from urllib.parse import unquote

from cold_transfer.action import ACTION_ID, ActionRequest, EntryPoint
from cold_transfer.auth.clients import Identity
from cold_transfer.deadline import now_ms
from cold_transfer.entrypoints import body, contract, field_faults
from cold_transfer.entrypoints.invocation import member, waited
from cold_transfer.errors import (
    ActionNotFound,
    BodyMalformed,
    ContractViolated,
    Fault,
    KeyRequired,
)
from cold_transfer.plivo.client import Resource

Headers = Mapping[str, Sequence[str]]
ProxyEvent = Mapping[str, Any]

#: Headers that senders mistake for Idempotency-Key.
LIKE_A_KEY = (
    "X-Idempotency-Key",
    "Idempotency_Key",
    "IdempotencyKey",
    "X-Request-Id",
    "Request-Id",
)


def proxy_event(event: object) -> ProxyEvent:
    """Return ``event`` if it has the shape of a REST API's proxy event, payload version 1.0.

    Parts may be missing or null. An HTTP API, whose default is version 2.0, or a direct invocation
    sends other shapes.

    Raises
    ------
    BodyMalformed
        It has another shape.
    """
    if isinstance(event, dict) and event.get("version", "1.0") == "1.0":
        path, headers = event.get("pathParameters") or {}, event.get("multiValueHeaders") or {}
        if (
            isinstance(event.get("body") or "", str)
            and isinstance(path, dict)
            and isinstance(headers, dict)
            and all(isinstance(values or [], list) for values in headers.values())
            and all(
                isinstance(text, str)
                for text in chain(path.values(), *filter(None, headers.values()))
            )
        ):
            return event
    raise BodyMalformed("the event is not that of a REST API (proxy integration, version 1.0)")


def headers_of(event: ProxyEvent) -> Headers:
    """Every value of every header, by case-folded name.

    Read from ``multiValueHeaders`` only: ``headers`` has the last value of a repeated header, while
    a proxy in front may have checked the first.
    """
    headers: dict[str, list[str]] = {}
    for name, values in (event.get("multiValueHeaders") or {}).items():
        headers.setdefault(name.casefold(), []).extend(values or ())
    return headers


def looked_up(event: ProxyEvent) -> str | None:
    """The Action-Id to look up; None if the path is not that of a lookup.

    Raises
    ------
    ActionNotFound
        It does not have the form of an Action-Id. DynamoDB would reject an over-long key.
    """
    path = event.get("pathParameters") or {}
    if "action_id" not in path:
        return None
    action_id: str = path["action_id"]
    if ACTION_ID.fullmatch(action_id) is None:
        raise ActionNotFound("an Action-Id has 64 digits from 0 to f")
    return action_id


def resource_of(event: ProxyEvent) -> Resource:
    """What a GET reads from Plivo. A query string is ignored: plivo-node repeats the ids in one.

    Raises
    ------
    ContractViolated
        With every faulty id.
    """
    path: Mapping[str, str] = event.get("pathParameters") or {}
    resource = Resource(path.get("phlo_id", ""), path.get("node_id", ""))
    contract.check_ids({"phlo_id": resource.phlo_id, **path})
    return resource


def request_of(
    event: ProxyEvent, headers: Headers, raw: bytes, identity: Identity
) -> ActionRequest:
    """Read and validate the request of an authenticated client.

    Raises
    ------
    MediaTypeUnsupported, BodyMalformed
        See ``body.parse``.
    KeyRequired
        The client must send a key, and did not.
    ContractViolated
        With every faulty field of query string, key, path and body.
    """
    sent = body.parse(raw, headers.get("content-type", ()), headers.get("content-encoding", ()))
    found: list[Fault] = [*sent.doubled]
    if event.get("multiValueQueryStringParameters") or event.get("queryStringParameters"):
        found.append(Fault("query string", "is not allowed; send all fields in the body"))
    key, validated, now = None, None, now_ms()
    try:
        key = _key(headers, identity)
    except ContractViolated as error:
        found += error.faults
    try:
        validated = contract.from_webhook(
            sent.fields, _path_of(event), now_ms=now, is_form=sent.is_form
        )
    except ContractViolated as error:
        found += error.faults
    if found or validated is None:
        raise field_faults.violation(found)
    # A signature's time counts too, so that a captured request cannot be used for longer.
    times = [
        moment for moment in (validated.requested_at, identity.signed_at) if moment is not None
    ]
    return ActionRequest(
        validated.action,
        EntryPoint.WEBHOOK,
        identity.client.name,
        key or secrets.token_hex(16),  # a new request: only the window prevents duplicates
        min(times, default=None),
        waited=waited(member(event, "requestContext", "requestTimeEpoch"), now),
        reference=validated.reference,
        keyed=key is not None,
    )


def _path_of(event: ProxyEvent) -> dict[str, str]:
    """The fields in the path."""
    given: Mapping[str, str] = event.get("pathParameters") or {}
    path = {name: given.get(name, "") for name in ("phlo_id", "node_id")}
    if "member_address" in given:
        # API Gateway decodes a query string, but not a path
        path["member_address"] = unquote(given["member_address"])
    return path


def _key(headers: Headers, identity: Identity) -> str | None:
    """The request's key; None if it has none and needs none."""
    given = headers.get("idempotency-key", ())
    if identity.webhook_id is not None and given:
        rule = "must not be sent with webhook-id, whose signature does not cover it"
        raise ContractViolated([Fault("Idempotency-Key", rule)])
    if identity.webhook_id is not None:
        return identity.webhook_id
    if len(given) > 1:
        raise ContractViolated([Fault("Idempotency-Key", "must be sent only once")])
    if given:
        return contract.check_key(given[0])
    if identity.client.require_key:
        taken = ", ".join(name for name in LIKE_A_KEY if name.casefold() in headers)
        hint = f"; {taken} is not read" if taken else ""
        raise KeyRequired(f"there is no Idempotency-Key{hint}")
    return None
