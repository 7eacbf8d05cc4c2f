"""A command that cannot continue prints one sentence and ends with status 2."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cold_transfer_cli.failures import OperatorError, attempt
from tests.support.serving import serving

ROOT = Path(__file__).parents[2]
SHOW = ["show", "0" * 64]
KEY = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
REGION = {"AWS_DEFAULT_REGION": "us-east-1"}

type Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  our own command
            [sys.executable, "-m", "cold_transfer_cli", *arguments],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'cold_transfer'}",
                "AWS_EC2_METADATA_DISABLED": "true",
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


class RefusingCloudFormation(HTTPServer):
    """Refuses every request with the code and message in ``refusal``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusal = ("", "")


class Handler(BaseHTTPRequestHandler):
    server: RefusingCloudFormation

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        code, message = self.server.refusal
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def check_sentence(done: subprocess.CompletedProcess[str], start: str) -> None:
    """It failed with nothing but one line on standard error, which begins with ``start``."""
    assert done.returncode == 2
    assert done.stderr.startswith(start)
    assert (done.stderr.count("\n"), done.stdout) == (1, "")


@pytest.fixture
def refusing() -> Iterator[RefusingCloudFormation]:
    with serving(RefusingCloudFormation()) as server:
        yield server


@pytest.mark.parametrize(
    ("code", "message", "printed"),
    [
        ("ExpiredToken", "The token is expired", "The AWS session has expired: sign in again"),
        ("InvalidClientTokenId", "The token is invalid", "AWS does not accept these credentials"),
        (
            "AccessDenied",
            "User: arn:aws:iam::1:user/ann is not authorized to perform: x",
            "Your AWS permissions do not allow DescribeStacks: User: arn:aws:iam::1:user/ann",
        ),
        (
            "ValidationError",
            "Stack with id plivo-cold-transfer does not exist",
            "There is no stack plivo-cold-transfer in us-east-1. Use --stack,",
        ),
        ("Teapot", "short and stout", "AWS refused DescribeStacks: short and stout (Teapot)"),
    ],
)
def test_a_refusal_of_aws_is_explained(
    program: Program, refusing: RefusingCloudFormation, code: str, message: str, printed: str
) -> None:
    refusing.refusal = (code, message)
    endpoint = f"http://127.0.0.1:{refusing.server_port}"

    done = program(*SHOW, AWS_ENDPOINT_URL=endpoint, **KEY, **REGION)

    check_sentence(done, printed)


@pytest.mark.parametrize(
    ("arguments", "variables", "printed"),
    [
        (SHOW, REGION, "There are no AWS credentials"),
        (SHOW, KEY, "No region is set"),
        (["--profile", "nobody", *SHOW], KEY | REGION, "There is no such AWS profile"),
        (["show", "--region", "us east", "0"], KEY, "The AWS library failed: "),
        (
            SHOW,
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", **KEY, **REGION},
            "AWS cannot be reached: check the network and the region's name.",
        ),
        (["--local", *SHOW], {}, "There is no .local/stack.json here or in a folder above"),
        (["--local", "--region", "eu-west-1", *SHOW], {}, "--local cannot be combined"),
    ],
    ids=["credentials", "region", "profile", "region's name", "network", "local", "local and more"],
)
def test_what_prevents_a_request_to_aws_is_explained(
    program: Program, arguments: list[str], variables: dict[str, str], printed: str
) -> None:
    check_sentence(program(*arguments, **variables), printed)


def test_an_unknown_command_shows_the_usage(program: Program) -> None:
    done = program("shwo")

    assert done.returncode == 2
    assert done.stderr.startswith("usage: cold-transfer ")


@pytest.mark.parametrize(
    ("failure", "status", "printed"),
    [
        (OperatorError("There is no such thing."), 2, "There is no such thing.\n"),
        (
            KeyError("+14155550100"),
            2,
            "This is a bug in cold-transfer: KeyError at test_failures.py:",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_no_failure_ends_in_a_traceback(
    failure: BaseException, status: int, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise failure

    assert attempt(work) == status

    error = capsys.readouterr().err
    assert error.startswith(printed)
    assert "4155550100" not in error


def test_a_reader_that_stops_reading_is_not_a_failure(tmp_path: Path) -> None:
    """`cold-transfer … | head`, with more to print than a pipe holds."""
    code = (
        "import sys; from cold_transfer_cli.failures import attempt\n"
        "from cold_transfer_cli.commands import say\n"
        "sys.exit(attempt(lambda: [say('x' * 100) for _ in range(10_000)] and 0))"
    )
    piped = f'{sys.executable} -c "$CODE" | head -c 1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(  # noqa: S603  our own command
        ["/bin/bash", "-c", piped],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'cold_transfer'}",
            "CODE": code,
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert (done.stdout, done.stderr) == ("x1\n", "")
