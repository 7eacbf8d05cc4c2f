"""One execution environment of a function: events in, one JSON a line, answers out.

``python worker.py FD``: events come on standard input, answers go to the file descriptor FD, and
standard output is the function's log. It imports ``app`` from PYTHONPATH as Lambda does, and
nothing else that Lambda would not.
"""

import importlib
import itertools
import json
import os
import secrets
import sys
import time

#: Sampled traces for the invocations in turn. Lambda's runtime sets a new one each time, but the
#: setenv of glibc never frees a value, about 150 bytes, which would count as the functions' memory.
TRACES = 64


class Context:
    """What Lambda tells a handler about its invocation."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, round((self._end - time.monotonic()) * 1000))


def _trace_header() -> str:
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=1"


def main(descriptor: int) -> None:
    app = importlib.import_module("app")
    seconds = float(os.environ["FUNCTION_TIMEOUT_SECONDS"])
    traces = itertools.cycle([_trace_header() for _ in range(TRACES)])
    with os.fdopen(descriptor, "w", encoding="utf-8") as answers:
        for line in sys.stdin:
            event = json.loads(line)
            os.environ["_X_AMZN_TRACE_ID"] = next(traces)
            begun = time.perf_counter()
            try:
                said = {"result": app.handler(event, Context(seconds))}
            except Exception as error:  # noqa: BLE001  Lambda's runtime catches as much
                said = {
                    "cause": getattr(error, "cause", type(error).__name__),
                    "action_id": getattr(error, "action_id", ""),
                }
            said["seconds"] = time.perf_counter() - begun
            answers.write(json.dumps(said) + "\n")
            answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
