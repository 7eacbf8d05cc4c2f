"""The loop of a measured program: for every number on standard input, that many calls.

The answer is one line of JSON on standard output: what one call cost (see ``process.Cost``). What
the calls themselves write to standard output goes nowhere, as cheaply as into Lambda's pipe.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path


def serve(action: Callable[[], None]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        calls = int(line)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            action()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        cost = {"cpu": cpu / calls * 1e6, "wall": wall / calls * 1e6, "peak": _peak()}
        answers.write(json.dumps(cost) + "\n")
        answers.flush()


def _peak() -> int:
    """The most memory that this process ever had, in kB; 0 where there is no /proc."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) if found else 0
