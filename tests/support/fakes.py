"""Fakes of what the functions and the service talk to, and the functions on top of them.

The ledger is the real one, on a table in memory; Plivo follows a script; the rest is as deployed.
"""

import contextlib
import functools
import importlib.util
import io
import json
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Self

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from botocore.exceptions import ReadTimeoutError

from cold_transfer.action import Action, Verdict
from cold_transfer.causes import Cause
from cold_transfer.deadline import Deadline, now_ms
from cold_transfer.entrypoints.components import Components, compose
from cold_transfer.entrypoints.problem import TYPE_PREFIX
from cold_transfer.errors import PlivoUnreachable
from cold_transfer.plivo.client import PlivoCredentials, Resource
from cold_transfer.plivo.response import Reading
from cold_transfer.service import Timing
from cold_transfer.settings import Settings
from cold_transfer.telemetry import Telemetry
from cold_transfer.tracing import Daemon, Subsegment
from tests.support import builders
from tests.support.fake_dynamodb import FakeDynamoDB, Item
from tests.support.ledgers import Clock, ledger_on

FUNCTIONS = Path(__file__).parents[2] / "functions"

API_ID = "8c77b816-d621-4028-afc8-1aeab1d497a8"
AUTH_ID = "MALOCALPLIVOACCOUNT0"
AUTH_TOKEN = "plivo-token-of-the-tests-40-characters-"

OLD = PlivoCredentials(AUTH_ID, "old-token")
NEW = PlivoCredentials(AUTH_ID, "new-token")

ACCEPTED = Verdict(Cause.ACCEPTED, api_id=API_ID, plivo_status=201)

CLIENTS: Mapping[str, object] = {
    "crm": {"signing_secrets": [builders.CRM_SIGNING_SECRET], "actions": ["*"]},
    "phlo": {"tokens": [builders.PHLO_TOKEN], "actions": ["*"]},
    builders.SDK_CLIENT: {"tokens": [builders.SDK_TOKEN], "actions": ["*"]},
    "keyed": {"tokens": [builders.KEYED_TOKEN], "actions": ["*"], "require_key": True},
    "limited": {"tokens": [builders.LIMITED_TOKEN], "phlo_ids": [builders.LIMITED_PHLO_ID]},
}


def entry_point(name: str) -> ModuleType:
    """``functions/<name>/app.py`` under a distinct module name: all of them are called app."""
    return _loaded(name)


