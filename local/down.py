"""`make down`: stop the stack of `make up`, and anything that an interrupted run left behind."""

import fcntl
import shutil
import sys

from local import daemons
from local.build import DESCRIPTION, STATE, orphaned
from local.stack import abandoned


def take_down() -> int:
    """Stop every process without an owner; returns their number."""
    DESCRIPTION.unlink(missing_ok=True)  # first, since it is no longer true
    left = abandoned()
    running = [daemon for folder in (STATE / "up", *left) for daemon in daemons.found_in(folder)]
    running += orphaned()
    alive = sum(daemon.alive() for daemon in running)
    daemons.stop(running)
    shutil.rmtree(STATE / "up" / "tmp", ignore_errors=True)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return alive


def main() -> int:
    with (STATE / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stdout.write("waiting for another `make up` or `make down` to finish\n")
            fcntl.flock(lock, fcntl.LOCK_EX)
        stopped = take_down()
    sys.stdout.write(f"stopped {stopped} processes\n" if stopped else "nothing was running\n")
    return 0
