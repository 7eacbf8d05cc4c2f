"""Builders of what AWS hands to a function: one per event, every piece replaceable.

The forms are those of API Gateway's REST proxy integration (payload version 1.0) and of
EventBridge. The credentials are those of the local stack: fixed, and worth nothing elsewhere.
"""

import base64
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from standardwebhooks import Webhook

from cold_transfer.action import ActionName

PHLO_ID = "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2"
NODE_ID = "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04"
TO = "+14152225555"
TRIGGER_SOURCE = "+14152223333"

#: The request body of Plivo's own example.
FIELDS: Mapping[str, object] = {
    "action": "cold_transfer",
    "to": TO,
    "role": "agent",
    "trigger_source": TRIGGER_SOURCE,
}

CRM_SIGNING_SECRET = "whsec_bG9jYWwtc3RhY2stY3JtLXNpZ25pbmctc2VjcmV0ISE="
PHLO_TOKEN = "local-phlo-token-not-a-secret-0001"
SDK_CLIENT = "MALOCALSDKCLIENT0001"
SDK_TOKEN = "local-sdk-token-not-a-secret-0000001"
LIMITED_TOKEN = "local-limited-token-not-a-secret-01"
KEYED_TOKEN = "local-keyed-token-not-a-secret-0001"
LIMITED_PHLO_ID = "00000000-0000-4000-8000-00000000beef"

ACCOUNT = "000000000000"
REGION = "us-east-1"
EVENT_SOURCE = "plivo-cold-transfer.client"
OUTCOME_SOURCE = "plivo-cold-transfer"
DETAIL_TYPE = "Cold Transfer Requested"

PHLO_RESOURCE = "/v1/phlo/{phlo_id}"
RESOURCE = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"
MEMBER_RESOURCE = f"{RESOURCE}/members/{{member_address}}"
LOOKUP_RESOURCE = "/v1/actions/{action_id}"

_STAGE = "prod"
_API_ID = "a1b2c3d4e5"
_HOST = f"{_API_ID}.execute-api.{REGION}.amazonaws.com"
_SOURCE_IP = "203.0.113.10"
_USER_AGENT = "crm/2.1"

type Headers = Mapping[str, str] | Iterable[tuple[str, str]]


def bearer(token: str = PHLO_TOKEN) -> dict[str, str]:
    """The header of a client that holds a token."""
    return {"Authorization": f"Bearer {token}"}


def basic(name: str = SDK_CLIENT, token: str = SDK_TOKEN) -> dict[str, str]:
    """The header of a Plivo SDK that has the client's name and token instead of Plivo's."""
    pair = base64.b64encode(f"{name}:{token}".encode()).decode("ascii")
    return {"Authorization": f"Basic {pair}"}


def signed(
    body: str,
    *,
    secret: str = CRM_SIGNING_SECRET,
    webhook_id: str | None = None,
    at: datetime | None = None,
) -> dict[str, str]:
    """The three headers of Standard Webhooks over ``body``, made by the official library.

    ``at`` has to be in UTC; the default is now. The default id is a new one each time.
    """
    webhook_id = webhook_id or f"msg_{uuid.uuid4().hex}"
    at = at or datetime.now(tz=UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(msg_id=webhook_id, timestamp=at, data=body),
    }


