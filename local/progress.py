"""What a person sees while something takes long, and how it ends."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from local.daemons import Daemon, stop


class StackFailed(Exception):
    """A part of the local stack did not work; the message ends with the tail of its log."""


class Progress:
    """Lines with the seconds since the start; ``quiet`` keeps them back, for tests."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._begun = time.monotonic()

    def say(self, text: str) -> None:
        if not self.quiet:
            sys.stdout.write(f"[{time.monotonic() - self._begun:5.1f} s] {text}\n")
            sys.stdout.flush()

    def run(
        self, text: str, task: Daemon, command: list[str], environment: Mapping[str, str], cwd: Path
    ) -> None:
        """Run ``command`` to its end, its output in the task's log alone.

        It has a pid file meanwhile, so that even if this process is killed it can be found.

        Raises
        ------
        StackFailed
            It ended with another status than 0, or took longer than five minutes.
        """
        self.say(text)
        try:
            task.start(command, environment, cwd)
            status = self._wait(task)
        finally:
            stop([task], grace=0)
        if status:
            raise StackFailed(f"{text}: failed with status {status}\n{tail(task.log)}")

    def _wait(self, task: Daemon) -> int | str:
        for _ in range(20):
            status = task.wait(seconds=15)
            if status is not None:
                return status
            self.say("  …")
        return "none: it took more than five minutes"


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented, with its path before them."""
    if not log.is_file():
        return f"  ({log} was not written)"
    last = log.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"  {line}" for line in [f"--- the end of {log}", *last])
