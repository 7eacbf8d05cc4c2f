"""Every example in docs/signing.md is run unchanged, against the real verifier over HTTP."""

import base64
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

import pytest

from cold_transfer.auth import clients_secret
from cold_transfer.auth.clients import Clients, Identity
from cold_transfer.deadline import now_ms
from cold_transfer.entrypoints import body, contract
from cold_transfer.errors import Unauthorized
from tests.support.builders import NODE_ID, PHLO_ID
from tests.support.serving import serving

TEXT = (Path(__file__).parents[2] / "docs" / "signing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

SIGNING_SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
TOKEN = secrets.token_urlsafe(32)
CLIENT = "crm"


def example(language: str, has: str) -> str:
    """The only example in ``language`` that contains the text ``has``."""
    (found,) = [code for name, code in EXAMPLES if name == language and has in code]
    return str(found)


def with_the_library() -> str:
    """The standard library's example, signing with the library standardwebhooks instead."""
    code, places = re.subn(
        r"^timestamp = .*?^signature = .*?\n",
        lambda _: example("python", "Webhook("),
        example("python", "hmac.digest"),
        flags=re.MULTILINE | re.DOTALL,
    )
    assert places == 1
    return code


#: For each example: the command that runs it, the file's name, and its content.
RUNS = {
    "python": ([sys.executable, "-W", "error"], "send.py", example("python", "hmac.digest")),
    "python library": ([sys.executable, "-W", "error"], "send.py", with_the_library()),
    "node": (["node"], "send.mjs", example("js", "createHmac")),
    "openssl and curl": (["sh", "-eu"], "send.sh", example("sh", "openssl dgst")),
    "bearer": (["sh", "-eu"], "send.sh", example("sh", "Authorization: Bearer")),
    "basic": (["sh", "-eu"], "send.sh", example("sh", "--user")),
}
NEEDS = {
    "node": ("node",),
    "openssl and curl": ("openssl", "curl", "od"),
    "bearer": ("openssl", "curl"),
    "basic": ("curl",),
}
SIGNED = ("python", "python library", "node", "openssl and curl")


@dataclass(frozen=True)
class Received:
    """One request and the verifier's result; ``identity`` is None if it answered 401."""

    path: str
    headers: dict[str, list[str]] = field(repr=False)
    raw: bytes = field(repr=False)
    identity: Identity | None


class Receiver(ThreadingHTTPServer):
    """Stands in for the webhook: authenticates each POST and records the result."""

    daemon_threads = True

    def __init__(self, clients: Clients) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clients = clients
        self.received: list[Received] = []


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout: ClassVar[int] = 10

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.casefold(), []).append(value)
        identity = None
        try:
            identity = self.server.clients.authenticate(headers, raw, time.time())
        except Unauthorized:
            self.send_response(401)
        else:
            self.send_response(201)
        self.server.received.append(Received(self.path, headers, raw, identity))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    entry = f'{{"signing_secrets": ["{SIGNING_SECRET}"], "tokens": ["{TOKEN}"]}}'
    clients = clients_secret.parse(f'{{"clients": {{"{CLIENT}": {entry}}}}}')
    with serving(Receiver(clients)) as server:
        yield server


def run(name: str, folder: Path, receiver: Receiver, **credentials: str) -> Received:
    """Run the example ``name`` once, and return what the receiver got."""
    command, file, code = RUNS[name]
    for tool in NEEDS.get(name, ()):
        if shutil.which(tool) is None:
            pytest.skip(f"the example needs {tool}, which is not installed here")
    (folder / file).write_text(code, encoding="utf-8")
    url = f"http://127.0.0.1:{receiver.server_port}/v1/phlo/{PHLO_ID}/multi_party_call/{NODE_ID}"
    exported = {
        "SIGNING_SECRET": SIGNING_SECRET,
        "TOKEN": TOKEN,
        "CLIENT": CLIENT,
        "PHLO_ID": PHLO_ID,
        "NODE_ID": NODE_ID,
        "WEBHOOK_URL": url,
        **credentials,
    }
    assert exported.keys() == set(re.findall(r"\b([A-Z_]+)=", example("sh", "export")))
    environment = {"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", **exported}
    done = subprocess.run(  # noqa: S603 - the examples of a file of ours
        [*command, str(folder / file)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert len(receiver.received) == 1, done.stderr
    (received,) = receiver.received
    if received.identity is not None:
        assert done.returncode == 0, done.stderr
        assert "201" in done.stdout  # each prints the answer
    return received


def test_no_example_is_left_out() -> None:
    """Only the block that sets environment variables sends nothing."""
    assert len(EXAMPLES) == len(RUNS) + 1


@pytest.mark.parametrize("name", RUNS)
def test_the_example_is_authenticated_and_requests_the_action(
    name: str, receiver: Receiver, tmp_path: Path
) -> None:
    received = run(name, tmp_path, receiver)

    assert received.identity is not None
    assert received.identity.client.name == CLIENT
    fields = body.parse(received.raw, received.headers["content-type"]).fields
    _, _, _, phlo_id, _, node_id = unquote(received.path).split("/")
    path = {"phlo_id": phlo_id, "node_id": node_id}
    action = contract.from_webhook(fields, path, now_ms=now_ms()).action
    assert (action.to, action.trigger_source) == ("+14155550123", "+14155550100")


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_example_covers_its_id_and_the_ids_of_its_path(
    name: str, receiver: Receiver, tmp_path: Path
) -> None:
    received = run(name, tmp_path, receiver)

    assert received.identity is not None
    assert [received.identity.webhook_id] == received.headers["webhook-id"]
    fields = body.parse(received.raw, received.headers["content-type"]).fields
    assert (fields["phlo_id"], fields["node_id"]) == (PHLO_ID, NODE_ID)


@pytest.mark.parametrize("name", RUNS)
def test_the_example_uses_the_credential_from_its_environment(
    name: str, receiver: Receiver, tmp_path: Path
) -> None:
    another = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()

    received = run(name, tmp_path, receiver, SIGNING_SECRET=another, TOKEN="x" * 40)

    assert received.identity is None


def test_the_key_of_the_bearer_example_is_valid(receiver: Receiver, tmp_path: Path) -> None:
    received = run("bearer", tmp_path, receiver)

    (key,) = received.headers["idempotency-key"]
    assert contract.check_key(key) == key
