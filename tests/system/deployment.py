"""What the system tests drive: the deployed stack from outside, and the Plivo behind it."""

import itertools
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import boto3
import urllib3
from botocore.config import Config

from local.simulator import Received, Simulator
from local.simulator_rules import Reply
from local.stack import Stack
from tests.support import builders
from tests.system.policies import Grant, document_without

PROBLEM = "urn:problem-type:cold-transfer:"
FUNCTIONS = ("WebhookFunction", "EventFunction", "ReconcileFunction", "OutcomesFunction")

#: A first answer waits for a cold start, and fifty of those share two cores.
PATIENCE_SECONDS = 100.0

#: An invocation that botocore repeats by itself would spoil every count.
_ONCE = Config(
    retries={"total_max_attempts": 1}, read_timeout=PATIENCE_SECONDS, max_pool_connections=64
)

#: The ``to`` at which the simulator fails as its last three digits say.
FAILING = "+15550100"


class Crowd(Protocol):
    """Asks all at once, and waits for all answers."""

    def __call__[T](self, asks: Sequence[Callable[[], T]]) -> list[T]: ...


class Plivo(Simulator):
    """The simulator, with an entry point that can be held shut, and a token that can be changed."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._text: str | None = None

    @contextmanager
    def holding(self) -> Iterator[threading.Event]:
        """Requests wait for the end of the context, unread; the event says that one is there."""
        self._arrived.clear()
        self._open.clear()
        try:
            yield self._arrived
        finally:
            self.let_in()

    def let_in(self) -> None:
        self._open.set()

    @contextmanager
    def rejecting(self, text: str) -> Iterator[None]:
        """Every request is answered 400 with ``text``."""
        self._text = text
        try:
            yield
        finally:
            self._text = None

    @contextmanager
    def token(self, auth_id: str, auth_token: str) -> Iterator[None]:
        """Another credential is the right one."""
        before = self._authorization
        encoded = urllib3.make_headers(basic_auth=f"{auth_id}:{auth_token}")["authorization"]
        self._authorization = encoded.encode()
        try:
            yield
        finally:
            self._authorization = before

    def decide(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self._arrived.set()
        self._open.wait(PATIENCE_SECONDS)
        reply = super().decide(method, path, headers, body)
        if self._text is None:
            return reply
        return Reply(400, json.dumps({"api_id": str(uuid.uuid4()), "error": self._text}).encode())


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What the API answered; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    @property
    def action_id(self) -> str:
        return self.headers.get("action-id", "")

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotency-replayed") == "true"

    @property
    def cause(self) -> str:
        """``accepted``, or the name at the end of the problem's type."""
        return str(self.body.get("type", f"{PROBLEM}accepted")).removeprefix(PROBLEM)


@dataclass(frozen=True, slots=True)
class Invoked:
    """What an invocation led to: a result, or the text of the error that it raised."""

    result: Any
    error: str | None

    @property
    def cause(self) -> str:
        """``accepted``, the cause that a failed action names, or the error's text."""
        if self.error is None:
            return str(self.result["outcome"])
        named = re.fullmatch(r"\w+: ([a-z-]+) \(Action-Id [0-9a-f]{64}\)", self.error)
        return named[1] if named else self.error


