"""Programs in fresh processes, with an environment like Lambda's: what they cost, and no more."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmarks.artifact import Artifact

#: No user site-packages, no folder of the script on the import path, no bytecode written.
OPTIONS = ("-s", "-P", "-B")

PROGRAMS = Path(__file__).resolve().parent / "programs"
VALGRIND_HOW_TO = "valgrind is not installed: apt-get install valgrind"

_LAMBDA = {
    "AWS_LAMBDA_FUNCTION_NAME": "bench",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_LOG_FORMAT": "JSON",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "_X_AMZN_TRACE_ID": (
        "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    ),
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "PYTHONHASHSEED": "0",  # the order of sets is the same in each run
}
#: As template.yaml sets them, and what the peer needs beside; for both alike.
_FUNCTION = {
    "LEDGER_TABLE": "ledger",
    "IDEMPOTENCY_TABLE": "idempotency",
    "PLIVO_BASE_URL": "https://phlorunner.plivo.com",
    "PLIVO_SECRET_NAME": "plivo",
    "CLIENTS_SECRET_NAME": "clients",
    "EVENT_SOURCE": "plivo-cold-transfer.client",
    "OUTCOME_SOURCE": "plivo-cold-transfer",
    "POWERTOOLS_SERVICE_NAME": "plivo-cold-transfer",
    "POWERTOOLS_METRICS_NAMESPACE": "PlivoColdTransfer",
    "POWERTOOLS_LOG_LEVEL": "INFO",
    "POWERTOOLS_TRACER_CAPTURE_RESPONSE": "false",
    "POWERTOOLS_TRACER_CAPTURE_ERROR": "false",
}


class ProgramFailed(Exception):
    """A measured program ended with an error; the message ends with what it wrote."""


def interpreter() -> str:
    """Python 3.13 without the virtual environment, whose packages the artifact must not see."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")


def environment(artifact: Artifact | None) -> dict[str, str]:
    """Lambda's variables and the function's own; the artifact's folders are the import path."""
    if artifact is None:
        return dict(_LAMBDA)
    path = os.pathsep.join(map(str, artifact.path))
    return {**_LAMBDA, **_FUNCTION, "LAMBDA_TASK_ROOT": str(artifact.task), "PYTHONPATH": path}


def python(*arguments: str) -> list[str]:
    """Sees the import path alone, and writes no bytecode, as in Lambda."""
    return [interpreter(), *OPTIONS, *arguments]


def fresh(program: str) -> list[str]:
    """Runs ``program`` and ends at once: Lambda never takes an interpreter down."""
    return python("-c", f"{program}\nimport os; os._exit(0)")


def cpu_ms(command: Sequence[str], variables: Mapping[str, str]) -> float:
    """User and system CPU of one fresh process, from its start to its end.

    Raises
    ------
    ProgramFailed
        It did not end with status 0.
    """
    with subprocess.Popen(  # noqa: S603  our own programs
        command, env=dict(variables), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None  # noqa: S101  a pipe was asked for
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ProgramFailed(said.decode(errors="replace")[-2000:])
    return (usage.ru_utime + usage.ru_stime) * 1000


def instructions(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """What callgrind counts for one fresh process: the same on an idle and on a busy machine.

    Raises
    ------
    ProgramFailed
        It did not end with status 0.
    FileNotFoundError
        There is no valgrind.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise FileNotFoundError(VALGRIND_HOW_TO)
    done = subprocess.run(  # noqa: S603  our own programs
        [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        env=dict(variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    counted = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or counted is None:
        raise ProgramFailed(done.stderr[-2000:])
    return int(counted[1])


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one call: CPU and wall clock in microseconds; the process's peak memory so far in kB."""

    cpu: float
    wall: float
    peak: int


class Worker:
    """A program that does its action as often as it is told: see ``programs/loop.py``."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  our own programs
                command,
                env=dict(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def run(self, calls: int) -> Cost:
        """What one of ``calls`` calls costs on average.

        Raises
        ------
        ProgramFailed
            A call failed.
        """
        told, answers = self._pipes()
        try:
            told.write(f"{calls}\n")
            told.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            raise ProgramFailed(self._log.read_text(errors="replace")[-2000:])
        return Cost(**json.loads(line))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        told, answers = self._pipes()
        told.close()
        self._process.wait()
        answers.close()

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        assert self._process.stdin is not None  # noqa: S101  pipes were asked for
        assert self._process.stdout is not None  # noqa: S101
        return self._process.stdin, self._process.stdout