def fields(**changes: object) -> dict[str, object]:
    """The example's fields with ``changes``; a change to None leaves a field out."""
    changed = {**FIELDS, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def webhook_event(  # noqa: PLR0913 - every piece of the event can be replaced on its own
    body: str | bytes | Mapping[str, object] | None = None,
    *,
    headers: Headers | None = None,
    content_type: str | None = "application/json",
    phlo_id: str = PHLO_ID,
    node_id: str = NODE_ID,
    member_address: str | None = None,
    query: Iterable[tuple[str, str]] = (),
    base64_encoded: bool = False,
    trailing_slash: bool = False,
    request_id: str | None = None,
) -> dict[str, Any]:
    """A POST of an action.

    Parameters
    ----------
    body
        Text or bytes as they are sent, or fields that are sent as JSON; the default is Plivo's
        own example. Bytes arrive base64-encoded.
    headers
        Replace the credential (a bearer token); pairs may repeat a name.
    content_type
        None sends no such header.
    member_address
        For an action on a member: the address as it is in the path.
    query
        Pairs of the query string, as decoded.
    """
    if body is None:
        body = FIELDS
    if isinstance(body, Mapping):
        body = json.dumps(body)
    if isinstance(body, bytes):
        base64_encoded = True
    elif base64_encoded:
        body = body.encode()
    text = base64.b64encode(body).decode("ascii") if isinstance(body, bytes) else body
    pairs = _pairs(bearer() if headers is None else headers)
    if content_type is not None:
        pairs.insert(0, ("Content-Type", content_type))
    of_path = {"phlo_id": phlo_id, "node_id": node_id}
    resource = RESOURCE
    path = RESOURCE.format(phlo_id=quote(phlo_id), node_id=quote(node_id))
    if member_address is not None:
        of_path["member_address"] = member_address
        resource = MEMBER_RESOURCE
        path += f"/members/{member_address}"
    return _proxy_event(
        method="POST",
        resource=resource,
        path=path + ("/" if trailing_slash else ""),
        path_parameters=of_path,
        pairs=pairs,
        query=list(query),
        body=text,
        is_base64=base64_encoded,
        request_id=request_id,
    )


def lookup_event(
    action_id: str,
    *,
    headers: Headers | None = None,
    query: Iterable[tuple[str, str]] = (),
    request_id: str | None = None,
) -> dict[str, Any]:
    """A GET of what the ledger knows of an action."""
    return _proxy_event(
        method="GET",
        resource=LOOKUP_RESOURCE,
        path=LOOKUP_RESOURCE.format(action_id=quote(action_id)),
        path_parameters={"action_id": action_id},
        pairs=_pairs(bearer() if headers is None else headers),
        query=list(query),
        body=None,
        is_base64=False,
        request_id=request_id,
    )


def read_event(
    phlo_id: str = PHLO_ID,
    node_id: str | None = None,
    *,
    headers: Headers | None = None,
    query: Iterable[tuple[str, str]] = (),
    request_id: str | None = None,
) -> dict[str, Any]:
    """A GET of a PHLO, or of its node, which is read through to Plivo."""
    of_path = {"phlo_id": phlo_id}
    resource = PHLO_RESOURCE
    if node_id is not None:
        of_path["node_id"] = node_id
        resource = RESOURCE
    return _proxy_event(
        method="GET",
        resource=resource,
        path=resource.format(**{name: quote(value) for name, value in of_path.items()}),
        path_parameters=of_path,
        pairs=_pairs(bearer() if headers is None else headers),
        query=list(query),
        body=None,
        is_base64=False,
        request_id=request_id,
    )


#: Values that are not an event, for either entry point.
NO_EVENTS: tuple[object, ...] = (None, [], "text", 7, True, [{}])


def detail(**changes: object) -> dict[str, object]:
    """The example as an event's detail, with ``changes``; a change to None leaves a field out."""
    return fields(**{"phlo_id": PHLO_ID, "node_id": NODE_ID, **changes})


def detail_of(name: str, **changes: object) -> dict[str, object]:
    """The detail of an event that requests the action ``name``, with ``changes``."""
    if ActionName(name).dials:
        return detail(**{"action": name, **changes})
    of_member = {"to": None, "role": None, "trigger_source": None, "member_address": TRIGGER_SOURCE}
    return detail(**{"action": name, **of_member, **changes})


def detail_type_of(name: str) -> str:
    return f"{name.replace('_', ' ').title()} Requested"


def pieces_of(name: str, **changes: object) -> dict[str, Any]:
    """Body and path of a webhook that requests the action ``name``, for ``webhook_event``."""
    if ActionName(name).dials:
        return {"body": fields(**{"action": name, **changes})}
    return {"body": {"action": name, **changes}, "member_address": TRIGGER_SOURCE}


def eventbridge_event(  # noqa: PLR0913 - every piece of the event can be replaced on its own
    of: object = None,
    *,
    event_id: str | None = None,
    at: datetime | None = None,
    source: str = EVENT_SOURCE,
    account: str = ACCOUNT,
    detail_type: str = DETAIL_TYPE,
) -> dict[str, Any]:
    """An event as the rule delivers it; ``of`` is its detail, ``at`` (UTC) its time, else now.

    EventBridge keeps whole seconds of the time.
    """
    at = at or datetime.now(tz=UTC)
    return {
        "version": "0",
        "id": event_id or str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": account,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [],
        "detail": detail() if of is None else of,
    }


@dataclass
class FakeLambdaContext:
    """The context object of the Python runtime.

    fixed_ms
        The constant remaining time, if it is not to run down.
    """

    timeout_ms: int = 25_000
    fixed_ms: int | None = None
    function_name: str = "plivo-cold-transfer-webhook"
    function_version: str = "1"
    memory_limit_in_mb: str = "512"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    _began: float = field(default_factory=time.monotonic, repr=False)

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}:live"

    @property
    def log_group_name(self) -> str:
        return f"/aws/lambda/{self.function_name}"

    @property
    def log_stream_name(self) -> str:
        return "2026/03/14/[1]0123456789abcdef0123456789abcdef"

    @property
    def client_context(self) -> None:
        return None

    @property
    def identity(self) -> None:
        return None

    def get_remaining_time_in_millis(self) -> int:
        if self.fixed_ms is not None:
            return self.fixed_ms
        spent = (time.monotonic() - self._began) * 1000
        return max(0, int(self.timeout_ms - spent))


