"""Replaces the X-Ray daemon: `python -m local.trace_sink --port N --file traces.jsonl`."""

import argparse
import contextlib
import json
import signal
import socket
import sys
from pathlib import Path


def segment_of(datagram: bytes) -> dict[str, object] | None:
    """The segment in a datagram of the daemon's protocol: a JSON head, a newline, a document.

    None for anything else: any process on the machine can send to a UDP port.
    """
    head, _, document = datagram.partition(b"\n")
    try:
        if json.loads(head).get("format") != "json":
            return None
        segment = json.loads(document)
    except (ValueError, AttributeError):
        return None
    return segment if isinstance(segment, dict) else None


def serve(receiver: socket.socket, file: Path) -> None:
    """Append every segment to ``file``, one per line, until the socket is closed."""
    with file.open("a", encoding="utf-8") as out:
        while True:
            try:
                datagram = receiver.recv(65_536)
            except OSError:
                return
            segment = segment_of(datagram)
            if segment is not None:
                out.write(json.dumps(segment) + "\n")
                out.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description="Replaces the X-Ray daemon, on loopback.")
    parser.add_argument("--port", type=int, default=2000)
    parser.add_argument(
        "--file", type=Path, required=True, help="the file of segments, one per line"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        contextlib.suppress(KeyboardInterrupt),
    ):
        receiver.bind(("127.0.0.1", options.port))
        serve(receiver, options.file)


if __name__ == "__main__":
    main()