@functools.cache
def _loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"functions_{name}_app", FUNCTIONS / name / "app.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Table(FakeDynamoDB):
    """The table in memory, with calls that can fail.

    out
        Numbers of the calls (from 0) that fail with ``failure`` before they do anything.
    lost
        Numbers of the calls that do their work and whose reply is lost.
    retried
        Numbers of the calls that are made twice, as botocore does where the first reply is lost.
    before_call
        Called with each call's number, before it does anything.
    calls
        One word for each call so far: the state that it writes, or the operation.
    stream
        Every change, as the table's stream delivers it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.stream: list[dict[str, Any]] = []
        self.out: set[int] = set()
        self.lost: set[int] = set()
        self.retried: set[int] = set()
        self.before_call: Callable[[int], None] = lambda _: None
        self.failure: Exception = ReadTimeoutError(endpoint_url="https://dynamodb.invalid")

    def get_item(self, **call: Any) -> dict[str, Any]:
        return self._run("get", super().get_item, call)

    def put_item(self, **call: Any) -> dict[str, Any]:
        return self._run(
            call["Item"].get("state", {"S": "deduplicate"})["S"], super().put_item, call
        )

    def query(self, **call: Any) -> dict[str, Any]:
        return self._run("query", super().query, call)

    def update_item(self, **call: Any) -> dict[str, Any]:
        state = re.search(r"#state = (:\w+)", call["UpdateExpression"])
        written = call["ExpressionAttributeValues"][state[1]]["S"] if state else "resolve"
        return self._run(str(written), super().update_item, call)

    def record(self, action_id: str) -> Item:
        return self.items[f"K#{action_id}"]

    def states(self) -> list[str]:
        """The state of each request that the table knows, in the order in which they came."""
        return [item["state"]["S"] for pk, item in self.items.items() if pk.startswith("K#")]

    def _run(
        self, what: str, work: Callable[..., dict[str, Any]], call: Mapping[str, Any]
    ) -> dict[str, Any]:
        number = len(self.calls)
        self.calls.append(what)
        self.before_call(number)
        if number in self.out:
            raise self.failure
        before = dict(self.items)
        if number in self.retried:
            work(**call)
        reply = work(**call)
        self._stream(before)
        if number in self.lost:
            raise self.failure
        return reply

    def _stream(self, before: Mapping[str, Item]) -> None:
        for pk, item in self.items.items():
            old = before.get(pk)
            if item == old:
                continue
            number = str(len(self.stream) + 1).zfill(21)
            change = {"Keys": {"pk": {"S": pk}}, "NewImage": dict(item), "SequenceNumber": number}
            if old is not None:
                change["OldImage"] = dict(old)
            self.stream.append({"eventSource": "aws:dynamodb", "dynamodb": change})


class Plivo:
    """Follows a script: each POST takes its next verdict, and the last one repeats.

    readings
        The same for GETs.
    before_answer
        Called during each POST, before its verdict is returned.
    unreachable
        Whether there is no connection.
    """

    def __init__(self, *script: Verdict | BaseException) -> None:
        self.script = list(script) or [ACCEPTED]
        self.unreachable = False
        self.sent: list[tuple[Action, PlivoCredentials]] = []
        self.readings = [Reading(200, {"api_id": API_ID, "name": "a PHLO"})]
        self.asked: list[tuple[Resource, PlivoCredentials]] = []
        self.connects = 0
        self.patience: list[float] = []
        self.before_connect: Callable[[], None] = lambda: None
        self.before_answer: Callable[[], None] = lambda: None

    def connect(self, deadline: Deadline) -> None:
        self.before_connect()
        self.connects += 1
        self.patience.append(deadline.remaining())
        if self.unreachable:
            raise PlivoUnreachable("no connection")

    def send(self, action: Action, credentials: PlivoCredentials, deadline: Deadline) -> Verdict:
        self.sent.append((action, credentials))
        self.patience.append(deadline.remaining())
        self.before_answer()
        verdict = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        if isinstance(verdict, BaseException):
            raise verdict
        return verdict

    def read(
        self, resource: Resource, credentials: PlivoCredentials, deadline: Deadline
    ) -> Reading:
        self.asked.append((resource, credentials))
        self.patience.append(deadline.remaining())
        return self.readings[0] if len(self.readings) == 1 else self.readings.pop(0)


class Credentials:
    """Plivo's credentials, before and after a refresh; an exception is raised."""

    def __init__(self) -> None:
        self.known: PlivoCredentials | Exception = OLD
        self.latest: PlivoCredentials | Exception = OLD
        self.refreshes = 0
        self.before_refresh: Callable[[], None] = lambda: None

    def get(self) -> PlivoCredentials:
        return self._or_raise(self.known)

    def refresh(self) -> PlivoCredentials:
        self.refreshes += 1
        self.before_refresh()
        return self._or_raise(self.latest)

    @staticmethod
    def _or_raise(found: PlivoCredentials | Exception) -> PlivoCredentials:
        if isinstance(found, Exception):
            raise found
        return found


class SecretsManager:
    """Secrets Manager's client: values by name; one that is an exception is raised.

    out
        The error that every fetch fails with, while there is one.
    empty
        Whether replies have no secret in them.
    fetched
        The names that were fetched.
    """

    def __init__(self, **values: object) -> None:
        self.values: dict[str, object] = dict(values)
        self.out: Exception | None = None
        self.empty = False
        self.fetched: list[str] = []

    def get_secret_value(self, *, SecretId: str) -> dict[str, Any]:  # noqa: N803  boto3's own
        self.fetched.append(SecretId)
        if self.out is not None:
            raise self.out
        if self.empty:
            return {}
        value = self.values[SecretId]
        if isinstance(value, Exception):
            raise value
        return {"SecretString": value} if isinstance(value, str) else {"SecretBinary": value}


