"""Sends the orders of a plan through the entry points of a deployed stack."""

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import boto3
import urllib3
from botocore.config import Config

from benchmarks.load.audit import Answer, Found, Played, Sent
from benchmarks.load.plan import Order, Resend
from cold_transfer.action import EntryPoint
from cold_transfer.causes import Cause
from cold_transfer.entrypoints.problem import TYPE_PREFIX
from cold_transfer.errors import InProgress
from cold_transfer.ledger.record import OPEN, Record, State
from cold_transfer_cli.dead_letters import Queue
from cold_transfer_cli.records import Records, action_id
from local.emulator import REGION
from local.sender import (
    DETAIL_TYPE,
    NODE_ID,
    PATIENCE_SECONDS,
    PHLO_ID,
    entry_of,
    headers_of,
    post,
)
from local.stack import Stack
from local.waiting import eventually

#: After these a sender asks again with the same key, as the problem advises; so does this one. The
#: empty one is an answer of the emulator's own, which a machine that cannot keep up gets.
ASK_AGAIN = frozenset(
    {Cause.DEPENDENCY_UNAVAILABLE, Cause.OUT_OF_TIME, Cause.PLIVO_THROTTLED, "gateway-failed", ""}
)
MOST_TRIES = 30

_THROTTLED = 429
_IN_PROGRESS = str(InProgress("", 1))


class EntryPoints(Protocol):
    """A way to ask."""

    def send(self, order: Order, entry_point: EntryPoint, key: str, *, again: bool) -> Sent:
        """Ask for the order; ``again`` is true for its second request."""


def play(entry_points: EntryPoints, order: Order) -> Played:
    """Ask for the order as often as it says."""
    other = EntryPoint.EVENT if order.entry_point is EntryPoint.WEBHOOK else EntryPoint.WEBHOOK
    entry_point, key = order.entry_point, order.key
    if order.resend is Resend.AT_ONCE:
        with ThreadPoolExecutor(2) as pool:
            both = [
                pool.submit(entry_points.send, order, entry_point, key, again=it)
                for it in (False, True)
            ]
            return Played(order, [each.result() for each in both])
    first = entry_points.send(order, entry_point, key, again=False)
    match order.resend:
        case Resend.LATER:
            return Played(order, [first, entry_points.send(order, entry_point, key, again=True)])
        case Resend.OTHER_KEY:
            return Played(
                order, [first, entry_points.send(order, entry_point, order.second_key, again=True)]
            )
        case Resend.OTHER_ENTRY_POINT:
            return Played(
                order, [first, entry_points.send(order, other, order.second_key, again=True)]
            )
        case _:
            return Played(order, [first])


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the webhook."""

    headers: Mapping[str, str]
    body: str
    action_id: str


def webhook_request(order: Order, key: str) -> Request:
    """The client's request: signed, or with a token and an ``Idempotency-Key``."""
    body = json.dumps(_fields(order))
    headers = headers_of(order.client, key, body)
    if order.manner.cause is Cause.UNAUTHORIZED:
        headers |= {"webhook-signature": "v1,AAAA", "Authorization": "Bearer nobody-has-this-one"}
    return Request(headers, body, action_id(EntryPoint.WEBHOOK, order.client, key))


def event_of(order: Order, key: str, source: str) -> dict[str, Any]:
    """The order as EventBridge hands it to a function."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "source": source,
        "account": "000000000000",
        "region": REGION,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resources": [],
        "detail-type": DETAIL_TYPE,
        "detail": {
            "phlo_id": PHLO_ID,
            "node_id": NODE_ID,
            "idempotency_key": key,
            **_fields(order),
        },
    }


def answer_of(status: int, headers: Mapping[str, str], body: str) -> Answer:
    """The webhook's answer; header names are in lower case."""
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    accepted = Cause.ACCEPTED if "api_id" in said and status // 100 == 2 else ""  # noqa: PLR2004  2xx
    return Answer(
        status,
        str(said["type"]).removeprefix(TYPE_PREFIX) if "type" in said else accepted,
        action_id=headers.get("action-id", ""),
        replayed=headers.get("idempotency-replayed") == "true",
        duplicate_of=headers.get("duplicate-of", ""),
        retry_after=int(headers.get("retry-after", "0")),
    )


def goes_on(order: Order, answer: Answer, tries: int) -> bool:
    """Whether a sender asks again: the answer asks for it, and is not the one that was planned."""
    unplanned = answer.cause in ASK_AGAIN and answer.cause != order.manner.cause
    return unplanned and tries < MOST_TRIES


