"""What every measured program asks for: a webhook's event, and the same action as a bare POST."""

import itertools
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

PHLO_ID = "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2"
NODE_ID = "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04"
PATH = f"/v1/phlo/{PHLO_ID}/multi_party_call/{NODE_ID}"
FROM = "+14152223333"
TOKEN = "benchmark-token-not-a-secret-000001"  # noqa: S105  made up
AUTH_ID, AUTH_TOKEN = "MABENCHMARKACCOUNT00", "benchmark-token"

_RESOURCE = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"
_TEMPLATE: dict[str, Any] = {
    "resource": _RESOURCE,
    "path": PATH,
    "httpMethod": "POST",
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "pathParameters": {"phlo_id": PHLO_ID, "node_id": NODE_ID},
    "stageVariables": None,
    "requestContext": {
        "accountId": "123456789012",
        "apiId": "a1b2c3d4e5",
        "domainName": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
        "httpMethod": "POST",
        "identity": {"sourceIp": "203.0.113.7", "userAgent": "bench"},
        "path": f"/live{PATH}",
        "protocol": "HTTP/1.1",
        "requestId": "5b2b7a1e-7d4b-4f6a-8a34-0d3f1a1c9e55",
        "resourceId": "x1y2z3",
        "resourcePath": _RESOURCE,
        "stage": "live",
    },
    "isBase64Encoded": False,
}


class Context:
    """Of Lambda's context, what the entry points and Powertools read."""

    function_name = "bench"
    function_version = "$LATEST"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:bench"

    def __init__(self) -> None:
        self.aws_request_id = str(uuid.uuid4())
        self._end = time.monotonic() + 25

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - time.monotonic()) * 1000)


def actions() -> Iterator[dict[str, str]]:
    """Bodies of actions, each to another number, since a duplicate is not sent."""
    for number in itertools.count(time.time_ns() // 1000 % 10**9):
        yield {
            "action": "cold_transfer",
            "to": f"+1{number:012}",
            "role": "agent",
            "trigger_source": FROM,
        }


def events() -> Iterator[dict[str, Any]]:
    """Webhooks as API Gateway's REST proxy integration hands them over, each a new action."""
    for action in actions():
        headers = {
            "Accept": "*/*",
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/json",
            "Host": "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
            "Idempotency-Key": f"bench-{uuid.uuid4()}",
            "User-Agent": "bench",
            "X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793",
            "X-Forwarded-For": "203.0.113.7",
            "X-Forwarded-Port": "443",
            "X-Forwarded-Proto": "https",
        }
        yield {
            **_TEMPLATE,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "body": json.dumps(action),
        }
