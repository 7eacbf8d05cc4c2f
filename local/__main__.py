"""The local stack for development: ``python -m local run``, ``up``, ``down``, ``console`` etc."""

import argparse
import sys
from collections.abc import Callable, Mapping

from local import build, down, run, sam_local, up
from local.build import STATE
from local.console import opened
from local.progress import StackFailed
from local.signals import leave_on_signals

COMMANDS: Mapping[str, Callable[[], int]] = {
    "run": run.main,
    "up": up.main,
    "down": down.main,
    "console": opened.main,
    "build": build.main,
    "sam-local": sam_local.main,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    leave_on_signals()
    STATE.mkdir(exist_ok=True)
    try:
        return COMMANDS[command]()
    except StackFailed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
