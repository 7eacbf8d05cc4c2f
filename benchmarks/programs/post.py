"""The same POST with another HTTP client: ``post.py CLIENT``, sent to PLIVO_BASE_URL.

Each client keeps its connection (but the one that reconnects), sends the same fields with the same
credentials, and verifies the server with the roots of SSL_CERT_FILE.
"""

import base64
import json
import os
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from benchmarks.programs import loop, request

BASE = os.environ["PLIVO_BASE_URL"]
ROOTS = os.environ["SSL_CERT_FILE"]
ACCEPTED = 201
ACTIONS = request.actions()


def tls_socket() -> Callable[[], None]:
    """The floor: a request as bytes, and as many reads as it takes to have the answer."""
    parts = urlsplit(BASE)
    host, port = str(parts.hostname), int(str(parts.port))
    plain = socket.create_connection((host, port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
    pair = base64.b64encode(f"{request.AUTH_ID}:{request.AUTH_TOKEN}".encode()).decode()
    head = (
        f"POST {request.PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Basic {pair}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()

    def post() -> None:
        body = json.dumps(next(ACTIONS)).encode()
        sock.sendall(head + b"%d\r\n\r\n%s" % (len(body), body))
        answer = b""
        while not answer.endswith(b"}"):
            answer += sock.recv(65_536)
        if not answer.startswith(b"HTTP/1.1 201 "):
            raise AssertionError(answer)

    return post


def with_urllib3(**more_headers: str) -> Callable[[], None]:
    import urllib3  # noqa: PLC0415  each client is measured without the others

    parts = urlsplit(BASE)
    pool = urllib3.HTTPSConnectionPool(
        str(parts.hostname), parts.port, ssl_context=ssl.create_default_context()
    )
    pair = f"{request.AUTH_ID}:{request.AUTH_TOKEN}"
    headers = urllib3.make_headers(basic_auth=pair) | {"Content-Type": "application/json"}
    headers |= more_headers

    def post() -> None:
        body = json.dumps(next(ACTIONS))
        answer = pool.request(
            "POST", request.PATH, body=body, headers=headers, retries=False, redirect=False
        )
        if answer.status != ACCEPTED:
            raise AssertionError(answer.status)

    return post


def with_plivo() -> Callable[[], None]:
    import plivo  # type: ignore[import-untyped]  # noqa: PLC0415  a peer

    client = plivo.phlo.RestClient(auth_id=request.AUTH_ID, auth_token=request.AUTH_TOKEN)
    client.phlo_base_uri = f"{BASE}/v1"
    client.session.verify = ROOTS

    def post() -> None:
        asked = next(ACTIONS)
        client.phlo.multi_party_call(
            request.PHLO_ID,
            request.NODE_ID,
            "cold_transfer",
            trigger_source=asked["trigger_source"],
            to=asked["to"],
            role=asked["role"],
        )  # raises unless the status is 200, 201 or 202

    return post


CLIENTS: dict[str, Callable[[], Callable[[], None]]] = {
    "socket": tls_socket,
    "urllib3": with_urllib3,
    "urllib3-reconnecting": partial(with_urllib3, Connection="close"),
    "plivo": with_plivo,
}

if __name__ == "__main__":
    loop.serve(CLIENTS[sys.argv[1]]())
