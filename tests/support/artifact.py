"""Runs programs in the built artifact as Lambda does: in a new process that sees nothing else."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

FUNCTIONS = ("Webhook", "Event", "Reconcile", "Outcomes")
LAYER = "ColdTransferLayer"

#: What Lambda and the template set; nobody listens at the addresses.
DEPLOYED = MappingProxyType(
    {
        "AWS_LAMBDA_FUNCTION_NAME": "a-function",
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "LEDGER_TABLE": "a-table",
        "PLIVO_BASE_URL": "https://phlorunner.plivo.com",
        "PLIVO_SECRET_NAME": "plivo-cold-transfer/plivo",
        "CLIENTS_SECRET_NAME": "plivo-cold-transfer/clients",
        "EVENT_SOURCE": "plivo-cold-transfer.client",
        "OUTCOME_SOURCE": "plivo-cold-transfer",
    }
)


def interpreter() -> str:
    """Python 3.13 without the virtual environment, whose packages the artifact must not see."""
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return str(Path(sys.base_prefix) / "bin" / name)


def run(
    build: Path,
    function: str,
    program: str,
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """What ``program`` prints, with ``function`` and the layer of the folder ``build``."""
    code, layer = build / f"{function}Function", build / LAYER / "python"
    result = subprocess.run(  # noqa: S603  the tests' own programs
        [interpreter(), "-s", "-B", "-c", program],
        env={**DEPLOYED, "PYTHONPATH": os.pathsep.join([str(code), str(layer)]), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
