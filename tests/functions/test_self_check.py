"""``{"self_check": true}``: a function reports what it cannot reach, without acting on a call.

Each function runs in its own process, against moto's Secrets Manager, DynamoDB and EventBridge, and
a server that records what would reach Plivo.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import boto3
import pytest

from local.credentials import secrets
from local.daemons import stop
from local.ports import free_port
from tests.support.artifact import DEPLOYED
from tests.support.builders import OUTCOME_SOURCE
from tests.support.ledgers import create_table
from tests.support.moto import start_moto

ROOT = Path(__file__).parents[2]
PROGRAM = "import app, json, sys; print(json.dumps(app.handler(json.loads(sys.argv[1]), None)))"

NEEDED = {
    "webhook": [
        "the Plivo secret",
        "the clients secret",
        "a connection to Plivo",
        "the ledger",
    ],
    "event": ["the Plivo secret", "a connection to Plivo", "the ledger"],
    "reconcile": ["the ledger", "the index of open actions", "the index of unresolved outcomes"],
    "outcomes": ["the event bus"],
}


class Plivo:
    """Accepts connections, and records what it receives."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.received: list[bytes] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.received.append(connection.recv(65536))


class Aws:
    """AWS's services; ``variables`` is the environment of a function that uses them."""

    def __init__(self, url: str) -> None:
        self._session = boto3.Session("test", "test", region_name="us-east-1")
        self._url = url
        for name, text in secrets(OUTCOME_SOURCE).items():
            self.client("secretsmanager").create_secret(Name=name, SecretString=text)
        table = create_table(self.client("dynamodb"))
        self.variables = {"AWS_ENDPOINT_URL": url, "LEDGER_TABLE": table}

    def client(self, service: str) -> Any:
        make: Any = self._session.client
        return make(service, endpoint_url=self._url)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    url, daemon = start_moto(tmp_path_factory.mktemp("moto"))
    yield Aws(url)
    stop([daemon])


@pytest.fixture
def plivo() -> Iterator[Plivo]:
    with Plivo() as listening:
        yield listening


def output_of(function: str, event: object, variables: Mapping[str, str]) -> str:
    """The last line that the function prints: its result, or the end of its traceback."""
    path = os.pathsep.join([str(ROOT / "functions" / function), str(ROOT / "layers/cold_transfer")])
    inherited = {name: DEPLOYED[name] for name in DEPLOYED if "LAMBDA" not in name}
    done = subprocess.run(  # noqa: S603  this repository's functions
        [sys.executable, "-c", PROGRAM, json.dumps(event)],
        env={**inherited, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stdout or done.stderr).splitlines()[-1]


def report(function: str, variables: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output_of(function, {"self_check": True}, variables))
    return found


@pytest.mark.parametrize("function", NEEDED)
def test_a_function_that_reaches_everything_reports_ok(
    function: str, aws: Aws, plivo: Plivo
) -> None:
    found = report(function, {**aws.variables, "PLIVO_BASE_URL": plivo.url})

    assert found == {"ok": True, "checked": NEEDED[function], "failed": {}}
    # a connection without a byte of a request
    assert plivo.received == ([b""] if function in ("webhook", "event") else [])


@pytest.mark.parametrize("function", NEEDED)
def test_everything_unreachable_is_named_in_one_report(function: str) -> None:
    unreachable = f"http://127.0.0.1:{free_port()}"

    found = report(
        function,
        {
            "AWS_ENDPOINT_URL": unreachable,
            "LEDGER_TABLE": "a-table",
            "PLIVO_BASE_URL": unreachable,
        },
    )

    assert (found["ok"], found["checked"]) == (False, NEEDED[function])
    assert list(found["failed"]) == NEEDED[function]
    assert all(
        "EndpointConnectionError" in why or "could not connect" in why
        for why in found["failed"].values()
    )


def test_a_missing_secret_or_table_is_named(aws: Aws, plivo: Plivo) -> None:
    wrong = {
        "PLIVO_BASE_URL": plivo.url,
        "PLIVO_SECRET_NAME": "another",
        "LEDGER_TABLE": "another",
    }

    found = report("event", {**aws.variables, **wrong})

    assert found["failed"] == {
        "the Plivo secret": "the secret another: ResourceNotFoundException",
        "the ledger": "DynamoDB: ResourceNotFoundException",
    }


def test_an_invalid_secret_is_named_but_not_shown(aws: Aws, plivo: Plivo) -> None:
    marker = "hunter2-of-this-test"
    texts = {
        "broken/plivo": json.dumps({"auth_id": marker}),
        "broken/clients": json.dumps({"clients": {"crm": {"tokens": [marker]}}}),
    }
    for name, text in texts.items():
        aws.client("secretsmanager").create_secret(Name=name, SecretString=text)
    broken = {"PLIVO_SECRET_NAME": "broken/plivo", "CLIENTS_SECRET_NAME": "broken/clients"}

    found = report("webhook", {**aws.variables, "PLIVO_BASE_URL": plivo.url, **broken})

    assert list(found["failed"]) == ["the Plivo secret", "the clients secret"]
    assert "auth_token" in found["failed"]["the Plivo secret"]
    assert "crm" in found["failed"]["the clients secret"]
    assert marker not in json.dumps(found)


@pytest.mark.parametrize("event", [{"self_check": False}, {"self_check": True, "id": "1"}, [], {}])
def test_no_other_event_starts_a_self_check(event: object, aws: Aws, plivo: Plivo) -> None:
    output = output_of("event", event, {**aws.variables, "PLIVO_BASE_URL": plivo.url})

    assert "checked" not in output
    assert plivo.received == []
