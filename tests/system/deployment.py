"""The deployed stack as the system tests use it, with a Plivo simulator behind it."""

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

#: The first answer waits for a cold start; fifty cold starts may share two cores.
PATIENCE_SECONDS = 100.0

#: Without retries: an invocation that botocore repeats would falsify the counts.
_ONCE = Config(
    retries={"total_max_attempts": 1}, read_timeout=PATIENCE_SECONDS, max_pool_connections=64
)

#: A ``to`` with this prefix makes the simulator fail; the last three digits say how.
FAILING = "+15550100"


class Crowd(Protocol):
    """Makes all calls at the same time, and returns their results in order."""

    def __call__[T](self, calls: Sequence[Callable[[], T]]) -> list[T]: ...


class Plivo(Simulator):
    """The simulator; a test can delay its answers, replace them, or change the accepted token."""

    def __init__(self) -> None:
        super().__init__()
        self._arrived = threading.Event()
        self._released = threading.Event()
        self._released.set()
        self._rejection: str | None = None

    @contextmanager
    def holding(self) -> Iterator[threading.Event]:
        """Hold all requests until the context ends; the event is set when the first arrives."""
        self._arrived.clear()
        self._released.clear()
        try:
            yield self._arrived
        finally:
            self.release()

    def release(self) -> None:
        self._released.set()

    @contextmanager
    def rejecting(self, text: str) -> Iterator[None]:
        """Answer every request with a 400 whose error is ``text``."""
        self._rejection = text
        try:
            yield
        finally:
            self._rejection = None

    @contextmanager
    def token(self, auth_id: str, auth_token: str) -> Iterator[None]:
        """Accept this credential, and no other."""
        before = self._authorization
        encoded = urllib3.make_headers(basic_auth=f"{auth_id}:{auth_token}")["authorization"]
        self._authorization = encoded.encode()
        try:
            yield
        finally:
            self._authorization = before

    def decide(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self._arrived.set()
        self._released.wait(PATIENCE_SECONDS)
        reply = super().decide(method, path, headers, body)
        if self._rejection is None:
            return reply
        rejection = {"api_id": str(uuid.uuid4()), "error": self._rejection}
        return Reply(400, json.dumps(rejection).encode())


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The API's response; header names are in lower case."""

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
    """The end of an invocation: its result, or the text of the error that it raised."""

    result: Any
    error: str | None

    @property
    def cause(self) -> str:
        """``accepted``, the cause in the error of a failed action, or the whole error."""
        if self.error is None:
            return str(self.result["outcome"])
        named = re.fullmatch(r"\w+: ([a-z-]+) \(Action-Id [0-9a-f]{64}\)", self.error)
        return named[1] if named else self.error


class Deployment:
    """One deployed stack, its clients and its logs.

    private
        Values that must not leak, such as every number that a test used; test_telemetry.py searches
        for them.
    """

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

    # --- requests --------------------------------------------------------------------------------

    def number(self) -> str:
        """An E.164 number that no other request has."""
        number = f"+1415{next(self._numbers)}"
        self.private.add(number.removeprefix("+1"))
        return number

    def fields(self, **changes: object) -> dict[str, object]:
        """The fields of a new cold transfer, for a webhook."""
        fresh = {"to": self.number(), "trigger_source": self.number()}
        return builders.fields(**{**fresh, **changes})

    def detail(self, **changes: object) -> dict[str, object]:
        """The same for an event."""
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
        """Request an action; by default as the client ``phlo``. A mapping is sent as JSON."""
        all_headers = {
            "Content-Type": content_type,
            **(builders.bearer() if headers is None else headers),
        }
        if key is not None:
            all_headers["Idempotency-Key"] = key
        encoded = json.dumps(body) if isinstance(body, Mapping) else body
        return self.request("POST", url or self.url(), encoded, all_headers)

    def look_up(self, action_id: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
        credential = builders.bearer() if headers is None else headers
        return self.request("GET", self.stack.action_url(action_id), None, credential)

    def request(
        self, method: str, url: str, body: str | bytes | None, headers: Mapping[str, str]
    ) -> HttpResponse:
        response = self._http.request(
            method, url, body=body, headers=headers, timeout=PATIENCE_SECONDS, redirect=False
        )
        lower = {name.lower(): value for name, value in response.headers.items()}
        return HttpResponse(response.status, lower, response.data.decode())

    def put_event(self, detail: object, **changes: str) -> str:
        """Put an event on the bus; returns the id that EventBridge gives it."""
        description = self.stack.description
        entry = {
            "Source": description["event_source"],
            "DetailType": builders.DETAIL_TYPE,
            "EventBusName": description["event_bus_name"],
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

    def invoke_async(self, logical_id: str, event: object) -> None:
        """Invoke as EventBridge does: a failure goes to the function's failure destination."""
        self.aws("lambda").invoke(
            FunctionName=self.name(logical_id),
            InvocationType="Event",
            Payload=json.dumps(event).encode(),
        )

    # --- results ---------------------------------------------------------------------------------

    def posts(self, fields: Mapping[str, object]) -> list[Received]:
        """The requests for this action that Plivo received, recognised by ``trigger_source``."""
        source = json.dumps(fields["trigger_source"])
        return [request for request in self.plivo.received() if source in request.body]

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
        """Change a record without the ledger, for example to let its lease expire."""
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
        """A function's structured log lines that have these members."""
        return [
            line
            for line in self._json_lines(logical_id)
            if "_aws" not in line and having.items() <= line.items()
        ]

    def metrics(self, logical_id: str) -> list[dict[str, Any]]:
        """The log lines that CloudWatch turns into metrics (EMF)."""
        return [line for line in self._json_lines(logical_id) if "_aws" in line]

    def count(self, logical_id: str, metric: str) -> int:
        return sum(len(line.get(metric, ())) for line in self.metrics(logical_id))

    def segments(self, trace_id: str) -> list[dict[str, Any]]:
        return [one for one in self.stack.traces() if one.get("trace_id") == trace_id]

    def dead_letter(self, event_id: str) -> dict[str, Any] | None:
        """The dead letter of an event, or None. Other letters are kept for later calls."""
        url = self.stack.description["dead_letter_queue_url"]
        self._dead += self._drain(url)
        for letter in self._dead:
            if letter.get("requestPayload", {}).get("id") == event_id:
                return letter
        return None

    def outcomes_of(self, action_id: str) -> list[dict[str, Any]]:
        """The outcome events of an action so far, oldest first; ``outcomes`` keeps all."""
        self.outcomes += self._drain(self._outcomes_queue)
        return [one for one in self.outcomes if one["detail"]["action_id"] == action_id]

    # --- faults ----------------------------------------------------------------------------------

    def replace_workers(self, logical_id: str) -> None:
        """Replace the execution environments, as an update does; this kills what they run."""
        name, client = self.name(logical_id), self.aws("lambda")
        memory = client.get_function_configuration(FunctionName=name)["MemorySize"]
        client.update_function_configuration(FunctionName=name, MemorySize=memory)

    @contextmanager
    def without(self, role: str, grant: Grant) -> Iterator[None]:
        """Remove one grant from the role's policy until the context ends."""
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
        """Replace the text of the secret that an output names until the context ends."""
        manager, name = self.aws("secretsmanager"), self.stack.deployed.outputs[output]
        whole = manager.get_secret_value(SecretId=name)["SecretString"]
        manager.put_secret_value(SecretId=name, SecretString=text)
        try:
            yield
        finally:
            manager.put_secret_value(SecretId=name, SecretString=whole)

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
