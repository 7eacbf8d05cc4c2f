"""A program at a terminal, and a person who answers its questions."""

import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

#: Takes the terminal as its own before the program begins: hidden answers are read from there.
_AT_A_TERMINAL = (
    "import fcntl, runpy, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


class Conversation:
    """`python -m module …` at a terminal of its own.

    transcript
        The output so far.
    """

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str], cwd: Path
    ) -> None:
        self.transcript = ""
        self._read = 0
        self._screen, terminal = os.openpty()
        self._process = subprocess.Popen(  # noqa: S603  a module of ours
            [sys.executable, "-c", _AT_A_TERMINAL, module, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
        os.close(terminal)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def answer(self, question: str, answer: str, seconds: float = 300) -> None:
        """Wait for a question, then type the answer."""
        until = time.monotonic() + seconds
        while question not in self.transcript[self._read :]:
            if time.monotonic() > until or not self._look():
                raise AssertionError(f"{question!r} was not asked:\n{self.transcript}")
        self._read = len(self.transcript)
        os.write(self._screen, f"{answer}\n".encode())

    def end(self, seconds: float = 300) -> int:
        """Wait for the program's end; its status."""
        until = time.monotonic() + seconds
        while self._look():
            if time.monotonic() > until:
                raise AssertionError(f"the program does not end:\n{self.transcript}")
        return self._process.wait(timeout=10)

    def _look(self) -> bool:
        """Read output for up to a second; whether there may be more."""
        if not select.select([self._screen], [], [], 1.0)[0]:
            return True
        try:
            found = os.read(self._screen, 65536)
        except OSError:  # on Linux: no process has the terminal open any more
            return False
        self.transcript += found.decode(errors="replace").replace("\r\n", "\n")
        return bool(found)
