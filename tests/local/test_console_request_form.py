"""What the console sends for its form; the shell commands that it shows are run."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from local.console import request_form
from local.console.request_form import FormInvalid, RequestForm, Sender
from local.console.stack_access import StackAccess
from tests.support import console
from tests.support.console import FIELDS
from tests.support.serving import serving

PATH = f"/v1/phlo/{FIELDS['phlo_id']}/multi_party_call/{FIELDS['node_id']}"
FORM = {**FIELDS, "entry_point": "webhook", "client": "phlo", "Idempotency-Key": "key-1"}
SDK = "MALOCALSDKCLIENT0001"
BODY = {name: FIELDS[name] for name in ("action", "to", "role", "trigger_source")}
AWKWARD = """it's "7" $(date) \\n `id` ü"""


class Gateway(ThreadingHTTPServer):
    """Records each request, and answers with ``answer``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, str], str]] = []
        self.answer: tuple[int, dict[str, str], object] = (201, {"Action-Id": "a" * 64}, {})
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append((self.path, headers, body))
        status, more, text = self.server.answer
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(json.dumps(text).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- http.server's name
        """Silent."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving(Gateway()) as server:
        yield server


@pytest.fixture
def access(gateway: Gateway) -> StackAccess:
    url = f"{gateway.url}/v1/phlo/{{phlo_id}}/multi_party_call/{{node_id}}"
    return console.access(webhook_url=url)


@pytest.fixture
def sender(access: StackAccess) -> Iterator[Sender]:
    with closing(Sender(access)) as one:
        yield one


def form_of(access: StackAccess, **changes: str) -> RequestForm:
    return request_form.read({**FORM, **changes}, access)


def check_signature(headers: dict[str, str], body: str) -> None:
    Webhook(console.SIGNING_SECRET).verify(body, headers)


def test_an_action_on_a_call_has_plivos_body_and_the_ids_in_the_path(
    gateway: Gateway, access: StackAccess, sender: Sender
) -> None:
    sender.post(form_of(access, reference="ticket-7"))

    ((path, headers, body),) = gateway.received
    assert path == PATH
    assert json.loads(body) == {**BODY, "reference": "ticket-7"}
    assert headers["authorization"] == f"Bearer {console.TOKEN}"
    assert headers["idempotency-key"] == "key-1"


def test_an_action_on_a_member_has_the_member_in_the_path(
    gateway: Gateway, access: StackAccess, sender: Sender
) -> None:
    sender.post(form_of(access, action="hold", member_address="+14152223333"))

    ((path, _, body),) = gateway.received
    assert path == f"{PATH}/members/%2B14152223333"
    assert json.loads(body) == {"action": "hold"}


def test_a_client_with_a_signing_secret_signs_with_its_key_as_the_message_id(
    gateway: Gateway, access: StackAccess, sender: Sender
) -> None:
    sender.post(form_of(access, client="crm"))
    sender.post(form_of(access, client="crm", **{"Idempotency-Key": ""}))

    for _, headers, body in gateway.received:
        check_signature(headers, body)
        assert "authorization" not in headers
    first, second = (headers["webhook-id"] for _, headers, _ in gateway.received)
    assert first == "key-1"
    assert second.startswith("msg_")


def test_without_a_key_none_is_sent(gateway: Gateway, access: StackAccess, sender: Sender) -> None:
    sender.post(form_of(access, **{"Idempotency-Key": ""}))

    assert "idempotency-key" not in gateway.received[0][1]


def test_the_answer_is_kept_unchanged_and_parsed(
    gateway: Gateway, access: StackAccess, sender: Sender
) -> None:
    problem = {
        "type": "urn:problem-type:cold-transfer:rejected",
        "detail": "Plivo: no - Correct the request.",
        "instance": "/v1/actions/a",
    }
    headers = {"Action-Id": "a" * 64, "Idempotency-Replayed": "true", "Duplicate-Of": "b" * 64}
    gateway.answer = (400, headers, problem)

    answer = sender.post(form_of(access))

    assert (answer["status"], answer["cause"], answer["outcome"]) == (400, "rejected", "rejected")
    assert (answer["action_id"], answer["duplicate_of"]) == ("a" * 64, "b" * 64)
    assert answer["replayed"]
    assert answer["advice"] == "Plivo: no - Correct the request."
    assert json.loads(answer["body"]) == problem
    assert answer["headers"]["action-id"] == "a" * 64