def _pairs(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _proxy_event(  # noqa: PLR0913 - the pieces in which the two requests differ
    *,
    method: str,
    resource: str,
    path: str,
    path_parameters: dict[str, str],
    pairs: list[tuple[str, str]],
    query: list[tuple[str, str]],
    body: str | None,
    is_base64: bool,
    request_id: str | None,
) -> dict[str, Any]:
    now = datetime.now(tz=UTC)
    pairs = [
        ("Accept", "*/*"),
        ("Host", _HOST),
        ("User-Agent", _USER_AGENT),
        ("X-Amzn-Trace-Id", f"Root=1-{int(now.timestamp()):08x}-{uuid.uuid4().hex[:24]}"),
        ("X-Forwarded-For", _SOURCE_IP),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
        *pairs,
    ]
    multi_value_headers = _grouped(pairs)
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        # API Gateway keeps the last value of a repeated name here, and all of them below.
        "headers": dict(pairs),
        "multiValueHeaders": multi_value_headers,
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _grouped(query) or None,
        "pathParameters": path_parameters,
        "stageVariables": None,
        "requestContext": {
            "resourceId": "r3s0rc",
            "resourcePath": resource,
            "httpMethod": method,
            "extendedRequestId": "SmZgbHIAoAMEbqw=",
            "requestTime": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "path": f"/{_STAGE}{path}",
            "accountId": ACCOUNT,
            "protocol": "HTTP/1.1",
            "stage": _STAGE,
            "domainPrefix": _API_ID,
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "requestId": request_id or str(uuid.uuid4()),
            "identity": {
                "cognitoIdentityPoolId": None,
                "accountId": None,
                "cognitoIdentityId": None,
                "client": None,
                "sourceIp": _SOURCE_IP,
                "principalOrgId": None,
                "accessKey": None,
                "cognitoAuthenticationType": None,
                "cognitoAuthenticationProvider": None,
                "userArn": None,
                "userAgent": _USER_AGENT,
                "user": None,
            },
            "domainName": _HOST,
            "deploymentId": "d3pl0y",
            "apiId": _API_ID,
        },
        "body": body,
        "isBase64Encoded": is_base64,
    }


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped
