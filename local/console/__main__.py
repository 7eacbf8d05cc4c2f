"""`python -m local.console`: serves the console of a stack until it is stopped."""

import argparse
import json
from pathlib import Path

from local.console.app import server_of
from local.console.stack_access import StackAccess
from local.console.watch import Watch


def main() -> None:
    parser = argparse.ArgumentParser(description="The console of the local stack, on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stack", type=Path, required=True, help="a file like stack.json")
    parser.add_argument("--traces", type=Path, required=True, help="the trace sink's file")
    parser.add_argument("--simulator", action="store_true", help="Plivo is the stack's simulator")
    options = parser.parse_args()
    access = StackAccess(json.loads(options.stack.read_text()), simulator=options.simulator)
    server, _ = server_of(access, Watch(access, options.traces), options.port)
    server.run()


if __name__ == "__main__":
    main()
