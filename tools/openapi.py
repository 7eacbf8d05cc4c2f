"""The OpenAPI document of the webhook, made from the contract's schema and the table of causes."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cold_transfer.causes import TABLE, Cause, Outcome
from cold_transfer.entrypoints import body, contract
from cold_transfer.entrypoints.problem import TYPE_PREFIX
from cold_transfer.ledger.record import State

ROOT = Path(__file__).resolve().parents[1]

#: What API Gateway answers by itself, without the function; its types begin with ``gateway-``.
GATEWAY_STATUSES = (400, 403, 404, 413, 415, 429, 500, 502, 503, 504)

LOOKUP_CAUSES = (
    Cause.BODY_TOO_LARGE,
    Cause.BODY_MALFORMED,
    Cause.UNAUTHORIZED,
    Cause.ACTION_NOT_FOUND,
    Cause.DEPENDENCY_UNAVAILABLE,
)

_RETRY_LATER = (409, 429, 503)
_HEX_64 = "^[0-9a-f]{64}$"


def statuses(cause: Cause) -> list[int]:
    """Every status that the webhook answers for a cause."""
    return sorted({*TABLE[cause].passed_on, TABLE[cause].status})


def document() -> dict[str, Any]:
    """The whole document, as JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Plivo cold transfer",
            "version": "1",
            "description": (
                "Asks for a cold transfer on a live Multi-Party Call of a Plivo PHLO, at most "
                "once per key. Path and body are Plivo's own."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {
                "url": "https://{api_id}.execute-api.{region}.amazonaws.com/{stage}",
                "variables": {
                    "api_id": {"default": "your-api-id"},
                    "region": {"default": "us-east-1"},
                    "stage": {"default": "live"},
                },
            }
        ],
        "paths": {
            "/v1/phlo/{phlo_id}/multi_party_call/{node_id}": {"post": _post()},
            "/v1/actions/{action_id}": {"get": _get()},
        },
        "components": {
            "schemas": _schemas(),
            "headers": _headers(),
            "securitySchemes": _security_schemes(),
        },
    }


def text() -> str:
    return json.dumps(document(), indent=2) + "\n"


def _post() -> dict[str, Any]:
    fields = {"$ref": "#/components/schemas/ActionFields"}
    responses = {str(status): _acknowledged() for status in statuses(Cause.ACCEPTED)}
    responses |= _refusals(cause for cause in TABLE if cause is not Cause.ACTION_NOT_FOUND)
    return {
        "operationId": "coldTransfer",
        "summary": "Ask for a cold transfer",
        "description": (
            "The request is sent to Plivo at most once per key. The key is webhook-id of a signed "
            "request, else Idempotency-Key; a request with neither is a request of its own, and is "
            "known again for DuplicateWindowSeconds only. A repeat answers what the first one "
            "answered."
        ),
        "security": [{"bearer": []}, {"basic": []}, _SIGNATURE],
        "parameters": [
            _path_parameter("phlo_id", "#/components/schemas/Id"),
            _path_parameter("node_id", "#/components/schemas/Id"),
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Not beside webhook-id. One pair of double quotes is stripped.",
                "schema": {
                    "type": "string",
                    "pattern": '^("[A-Za-z0-9._:-]{1,255}"|[A-Za-z0-9._:-]{1,255})$',
                },
            },
        ],
        "requestBody": {
            "required": True,
            "description": f"At most {body.MAX_BODY_BYTES} bytes, not compressed.",
            "content": {body.JSON: {"schema": fields}, body.FORM: {"schema": fields}},
        },
        "responses": dict(sorted(responses.items())),
    }


def _get() -> dict[str, Any]:
    record = {"application/json": {"schema": {"$ref": "#/components/schemas/ActionRecord"}}}
    responses: dict[str, Any] = {
        "200": {"description": "What the ledger knows of the action.", "content": record}
    }
    return {
        "operationId": "action",
        "summary": "Ask what became of an action",
        "description": "Answers the client that asked for the action; others get 404. "
        "A body is refused; what is signed is an empty one.",
        "security": [{"bearer": []}, {"basic": []}, _SIGNATURE],
        "parameters": [_path_parameter("action_id", "#/components/schemas/ActionId")],
        "responses": responses | _refusals(LOOKUP_CAUSES),
    }


def _refusals(causes: Iterable[Cause]) -> dict[str, Any]:
    """The answers that are problems, by status: the function's causes, then the gateway's own."""
    by_status: dict[int, list[Cause]] = {status: [] for status in GATEWAY_STATUSES}
    for cause in causes:
        if cause is not Cause.ACCEPTED:
            for status in statuses(cause):
                by_status.setdefault(status, []).append(cause)
    return {
        str(status): _problem(status, causes_of_it)
        for status, causes_of_it in sorted(by_status.items())
    }


def _problem(status: int, causes: list[Cause]) -> dict[str, Any]:
    lines = [f"- `{cause}`: {TABLE[cause].title}. {TABLE[cause].advice}" for cause in causes]
    kinds: list[dict[str, Any]] = []
    if causes:
        kinds.append({"enum": [TYPE_PREFIX + cause for cause in causes]})
    if status in GATEWAY_STATUSES:
        lines.append("- `gateway-...`: API Gateway itself refused the request, or got no answer.")
        kinds.append({"pattern": f"^{TYPE_PREFIX}gateway-[a-z-]+$"})
    headers = ["Action-Id", "Idempotency-Replayed", "Duplicate-Of"]
    if status in _RETRY_LATER:
        headers.append("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append("WWW-Authenticate")
    return {
        "description": f"{HTTPStatus(status).phrase}.\n\n" + "\n".join(lines),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {
            "application/problem+json": {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Problem"},
                        {"properties": {"type": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}},
                    ]
                }
            }
        },
    }


