"""Makes the OpenAPI document of the webhook from the contract's schemas and the table of causes."""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cold_transfer.action import ACTION_ID
from cold_transfer.causes import TABLE, Cause, Outcome, Resolution
from cold_transfer.entrypoints import body, contract
from cold_transfer.entrypoints.problem import TYPE_PREFIX
from cold_transfer.ledger.record import State
from cold_transfer.plivo.client import MEMBER_PATH, NODE_PATH, PHLO_PATH

ROOT = Path(__file__).resolve().parents[1]

#: Statuses that API Gateway answers without the function; the problems' types begin with
#: ``gateway-``.
GATEWAY_STATUSES = (400, 403, 404, 413, 415, 429, 500, 502, 503, 504)

_OF_READING = (Cause.READ_REJECTED, Cause.READ_TIMED_OUT, Cause.READ_FAILED)

#: The causes with which a request for an action that dials, or on a member, may end. An action on
#: a member has no duplicate window.
ACTION_CAUSES = tuple(
    cause for cause in TABLE if cause not in (Cause.ACTION_NOT_FOUND, *_OF_READING)
)
MEMBER_CAUSES = tuple(cause for cause in ACTION_CAUSES if cause != Cause.DUPLICATE_IN_PROGRESS)

#: The causes with which any GET may end; then those of reading from Plivo, and of a lookup.
_READING = (
    Cause.BODY_TOO_LARGE,
    Cause.BODY_MALFORMED,
    Cause.UNAUTHORIZED,
    Cause.DEPENDENCY_UNAVAILABLE,
)
READ_CAUSES = (
    *_READING,
    Cause.FIELDS_INVALID,
    Cause.PHLO_NOT_ALLOWED,
    *_OF_READING,
    Cause.PLIVO_CREDENTIALS_REFUSED,
    Cause.PLIVO_THROTTLED,
    Cause.PLIVO_UNREACHABLE,
    Cause.OUT_OF_TIME,
)
LOOKUP_CAUSES = (*_READING, Cause.ACTION_NOT_FOUND)

#: The answers' headers, except for Content-Type.
HEADERS: Mapping[str, Any] = {
    "Action-Id": {
        "description": "On every answer after a claim. Look the action up at /v1/actions.",
        "schema": {"$ref": "#/components/schemas/ActionId"},
    },
    "Idempotency-Key": {
        "description": "The request had no key, so it cannot be retried safely.",
        "schema": {"type": "string", "const": "none"},
    },
    "Idempotency-Replayed": {
        "description": "A stored answer: nothing was sent.",
        "schema": {"type": "string", "const": "true"},
    },
    "Duplicate-Of": {
        "description": "The action under another key that this answer is from.",
        "schema": {"$ref": "#/components/schemas/ActionId"},
    },
    "WWW-Authenticate": {
        "description": "The accepted schemes, besides signatures. API Gateway sends it as "
        "x-amzn-Remapped-WWW-Authenticate.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds after which the same request may be sent again.",
        "schema": {"type": "integer", "minimum": 0},
    },
}

_AT_MOST_ONCE = (
    "The request is sent to Plivo at most once per key. The key is the webhook-id of a signed "
    "request, otherwise Idempotency-Key. A request with neither counts as a new one, or is refused "
    "if its client has require_key. A request with the same key gets the stored answer."
)


def statuses(cause: Cause) -> list[int]:
    """Every status that the webhook answers for a cause."""
    return sorted({*TABLE[cause].passed_on, TABLE[cause].status})


def _headers_of(cause: Cause, *, dials: bool) -> list[str]:
    """The headers with which a request for an action that ends with ``cause`` can be answered."""
    outcome, retry_after = TABLE[cause].outcome, TABLE[cause].retry_after
    found = ["Idempotency-Key"] if outcome else []
    if outcome or cause in (Cause.IN_PROGRESS, Cause.KEY_REUSED):
        found.append("Action-Id")
    # a retry of what was not sent is sent, unless it is a duplicate
    if outcome and (dials or outcome is not Outcome.NOT_SENT):
        found.append("Idempotency-Replayed")
    if outcome and dials:
        found.append("Duplicate-Of")
    if retry_after or cause in (Cause.IN_PROGRESS, Cause.DUPLICATE_IN_PROGRESS):
        found.append("Retry-After")
    return found


