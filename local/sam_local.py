"""Lets `sam local` use the stack of `make up`: `python -m local sam-local`.

The stack listens on loopback, which the containers of `sam local` cannot reach. This starts a relay
and writes the settings for `sam local --config-file`.
"""

import ipaddress
import json
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local import running
from local.build import ROOT, STATE
from local.credentials import secrets
from local.daemons import Daemon, stop
from local.deploy import STACK_NAME
from local.emulator import clean_environment
from local.progress import StackFailed, until_ready
from local.relay import LISTENS

SETTINGS = STATE / "sam-local.toml"
VARIABLES = STATE / "sam-local.json"
INSIDE = "host.docker.internal"
COMMANDS = ("local_invoke", "local_start_api", "local_start_lambda")
READY_SECONDS = 10.0


@dataclass(slots=True)
class Inside:
    """The stack's addresses as seen from a container.

    ports
        The loopback ports of the addresses that have been converted so far.
    """

    ports: list[int] = field(default_factory=list)

    def address(self, url: str) -> str:
        """The same address as seen from a container; one beyond this machine is unchanged."""
        parts = urlsplit(url)
        if parts.hostname not in ("127.0.0.1", "localhost") or not parts.port:
            return url
        if parts.port not in self.ports:
            self.ports.append(parts.port)
        return f"{parts.scheme}://{INSIDE}:{parts.port}"


def bridge_address() -> str | None:
    """The address of this machine as seen from containers.

    None if that is not an address of this machine: Docker Desktop runs its engine in a virtual
    machine, and forwards to this machine's loopback itself.

    Raises
    ------
    StackFailed
        No Docker engine answers.
    """
    docker = shutil.which("docker")
    if docker is None:
        raise StackFailed("sam local needs Docker, but there is no docker command: install Docker")
    try:
        found = subprocess.run(  # noqa: S603 -- fixed words, and docker as found on PATH
            [docker, "network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except subprocess.TimeoutExpired:
        raise StackFailed("the Docker engine does not answer within 30 s: restart it") from None
    if found.returncode:
        raise StackFailed(f"the Docker engine does not answer: {found.stderr.strip()}")
    address = gateway(json.loads(found.stdout))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return None
    return address


def gateway(networks: list[dict[str, str]]) -> str:
    """The host's IPv4 address in a Docker network, from the ``IPAM.Config`` of its description.

    Without a configured gateway, an engine uses the first address, and some do not report it.

    Raises
    ------
    StackFailed
        The network has no IPv4 addresses.
    """
    for network in networks:
        subnet = ipaddress.ip_network(network["Subnet"])
        if subnet.version == 4:  # noqa: PLR2004 -- IPv4 has no better name
            return network.get("Gateway") or str(subnet[1])
    raise StackFailed("Docker's bridge network has no IPv4 addresses")


def settings(stack: dict[str, Any], inside: Inside, bridge: str | None) -> str:
    """The file for `sam local --config-file`, as TOML; ``bridge`` is from ``bridge_address``."""
    machine = platform.machine().lower()
    parameters = {
        "AwsEndpointUrl": inside.address(stack["aws_endpoint_url"]),
        "PlivoBaseUrl": inside.address(stack["plivo_base_url"]),
        "Architecture": "arm64" if machine in ("arm64", "aarch64") else "x86_64",
        "EventActions": "*",
    }
    lines = ["version = 0.1"]
    for command in COMMANDS:
        overrides = " ".join(f"{name}={value}" for name, value in parameters.items())
        lines += [
            "",
            f"[default.{command}.parameters]",
            f'region = "{stack["aws_region"]}"',
            f'parameter_overrides = "{overrides}"',
            f"env_vars = {json.dumps(str(VARIABLES))}",
            "skip_pull_image = true",  # a missing image is pulled anyway
        ]
        if bridge is not None:  # Docker Desktop resolves the name itself
            lines.append(f'add_host = ["{INSIDE}:{bridge}"]')
    return "\n".join(lines) + "\n"


def variables(stack: dict[str, Any]) -> dict[str, str]:
    """The variables that `sam local` gets wrong, because it does not know the deployed names."""
    plivo, clients = secrets(STACK_NAME)
    return {
        "LEDGER_TABLE": stack["ledger_table"],
        "PLIVO_SECRET_NAME": plivo,
        "CLIENTS_SECRET_NAME": clients,
        "EVENT_SOURCE": stack["event_source"],
        "OUTCOME_SOURCE": STACK_NAME,
        "POWERTOOLS_SERVICE_NAME": STACK_NAME,
    }


def start_relay(bridge: str, ports: list[int]) -> None:
    """Start the relay in the folder of `make up`, so that `make down` stops it.

    Raises
    ------
    StackFailed
        It did not start; the message has the end of its log.
    """
    relay = Daemon(running.FOLDER, "relay")
    stop([relay])  # of an earlier call
    relay.log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "local.relay", bridge, *map(str, ports)]
    relay.start(command, clean_environment(running.FOLDER), ROOT)
    until_ready(
        relay,
        lambda: LISTENS in relay.log.read_text(),
        READY_SECONDS,
        f"the relay for containers did not start on {bridge}",
    )


def prepare() -> str:
    """Make the stack of `make up` reachable from containers; returns a text for the developer.

    Raises
    ------
    StackFailed
        There is no such stack or no Docker engine, or the relay did not start.
    """
    with running.locked():
        stack = running.description()
        bridge = bridge_address()
        inside = Inside()
        text = settings(stack, inside, bridge)
        if bridge is not None:
            start_relay(bridge, inside.ports)
        VARIABLES.write_text(json.dumps({"Parameters": variables(stack)}, indent=2) + "\n")
        SETTINGS.write_text(text)
    how = "through Docker Desktop" if bridge is None else f"over {bridge}, until make down"
    return f"""Containers can reach the stack as {INSIDE}, {how}
settings for sam local: {_shown(SETTINGS)}

Try it:
  export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test
  .venv/bin/sam local invoke WebhookFunction --config-file {_shown(SETTINGS)} -e events/webhook-accepted.json

All samples: docs/sam-local.md
"""  # noqa: E501 -- a command that people copy stays on one line


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def main() -> int:
    sys.stdout.write(prepare())
    return 0
