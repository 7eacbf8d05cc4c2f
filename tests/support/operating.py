"""The operator's command, run in this process: against clients that a test chooses, or a stack."""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cold_transfer_cli.__main__ import parser
from cold_transfer_cli.failures import attempt
from cold_transfer_cli.target import Aws, Target


class Session:
    """A boto3 session whose clients are the ones given, by service."""

    region_name = "us-east-1"

    def __init__(self, **clients: object) -> None:
        self.clients = clients

    def client(self, service: str, **_: object) -> object:
        return self.clients[service.replace("-", "_")]


@dataclass(frozen=True)
class Ended:
    status: int
    out: str
    err: str


def run(target: Target, *arguments: str) -> Ended:
    """Run one command on a stack that was found already."""
    asked = parser().parse_args(arguments)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = attempt(lambda: int(asked.command(target, asked)))
    return Ended(status, out.getvalue(), err.getvalue())


def target(
    session: Any, outputs: Mapping[str, str], parameters: Mapping[str, str] | None = None
) -> Target:
    return Target(Aws(session), "plivo-cold-transfer", outputs, parameters or {})
