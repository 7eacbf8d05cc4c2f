"""The kept connection through a freeze: Lambda stops an environment between invocations.

The process is stopped and continued for real (SIGSTOP, SIGCONT); what the server did meanwhile, the
client has not seen when it wakes.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from local.build import ROOT
from tests.support.fault_server import ACCEPTS, FaultServer

#: Stands for the client's own ten seconds.
IDLE_SECONDS = 0.5

WORKER = """
import os, signal, sys, time
from cold_transfer.deadline import Deadline
from cold_transfer.plivo.client import PlivoClient, PlivoCredentials
from cold_transfer.action import Action

url, idle_seconds = sys.argv[1:]
stops = False

def clock():
    # Asked between a request that is ready and its write.
    if stops:
        os.kill(os.getpid(), signal.SIGSTOP)
    return time.time()

client = PlivoClient(url, idle_seconds=float(idle_seconds), clock=clock)
action = Action("5f0c9d3ab1e24c7788d06e1f", "5cf0e1b2c3d4e5f60718293a", "+14152225555", "+1")
for line in sys.stdin:
    if line.strip() == "connect":
        said = client.connect(Deadline.after(5))
    else:
        stops = line.strip() == "send and stop"
        deadline = Deadline.after(0.5 if stops else 5)
        said = client.send(action, PlivoCredentials("a", "b"), deadline).cause
    print(said, client.handshakes, flush=True)
"""


class Worker:
    """A process with one Plivo client, which does what it is told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def does(self, what: str) -> str:
        """What came of it, and how many connections were made so far."""
        self.begins(what)
        return self.said()

    def begins(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()

    def said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self._process.send_signal(signal.SIGSTOP)
        with self.stopped():
            yield

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """From when the process is stopped, by itself or another one, until it is continued."""
        _, status = os.waitpid(self._process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def working(plivo: FaultServer, idle_seconds: float) -> Iterator[Worker]:
    with subprocess.Popen(  # noqa: S603  the program above
        [sys.executable, "-c", WORKER, plivo.url, str(idle_seconds)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "layers" / "cold_transfer")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


MEANWHILE = {"closes": FaultServer.hang_up, "resets": FaultServer.reset_all}


@pytest.mark.parametrize("server", MEANWHILE.values(), ids=MEANWHILE)
@pytest.mark.parametrize("before", ["send", "connect"])
def test_a_connection_that_died_in_the_freeze_carries_no_post(
    before: str, server: Callable[[FaultServer], None]
) -> None:
    with FaultServer(ACCEPTS) as plivo, working(plivo, idle_seconds=3600) as worker:
        worker.does(before)
        plivo.wait_for_connection()
        posts = plivo.posts
        with worker.frozen():
            server(plivo)

        assert worker.does("send") == "accepted 2"
        assert (plivo.posts, plivo.connections) == (posts + 1, 2)


def test_a_connection_that_froze_for_too_long_is_not_used_although_it_lives() -> None:
    with FaultServer(ACCEPTS) as plivo, working(plivo, IDLE_SECONDS) as worker:
        worker.does("send")
        with worker.frozen():
            time.sleep(IDLE_SECONDS)

        assert worker.does("send") == "accepted 2"
        assert plivo.posts == 2


def test_a_short_freeze_costs_no_new_connection() -> None:
    with FaultServer(ACCEPTS) as plivo, working(plivo, idle_seconds=3600) as worker:
        worker.does("send")
        with worker.frozen():
            pass

        assert worker.does("send") == "accepted 1"
        assert plivo.posts == 2


def test_a_process_that_was_stopped_before_its_write_sends_nothing_after_the_deadline() -> None:
    with FaultServer(ACCEPTS) as plivo, working(plivo, idle_seconds=3600) as worker:
        worker.does("connect")
        worker.begins("send and stop")
        with worker.stopped():
            time.sleep(0.6)

        assert worker.said() == "out-of-time 1"
        assert plivo.bytes_read == 0
