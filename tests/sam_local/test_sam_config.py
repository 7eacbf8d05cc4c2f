"""The configuration of `sam local` for the running stack. These tests need no Docker engine."""

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from local.progress import StackFailed
from local.sam_local import VARIABLES, Inside, gateway, settings
from tests.sam_local.checkout import ROOT

STACK = {
    "aws_endpoint_url": "http://127.0.0.1:4566",
    "aws_region": "us-east-1",
    "plivo_base_url": "http://localhost:8080",
    "ledger_table": "ledger-1",
}


def parameters(text: str, command: str = "local_invoke") -> dict[str, Any]:
    read: dict[str, Any] = tomllib.loads(text)["default"][command]["parameters"]
    return read


def test_loopback_addresses_become_the_hosts_name() -> None:
    inside = Inside()
    overrides = parameters(settings(STACK, inside, "172.17.0.1"))["parameter_overrides"].split()
    assert "AwsEndpointUrl=http://host.docker.internal:4566" in overrides
    assert "PlivoBaseUrl=http://host.docker.internal:8080" in overrides
    assert inside.ports == [4566, 8080]


def test_an_address_of_another_machine_is_kept_and_not_relayed() -> None:
    inside = Inside()
    stack = STACK | {"plivo_base_url": "https://phlorunner.plivo.com"}
    text = settings(stack, inside, "172.17.0.1")
    assert "PlivoBaseUrl=https://phlorunner.plivo.com" in parameters(text)["parameter_overrides"]
    assert inside.ports == [4566]


@pytest.mark.parametrize("command", ["local_invoke", "local_start_api", "local_start_lambda"])
def test_every_command_of_sam_local_has_the_same_settings(command: str) -> None:
    text = settings(STACK, Inside(), "172.17.0.1")
    assert parameters(text, command) == parameters(text)
    assert parameters(text)["env_vars"] == str(VARIABLES)
    assert parameters(text)["add_host"] == ["host.docker.internal:172.17.0.1"]


def test_docker_desktop_needs_no_host_entry() -> None:
    assert "add_host" not in parameters(settings(STACK, Inside(), None))


def test_the_gateway_is_the_networks_or_else_its_first_address() -> None:
    networks = json.loads('[{"Subnet": "fd00::/64"}, {"Subnet": "172.17.0.0/16"}]')
    assert gateway(networks) == "172.17.0.1"
    assert gateway([{"Subnet": "10.5.0.0/24", "Gateway": "10.5.0.254"}]) == "10.5.0.254"
    with pytest.raises(StackFailed, match="no IPv4"):
        gateway(networks[:1])


def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "local", tmp_path / "local")
    done = subprocess.run(
        [sys.executable, "-m", "local", "sam-local"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, "no stack is running; start one with: make up\n")
    assert list((tmp_path / ".local").glob("sam-local.*")) == []
