"""A minute of traffic through both entry points of a local stack, for the picture of the dashboard.

Most of it is accepted. The rest is what a contact centre sees on a bad day: repeats, numbers that
Plivo rejects, its rate limit, answers that never come, a client without a credential.
"""

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from standardwebhooks import Webhook

from local.credentials import CLIENTS
from local.demo import NODE_ID, PHLO_ID
from local.stack import DETAIL_TYPE, Stack

#: ``to`` = this and three digits: the simulator fails as they say (``simulator_rules``).
FAILING = "+15550100"
PATIENCE_SECONDS = 60.0

#: One round, five seconds. w: webhook, e: event; what follows is the end of a failing ``to``, or
#: a word that ``Traffic`` knows.
ROUNDS = (
    "w w e w",
    "w e w w w w",
    "w w-repeat e w w-400 w e",
    "w w w e w w w-unauthorized w",
    "w e w-429 w-429 w e-429 w w-repeat",
    "w w w-429 e w w w w-invalid",
    "w e w w-500 w w e w-repeat",
    "w w w e w w-404 w w",
    "w e-400 w w w-unauthorized w e w-late",
    "w w w w-001 e w w-repeat w",
    "w e w w w e",
    "w w e w",
)


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer of the API; ``at`` in seconds since the epoch."""

    at: float
    status: int


@dataclass(frozen=True, slots=True)
class Depth:
    """Messages in a queue at one moment."""

    at: float
    queue: str
    messages: int


class Traffic:
    """Sends ``ROUNDS`` to a stack and watches its queues meanwhile, until the context ends."""

    def __init__(self, stack: Stack, seconds_per_round: float = 5.0) -> None:
        self._stack = stack
        self._seconds = seconds_per_round
        self._url = stack.webhook_url.format(phlo_id=PHLO_ID, node_id=NODE_ID)
        self._numbers = itertools.count(7_300_000)
        self._clients = itertools.cycle(["crm", "crm", "phlo"])
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watch_queues, daemon=True)
        self.answers: list[Answered] = []
        self.depths: list[Depth] = []

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watch.join()

    def send(self) -> int:
        """All rounds, each spread over its seconds; returns how many requests those were."""
        begun = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            sent = []
            for number, text in enumerate(ROUNDS):
                kinds = text.split()
                for place, kind in enumerate(kinds):
                    due = begun + (number + place / len(kinds)) * self._seconds
                    time.sleep(max(0.0, due - time.monotonic()))
                    sent.append(pool.submit(self._one, kind))
            return sum(each.result() for each in sent)

    def _one(self, kind: str) -> int:
        entry_point, _, manner = kind.partition("-")
        fields = self._fields(manner)
        if entry_point == "e":
            self._event(fields, fails=bool(manner))
            return 1
        if manner == "unauthorized":
            self._webhook(fields, {"Authorization": "Bearer nobody-has-this-token"})
            return 1
        client = next(self._clients)
        headers = _signed(fields) if client == "crm" else _bearer(client)
        self._webhook(fields, headers)
        if manner != "repeat":
            return 1
        self._webhook(fields, headers)
        return 2

    def _fields(self, manner: str) -> dict[str, str]:
        to = f"{FAILING}{manner}" if manner.isdecimal() else f"+1415{next(self._numbers)}"
        fields = {"to": to, "role": "agent", "trigger_source": f"+1415{next(self._numbers)}"}
        if manner == "invalid":
            fields["role"] = "supervisor"
        if manner == "late":
            fields["requested_at"] = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
        return fields

    def _webhook(self, fields: Mapping[str, str], headers: Mapping[str, str]) -> None:
        request = urllib.request.Request(  # noqa: S310 -- our own http address
            self._url,
            json.dumps(fields).encode(),
            {"Content-Type": "application/json", **headers},
            method="POST",
        )
        try:
            answer = urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)  # noqa: S310 -- our own http address
        except urllib.error.HTTPError as refusal:
            answer = refusal
        with answer:
            self.answers.append(Answered(time.time(), answer.status))

    def _event(self, fields: Mapping[str, str], *, fails: bool) -> None:
        described = self._stack.description
        detail = {"phlo_id": PHLO_ID, "node_id": NODE_ID, **fields}
        if not fails:
            entry = {
                "Source": described["event_source"],
                "DetailType": DETAIL_TYPE,
                "EventBusName": described["event_bus_name"],
                "Detail": json.dumps(detail),
            }
            self._stack.aws("events").put_events(Entries=[entry])
            return
        # The emulator's bus forgets an event whose target fails; what EventBridge does there is
        # this asynchronous invocation, and the emulator takes that to the dead-letter queue.
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "source": described["event_source"],
            "account": "000000000000",
            "region": described["aws_region"],
            "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "resources": [],
            "detail-type": DETAIL_TYPE,
            "detail": detail,
        }
        self._stack.aws("lambda").invoke(
            FunctionName=described["functions"]["event"],
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )

    def _watch_queues(self) -> None:
        sqs = self._stack.aws("sqs")
        urls = [self._stack.deployed.resources[name] for name in QUEUES]
        name = "ApproximateNumberOfMessages"
        while True:
            for url in urls:
                found: dict[str, Any] = sqs.get_queue_attributes(
                    QueueUrl=url, AttributeNames=[name]
                )["Attributes"]
                self.depths.append(Depth(time.time(), url.rpartition("/")[2], int(found[name])))
            if self._over.wait(2.0):
                return


QUEUES = ("DeadLetterQueue", "OutcomesDeadLetterQueue")


def _bearer(client: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {CLIENTS[client]['tokens'][0]}",
        "Idempotency-Key": uuid.uuid4().hex,
    }


def _signed(fields: Mapping[str, str]) -> dict[str, str]:
    message_id, now = f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
    secret = CLIENTS["crm"]["signing_secrets"][0]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, json.dumps(fields)),
    }