class Xray(Daemon):
    """X-Ray's daemon: what is sent to it is kept."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", 9)
        self.ids: tuple[str, str] | None = (
            "1-5759e988-bd862e3fe1be46a994272793",
            "53995c3f42cd8ad8",
        )
        self.sent: list[Subsegment] = []

    def sampled(self) -> tuple[str, str] | None:
        return self.ids

    def send(self, subsegment: Subsegment) -> None:
        self.sent.append(subsegment)

    def document(self) -> str:
        """Everything that was sent."""
        return "\n".join(json.dumps(subsegment) for subsegment in self.sent)

    def subsegments(self) -> list[dict[str, Any]]:
        """Every subsegment, outer ones first."""
        found: list[dict[str, Any]] = []
        left = [json.loads(json.dumps(subsegment)) for subsegment in self.sent]
        while left:
            part = left.pop(0)
            found.append(part)
            left += part.get("subsegments", [])
        return found


class Probe(Telemetry):
    """Telemetry that records its calls, from one thread or many, and emits nothing."""

    def __init__(self, function: str = "webhook") -> None:
        super().__init__(function, Xray())
        self.counted: list[str] = []
        self.errors: list[tuple[str, dict[str, object]]] = []
        self.measured: list[tuple[str, float]] = []
        self.remotes: list[tuple[str, str, dict[str, int]]] = []
        self.steps: list[str] = []

    @contextlib.contextmanager
    def invocation(self, correlation_id: str) -> Iterator[None]:
        assert correlation_id
        yield

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.steps.append(name)
        yield

    @contextlib.contextmanager
    def remote(
        self, host: str, url_template: str, method: str = "POST"
    ) -> Iterator[dict[str, int]]:
        assert method
        seen: dict[str, int] = {}
        self.steps.append("send")
        self.remotes.append((host, url_template, seen))
        yield seen

    def annotate(self, **annotations: str) -> None:
        assert all(annotations.values())

    def count(self, metric: str, number: int = 1) -> None:
        self.counted += [metric] * number

    def milliseconds(self, metric: str, value: float) -> None:
        self.measured.append((metric, value))

    def info(self, message: str, **keys: object) -> None:
        assert message, keys

    def warning(self, message: str, **keys: object) -> None:
        assert message, keys

    def error(self, message: str, **keys: object) -> None:
        self.errors.append((message, keys))

    critical = error


@dataclass
class Emitted:
    """What was printed and logged while ``emitted()`` lasted."""

    stdout: io.StringIO = field(default_factory=io.StringIO)
    stderr: io.StringIO = field(default_factory=io.StringIO)
    others: io.StringIO = field(default_factory=io.StringIO)

    @property
    def text(self) -> str:
        return self.stdout.getvalue() + self.stderr.getvalue() + self.others.getvalue()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.getvalue().splitlines()]

    def logs(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "_aws" not in line]

    def metrics(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "_aws" in line]

    def counted(self) -> dict[str, float]:
        """Each metric's name, and its values added up."""
        sums: dict[str, float] = {}
        for line in self.metrics():
            for declared in line["_aws"]["CloudWatchMetrics"]:
                for metric in declared["Metrics"]:
                    name = metric["Name"]
                    sums[name] = sums.get(name, 0.0) + sum(line[name])
        return sums


@contextlib.contextmanager
def emitted() -> Iterator[Emitted]:
    """Everything that Lambda would log: stdout, stderr, and what other packages log."""
    found = Emitted()
    others = logging.StreamHandler(found.others)
    packages = [logging.getLogger(name) for name in ("cold_transfer", "urllib3", "botocore")]
    Telemetry("none", Xray())  # makes the handler, if it is the first one in this process
    own: list[Any] = [  # pytest has handlers of its own there
        handler
        for handler in packages[0].handlers
        if isinstance(handler.formatter, LambdaPowertoolsFormatter)
    ]
    streams = [(handler, handler.setStream(found.stdout)) for handler in own]
    for package in packages:
        package.addHandler(others)
    try:
        with contextlib.redirect_stdout(found.stdout), contextlib.redirect_stderr(found.stderr):
            yield found
    finally:
        for handler, stream in streams:
            handler.setStream(stream or sys.stdout)
        for package in packages:
            package.removeHandler(others)


