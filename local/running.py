"""The stack of `make up`, as the commands share it: its folder, its description, its lock."""

import contextlib
import fcntl
import json
import sys
from collections.abc import Iterator
from typing import Any

from local.build import STATE
from local.progress import StackFailed

FOLDER = STATE / "up"
DESCRIPTION = STATE / "stack.json"


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Wait until no other command is starting, stopping or preparing the stack; then lock it."""
    with (STATE / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("waiting for another make up or make down to finish\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def description() -> dict[str, Any]:
    """The content of `.local/stack.json`: see ``Stack.description``.

    Raises
    ------
    StackFailed
        No stack is running.
    """
    try:
        found: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    except FileNotFoundError:
        raise StackFailed("no stack is running; start one with: make up") from None
    return found
