"""Free ports on loopback."""

import socket


def free_port(preferred: int = 0) -> int:
    """``preferred`` if nothing listens there, else one that the system picks.

    Between this answer and its use another process may take the port: its user has to notice
    that the server did not come up.
    """
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
