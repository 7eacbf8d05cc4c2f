"""Background processes of the local stack, tested on real processes."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.build import STATE
from local.daemons import Daemon, found_in, stop
from local.ports import free_port
from local.stack import OWNER, abandoned
from local.trace_sink import segment_of

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS
# The child holds the pipe open for as long as it lives.
HAS_A_CHILD = """
import subprocess, sys
hold = "import sys, time; pipe = open(sys.argv[1], 'w'); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", hold, "PIPE"])
print("up", flush=True)
child.wait()
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(tmp_path, "worker")
    yield made
    stop([made])


def start(daemon: Daemon, code: str, folder: Path) -> None:
    daemon.start([sys.executable, "-c", code], {**os.environ}, folder)
    while not daemon.log.read_text():
        time.sleep(0.01)


def test_another_object_than_the_one_that_started_it_finds_and_stops_it(
    daemon: Daemon, tmp_path: Path
) -> None:
    start(daemon, SLEEPS, tmp_path)
    (found,) = found_in(tmp_path)
    assert found.alive()
    stop([found])
    assert not daemon.alive()
    assert found_in(tmp_path) == []


def test_a_process_that_ignores_sigterm_is_killed(daemon: Daemon, tmp_path: Path) -> None:
    start(daemon, IGNORES_TERM, tmp_path)
    started = time.monotonic()
    stop([daemon], grace=0.3)
    assert not daemon.alive()
    assert time.monotonic() - started >= 0.3


def test_its_children_are_stopped_too(daemon: Daemon, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    start(daemon, HAS_A_CHILD.replace("PIPE", str(pipe)), tmp_path)
    with pipe.open() as reader:  # waits until the child has opened its end
        stop([daemon])
        started = time.monotonic()
        assert reader.read() == ""  # returns once no process holds the other end
    assert time.monotonic() - started < 5


def test_a_stale_pid_file_does_not_get_another_process_killed(tmp_path: Path) -> None:
    with subprocess.Popen(  # noqa: S603 -- a command of this test
        [sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, start_new_session=True
    ) as innocent:
        (tmp_path / "worker.pid").write_text(str(innocent.pid))
        (stale,) = found_in(tmp_path)
        assert not stale.alive()
        stop([stale])
        assert innocent.poll() is None
        innocent.send_signal(signal.SIGKILL)


def test_a_process_that_has_ended_is_not_alive(daemon: Daemon, tmp_path: Path) -> None:
    start(daemon, "print('bye')", tmp_path)
    deadline = time.monotonic() + 5
    while daemon.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not daemon.alive()


def test_the_preferred_port_is_returned_unless_it_is_in_use() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = int(other.getsockname()[1])
        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_stack_is_abandoned_only_once_its_owner_has_ended() -> None:
    folder = STATE / "stacks" / f"test-{uuid.uuid4()}"
    folder.mkdir(parents=True)
    try:
        with (folder / OWNER).open("w") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            assert folder not in abandoned()
        assert folder in abandoned()
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\n",
        b"{}\n{}",
        b'{"format": "json"}\n',
        b"[]\n{}",
        b"\xff\n\xff",
        b'{"format": "json"}\n[]',
    ],
)
def test_the_trace_sink_ignores_what_is_not_a_segment(datagram: bytes) -> None:
    assert segment_of(datagram) is None


def test_the_trace_sink_keeps_a_segment(daemon: Daemon, tmp_path: Path) -> None:
    port = free_port()
    file = tmp_path / "traces.jsonl"
    command = [sys.executable, "-m", "local.trace_sink", "--port", str(port), "--file", str(file)]
    daemon.start(command, {**os.environ}, Path(__file__).parents[2])
    deadline = time.monotonic() + 10
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while time.monotonic() < deadline and not (file.is_file() and file.read_text()):
            sender.sendto(b'{"format": "json", "version": 1}\n{"id": "a"}', ("127.0.0.1", port))
            time.sleep(0.05)
    assert file.read_text().splitlines()[0] == '{"id": "a"}'
