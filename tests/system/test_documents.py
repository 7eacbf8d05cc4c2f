"""What README and docs have a new user type is typed as it stands, in a checkout of its own.

docs/signing.md and docs/sam-local.md have tests of their own.
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

pytestmark = pytest.mark.timeout(400)  # less than a minute each, if nothing else is at work

README = ROOT / "README.md"
LOCAL_STACK = ROOT / "docs" / "local-stack.md"
RUNBOOK = ROOT / "docs" / "runbook.md"
ALARMS = ROOT / "docs" / "integrations" / "alarms.md"
DEAD = "events/event-plivo-rejected.json"
KEPT = "events/event-plivo-unknown.json"

#: The operator's command, and the same of the code in this checkout.
COMMAND = re.compile(r"(?:\.venv/bin/|(?<![\w/-]))cold-transfer (?=[a-z-])")
AS_MODULE = "env PYTHONPATH=layers/cold_transfer .venv/bin/python -m cold_transfer_cli "

#: Printed behind each block, to tell their outputs apart.
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
        # The AWS CLI's stand-in reaches nothing but an address that it is told.
        self.tools = checkout.folder / "stand-ins"
        self.tools.mkdir()
        aws = self.tools / "aws"
        stand_in = ROOT / "tests" / "system" / "aws_cli.py"
        aws.write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in} "$@"\n')
        aws.chmod(0o755)

    def type(self, *typed: str, **variables: str) -> list[str]:
        """Type the blocks into a fresh shell; what each printed on standard output.

        ``failed`` then has each command that ended with another status than 0, behind its status.
        """
        failed = self.checkout.folder / "failed"
        failed.write_text("")
        trap = f"trap 'echo \"$? $BASH_COMMAND\" >> {failed}' ERR"
        installed = [COMMAND.sub(AS_MODULE, block) for block in typed]
        script = [trap, *(f"{block}\necho '{MARK}'" for block in installed)]
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
        assert (len(printed), rest) == (len(typed), ""), done.stderr
        return printed

    @property
    def description(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.checkout.folder / ".local/stack.json").read_text())
        return read

    def aws(self, service: str) -> Any:
        session: Any = boto3.Session("test", "test", region_name=self.description["aws_region"])
        return session.client(service, endpoint_url=self.description["aws_endpoint_url"])

    @property
    def as_an_operator(self) -> dict[str, str]:
        """What leads an operator's tools to the stack, as AWS's settings do."""
        return {
            "AWS_ENDPOINT_URL": self.description["aws_endpoint_url"],
            "STAND_IN_FOR_AWS": self.description["aws_endpoint_url"],
            "AWS_DEFAULT_REGION": self.description["aws_region"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def received(self) -> list[str]:
        """To whom Plivo was asked to action so far."""
        address = f"{self.description['plivo_base_url']}/_received"
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310  our own address
            return [json.loads(each["body"])["to"] for each in json.load(answer)]

    def dead_letters(self) -> dict[str, str]:
        """Each message's id by the `to` that it asked for."""
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
    if (ROOT / ".aws-sam").is_dir():  # spares a build, if it is of these sources
        shutil.copytree(ROOT / ".aws-sam", checkout.folder / ".aws-sam")
    made = Running(checkout)
    try:
        made.type("make up")
        assert made.failed == []
        yield made
    finally:
        checkout.type("make down")


def to_of(running: Running, sample: str) -> str:
    read = json.loads((running.checkout.folder / sample).read_text())
    return str(read["detail"]["to"])


def test_the_readmes_commands_work_through_each_entry_point(running: Running) -> None:
    first, *others = [
        each for each in blocks(README, "Request an action") if "sam local" not in each
    ]
    assert first.startswith("make up\n")

    _, webhook, lookup, _ = running.type(first.removeprefix("make up\n"), *others)

    assert running.failed == []
    assert webhook.startswith("HTTP/1.1 201 ")
    assert "\nAction-Id: " in webhook
    assert json.loads(lookup)["outcome"] == "accepted"
    wanted = {"+14155550123", to_of(running, "events/event-accepted.json")}
    assert eventually(lambda: wanted <= set(running.received()))