def _acknowledged() -> dict[str, Any]:
    headers = ("Action-Id", "Idempotency-Replayed", "Duplicate-Of")
    return {
        "description": TABLE[Cause.ACCEPTED].advice + " Status and body are Plivo's.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Acknowledgement"}}
        },
    }


def _path_parameter(name: str, reference: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"$ref": reference}}


def _schemas() -> dict[str, Any]:
    schema = contract.ON_NODE.schema
    properties = {
        name: _plain(schema["properties"][name]) for name in contract.ON_NODE.webhook_fields
    }
    moment = {"type": "string", "format": "date-time"}
    record = {
        "action_id": {"$ref": "#/components/schemas/ActionId"},
        "action": {"type": "string", "description": "Plivo's name of the action."},
        "state": {"enum": [*State, None], "description": "null: written by a newer version."},
        "outcome": {"enum": [*Outcome, None], "description": "null while it is open."},
        "cause": {"enum": [*(c for c in TABLE if TABLE[c].outcome), None]},
        "status": {
            "type": ["integer", "null"],
            "description": "The status that the request is answered with.",
        },
        "api_id": {"type": "string", "description": "Plivo's id, or empty."},
        "error": {"type": "string", "description": "Plivo's text, or empty."},
        "first_seen": moment,
        "settled_at": {**moment, "type": ["string", "null"]},
        "duplicate_of": {
            "description": "The other key's action whose outcome this one shares.",
            "anyOf": [{"$ref": "#/components/schemas/ActionId"}, {"type": "null"}],
        },
    }
    return {
        "Address": _plain(schema["definitions"]["address"]),
        "Id": _plain(schema["definitions"]["id"]),
        "ActionId": {"type": "string", "pattern": _HEX_64},
        "ActionFields": {
            "title": schema["title"],
            "description": (
                f"{schema['description']} phlo_id and node_id may repeat the path's, so that a "
                "signature covers them."
            ),
            "type": "object",
            "additionalProperties": False,
            "required": [name for name in schema["required"] if name not in ("phlo_id", "node_id")],
            "properties": properties,
        },
        "Acknowledgement": {
            "description": "Plivo's acknowledgement. It does not say that the call was moved.",
            "type": "object",
            "required": ["api_id", "error"],
            "properties": {"api_id": {"type": "string"}, "error": {"const": ""}},
        },
        "Problem": {
            "description": "RFC 9457, with Plivo's two members, so that its SDKs find their text.",
            "type": "object",
            "required": ["type", "title", "detail"],
            "properties": {
                "type": {"type": "string", "pattern": f"^{TYPE_PREFIX}[a-z-]+$"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "instance": {"type": "string"},
                "error": {"type": "string", "description": "Plivo's text, or the detail."},
                "api_id": {"type": "string", "description": "Plivo's id, where it gave one."},
                "errors": {
                    "description": "Every faulty field.",
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "detail"],
                        "properties": {
                            "field": {"type": "string"},
                            "detail": {"type": "string"},
                        },
                    },
                },
            },
        },
        "ActionRecord": {
            "description": "What the ledger knows; null where it does not know yet.",
            "type": "object",
            "additionalProperties": False,
            "required": list(record),
            "properties": record,
        },
    }


def _plain(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition of the contract without the words that are for its faults."""
    places = {
        "#/definitions/address": "#/components/schemas/Address",
        "#/definitions/id": "#/components/schemas/Id",
    }
    reference = definition.get("$ref", "")
    if reference in places:
        return {"$ref": places[reference]}
    if reference:
        definition = contract.DEFINITIONS[reference.removeprefix("#/definitions/")]
    return {key: value for key, value in definition.items() if not key.startswith("x-")}


def _headers() -> dict[str, Any]:
    action_id = {"$ref": "#/components/schemas/ActionId"}
    return {
        "Action-Id": {
            "description": "On every answer after a claim; ask for it at /v1/actions.",
            "schema": action_id,
        },
        "Idempotency-Replayed": {
            "description": "The answer repeats an earlier one; nothing was sent.",
            "schema": {"type": "string", "const": "true"},
        },
        "Duplicate-Of": {
            "description": "The other key's action whose answer this is.",
            "schema": action_id,
        },
        "WWW-Authenticate": {
            "description": "The schemes that would do, signatures apart. API Gateway sends it as "
            "x-amzn-Remapped-WWW-Authenticate.",
            "schema": {"type": "string"},
        },
        "Retry-After": {
            "description": "Seconds after which the same request may be sent again.",
            "schema": {"type": "integer", "minimum": 0},
        },
    }


_SIGNATURE: dict[str, list[str]] = {
    "webhookId": [],
    "webhookTimestamp": [],
    "webhookSignature": [],
}


def _security_schemes() -> dict[str, Any]:
    def header(name: str, description: str) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": name, "description": description}

    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of the client. Not looked at beside a webhook-... header.",
        },
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "Name and token of the client, as a Plivo SDK sends them.",
        },
        "webhookId": header("webhook-id", "Standard Webhooks: the key of the request."),
        "webhookTimestamp": header(
            "webhook-timestamp",
            "Standard Webhooks: epoch seconds, at most 5 minutes off. A action that was signed "
            "more than MaxRequestAgeSeconds ago is not sent.",
        ),
        "webhookSignature": header(
            "webhook-signature",
            "Standard Webhooks: v1,base64(HMAC-SHA256(secret, id.timestamp.body)).",
        ),
    }
