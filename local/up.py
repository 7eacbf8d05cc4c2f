"""`make up`: a stack that keeps running, described by `.local/stack.json`."""

import json
import os
import shutil
import sys

from local import running
from local.down import take_down
from local.progress import Progress
from local.sender import NODE_ID, PHLO_ID
from local.stack import Stack


def main() -> int:
    with running.locked():
        progress = Progress()
        take_down()
        shutil.rmtree(running.FOLDER, ignore_errors=True)  # logs and ledger of the last stack
        address = os.environ.get("PLIVO_BASE_URL") or None
        stack = Stack(folder=running.FOLDER, plivo_base_url=address, progress=progress)
        try:
            stack.start()
            stack.start_console()
            # Last, and atomically: if the file exists, the stack is ready.
            draft = running.DESCRIPTION.with_suffix(".draft")
            draft.write_text(json.dumps(stack.description, indent=2) + "\n")
            draft.replace(running.DESCRIPTION)
        except BaseException:
            stack.stop()
            raise
    example = stack.webhook_url.format(phlo_id=PHLO_ID, node_id=NODE_ID)
    token = stack.description["clients"]["phlo"]["token"]
    sys.stdout.write(
        f"""
Console   {stack.console_url} (make console opens it)
Webhook   {stack.webhook_url}
AWS       {stack.endpoint_url} (access key and secret: test)
Plivo     {stack.plivo_base_url} (requests received: {stack.plivo_base_url}/_received)
Logs      .local/up/*.log, traces in .local/up/traces.jsonl
All of this, for programs: .local/stack.json

Try it:
  curl -i {example} \\
    -H 'Authorization: Bearer {token}' \\
    -d to=%2B14152225555 -d role=agent -d trigger_source=%2B14152223333

Stop it: make down
"""
    )
    return 0
