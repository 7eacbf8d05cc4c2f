"""One Lambda environment: an entry point on the real ledger, service and Plivo client.

A test chooses the addresses, the clock and the step at which something happens. Of the product,
only what reaches CloudWatch, X-Ray and Secrets Manager is replaced.
"""

import functools
import json
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ReadTimeoutError

from cold_transfer.action import EVERY_ACTION
from cold_transfer.aws.secrets import CachedSecret
from cold_transfer.deadline import now_ms
from cold_transfer.entrypoints.components import compose
from cold_transfer.errors import ActionFailed, ColdTransferError, LedgerUnavailable
from cold_transfer.ledger.ledger import LEASE_MARGIN_MS, Ledger, LedgerPolicy
from cold_transfer.plivo import credentials
from cold_transfer.plivo.client import PlivoClient
from local.emulator import REGION
from tests.support.builders import FakeLambdaContext
from tests.support.fakes import (
    AUTH_ID,
    AUTH_TOKEN,
    CLIENTS,
    Probe,
    SecretsManager,
    at_once,
    entry_point,
    settings,
)
from tests.support.ledgers import POLICY, ledger_on

WEBHOOK, EVENT = "webhook", "event"
ENTRY_POINTS = (WEBHOOK, EVENT)

#: How long an invocation may take: long enough for 50 at once on two cores.
TIMEOUT_MS = 20_000

#: A clock offset after which every lease taken now is over.
AFTER_THE_LEASE_MS = TIMEOUT_MS + LEASE_MARGIN_MS + 1_000

ROTATED_TOKEN = "plivo-token-after-its-rotation"

type At = Callable[[str], None]


OUT_OF_REACH = ReadTimeoutError(endpoint_url="https://secretsmanager.invalid")


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses and the table that an environment uses. Can be pickled."""

    dynamodb_url: str
    table: str
    plivo_url: str
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Outage:
    """DynamoDB fails the first ``times`` calls of ``call``, and then works again.

    executed
        Whether the write took place and only its reply was lost.
    """

    call: str
    executed: bool
    times: int = 1


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is special about an environment. Can be pickled.

    clock_ms
        The time at which its wall clock stands still, in epoch milliseconds; None lets it run.
    secrets
        ``plivo-out``, ``clients-out`` or ``rotated``: the token in the cache is an old one.
    """

    plivo_seconds: float = 8.0
    clock_ms: int | None = None
    clock_offset_ms: int = 0
    timeout_ms: int = TIMEOUT_MS
    outage: Outage | None = None
    secrets: str = ""
    event_phlo_ids: frozenset[str] = frozenset()
    event_actions: frozenset[str] = frozenset({EVERY_ACTION})
    policy: LedgerPolicy = POLICY


