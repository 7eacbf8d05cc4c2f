"""Sends requests to a local stack, as its clients do."""

import base64
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import urllib3
from standardwebhooks import Webhook

from local.credentials import CLIENTS

PHLO_ID = "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2"
NODE_ID = "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04"
SDK_CLIENTS = "MA"  # the names of clients that use a Plivo SDK begin with this, like an Auth ID
DETAIL_TYPE = "Cold Transfer Requested"
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to the webhook and its answer.

    answer_headers
        With names in lower case.
    milliseconds
        How long the sender waited for the answer.
    """

    url: str
    headers: Mapping[str, str]
    body: str
    status: int
    answer_headers: Mapping[str, str]
    answer: str
    milliseconds: float


def headers_of(client: str, key: str, body: str) -> dict[str, str]:
    """The headers that a client sends with a JSON body: a signature if it can sign, else its token.

    The token is sent as Bearer; by a client named like a Plivo account as Basic, as Plivo's SDKs
    do.

    key
        The idempotency key. If it is empty, a signed request gets a random id as its key, and any
        other request has no key.
    """
    credentials, content = CLIENTS[client], {"Content-Type": "application/json"}
    if "signing_secrets" not in credentials:
        token = credentials["tokens"][0]
        authorization = f"Bearer {token}"
        if client.startswith(SDK_CLIENTS):
            authorization = f"Basic {base64.b64encode(f'{client}:{token}'.encode()).decode()}"
        headers = content | {"Authorization": authorization}
        return headers | ({"Idempotency-Key": key} if key else {})
    now, message_id = datetime.now(UTC), key or f"msg_{uuid.uuid4().hex}"
    return content | {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(credentials["signing_secrets"][0]).sign(message_id, now, body),
    }


def post(
    http: urllib3.PoolManager,
    url: str,
    headers: Mapping[str, str],
    body: str,
    patience: float = PATIENCE_SECONDS,
) -> Exchange:
    """POST once, without retries or redirects; ``patience`` is the time-out in seconds.

    Raises
    ------
    urllib3.exceptions.HTTPError
        There was no answer.
    """
    begun = time.perf_counter()
    answer = http.request(
        "POST",
        url,
        body=body,
        headers=headers,
        timeout=patience,
        retries=False,
        redirect=False,
    )
    milliseconds = (time.perf_counter() - begun) * 1000
    lower = {name.lower(): value for name, value in answer.headers.items()}
    text = answer.data.decode()
    return Exchange(url, headers, body, answer.status, lower, text, milliseconds)


def entry_of(detail: Mapping[str, Any], stack: Mapping[str, Any]) -> dict[str, str]:
    """The entry of PutEvents for a cold transfer; ``stack`` is like `.local/stack.json`."""
    return {
        "Source": stack["event_source"],
        "DetailType": DETAIL_TYPE,
        "EventBusName": stack["event_bus_name"],
        "Detail": json.dumps(detail),
    }
