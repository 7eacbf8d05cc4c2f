"""Background processes that may outlive the process that started them, and that any other can stop.

Each has NAME.pid and NAME.log in the stack's folder. It keeps its pid file locked as long as it
lives, so a stale file or a reused process id is never mistaken for it.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.waiting import eventually

GRACE_SECONDS = 4.0


class Daemon:
    """One background process of the stack in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.pid_file = folder / f"{name}.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], environment: Mapping[str, str], cwd: Path) -> None:
        """Start it in its own session, so that Ctrl-C in the terminal does not reach it."""
        descriptor = os.open(self.pid_file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with self.log.open("ab") as output:
                self._process = subprocess.Popen(  # noqa: S603 -- the stack's own commands
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    cwd=cwd,
                    start_new_session=True,
                    pass_fds=(descriptor,),  # it inherits the lock
                )
            os.write(descriptor, str(self._process.pid).encode("ascii"))
        finally:
            os.close(descriptor)

    def wait(self, seconds: float) -> int | None:
        """Its exit status, or None if it is still running after ``seconds``.

        Raises
        ------
        ValueError
            Another process started it.
        """
        if self._process is None:
            raise ValueError(f"{self.name} was not started here")
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def alive(self) -> bool:
        """Whether it is running, whichever process started it."""
        if self._process is not None and self._process.poll() is not None:
            return False
        return _locked(self.pid_file)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, including the emulator's workers."""
        with contextlib.suppress(ProcessLookupError, PermissionError, ValueError):
            os.killpg(int(self.pid_file.read_text() or "none"), number)

    def reap(self) -> None:
        """Clean up after it has ended: collect its exit status, and remove its pid file."""
        if self._process is not None:
            self._process.wait()
        self.pid_file.unlink(missing_ok=True)


def stop(daemons: Sequence[Daemon], grace: float = GRACE_SECONDS) -> None:
    """Stop all of them, by force after ``grace`` seconds; returns when none is running."""
    running = [daemon for daemon in daemons if daemon.alive()]
    for daemon in running:
        daemon.signal(signal.SIGTERM)
    eventually(lambda: not any(daemon.alive() for daemon in running), grace, pause=0.02)
    for daemon in running:
        # Even if the leader has ended, since a worker of its group may still run.
        daemon.signal(signal.SIGKILL)
        while daemon.alive():
            time.sleep(0.02)
    for daemon in daemons:
        daemon.reap()


def found_in(folder: Path) -> list[Daemon]:
    """The processes that were started in ``folder``, running or not."""
    return [Daemon(folder, path.stem) for path in sorted(folder.glob("*.pid"))]


def _locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