class Deployed:
    """The entry points of a deployed stack: API Gateway's address, the bus, the event function."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        described = stack.description
        self._source = str(described["event_source"])
        self._function = str(described["functions"]["event"])
        self._url = stack.webhook_url.format(phlo_id=PHLO_ID, node_id=NODE_ID)
        self._http = urllib3.PoolManager(maxsize=32)
        self._events = self._client("events")
        self._lambda = self._client("lambda")
        self._records = Records(self._client("dynamodb"), str(described["ledger_table"]))

    def close(self) -> None:
        self._http.clear()
        for client in (self._events, self._lambda):
            client.close()

    def send(self, order: Order, entry_point: EntryPoint, key: str, *, again: bool) -> Sent:
        """Ask through the webhook, or as an event.

        An event that should be accepted goes over the bus, and when sent again, straight to the
        function, to see what it returns. One that should fail is an asynchronous invocation, as a
        rule makes it: only then does the emulator use the dead-letter queue.
        """
        if entry_point is EntryPoint.WEBHOOK:
            return self._post(order, key)
        event = event_of(order, key, self._source)
        mine = action_id(EntryPoint.EVENT, self._source, key)
        if order.manner.state is State.ACCEPTED and again:
            return self._invoke(event, mine)
        sent = time.time()
        if order.manner.state is State.ACCEPTED:
            entry = entry_of(event["detail"], self._stack.description)
            self._events.put_events(Entries=[entry])
        else:
            self._lambda.invoke(
                FunctionName=self._function,
                InvocationType="Event",
                Payload=json.dumps(event).encode(),
            )
        # a replay leaves no trace but its dead letter
        settles = order.manner.state is not None and not (
            again and order.resend is Resend.LATER and order.manner.is_final
        )
        seconds = self._settled(mine, sent) if settles else 0.0
        failing = order.manner.state is not State.ACCEPTED
        return Sent(entry_point, mine, None, seconds, dead_letter=failing)

    def _post(self, order: Order, key: str) -> Sent:
        tries = 0
        while True:
            request = webhook_request(order, key)
            exchange = post(self._http, self._url, request.headers, request.body)
            answer = answer_of(exchange.status, exchange.answer_headers, exchange.answer)
            tries += 1
            if not goes_on(order, answer, tries):
                seconds = exchange.milliseconds / 1000
                return Sent(EntryPoint.WEBHOOK, request.action_id, answer, seconds, tries)
            time.sleep(max(answer.retry_after, 1))

    def _invoke(self, event: Mapping[str, Any], mine: str) -> Sent:
        begun = time.perf_counter()
        reply = self._lambda.invoke(FunctionName=self._function, Payload=json.dumps(event).encode())
        said = json.loads(reply["Payload"].read())
        seconds = time.perf_counter() - begun
        if "FunctionError" in reply:
            text = str(said.get("errorMessage", ""))
            named = re.search(r"\w+: ([a-z-]+) \(Action-Id", text)
            cause = Cause.IN_PROGRESS if text == _IN_PROGRESS else named[1] if named else text
            return Sent(EntryPoint.EVENT, mine, Answer(None, cause, replayed=None), seconds)
        return Sent(EntryPoint.EVENT, mine, returned(said), seconds)

    def _settled(self, mine: str, sent: float) -> float:
        """Seconds from ``sent`` until the record was settled; waits for it."""

        def settled_at() -> float:
            """Since the epoch; 0 while that is not so."""
            known = self._records.look(mine)
            if known is None or known.own.state in OPEN:
                return 0.0
            at = known.own.settled_at / 1000
            return at if at >= sent - 0.001 else 0.0  # the record has whole milliseconds

        at = eventually(settled_at, PATIENCE_SECONDS)
        return at - sent if at else PATIENCE_SECONDS

    def _client(self, service: str) -> Any:  # noqa: ANN401  one of many clients; boto3 types it so too
        make: Any = boto3.client
        return make(
            service,
            REGION,
            endpoint_url=self._stack.endpoint_url,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106  the emulator's
            config=Config(
                read_timeout=PATIENCE_SECONDS,
                max_pool_connections=64,
                retries={"total_max_attempts": 1},
            ),
        )


def returned(result: Mapping[str, Any]) -> Answer:
    """The answer of an event function that returned."""
    return Answer(
        None,
        str(result["outcome"] or Cause.IN_PROGRESS),
        action_id=str(result["action_id"]),
        replayed=bool(result.get("replayed")),
        duplicate_of=str(result.get("duplicate_of") or ""),
    )


def found(stack: Stack, received: Iterable[Mapping[str, Any]], letters: int) -> Found:
    """What a run left behind.

    received
        Every POST that Plivo received.
    letters
        How many dead letters there have to be: they are waited for, 60 s at most.
    """
    pages = stack.aws("dynamodb").get_paginator("scan")
    table = stack.description["ledger_table"]
    records = {
        record.action_id: record
        for page in pages.paginate(TableName=table, ConsistentRead=True)
        for record in map(Record.from_item, page["Items"])
        if record.client
    }
    acted_on, throttled = Counter[str](), Counter[str]()
    for request in received:
        counted = throttled if request["status"] == _THROTTLED else acted_on
        counted[str(json.loads(request["body"])["trigger_source"])] += 1
    source = str(stack.description["event_source"])
    queue = Queue(stack.aws("sqs"), str(stack.description["dead_letter_queue_url"]))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        dead = Counter(letter.action_id(source) or letter.reason for letter in queue.letters())
        if dead.total() >= letters or time.monotonic() > deadline:
            return Found(records, acted_on, throttled, dead)
        time.sleep(1)


def _fields(order: Order) -> dict[str, str]:
    fields = {"to": order.to, "role": "agent", "trigger_source": order.trigger_source}
    if order.manner.cause is Cause.FIELDS_INVALID:
        fields["role"] = "supervisor"
    if order.manner.cause is Cause.TOO_OLD:
        fields["requested_at"] = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    return fields
