"""`make load`: check that the system keeps its guarantees under load.

The status is 0 if nothing was lost or doubled and no worker's memory grows, else 1.
"""

import argparse
import json
import sys
from pathlib import Path

from rich.markdown import Markdown

from benchmarks.load import report
from benchmarks.load.run import PARAMETERS, Size, run
from local.build import ROOT, STATE
from local.progress import Progress, StackFailed, report_console
from local.signals import leave_on_signals
from local.stack import Stack
from tools import markers

PROGRAM = "make load"
DOCUMENT = ROOT / "docs" / "throughput.md"
RESULT = STATE / "load.json"
SHOWN_FAULTS = 40


def main() -> int:
    options = _parser().parse_args()
    leave_on_signals()
    progress = Progress()
    try:
        with Stack(progress=progress, parameters=PARAMETERS) as stack:
            size = Size(options.orders, options.invocations, options.seconds, options.seed)
            done = run(stack, size, progress)
    except StackFailed as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report.values(done), indent=1) + "\n", encoding="utf-8")
    written = report.written(done)
    report_console().print(Markdown("\n\n".join(written.values())))
    print(f"everything, for machines: {options.json}")
    if options.docs:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(markers.written(text, PROGRAM, written), encoding="utf-8")
    faults = [*done.faults(), *report.too_steep(done)]
    print(f"\n{len(faults)} faults" if faults else "\nnothing lost, nothing doubled, memory flat")
    for fault in faults[:SHOWN_FAULTS]:
        print(f"  {fault}")
    return 1 if faults else 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=PROGRAM, description="A bounded load run and a soak.")
    made.add_argument("--orders", type=int, default=600, help="of mixed traffic (%(default)s)")
    made.add_argument(
        "--invocations",
        type=int,
        default=10_000,
        help="of one worker of each entry point (%(default)s)",
    )
    made.add_argument(
        "--seconds", type=float, default=600, help="the longest time of a part (%(default)s)"
    )
    made.add_argument("--seed", type=int, default=0, choices=range(7), help="of the mixture")
    made.add_argument("--json", type=Path, default=RESULT, help="where the numbers go")
    made.add_argument("--docs", action="store_true", help="write docs/throughput.md as well")
    return made


if __name__ == "__main__":
    sys.exit(main())