def test_a_refusal_names_its_invocation(
    gateway: Gateway, access: StackAccess, sender: Sender
) -> None:
    problem = {
        "type": "urn:problem-type:cold-transfer:in-progress",
        "instance": "urn:uuid:1234",
    }
    gateway.answer = (409, {}, problem)

    answer = sender.post(form_of(access))

    assert (answer["outcome"], answer["correlation_id"]) == ("", "1234")


@pytest.mark.parametrize(
    "changes",
    [
        {"entry_point": "fax"},
        {"action": "teleport"},
        {"client": "nobody"},
        {"phlo_id": " "},
        {"node_id": ""},
    ],
)
def test_a_form_that_cannot_be_sent_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(FormInvalid):
        form_of(console.access(), **changes)


def test_a_field_that_the_stack_would_refuse_is_sent_all_the_same(
    gateway: Gateway, access: StackAccess, sender: Sender
) -> None:
    sender.post(form_of(access, to="nobody", reference=AWKWARD))

    assert json.loads(gateway.received[0][2]) == {**BODY, "to": "nobody", "reference": AWKWARD}


# --- the commands to copy ------------------------------------------------------------------------


def run(line: str, folder: Path, **environment: str) -> str:
    """Run it in bash, in a folder that has `.local/stack.json` as the repository has."""
    (folder / ".local").mkdir(exist_ok=True)
    (folder / ".local" / "stack.json").write_text(json.dumps(console.description()))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(  # noqa: S603 -- a command that the console shows
        ["/bin/bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env={"PATH": environment.pop("PATH", path), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_curl = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("openssl")),
    reason="curl or openssl is not installed",
)


@needs_curl
@pytest.mark.parametrize(
    ("client", "key"),
    [("phlo", "key-1"), ("phlo", ""), ("crm", "key-1"), ("crm", ""), (SDK, "key-1")],
)
def test_the_curl_command_sends_what_the_console_sends(
    gateway: Gateway, access: StackAccess, tmp_path: Path, client: str, key: str
) -> None:
    form = form_of(access, client=client, reference=AWKWARD, **{"Idempotency-Key": key})
    with closing(Sender(access)) as sender:
        sender.post(form)
    line = request_form.curl(form, access)

    shown = run(line, tmp_path)

    assert "201" in shown.splitlines()[0]
    (path, ours, body), (theirs_path, theirs, their_body) = gateway.received
    assert (theirs_path, their_body) == (path, body)
    if client == "crm":
        check_signature(theirs, their_body)
    for name in ("authorization", "content-type", "idempotency-key"):
        assert theirs.get(name) == ours.get(name)
    assert (theirs.get("webhook-id") == ours.get("webhook-id")) or not key


@pytest.mark.parametrize("client", ["phlo", "crm", SDK])
def test_no_command_contains_a_credential(access: StackAccess, client: str) -> None:
    form = form_of(access, client=client)

    for line in (request_form.curl(form, access), request_form.put_events(form, access)):
        assert not [secret for secret in access.secrets if secret in line]


AWS = """#!/bin/bash
printf '%s\\n' "$AWS_ENDPOINT_URL" "$AWS_DEFAULT_REGION" "$@"
"""


def test_the_put_events_command_puts_the_event_that_the_console_puts(
    access: StackAccess, tmp_path: Path
) -> None:
    (tmp_path / "aws").write_text(AWS)
    (tmp_path / "aws").chmod(0o700)
    form = form_of(access, entry_point="event", action="hold", member_address=AWKWARD)

    line = request_form.put_events(form, access)

    endpoint, region, *words = run(line, tmp_path, PATH=f"{tmp_path}:/usr/bin:/bin").splitlines()
    assert (endpoint, region) == (access.aws_endpoint_url, access.aws_region)
    assert words[:3] == ["events", "put-events", "--entries"]
    (entry,) = json.loads(words[3])
    assert entry == access.event("hold", request_form.detail_of(form))
    detail: dict[str, Any] = json.loads(entry["Detail"])
    assert detail == {
        "phlo_id": FIELDS["phlo_id"],
        "node_id": FIELDS["node_id"],
        "member_address": AWKWARD,
        "idempotency_key": "key-1",
    }
    assert entry["DetailType"] == "Hold Requested"
    assert entry["Source"] == console.SOURCE


def test_the_detail_type_names_the_action_and_without_a_key_none_is_put(
    access: StackAccess,
) -> None:
    form = form_of(access, entry_point="event", **{"Idempotency-Key": ""})

    line = request_form.put_events(form, access)

    assert "Cold Transfer Requested" in line
    assert "idempotency_key" not in line
    assert shlex.split(line.replace("\\\n", " "))
