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
import urllib.request
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, Self

import boto3

from local import credentials, daemons
from local.build import ROOT, STATE, build
from local.daemons import Daemon
from local.deploy import STACK_NAME, Deployed, Deployer
from local.emulator import REGION, clean_environment, start_emulator
from local.ports import free_port
from local.progress import Progress, until_ready
from local.waiting import answers

READY_SECONDS = 20.0
CONSOLE_PORT = 4580  # of `make up`, if it is free, so that an open page finds the next stack
OWNER = "owner.lock"  # locked by the process that made the stack, for as long as it lives


class Stack:
    """A deployed stack with its own ports; several can run at once.

    Parameters
    ----------
    plivo_base_url
        Plivo's address; by default a simulator that the stack starts.
    auth
        Whether the emulator enforces IAM on the functions.
    parameters
        Template parameters in addition to those for a local stack.
    folder
        The folder for logs and pid files. By default a new one in `.local` that is removed when the
        stack stops; the stack then avoids the usual ports.
    progress
        Shows the progress; by default nothing is shown.
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
            A part failed. Call ``stop``: other parts may be running.
        """
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        if self._own_folder:
            self._owner = (self.folder / OWNER).open("w")
            fcntl.flock(self._owner, fcntl.LOCK_EX)
        self._template = build(self.progress)
        simulator = "" if self._plivo_base_url else "Plivo simulator, "
        self.progress.say(f"starting {simulator}trace sink and AWS emulator")
        trace_port = self._start_trace_sink()
        self.trace_address = f"127.0.0.1:{trace_port}"
        self.plivo_base_url = self._plivo_base_url or self._start_simulator()
        self.endpoint_url = start_emulator(
            self.folder, trace_port=trace_port, auth=self._auth, usual_port=not self._own_folder
        )
        self._session: Any = boto3.Session("test", "test", region_name=REGION)
        self.deployed = self.deploy(STACK_NAME)
        self.progress.say("the stack is ready")

    def deploy(self, name: str) -> Deployed:
        """Create the secrets and the bucket that a stack of this name needs, and deploy it.

        Raises
        ------
        StackFailed
            It could not be deployed.
        """
        environment = clean_environment(self.folder) | {"AWS_ENDPOINT_URL": self.endpoint_url}
        deployer = Deployer(self.aws, self.folder, environment, self.progress, name)
        deployer.prepare()
        local = {
            "PlivoBaseUrl": self.plivo_base_url,
            "AwsEndpointUrl": self.endpoint_url,
            "Architecture": "x86_64",
            "EventActions": "*",
        }
        return deployer.deploy(self._template, local | self._parameters)

    def start_console(self) -> None:
        """Start the console. ``description`` then has its address.

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
        until_ready(daemon, partial(answers, url), READY_SECONDS, "the console did not start")
        self.console_url = url

    def stop(self) -> None:
        """Stop every process of this stack, even if it was not fully started."""
        daemons.stop(daemons.found_in(self.folder))
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._owner is not None:
            self._owner.close()

    def aws(self, service: str) -> Any:  # noqa: ANN401 -- one of many clients; boto3 types it so too
        """A boto3 client with all rights on this stack's account."""
        return self._session.client(service, endpoint_url=self.endpoint_url)

    @property
    def webhook_url(self) -> str:
        """The URL with the placeholders {phlo_id} and {node_id}, for ``str.format``."""
        return self.endpoint_url + self.deployed.webhook_path

    def action_url(self, action_id: str) -> str:
        """The URL to look up an action."""
        return f"{self.endpoint_url}{self.deployed.actions_path}/{action_id}"

    @property
    def description(self) -> dict[str, Any]:
        """The content of `.local/stack.json`: addresses, names and credentials."""
        outputs, resources = self.deployed.outputs, self.deployed.resources
        entry_points = {"webhook": "WebhookFunction", "event": "EventFunction"}
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
            "event_bus_name": outputs["EventBus"],
            "event_source": outputs["EventSourceName"],
            "clients": {name: _credential(entry) for name, entry in credentials.CLIENTS.items()},
            "ledger_table": resources["LedgerTable"],
            "dead_letter_queue_url": resources["DeadLetterQueue"],
            "functions": {
                entry_point: resources[name] for entry_point, name in entry_points.items()
            },
            "log_groups": {
                entry_point: log_groups[name] for entry_point, name in entry_points.items()
            },
        }

    def log_lines(self, logical_id: str) -> list[str]:
        """The lines of a function's log, oldest first, by its ``logical_id`` in the template."""
        pages = self.aws("logs").get_paginator("filter_log_events")
        try:
            found = pages.paginate(logGroupName=self.deployed.log_groups[logical_id])
            return [event["message"] for page in found for event in page["events"]]
        except self.aws("logs").exceptions.ResourceNotFoundException:
            return []

    def traces(self) -> list[dict[str, Any]]:
        """Every X-Ray document that the functions have sent, oldest first."""
        if not self.traces_file.is_file():
            return []
        return [json.loads(line) for line in self.traces_file.read_text().splitlines()]

    def plivo_received(self) -> list[dict[str, Any]]:
        """What the simulator has received, oldest first (``simulator.Received`` as JSON)."""
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
        ready = partial(answers, f"{base_url}/_received")
        until_ready(daemon, ready, READY_SECONDS, "the Plivo simulator did not start")
        return base_url

    def _start(self, name: str, module: str, *options: str) -> Daemon:
        daemon = Daemon(self.folder, name)
        daemon.start([sys.executable, "-m", module, *options], clean_environment(self.folder), ROOT)
        return daemon


def _credential(entry: Mapping[str, list[str]]) -> dict[str, str]:
    if "signing_secrets" in entry:
        return {"signing_secret": entry["signing_secrets"][0]}
    return {"token": entry["tokens"][0]}


def abandoned() -> list[Path]:
    """The folders of stacks whose process ended without stopping them."""
    folders = []
    for owner in (STATE / "stacks").glob(f"*/{OWNER}"):
        with owner.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
        folders.append(owner.parent)
    return folders
