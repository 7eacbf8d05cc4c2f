"""`make run`: the main job from end to end, on a stack of its own that is gone afterwards."""

import sys

from local import demo, demo_report
from local.progress import Progress, report_console, tail
from local.stack import Stack

NEXT = """
Plivo accepted an action through each entry point, and the repeat sent nothing. What to try next:
  make up       keep the stack running, with a curl line to try; make down stops it
  make test     all tests
  README.md     the entry points, the outcomes, and how to deploy it to AWS
"""


def main() -> int:
    progress = Progress()
    with Stack(progress=progress) as stack:
        progress.say("sending a webhook, the same again, and an event")
        seen = demo.play(stack)
        progress.say("done; stopping")
        faults = demo_report.faults(seen)
        logs = _logs(stack) if faults else ""  # while the stack, which holds them, is there
    demo_report.show(seen, report_console())
    if faults:
        sys.stdout.write("\nThis is not as it should be:\n")
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