class Deployment:
    """One deployed stack. Every address that it makes up is noted, for the search for leaks."""

    def __init__(self, stack: Stack, plivo: Plivo) -> None:
        self.stack = stack
        self.plivo = plivo
        self.private: set[str] = set()
        self.outcomes: list[dict[str, Any]] = []
        self._dead: list[dict[str, Any]] = []
        self._numbers = itertools.count(6_100_000)
        self._http = urllib3.PoolManager(maxsize=60, retries=False)
        self._clients: dict[str, Any] = {}
        self._outcomes_queue = self._listen_to_outcomes()

    def close(self) -> None:
        self._http.clear()
        for client in self._clients.values():
            client.close()

    def aws(self, service: str) -> Any:
        if service not in self._clients:
            make: Any = boto3.client
            self._clients[service] = make(
                service,
                "us-east-1",
                endpoint_url=self.stack.endpoint_url,
                aws_access_key_id="test",
                aws_secret_access_key="test",
                config=_ONCE,
            )
        return self._clients[service]

    def name(self, logical_id: str) -> str:
        return self.stack.deployed.resources[logical_id]

    # --- asking ----------------------------------------------------------------------------------

    def number(self) -> str:
        """An E.164 number that nobody used before."""
        number = f"+1415{next(self._numbers)}"
        self.private.add(number.removeprefix("+1"))
        return number

    def fields(self, **changes: object) -> dict[str, object]:
        """A action that nobody asked for before."""
        fresh = {"to": self.number(), "trigger_source": self.number()}
        return builders.fields(**{**fresh, **changes})

    def detail(self, **changes: object) -> dict[str, object]:
        fresh = {"to": self.number(), "trigger_source": self.number()}
        return builders.detail(**{**fresh, **changes})

    def url(self, phlo_id: str = builders.PHLO_ID, node_id: str = builders.NODE_ID) -> str:
        return self.stack.webhook_url.format(phlo_id=phlo_id, node_id=node_id)

    def post(
        self,
        body: Mapping[str, object] | str | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
        content_type: str = "application/json",
        url: str | None = None,
    ) -> HttpResponse:
        """Ask for an action; fields are sent as JSON, by default as the client ``phlo``."""
        given = {
            "Content-Type": content_type,
            **(builders.bearer() if headers is None else headers),
        }
        if key is not None:
            given["Idempotency-Key"] = key
        sent = json.dumps(body) if isinstance(body, Mapping) else body
        return self.request("POST", url or self.url(), sent, given)

    def look(self, action_id: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
        given = builders.bearer() if headers is None else headers
        return self.request("GET", self.stack.action_url(action_id), None, given)

    def request(
        self, method: str, url: str, body: str | bytes | None, headers: Mapping[str, str]
    ) -> HttpResponse:
        given = self._http.request(
            method, url, body=body, headers=headers, timeout=PATIENCE_SECONDS, redirect=False
        )
        lower = {name.lower(): value for name, value in given.headers.items()}
        return HttpResponse(given.status, lower, given.data.decode())

    def put_event(self, detail: object, **changes: str) -> str:
        """Put an event on the bus; returns the id that EventBridge gives it."""
        described = self.stack.description
        entry = {
            "Source": described["event_source"],
            "DetailType": builders.DETAIL_TYPE,
            "EventBusName": described["event_bus_name"],
            "Detail": json.dumps(detail),
            **changes,
        }
        answer = self.aws("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0
        return str(answer["Entries"][0]["EventId"])

    def invoke(self, logical_id: str, event: object) -> Invoked:
        answer = self.aws("lambda").invoke(
            FunctionName=self.name(logical_id), Payload=json.dumps(event).encode()
        )
        result = json.loads(answer["Payload"].read())
        return Invoked(result, result["errorMessage"] if "FunctionError" in answer else None)

    def invoke_later(self, logical_id: str, event: object) -> None:
        """As EventBridge does: asynchronously, with the function's own failure destination."""
        self.aws("lambda").invoke(
            FunctionName=self.name(logical_id),
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )

    # --- what came of it -------------------------------------------------------------------------

    def posts(self, fields: Mapping[str, object]) -> list[Received]:
        """What Plivo received of this action, told by ``trigger_source``."""
        mark = json.dumps(fields["trigger_source"])
        return [request for request in self.plivo.received() if mark in request.body]

    def records(self) -> list[dict[str, Any]]:
        """Every item of the ledger, as plain values."""
        table = self.stack.description["ledger_table"]
        pages = self.aws("dynamodb").get_paginator("scan").paginate(TableName=table)
        return [
            {name: next(iter(value.values())) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def record(self, action_id: str) -> dict[str, Any]:
        found = [item for item in self.records() if item["pk"] == f"K#{action_id}"]
        return found[0] if found else {}

    def set_record(self, action_id: str, **changes: str | int) -> None:
        """Change a record behind the ledger's back, as time or a crash would."""
        self.aws("dynamodb").update_item(
            TableName=self.stack.description["ledger_table"],
            Key={"pk": {"S": f"K#{action_id}"}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in changes),
            ExpressionAttributeNames={f"#{name}": name for name in changes},
            ExpressionAttributeValues={
                f":{name}": {"N": str(value)} if isinstance(value, int) else {"S": value}
                for name, value in changes.items()
            },
        )

    def lines(self, logical_id: str, **having: object) -> list[dict[str, Any]]:
        """The structured log lines of a function that have these members."""
        return [
            line
            for line in self._json_lines(logical_id)
            if "_aws" not in line and having.items() <= line.items()
        ]

    def metrics(self, logical_id: str) -> list[dict[str, Any]]:
        """The lines that CloudWatch turns into metrics (EMF)."""
        return [line for line in self._json_lines(logical_id) if "_aws" in line]

    def count(self, logical_id: str, metric: str) -> int:
        return sum(len(line.get(metric, ())) for line in self.metrics(logical_id))

    def segments(self, trace_id: str) -> list[dict[str, Any]]:
        return [found for found in self.stack.traces() if found.get("trace_id") == trace_id]

    def dead_letter(self, event_id: str) -> dict[str, Any] | None:
        """The dead letter of an event, once it is there; others are kept for later."""
        url = self.stack.description["dead_letter_queue_url"]
        self._dead += self._drain(url)
        for letter in self._dead:
            if letter.get("requestPayload", {}).get("id") == event_id:
                return letter
        return None

    def outcomes_of(self, action_id: str) -> list[dict[str, Any]]:
        """The outcome events of an action so far, oldest first."""
        self.outcomes += self._drain(self._outcomes_queue)
        return [one for one in self.outcomes if one["detail"]["action_id"] == action_id]

    # --- interfering -----------------------------------------------------------------------------

    def replace_workers(self, logical_id: str) -> None:
        """New execution environments, as after an update; whatever runs in the old ones dies."""
        name, client = self.name(logical_id), self.aws("lambda")
        memory = client.get_function_configuration(FunctionName=name)["MemorySize"]
        client.update_function_configuration(FunctionName=name, MemorySize=memory)

    @contextmanager
    def without(self, role: str, grant: Grant) -> Iterator[None]:
        """The role's policy lacks one grant for as long as the context lasts."""
        iam, role_name = self.aws("iam"), self.name(role)
        (policy,) = iam.list_role_policies(RoleName=role_name)["PolicyNames"]
        whole = iam.get_role_policy(RoleName=role_name, PolicyName=policy)["PolicyDocument"]

        def put(document: Mapping[str, object]) -> None:
            iam.put_role_policy(
                RoleName=role_name, PolicyName=policy, PolicyDocument=json.dumps(document)
            )

        put(document_without(whole, grant))
        try:
            yield
        finally:
            put(whole)

    @contextmanager
    def secret(self, output: str, text: str) -> Iterator[None]:
        """The secret that an output names has another text for as long as the context lasts."""
        manager, name = self.aws("secretsmanager"), self.stack.deployed.outputs[output]
        whole = manager.get_secret_value(SecretId=name)["SecretString"]
        manager.put_secret_value(SecretId=name, SecretString=text)
        try:
            yield
        finally:
            manager.put_secret_value(SecretId=name, SecretString=whole)

    # --- parts -----------------------------------------------------------------------------------

    def _json_lines(self, logical_id: str) -> list[dict[str, Any]]:
        lines = self.stack.log_lines(logical_id)
        return [json.loads(line) for line in lines if line.startswith("{")]

    def _listen_to_outcomes(self) -> str:
        sqs, events = self.aws("sqs"), self.aws("events")
        source = self.stack.deployed.outputs["OutcomeSource"]
        name = f"outcomes-of-{source}-seen-by-tests"
        url = str(sqs.create_queue(QueueName=name)["QueueUrl"])
        wanted = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        events.put_rule(Name=name, EventPattern=json.dumps({"source": [source]}))
        target = {"Id": "queue", "Arn": wanted["Attributes"]["QueueArn"]}
        events.put_targets(Rule=name, Targets=[target])
        return url

    def _drain(self, url: str) -> list[dict[str, Any]]:
        found = []
        while (
            messages := self.aws("sqs")
            .receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            .get("Messages")
        ):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self.aws("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found