def document() -> dict[str, Any]:
    """The document as JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Plivo cold transfer",
            "version": "1",
            "description": (
                "Cold transfers and other actions on live Multi-Party Calls of Plivo PHLOs, sent "
                "at most once per key. Paths and bodies are Plivo's own."
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
            NODE_PATH: {"post": _post_to_node(), "get": _read("node", ["phlo_id", "node_id"])},
            MEMBER_PATH: {"post": _post_to_member()},
            PHLO_PATH: {"get": _read("PHLO", ["phlo_id"])},
            "/v1/actions/{action_id}": {"get": _look_up()},
        },
        "components": {
            "schemas": _schemas(),
            "headers": dict(HEADERS),
            "securitySchemes": _security_schemes(),
        },
    }


def text() -> str:
    """The content of docs/openapi.json."""
    return json.dumps(document(), indent=2) + "\n"


def _post_to_node() -> dict[str, Any]:
    return {
        "operationId": "coldTransfer",
        "summary": "Request a cold transfer, a warm transfer or a call",
        "description": (
            f"{_AT_MOST_ONCE} The same content with another key, or without one, is a duplicate "
            "while the first is in progress and for DuplicateWindowSeconds after it was accepted."
        ),
        **_post("NodeAction", ["phlo_id", "node_id"], ACTION_CAUSES, dials=True),
    }


def _post_to_member() -> dict[str, Any]:
    return {
        "operationId": "actOnMember",
        "summary": "Request an action on one member of the call",
        "description": f"{_AT_MOST_ONCE} Every request with a new key, or without one, is sent.",
        **_post(
            "MemberAction", ["phlo_id", "node_id", "member_address"], MEMBER_CAUSES, dials=False
        ),
    }


def _post(schema: str, path: list[str], causes: Iterable[Cause], *, dials: bool) -> dict[str, Any]:
    fields = {"$ref": f"#/components/schemas/{schema}"}
    headers = {cause: _headers_of(cause, dials=dials) for cause in causes}
    acknowledged = _acknowledged(headers[Cause.ACCEPTED])
    responses = {str(status): acknowledged for status in statuses(Cause.ACCEPTED)}
    responses |= _refusals(headers)
    return {
        "security": _CREDENTIALS,
        "parameters": [
            *map(_path_parameter, path),
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Not together with webhook-id. A pair of double quotes is removed.",
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


def _read(what: str, path: list[str]) -> dict[str, Any]:
    found = {"application/json": {"schema": {"$ref": "#/components/schemas/PlivoResource"}}}
    responses: dict[str, Any] = {
        str(status): {"description": "Status and body are Plivo's.", "content": found}
        for status in statuses(Cause.ACCEPTED)
    }
    return {
        "operationId": f"read{what.capitalize()}",
        "summary": f"Read a {what} from Plivo",
        "description": "Plivo's SDKs do this before an action. A query string is ignored. A body "
        "is refused; sign an empty one.",
        "security": _CREDENTIALS,
        "parameters": [*map(_path_parameter, path)],
        "responses": responses | _refusals(_waits(READ_CAUSES)),
    }


def _look_up() -> dict[str, Any]:
    record = {"application/json": {"schema": {"$ref": "#/components/schemas/ActionRecord"}}}
    responses: dict[str, Any] = {
        "200": {"description": "The action's record in the ledger.", "content": record}
    }
    return {
        "operationId": "action",
        "summary": "Look up an action",
        "description": "Only for the client that requested the action; others get 404. "
        "A body is refused; sign an empty one.",
        "security": _CREDENTIALS,
        "parameters": [_path_parameter("action_id")],
        "responses": responses | _refusals(_waits(LOOKUP_CAUSES)),
    }


def _waits(causes: Iterable[Cause]) -> dict[Cause, list[str]]:
    """The headers of a GET's answer, by cause."""
    return {cause: ["Retry-After"] if TABLE[cause].retry_after else [] for cause in causes}


def _refusals(headers: Mapping[Cause, Iterable[str]]) -> dict[str, Any]:
    """The answers that are problems, by status; ``headers`` has the headers of each cause."""
    by_status: dict[int, list[Cause]] = {status: [] for status in GATEWAY_STATUSES}
    for cause in headers:
        if cause is not Cause.ACCEPTED:
            for status in statuses(cause):
                by_status.setdefault(status, []).append(cause)
    return {
        str(status): _problem(
            status, causes_of_it, [name for cause in causes_of_it for name in headers[cause]]
        )
        for status, causes_of_it in sorted(by_status.items())
    }


def _problem(status: int, causes: list[Cause], of_causes: Iterable[str]) -> dict[str, Any]:
    lines = [f"- `{cause}`: {TABLE[cause].title}. {TABLE[cause].advice}" for cause in causes]
    kinds: list[dict[str, Any]] = []
    if causes:
        kinds.append({"enum": [TYPE_PREFIX + cause for cause in causes]})
    if status in GATEWAY_STATUSES:
        lines.append("- `gateway-...`: API Gateway itself refused the request, or got no answer.")
        kinds.append({"pattern": f"^{TYPE_PREFIX}gateway-[a-z-]+$"})
    headers = [*of_causes]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers.append("Retry-After")
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append("WWW-Authenticate")
    return {
        "description": f"{HTTPStatus(status).phrase}.\n\n" + "\n".join(lines),
        "headers": _references(headers),
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


def _references(headers: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS if name in headers}


def _acknowledged(headers: Iterable[str]) -> dict[str, Any]:
    return {
        "description": TABLE[Cause.ACCEPTED].advice + " Status and body are Plivo's.",
        "headers": _references(headers),
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/Acknowledgement"}}
        },
    }


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"action_id": "ActionId", "member_address": "Address"}.get(name, "Id")
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"name": name, "in": "path", "required": True, "schema": reference}


