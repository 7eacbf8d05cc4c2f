"""A server of the test's own, answered from a thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer


@contextmanager
def serving[Server: BaseServer](server: Server) -> Iterator[Server]:
    """Answer from a thread; closed, with its thread ended, when the context ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
