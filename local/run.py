"""`make run`: a demo from end to end, on a stack that exists only for it."""

import sys

from local import demo, demo_report
from local.progress import Progress, report_console, tail
from local.stack import Stack

NEXT = """
Plivo accepted an action through each entry point, and the retry sent nothing. What to try next:
  make up       start a stack to experiment with; make down stops it
  make test     run all tests
  README.md     the entry points, the outcomes, and how to deploy to AWS
"""


def main() -> int:
    progress = Progress()
    with Stack(progress=progress) as stack:
        progress.say("sending a webhook, its retry and an event")
        seen = demo.play(stack)
        progress.say("done; stopping")
        faults = demo_report.faults(seen)
        logs = _logs(stack) if faults else ""  # before the stack is gone
    demo_report.show(seen, report_console())
    if faults:
        sys.stdout.write("\nThe demo failed:\n")
        sys.stdout.writelines(f"  - {fault}\n" for fault in faults)
        sys.stdout.write(logs)
        return 1
    sys.stdout.write(NEXT)
    return 0


def _logs(stack: Stack) -> str:
    lines = []
    for function in ("WebhookFunction", "EventFunction"):
        lines += [f"--- the end of {function}'s log", *stack.log_lines(function)[-20:]]
    indented = "\n".join(f"  {line}" for line in lines)
    return f"{indented}\n{tail(stack.folder / 'emulator.log', 15)}\n"
