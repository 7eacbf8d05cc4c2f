"""`python -m local.console`: serves the console of a stack until it is stopped."""

import argparse
import json
from pathlib import Path

import uvicorn

from local.console.app import application
from local.console.stack_access import StackAccess


def main() -> None:
    parser = argparse.ArgumentParser(description="The console of the local stack, on loopback.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--stack", type=Path, required=True, help="what stack.json will hold")
    parser.add_argument("--traces", type=Path, required=True, help="the trace sink's file")
    parser.add_argument("--simulator", action="store_true", help="Plivo is the stack's simulator")
    options = parser.parse_args()
    access = StackAccess(json.loads(options.stack.read_text()), simulator=options.simulator)
    server: uvicorn.Server | None = None

    def leaving() -> bool:
        return server is not None and server.should_exit

    config = uvicorn.Config(
        application(access, options.traces, options.port, leaving),
        host="127.0.0.1",
        port=options.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.run()


if __name__ == "__main__":
    main()
