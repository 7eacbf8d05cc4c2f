"""`make down`: stop the stack of `make up`, and anything that an interrupted run left behind."""

import shutil
import sys

from local import daemons, running
from local.build import orphaned
from local.stack import abandoned


def take_down() -> int:
    """Stop every process that no running command owns; returns their number."""
    running.DESCRIPTION.unlink(missing_ok=True)  # first, since it is no longer true
    left = abandoned()
    found = [daemon for folder in (running.FOLDER, *left) for daemon in daemons.found_in(folder)]
    found += orphaned()
    alive = sum(daemon.alive() for daemon in found)
    daemons.stop(found)
    shutil.rmtree(running.FOLDER / "tmp", ignore_errors=True)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return alive


def main() -> int:
    with running.locked():
        stopped = take_down()
    sys.stdout.write(f"stopped {stopped} processes\n" if stopped else "nothing was running\n")
    return 0
