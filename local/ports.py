"""Free ports on loopback."""

import socket


def free_port(preferred: int = 0) -> int:
    """``preferred`` if it is free, otherwise one that the system picks.

    Another process may take the port before it is used, so the caller must check that its server
    started.

    Raises
    ------
    OSError
        There is no free port.
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
