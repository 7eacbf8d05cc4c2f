"""`make up`: a stack that keeps running, described by `.local/stack.json`."""

import fcntl
import json
import os
import shutil
import sys

from local.build import STATE
from local.down import take_down
from local.progress import Progress, StackFailed
from local.signals import leave_on_signals
from local.stack import Stack

FOLDER = STATE / "up"
DESCRIPTION = STATE / "stack.json"


def main() -> int:
    leave_on_signals()
    STATE.mkdir(exist_ok=True)
    with (STATE / "up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress = Progress()
        take_down()
        shutil.rmtree(FOLDER, ignore_errors=True)  # fresh: no log, no ledger of the last one
        address = os.environ.get("PLIVO_BASE_URL") or None
        stack = Stack(folder=FOLDER, plivo_base_url=address, progress=progress)
        try:
            stack.start()
            stack.start_console()
            # Last, and whole: whoever finds the file finds a stack that is ready.
            draft = DESCRIPTION.with_suffix(".draft")
            draft.write_text(json.dumps(stack.description, indent=2) + "\n")
            draft.replace(DESCRIPTION)
        except BaseException as problem:
            stack.stop()
            if not isinstance(problem, StackFailed):
                raise
            sys.stderr.write(f"{problem}\n")
            return 1
    phlo = (
        "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2/multi_party_call/9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04"
    )
    example = stack.webhook_url.replace("{phlo_id}/multi_party_call/{node_id}", phlo)
    token = stack.description["callers"]["phlo"]["token"]
    sys.stdout.write(
        f"""
Console   {stack.console_url} (make console opens it)
Webhook   {stack.webhook_url}
AWS       {stack.endpoint_url} (access key and secret: test)
Plivo     {stack.plivo_base_url}, what it received: {stack.plivo_base_url}/_received
Logs      .local/up/*.log, traces in .local/up/traces.jsonl
All of it, for programs: .local/stack.json

Try it:
  curl -i {example} \\
    -H 'Authorization: Bearer {token}' \\
    -d to=%2B14152225555 -d role=agent -d trigger_source=%2B14152223333

Stop it with: make down
"""
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
