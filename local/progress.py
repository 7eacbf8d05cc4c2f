"""Shows the progress of long tasks, and how they fail."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from local.daemons import Daemon, stop
from local.waiting import eventually

#: Columns of what is printed to a file or a pipe.
WIDTH = 120
LONGEST_TASK_SECONDS = 300


class StackFailed(Exception):
    """A part of the local stack did not work; the message ends with the tail of its log."""


def report_console() -> Console:
    """The console for a command's result, as wide as the terminal, or ``WIDTH`` without one."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


class Progress:
    """Prints lines with the seconds since the start to standard error; nothing if ``quiet``."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, markup=False, highlight=False)
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        self._console.print(f"[{time.monotonic() - self._begun:5.1f} s] {text}", soft_wrap=True)

    def run(
        self, text: str, task: Daemon, command: list[str], environment: Mapping[str, str], cwd: Path
    ) -> None:
        """Print ``text`` and run ``command`` to its end, with its output in the task's log only.

        It runs as a daemon, so that `make down` can stop it if this process is killed.

        Raises
        ------
        StackFailed
            It failed, or took longer than five minutes. The message has the end of its log.
        """
        self.say(text)
        try:
            task.start(command, environment, cwd)
            with self._console.status(text):
                status = task.wait(LONGEST_TASK_SECONDS)
        finally:
            stop([task], grace=0)
        if status != 0:
            how = "took more than five minutes" if status is None else f"failed with {status}"
            raise StackFailed(f"{text}: {how}\n{tail(task.log)}")


def until_ready(daemon: Daemon, ready: Callable[[], bool], seconds: float, failure: str) -> None:
    """Return as soon as ``daemon`` is ready.

    Raises
    ------
    StackFailed
        It exited, or took longer than ``seconds`` and was stopped. The message is ``failure`` and
        the end of its log.
    """
    if not eventually(lambda: ready() or not daemon.alive(), seconds) or not daemon.alive():
        stop([daemon])
        raise StackFailed(f"{failure}\n{tail(daemon.log)}")


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented, after a line with its path."""
    if not log.is_file():
        return f"  ({log} was not written)"
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"  {line}" for line in [f"--- the end of {log}", *last])