def test_the_page_of_the_local_stack_does_so_too(running: Running) -> None:
    webhook, event = blocks(LOCAL_STACK, "Requesting an action")
    assert webhook.startswith("make up\n")

    answer, put = running.type(webhook.removeprefix("make up\n"), event)

    assert running.failed == []
    assert "HTTP/1.1 201 " in answer
    assert "is on the bus" in put


def test_the_runbook_does_what_it_says(running: Running) -> None:
    for sample in (DEAD, KEPT):
        running.type(f".venv/bin/python -m local.put_event {sample}")
        assert running.failed == []
    assert eventually(lambda: len(running.dead_letters()) == 2, 60)
    plivo = {"auth_id": PLIVO_AUTH_ID, "auth_token": PLIVO_AUTH_TOKEN}
    (running.checkout.folder / "plivo.json").write_text(json.dumps(plivo))
    filled_in = {
        "ACTION_ID": "0" * 64,
        "MESSAGE_ID": running.dead_letters()[to_of(running, KEPT)],
    }
    typed = blocks(RUNBOOK)
    for blank, value in filled_in.items():
        typed = [block.replace(blank, value) for block in typed]
    (smoke,) = [block for block in typed if block.startswith("cold-transfer smoke\n")]

    def works() -> bool:
        (said,) = running.type(smoke, **running.as_an_operator)
        return said.count("PASS  ") == len(said.splitlines())

    running.type(*typed, **running.as_an_operator)

    # 1 of the operator's commands: something is left for a person, such as an unknown outcome
    for each in running.failed:
        assert each.startswith(f"1 {AS_MODULE}"), each
    assert running.dead_letters() == {}
    assert eventually(works, 90)  # on a busy machine a start may take the check's whole time


class Pager(BaseHTTPRequestHandler):
    """PagerDuty, as far as SNS can tell: it confirms what subscribes it, and takes what comes."""

    told: list[dict[str, Any]]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if message["Type"] == "SubscriptionConfirmation":
            with urllib.request.urlopen(message["SubscribeURL"], timeout=10):  # noqa: S310  ours
                return
        self.told.append(json.loads(message["Message"]))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def pager() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Its address, and what it was told."""
    told: list[dict[str, Any]] = []
    handler = type("Told", (Pager,), {"told": told})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/integration/KEY/enqueue", told
        finally:
            server.shutdown()
            thread.join()


def test_a_pager_that_subscribes_as_the_page_says_is_told_of_the_test_alarm(
    running: Running,
) -> None:
    subscribe, listing = blocks(ALARMS, "PagerDuty")
    alarm, history = blocks(ALARMS, "A test alarm")
    theirs = "https://events.pagerduty.com/integration/KEY/enqueue"
    assert theirs in subscribe
    assert "--protocol https " in subscribe
    operator = running.as_an_operator

    with pager() as (url, told):
        ours = subscribe.replace(theirs, url).replace("--protocol https ", "--protocol http ")
        running.type(ours, **operator)
        assert running.failed == []

        def confirmed() -> bool:
            (listed,) = running.type(listing, **operator)
            return "http\tarn:aws:sns:" in listed

        assert eventually(confirmed, 30)
        running.type(f"{alarm}\n{history}", **operator)

        assert running.failed == []
        assert eventually(lambda: told)
    assert (told[0]["NewStateValue"], told[0]["AlarmName"]) == (
        "ALARM",
        "plivo-cold-transfer-reconcile-silent",
    )


def test_an_event_for_a_stack_that_is_not_there_says_how_to_start_one(tmp_path: Path) -> None:
    checkout = Checkout.made_in(tmp_path / "checkout")

    done = checkout.type(".venv/bin/python -m local.put_event events/event-accepted.json")

    assert (done.returncode, done.stderr) == (1, "no stack is running; start one with: make up\n")
