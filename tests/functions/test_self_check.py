"""``{"self_check": true}``: a function says what it cannot do, and acts on no call to find out.

Each function runs as a process of its own, against Secrets Manager, DynamoDB and EventBridge as
moto has them, and against a Plivo that keeps what it is sent.
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
    """Takes connections, and keeps what comes over them."""

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
    """The services; ``variables`` are those of a function that is deployed there."""

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


def ask(function: str, event: object, variables: Mapping[str, str]) -> str:
    """What the function prints: its result, or the end of its traceback."""
    path = os.pathsep.join([str(ROOT / "functions" / function), str(ROOT / "layers/cold_transfer")])
    inherited = {name: DEPLOYED[name] for name in DEPLOYED if "LAMBDA" not in name}
    done = subprocess.run(  # noqa: S603  the functions as they are
        [sys.executable, "-c", PROGRAM, json.dumps(event)],
        env={**inherited, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stdout or done.stderr).splitlines()[-1]


def report(function: str, variables: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(function, {"self_check": True}, variables))
    return found


@pytest.mark.parametrize("function", NEEDED)
def test_a_function_that_has_all_it_needs_says_so(function: str, aws: Aws, plivo: Plivo) -> None:
    said = report(function, {**aws.variables, "PLIVO_BASE_URL": plivo.url})

    assert said == {"ok": True, "checked": NEEDED[function], "failed": {}}
    # a connection, and not a byte of a request
    assert plivo.received == ([b""] if function in ("webhook", "event") else [])


@pytest.mark.parametrize("function", NEEDED)
def test_all_that_is_out_of_reach_is_named_in_one_report(function: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"

    said = report(
        function,
        {"AWS_ENDPOINT_URL": nowhere, "LEDGER_TABLE": "a-table", "PLIVO_BASE_URL": nowhere},
    )

    assert (said["ok"], said["checked"]) == (False, NEEDED[function])
    assert list(said["failed"]) == NEEDED[function]
    assert all(
        "EndpointConnectionError" in why or "could not connect" in why
        for why in said["failed"].values()
    )


def test_what_is_there_under_another_name_is_named(aws: Aws, plivo: Plivo) -> None:
    wrong = {
        "PLIVO_BASE_URL": plivo.url,
        "PLIVO_SECRET_NAME": "another",
        "LEDGER_TABLE": "another",
    }

    said = report("event", {**aws.variables, **wrong})

    assert said["failed"] == {
        "the Plivo secret": "the secret another: ResourceNotFoundException",
        "the ledger": "DynamoDB: ResourceNotFoundException",
    }


def test_a_secret_of_another_form_is_named_and_not_shown(aws: Aws, plivo: Plivo) -> None:
    marker = "hunter2-of-this-test"
    texts = {
        "broken/plivo": json.dumps({"auth_id": marker}),
        "broken/clients": json.dumps({"clients": {"crm": {"tokens": [marker]}}}),
    }
    for name, text in texts.items():
        aws.client("secretsmanager").create_secret(Name=name, SecretString=text)
    broken = {"PLIVO_SECRET_NAME": "broken/plivo", "CLIENTS_SECRET_NAME": "broken/clients"}

    said = report("webhook", {**aws.variables, "PLIVO_BASE_URL": plivo.url, **broken})

    assert list(said["failed"]) == ["the Plivo secret", "the clients secret"]
    assert "auth_token" in said["failed"]["the Plivo secret"]
    assert "crm" in said["failed"]["the clients secret"]
    assert marker not in json.dumps(said)


@pytest.mark.parametrize("event", [{"self_check": False}, {"self_check": True, "id": "1"}, [], {}])
def test_nothing_else_asks_for_it(event: object, aws: Aws, plivo: Plivo) -> None:
    said = ask("event", event, {**aws.variables, "PLIVO_BASE_URL": plivo.url})

    assert "checked" not in said
    assert plivo.received == []