def settings(**changes: Any) -> Settings:
    chosen: dict[str, Any] = {
        "ledger_table": "ledger",
        "plivo_base_url": "https://phlorunner.plivo.com",
        "plivo_secret_name": "plivo",
        "clients_secret_name": "clients",
        "event_source": builders.EVENT_SOURCE,
        "outcome_source": builders.OUTCOME_SOURCE,
        **changes,
    }
    return Settings(**chosen)


def at_once(clock: Callable[[], int], **others: Any) -> Timing:
    """The clock, and no time spent: neither in pauses nor in threads."""
    instant = Timing(clock, pause=lambda _: None, within=lambda _, work: work())
    return instant._replace(**others)


class System:
    """Both entry points on one table, one Plivo and one Secrets Manager.

    clock
        The ledger's and the service's; the entry points read the real one.
    """

    def __init__(
        self, *script: Verdict | BaseException, plivo: Plivo | None = None, **changes: Any
    ) -> None:
        self.clock = Clock(now_ms())
        self.table = Table()
        self.plivo = plivo or Plivo(*script)
        self.secrets = SecretsManager(
            plivo=json.dumps({"auth_id": AUTH_ID, "auth_token": AUTH_TOKEN}),
            clients=json.dumps({"clients": CLIENTS}),
        )
        self.settings = settings(**changes)
        self.xray = Xray()
        self.context: Any = builders.FakeLambdaContext()
        webhook = self._components("webhook")
        self.clients = webhook.clients
        self._webhook = entry_point("webhook").Webhook(webhook)
        self._event = entry_point("event").EventFunction(self._components("event"))

    def webhook(self, event: dict[str, Any]) -> "HttpResponse":
        return HttpResponse.of(self._webhook(event, self.context))

    def event(self, event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self._event(event, self.context)
        return answer

    def post(
        self,
        body: str | bytes | Mapping[str, object] | None = None,
        *,
        headers: builders.Headers | None = None,
        key: str | None = None,
        **pieces: Any,
    ) -> "HttpResponse":
        """One webhook with a bearer token, and ``key`` as its Idempotency-Key."""
        given = headers if headers is not None else builders.bearer()
        pairs: Iterable[tuple[str, str]] = given.items() if isinstance(given, Mapping) else given
        if key is not None:
            pairs = [*pairs, ("Idempotency-Key", key)]
        return self.webhook(builders.webhook_event(body, headers=pairs, **pieces))

    def ask(self, name: str, **pieces: Any) -> "HttpResponse":
        """One webhook that asks for the action ``name``; the rest as in ``post``."""
        return self.post(**builders.pieces_of(name), **pieces)

    def _components(self, name: str) -> Components:
        telemetry = Telemetry(name, self.xray)
        return compose(
            self.settings,
            telemetry,
            ledger_on(self.table, "ledger", self.clock, telemetry.abandoned),
            self.secrets,
            plivo=self.plivo,
            timing=at_once(self.clock),
        )


@dataclass(frozen=True)
class HttpResponse:
    """The webhook's answer, its body read."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]
    text: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        assert answer["isBase64Encoded"] is False
        assert set(answer) == {"statusCode", "headers", "body", "isBase64Encoded"}
        text = answer["body"]
        return cls(answer["statusCode"], dict(answer["headers"]), json.loads(text), text)

    @property
    def cause(self) -> str:
        """The last part of the problem's type."""
        assert self.body["type"].startswith(TYPE_PREFIX)
        return str(self.body["type"]).removeprefix(TYPE_PREFIX)

    def named(self) -> list[str]:
        """The fields that the answer reports as invalid."""
        return [fault["field"] for fault in self.body["errors"]]