def _fields(shape: contract.Shape) -> dict[str, Any]:
    """The schema of a shape's body."""
    of_path = ("phlo_id", "node_id", "member_address")
    properties = shape.schema["properties"]
    return {
        "title": shape.schema["title"],
        "description": shape.schema["description"]
        + " The fields of the path may be repeated in the body, so that a signature covers them.",
        "type": "object",
        "additionalProperties": False,
        "required": [name for name in shape.schema["required"] if name not in of_path],
        "properties": {name: _plain(properties[name]) for name in shape.webhook_fields},
    }


def _schemas() -> dict[str, Any]:
    moment = {"type": "string", "format": "date-time"}
    record = {
        "action_id": {"$ref": "#/components/schemas/ActionId"},
        "action": {"type": "string", "description": "Plivo's name of the action."},
        "reference": {"type": "string", "description": "As in the request, or empty."},
        "state": {"enum": [*State, None], "description": "null: written by a newer version."},
        "outcome": {"enum": [*Outcome, None], "description": "null while it is open."},
        "cause": {"enum": [*(c for c in TABLE if TABLE[c].outcome), None]},
        "status": {
            "type": ["integer", "null"],
            "description": "The status with which the request is answered.",
        },
        "api_id": {"type": "string", "description": "Plivo's id, or empty."},
        "error": {"type": "string", "description": "Plivo's text, or empty."},
        "first_seen": moment,
        "settled_at": {**moment, "type": ["string", "null"]},
        "resolution": {
            "enum": [*Resolution, None],
            "description": "How a person resolved an unknown outcome.",
        },
        "resolved_at": {**moment, "type": ["string", "null"]},
        "duplicate_of": {
            "description": "The action under another key whose outcome this one shares.",
            "anyOf": [{"$ref": "#/components/schemas/ActionId"}, {"type": "null"}],
        },
    }
    return {
        "Address": _plain(contract.DEFINITIONS["address"]),
        "Id": _plain(contract.DEFINITIONS["id"]),
        "ActionId": {"type": "string", "pattern": f"^{ACTION_ID.pattern}$"},
        "NodeAction": _fields(contract.ON_NODE),
        "MemberAction": _fields(contract.ON_MEMBER),
        "PlivoResource": {
            "description": "Plivo's description of a PHLO or a node, unchanged.",
            "type": "object",
            "examples": [
                {
                    "api_id": "36989807-a76f-4555-84d1-9dfdccca7a80",
                    "node_id": "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04",
                    "phlo_id": "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2",
                    "name": "Multi-Party Call_1",
                    "node_type": "multi_party_call",
                    "created_on": "2020-08-01 09:05:11.846982+00:00",
                }
            ],
        },
        "Acknowledgement": {
            "description": "Plivo's acknowledgement. It does not say that the call was moved.",
            "type": "object",
            "required": ["api_id", "error"],
            "properties": {"api_id": {"type": "string"}, "error": {"const": ""}},
        },
        "Problem": {
            "description": "RFC 9457, with the two members that Plivo's SDKs read.",
            "type": "object",
            "required": ["type", "title", "detail"],
            "properties": {
                "type": {"type": "string", "pattern": f"^{TYPE_PREFIX}[a-z-]+$"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "instance": {"type": "string"},
                "error": {"type": "string", "description": "Plivo's text, or the detail."},
                "api_id": {"type": "string", "description": "Plivo's id, or empty."},
                "resolution": {
                    "description": "How a person resolved an unknown outcome.",
                    "enum": [*Resolution],
                },
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
            "description": "The action's record; null for what is not known yet.",
            "type": "object",
            "additionalProperties": False,
            "required": list(record),
            "properties": record,
        },
    }


def _plain(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition of the contract without the members that are for texts of faults (``x-…``)."""
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


_CREDENTIALS: list[dict[str, list[str]]] = [
    {"bearer": []},
    {"basic": []},
    {"webhookId": [], "webhookTimestamp": [], "webhookSignature": []},
]


def _security_schemes() -> dict[str, Any]:
    def header(name: str, description: str) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": name, "description": description}

    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of the client. Ignored if there is a webhook-... header.",
        },
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": "Name and token of the client, as a Plivo SDK sends them.",
        },
        "webhookId": header("webhook-id", "Standard Webhooks: the key of the request."),
        "webhookTimestamp": header(
            "webhook-timestamp",
            "Standard Webhooks: epoch seconds, at most 5 minutes off. An action that was signed "
            "more than MaxRequestAgeSeconds ago is not sent.",
        ),
        "webhookSignature": header(
            "webhook-signature",
            "Standard Webhooks: v1,base64(HMAC-SHA256(secret, id.timestamp.body)).",
        ),
    }
