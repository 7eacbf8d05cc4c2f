"""Runs the shell blocks of README and docs in a fresh checkout.

docs/signing.md and docs/sam-local.md are tested elsewhere.
"""

import json
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.waiting import eventually
from tests.sam_local.checkout import ROOT, Checkout

pytestmark = pytest.mark.timeout(400)  # less than a minute each on an idle machine

README = ROOT / "README.md"
LOCAL_STACK = ROOT / "docs" / "local-stack.md"
RUNBOOK = ROOT / "docs" / "runbook.md"
ALARMS = ROOT / "docs" / "integrations" / "alarms.md"
DEAD = "events/event-plivo-rejected.json"
KEPT = "events/event-plivo-unknown.json"

#: The operator's command, and how to run it from the code in this checkout.
COMMAND = re.compile(r"(?:\.venv/bin/|(?<![\w/-]))cold-transfer (?=[a-z-])")
AS_MODULE = "env PYTHONPATH=layers/cold_transfer .venv/bin/python -m cold_transfer_cli "

#: Printed after each block, to separate their outputs.
MARK = "--8<--"


def blocks(document: Path, section: str = "") -> list[str]:
    """The shell blocks of a document, or of one of its sections."""
    text = document.read_text(encoding="utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    assert found
    return [textwrap.dedent(block) for block in found]


class Running:
    """A checkout with a stack that `make up` started."""

    def __init__(self, checkout: Checkout) -> None:
        self.checkout = checkout
        self.failed: list[str] = []
        self.tools = checkout.folder / "bin"
        self.tools.mkdir()
        aws = self.tools / "aws"
        script = ROOT / "tests" / "system" / "aws_cli.py"
        aws.write_text(f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')
        aws.chmod(0o755)

    def run(self, *blocks: str, **variables: str) -> list[str]:
        """Run the blocks in one new shell; returns the standard output of each.

        ``failed`` then lists the status and text of each command that failed.
        """
        failed = self.checkout.folder / "failed"
        failed.write_text("")
        trap = f"trap 'echo \"$? $BASH_COMMAND\" >> {failed}' ERR"
        runnable = [COMMAND.sub(AS_MODULE, block) for block in blocks]
        script = [trap, *(f"{block}\necho '{MARK}'" for block in runnable)]
        environment = self.checkout.environment | variables
        done = subprocess.run(  # noqa: S603  the lines of our own documents
            ["/bin/bash", "-uc", "\n".join(script)],
            cwd=self.checkout.folder,
            env=environment | {"PATH": f"{self.tools}:{environment['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.failed = failed.read_text().splitlines()
        *printed, rest = done.stdout.split(f"{MARK}\n")
        assert (len(printed), rest) == (len(blocks), ""), done.stderr
        return printed

    @property
    def description(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.checkout.folder / ".local/stack.json").read_text())
        return read

    def aws(self, service: str) -> Any:
        session: Any = boto3.Session("test", "test", region_name=self.description["aws_region"])
        return session.client(service, endpoint_url=self.description["aws_endpoint_url"])

    @property
    def operator_environment(self) -> dict[str, str]:
        """The variables with which an operator's tools find the stack."""
        return {
            "AWS_ENDPOINT_URL": self.description["aws_endpoint_url"],
            "AWS_DEFAULT_REGION": self.description["aws_region"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def received(self) -> list[str]:
        """The ``to`` of each action that Plivo received so far."""
        address = f"{self.description['plivo_base_url']}/_received"
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  our own address
            return [json.loads(each["body"])["to"] for each in json.load(answer)]

    def dead_letters(self) -> dict[str, str]:
        """The id of each message, by the ``to`` of its request."""
        found = self.aws("sqs").receive_message(
            QueueUrl=self.description["dead_letter_queue_url"],
            VisibilityTimeout=0,
            MaxNumberOfMessages=10,
        )
        return {
            json.loads(message["Body"])["requestPayload"]["detail"]["to"]: message["MessageId"]
            for message in found.get("Messages", [])
        }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    checkout = Checkout.made_in(tmp_path_factory.mktemp("documents") / "checkout")
    if (ROOT / ".aws-sam").is_dir():  # make up does not build again if the sources are the same
        shutil.copytree(ROOT / ".aws-sam", checkout.folder / ".aws-sam")
    made = Running(checkout)
    try:
        made.run("make up")
        assert made.failed == []
        yield made
    finally:
        checkout.run("make down")


def to_of(running: Running, sample: str) -> str:
    read = json.loads((running.checkout.folder / sample).read_text())
    return str(read["detail"]["to"])


def test_the_readmes_commands_request_an_action_at_each_entry_point(running: Running) -> None:
    first, *others = [
        each for each in blocks(README, "Request an action") if "sam local" not in each
    ]
    assert first.startswith("make up\n")

    _, webhook, lookup, _ = running.run(first.removeprefix("make up\n"), *others)

    assert running.failed == []
    assert webhook.startswith("HTTP/1.1 201 ")
    assert "\nAction-Id: " in webhook
    assert json.loads(lookup)["outcome"] == "accepted"
    requested = {"+14155550123", to_of(running, "events/event-accepted.json")}
    assert eventually(lambda: requested <= set(running.received()))


def test_the_commands_of_the_local_stack_page_request_an_action_at_each_entry_point(
    running: Running,
) -> None:
    webhook, event = blocks(LOCAL_STACK, "Requesting an action")
    assert webhook.startswith("make up\n")

    answer, put = running.run(webhook.removeprefix("make up\n"), event)

    assert running.failed == []
    assert "HTTP/1.1 201 " in answer
    assert "is on the bus" in put


def test_the_runbooks_commands_work_and_empty_the_dead_letter_queue(running: Running) -> None:
    for sample in (DEAD, KEPT):
        running.run(f".venv/bin/python -m local.put_event {sample}")
        assert running.failed == []
    assert eventually(lambda: len(running.dead_letters()) == 2, 60)
    plivo = {"auth_id": PLIVO_AUTH_ID, "auth_token": PLIVO_AUTH_TOKEN}
    (running.checkout.folder / "plivo.json").write_text(json.dumps(plivo))
    placeholders = {
        "ACTION_ID": "0" * 64,
        "MESSAGE_ID": running.dead_letters()[to_of(running, KEPT)],
    }
    commands = blocks(RUNBOOK)
    for placeholder, value in placeholders.items():
        commands = [block.replace(placeholder, value) for block in commands]
    (smoke,) = [block for block in commands if block.startswith("cold-transfer smoke\n")]

    def smoke_test_passes() -> bool:
        (output,) = running.run(smoke, **running.operator_environment)
        return output.count("PASS  ") == len(output.splitlines())

    running.run(*commands, **running.operator_environment)

    # The operator's commands end with 1 if something needs a person, such as an unknown outcome.
    for each in running.failed:
        assert each.startswith(f"1 {AS_MODULE}"), each
    assert running.dead_letters() == {}
    assert eventually(smoke_test_passes, 90)  # on a busy machine a cold start may use up its time


class Pager(BaseHTTPRequestHandler):
    """Behaves like PagerDuty: confirms its subscription, and keeps what SNS sends."""

    notified: list[dict[str, Any]]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if message["Type"] == "SubscriptionConfirmation":
            with urllib.request.urlopen(message["SubscribeURL"], timeout=10):  # noqa: S310  ours
                return
        self.notified.append(json.loads(message["Message"]))

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def pager() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its URL, and the notifications that it gets."""
    notified: list[dict[str, Any]] = []
    handler = type("Handler", (Pager,), {"notified": notified})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/integration/KEY/enqueue", notified
        finally:
            server.shutdown()
            thread.join()


def test_a_pager_subscribed_as_documented_is_notified_of_the_test_alarm(
    running: Running,
) -> None:
    subscribe, listing = blocks(ALARMS, "PagerDuty")
    alarm, history = blocks(ALARMS, "A test alarm")
    documented = "https://events.pagerduty.com/integration/KEY/enqueue"
    assert documented in subscribe
    assert "--protocol https " in subscribe
    operator = running.operator_environment

    with pager() as (url, notified):
        local = subscribe.replace(documented, url).replace("--protocol https ", "--protocol http ")
        running.run(local, **operator)
        assert running.failed == []

        def confirmed() -> bool:
            (output,) = running.run(listing, **operator)
            return "http\tarn:aws:sns:" in output

        assert eventually(confirmed, 30)
        running.run(f"{alarm}\n{history}", **operator)

        assert running.failed == []
        assert eventually(lambda: notified)
    assert (notified[0]["NewStateValue"], notified[0]["AlarmName"]) == (
        "ALARM",
        "plivo-cold-transfer-reconcile-silent",
    )


def test_put_event_without_a_stack_says_how_to_start_one(tmp_path: Path) -> None:
    checkout = Checkout.made_in(tmp_path / "checkout")

    done = checkout.run(".venv/bin/python -m local.put_event events/event-accepted.json")

    assert (done.returncode, done.stderr) == (1, "no stack is running; start one with: make up\n")
