"""Runs a test's server in a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer


@contextmanager
def serving[Server: BaseServer](server: Server) -> Iterator[Server]:
    """Serve from a thread; the context's end closes the server and ends the thread."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