#: Nothing special.
CALM = Conditions()


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of one invocation.

    text
        ``201``, ``504 outcome-unknown replayed``; ``returns accepted``, ``raises unknown: …``.
    metrics
        What was counted, by metric.
    """

    text: str
    metrics: Counter[str] = field(default_factory=Counter, compare=False)


class Watched:
    """Passes each call on to ``inner``; calls ``at`` before and after it, or after it failed."""

    def __init__(self, inner: Any, at: At) -> None:
        self._inner = inner
        self._at = at

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._at(f"before {name}")
            try:
                result = method(*arguments, **options)
            except Exception:
                self._at(f"failed {name}")
                raise
            self._at(f"after {name}")
            return result

        return call


class Failing:
    """A ledger whose DynamoDB has an outage."""

    def __init__(self, inner: Ledger, outage: Outage) -> None:
        self._inner = inner
        self._left = [outage] * outage.times

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            if not self._left or self._left[0].call != name:
                return method(*arguments, **options)
            if self._left.pop().executed:
                method(*arguments, **options)
            raise LedgerUnavailable("DynamoDB: ReadTimeoutError")

        return call


@functools.cache
def _session() -> Any:
    # one per process: its loader caches botocore's models, and forks inherit the cache
    return boto3.Session("test", "test", region_name=REGION)


def dynamodb_client(url: str) -> Any:
    """A client that makes each call once."""
    return _session().client(
        "dynamodb",
        endpoint_url=url,
        config=Config(
            connect_timeout=1,
            read_timeout=15,  # 50 threads and an emulator on two cores are slower than DynamoDB
            max_pool_connections=64,
            retries={"total_max_attempts": 1},
        ),
    )


class Environment:
    """An entry point; several may share ``client``, which is DynamoDB's."""

    def __init__(  # noqa: PLR0913  what a test may want to choose
        self,
        place: Place,
        name: str,
        conditions: Conditions = CALM,
        *,
        client: Any = None,
        at: At | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._conditions = conditions
        self._slept_ms = 0
        self._probe = Probe(name)
        client = client or dynamodb_client(place.dynamodb_url)
        ledger: Any = ledger_on(
            client,
            place.table,
            self._clock,
            self._probe.abandoned,
            policy=conditions.policy,
        )
        self.ledger: Ledger = ledger
        if context is None and place.ca_file:
            context = ssl.create_default_context(cafile=place.ca_file)
        self.plivo = PlivoClient(
            place.plivo_url, ssl_context=context, clock=lambda: self._clock() / 1000
        )
        plivo: Any = self.plivo
        if conditions.outage is not None:
            ledger = Failing(ledger, conditions.outage)
        if at is not None:
            ledger, plivo = Watched(ledger, at), Watched(plivo, at)
        manager = SecretsManager(
            plivo=_plivo_secret(AUTH_TOKEN), clients=json.dumps({"clients": CLIENTS})
        )
        secret, _, out = conditions.secrets.partition("-")
        if out:
            manager.values[secret] = OUT_OF_REACH
        cached = CachedSecret(manager, "plivo", credentials.parse, 300)
        if conditions.secrets == "rotated":
            cached.get()
            manager.values["plivo"] = _plivo_secret(ROTATED_TOKEN)
        components = compose(
            settings(
                event_phlo_ids=conditions.event_phlo_ids,
                event_actions=conditions.event_actions,
                ledger_table=place.table,
                plivo_deadline_seconds=conditions.plivo_seconds,
            ),
            self._probe,
            ledger,
            manager,
            plivo=plivo,
            credentials=cached,
            timing=at_once(self._clock),
        )
        module = entry_point(name)
        self._name = name
        self._function = (
            module.Webhook(components) if name == WEBHOOK else module.EventFunction(components)
        )

    def invoke(self, event: dict[str, Any]) -> Reply:
        """One invocation. Raises only errors that are not the product's own."""
        context = FakeLambdaContext(timeout_ms=self._conditions.timeout_ms)
        before = Counter(self._probe.counted)
        try:
            result = self._function(event, context)
            text = _answer(result) if self._name == WEBHOOK else _returned(result)
        except ActionFailed as error:
            text = f"raises {error.outcome}: {error.cause}"
        except ColdTransferError as error:
            text = f"raises {error.cause}"
        return Reply(text, Counter(self._probe.counted) - before)

    def reconcile(self) -> list[str]:
        """One run of the reconciler; the states of the records that it settled."""
        settled = [self.ledger.settle_overdue(found) for found in self.ledger.overdue()]
        return [str(record.state) for record in settled if record is not None]

    def sleep(self, milliseconds: int) -> None:
        """Advance its wall clock, as a freeze does."""
        self._slept_ms += milliseconds

    def close(self) -> None:
        self.plivo.close()

    def _clock(self) -> int:
        still = self._conditions.clock_ms
        now = now_ms() if still is None else still
        return now + self._conditions.clock_offset_ms + self._slept_ms


def _plivo_secret(token: str) -> str:
    return json.dumps({"auth_id": AUTH_ID, "auth_token": token})


def _answer(answer: dict[str, Any]) -> str:
    headers, body = answer["headers"], json.loads(answer["body"])
    words = [str(answer["statusCode"])]
    if "type" in body:
        words.append(str(body["type"]).rpartition(":")[2])
    if words[0] == "503" or "in-progress" in words[-1]:
        assert int(headers["Retry-After"]) >= 1, "no Retry-After"
    if "Idempotency-Replayed" in headers:
        words.append("replayed")
    if "Duplicate-Of" in headers:
        words.append("of another")
    return " ".join(words)


def _returned(result: dict[str, Any]) -> str:
    words = ["returns", str(result["outcome"] or "in flight")]
    if result.get("replayed"):
        words.append("replayed")
    if result.get("duplicate_of"):
        words.append("of another")
    return " ".join(words)
