"""The whole local stack as one context: emulator, simulator, trace sink, deployed template.

>>> with Stack() as stack:                                        # doctest: +SKIP
...     requests_of_plivo = stack.plivo_received()
...     ledger = stack.aws("dynamodb").scan(TableName=stack.description["ledger_table"])
"""

import fcntl
import json
import os
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import boto3

from local import credentials, daemons
from local.build import ROOT, STATE, build
from local.daemons import Daemon
from local.deploy import Deployer
from local.emulator import REGION, clean_environment, start_emulator
from local.ports import free_port
from local.progress import Progress, StackFailed, tail

DETAIL_TYPE = "Cold Transfer Requested"
CONSOLE_PORT = 4580  # of `make up`, if it is free: a page that is open finds the next stack
OWNER = "owner.lock"  # held by the process that made the stack, as long as it lives


class Stack:
    """A deployed stack with ports of its own; several can run at once.

    Parameters
    ----------
    plivo_base_url
        Where transfers go instead of a simulator of this stack.
    auth
        Whether the emulator enforces IAM on what functions do.
    parameters
        Template parameters beside those that make it local.
    folder
        Where logs and pid files go. Without it, a folder of this stack's own in `.local`, which
        goes when the stack stops, and ports that nobody else expects to be free.
    progress
        Where progress is shown; by default nowhere.
    """

    def __init__(
        self,
        *,
        plivo_base_url: str | None = None,
        auth: bool = True,
        parameters: Mapping[str, str] | None = None,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._own_folder = folder is None
        self.folder = folder or STATE / "stacks" / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._plivo_base_url = plivo_base_url
        self._auth = auth
        self._parameters = dict(parameters or {})
        self.progress = progress or Progress(quiet=True)
        self.traces_file = self.folder / "traces.jsonl"
        self._owner: IO[str] | None = None
        self.console_url: str | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and deploy.

        Raises
        ------
        StackFailed
            A part did not work. What was started by then still runs: call ``stop``.
        """
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        if self._own_folder:
            self._owner = (self.folder / OWNER).open("w")
            fcntl.flock(self._owner, fcntl.LOCK_EX)
        template = build(self.progress)
        simulator = "" if self._plivo_base_url else "Plivo simulator, "
        self.progress.say(f"starting {simulator}trace sink and AWS emulator")
        trace_port = self._start_trace_sink()
        self.trace_address = f"127.0.0.1:{trace_port}"
        self.plivo_base_url = self._plivo_base_url or self._start_simulator()
        self.endpoint_url = start_emulator(
            self.folder, trace_port=trace_port, auth=self._auth, usual_port=not self._own_folder
        )
        session = boto3.Session("test", "test", region_name=REGION)
        self._clients = _Clients(session, self.endpoint_url)
        environment = clean_environment(self.folder) | {"AWS_ENDPOINT_URL": self.endpoint_url}
        deployer = Deployer(self._clients, self.folder, environment, self.progress)
        deployer.prepare()
        local = {
            "PlivoBaseUrl": self.plivo_base_url,
            "AwsEndpointUrl": self.endpoint_url,
            "Architecture": "x86_64",
        }
        self.deployed = deployer.deploy(template, local | self._parameters)
        self.progress.say("the stack is ready")

    def start_console(self) -> None:
        """Serve the page that shows this stack; ``description`` says where, from then on.

        Raises
        ------
        StackFailed
            It did not start.
        """
        port = free_port(CONSOLE_PORT if not self._own_folder else 0)
        described = self.folder / "console.json"
        described.write_text(json.dumps(self.description))
        options = ["--port", str(port), "--stack", str(described)]
        options += ["--traces", str(self.traces_file)]
        options += [] if self._plivo_base_url else ["--simulator"]
        daemon = self._start("console", "local.console", *options)
        url = f"http://127.0.0.1:{port}/"
        self._wait_for(url, daemon, "the console")
        self.console_url = url

    def stop(self) -> None:
        """Stop every process of this stack, also of one that failed half-way."""
        daemons.stop(daemons.found_in(self.folder))
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._owner is not None:
            self._owner.close()

    def aws(self, service: str) -> Any:  # noqa: ANN401 -- one of many clients; boto3 types it so too
        """A boto3 client with all rights on this stack's account."""
        return self._clients.client(service)

    @property
    def webhook_url(self) -> str:
        """With the placeholders {phlo_id} and {node_id}, to be filled with ``str.format``."""
        return self.endpoint_url + self.deployed.webhook_path

    def transfer_url(self, transfer_id: str) -> str:
        return f"{self.endpoint_url}{self.deployed.transfers_path}/{transfer_id}"

    @property
    def description(self) -> dict[str, Any]:
        """What `.local/stack.json` holds."""
        parameters, resources = self.deployed.parameters, self.deployed.resources
        doors = {"webhook": "WebhookFunction", "event": "EventFunction"}
        log_groups = self.deployed.log_groups
        console = {"console_url": self.console_url} if self.console_url else {}
        return {
            "webhook_url": self.webhook_url,
            **console,
            "aws_endpoint_url": self.endpoint_url,
            "aws_region": REGION,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "plivo_base_url": self.plivo_base_url,
            "event_bus_name": parameters["EventBusName"],
            "event_source": parameters["EventSource"],
            "event_detail_type": DETAIL_TYPE,
            "callers": {
                "crm": {"signing_secret": credentials.CALLERS["crm"]["signing_secrets"][0]},
                "phlo": {"token": credentials.CALLERS["phlo"]["tokens"][0]},
                "MALOCALSDKCALLER0001": {
                    "token": credentials.CALLERS["MALOCALSDKCALLER0001"]["tokens"][0]
                },
                "limited": {"token": credentials.CALLERS["limited"]["tokens"][0]},
            },
            "ledger_table": resources["LedgerTable"],
            "dead_letter_queue_url": resources["DeadLetterQueue"],
            "functions": {door: resources[name] for door, name in doors.items()},
            "log_groups": {door: log_groups[name] for door, name in doors.items()},
        }

    def log_lines(self, logical_id: str) -> list[str]:
        """What a function logged so far, oldest first; ``logical_id`` as in the template."""
        pages = self.aws("logs").get_paginator("filter_log_events")
        try:
            found = pages.paginate(logGroupName=self.deployed.log_groups[logical_id])
            return [event["message"] for page in found for event in page["events"]]
        except self.aws("logs").exceptions.ResourceNotFoundException:
            return []

    def traces(self) -> list[dict[str, Any]]:
        """Every segment and subsegment that the functions sent so far."""
        if not self.traces_file.is_file():
            return []
        return [json.loads(line) for line in self.traces_file.read_text().splitlines()]

    def plivo_received(self) -> list[dict[str, Any]]:
        """What the simulator received so far, oldest first (``simulator.Received`` as JSON)."""
        with urllib.request.urlopen(  # noqa: S310 -- our own http address
            f"{self.plivo_base_url}/_received", timeout=10
        ) as answer:
            received: list[dict[str, Any]] = json.load(answer)
        return received

    def _start_trace_sink(self) -> int:
        port = free_port()
        options = ["--port", str(port), "--file", str(self.traces_file)]
        self._start("trace-sink", "local.trace_sink", *options)
        return port

    def _start_simulator(self) -> str:
        port = free_port()
        base_url = f"http://127.0.0.1:{port}"
        daemon = self._start("simulator", "local.simulator", "--port", str(port))
        self._wait_for(f"{base_url}/_received", daemon, "the Plivo simulator")
        return base_url

    @staticmethod
    def _wait_for(url: str, daemon: Daemon, what: str) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and daemon.alive():
            try:
                urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 -- our own http address
            except (OSError, urllib.error.URLError):
                time.sleep(0.05)
            else:
                return
        raise StackFailed(f"{what} did not start\n{tail(daemon.log)}")

    def _start(self, name: str, module: str, *options: str) -> Daemon:
        daemon = Daemon(self.folder, name)
        daemon.start([sys.executable, "-m", module, *options], clean_environment(self.folder), ROOT)
        return daemon


@dataclass(frozen=True, slots=True)
class _Clients:
    """A session whose clients all talk to the emulator."""

    session: boto3.Session
    endpoint_url: str

    def client(self, service: str) -> Any:  # noqa: ANN401 -- see Stack.aws
        make: Any = self.session.client
        return make(service, endpoint_url=self.endpoint_url)


def abandoned() -> list[Path]:
    """Folders of stacks whose maker died before it could stop them."""
    folders = []
    for owner in (STATE / "stacks").glob(f"*/{OWNER}"):
        with owner.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
        folders.append(owner.parent)
    return folders
