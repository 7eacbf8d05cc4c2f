"""Invocations in separate processes, which can be killed or frozen at a named step.

The processes are forked from a server that has imported everything: each costs a few milliseconds.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.support.processes.environment import CALM, Conditions, Environment, Place, Reply

_SPAWNER = multiprocessing.get_context("forkserver")
_SPAWNER.set_forkserver_preload(["tests.support.processes.warm"])

_ENDS = threading.Lock()
"""Held while an exit status is read. ``start`` also reads those of other threads' processes, and if
two threads read the same one, the second finds none and reports exit code 255."""

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does: its invocations, and the step at which it kills or stops itself.

    kill, freeze
        A step as ``Watched`` names it, for example ``before send``; empty for never. The step
        ``start`` is before anything, ``end`` after the last invocation.
    events
        One invocation each, in the same environment.
    slept_ms
        How far its wall clock has advanced when it wakes.
    """

    place: Place
    entry_point: str
    events: Sequence[dict[str, Any]]
    conditions: Conditions = CALM
    kill: str = ""
    freeze: str = ""
    slept_ms: int = 0


class Worker:
    """The process that runs a job."""

    def __init__(self, job: Job) -> None:
        self._replies, far = _SPAWNER.Pipe(duplex=False)
        self._process = _SPAWNER.Process(target=_work, args=(job, far))
        with _ENDS:
            self._process.start()
        far.close()

    def reply(self) -> Reply:
        """Wait for the next reply."""
        assert self._replies.poll(PATIENCE_SECONDS), "the worker does not answer"
        reply = self._replies.recv()
        assert isinstance(reply, Reply), reply
        return reply

    def killed(self) -> bool:
        """Wait until it ends; whether SIGKILL ended it."""
        wait([self._process.sentinel], PATIENCE_SECONDS)
        return self._exit_code() == -signal.SIGKILL

    def described(self) -> str:
        """Its exit code and replies, for the message of a failed test."""
        replies = []
        with suppress(EOFError):
            while self._replies.poll():
                replies.append(self._replies.recv())
        return f"exit code {self._exit_code()}, {replies}"

    def wait_until_frozen(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._state() != "T":
            assert time.monotonic() < deadline, "the worker does not freeze"
            time.sleep(0.005)

    def wake(self) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        if self._exit_code() is None:
            self._process.kill()  # ends a stopped process too
            wait([self._process.sentinel])
        with _ENDS:
            self._process.join()
            self._process.close()
        self._replies.close()

    def _exit_code(self) -> int | None:
        with _ENDS:
            return self._process.exitcode

    def _state(self) -> str:
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as stat:  # noqa: PTH123  not a file on a disk
            return stat.read().rpartition(")")[2].split()[0]


@contextmanager
def working(job: Job) -> Iterator[Worker]:
    worker = Worker(job)
    try:
        yield worker
    finally:
        worker.close()


def run(job: Job) -> Reply:
    """The reply of the job's only invocation, from a new process."""
    with working(job) as worker:
        return worker.reply()


def run_killed(job: Job) -> None:
    """Let the process kill itself at ``job.kill``."""
    with working(job) as worker:
        assert worker.killed(), f"never reached {job.kill!r}: {worker.described()}"


def _work(job: Job, replies: Connection) -> None:
    environment: Environment | None = None

    def at(step: str) -> None:
        if step == job.freeze:
            os.kill(os.getpid(), signal.SIGSTOP)
            if environment is not None:
                environment.sleep(job.slept_ms)
        if step == job.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    at("start")
    environment = Environment(job.place, job.entry_point, job.conditions, at=at)
    for number, event in enumerate(job.events):
        if number:
            at("between")
        replies.send(environment.invoke(event))
    at("end")
    environment.close()
