"""Admits only the console's own page, in a browser on this machine.

It listens on loopback only. That does not keep out another page in the same browser, or a host name
that an attacker's DNS points to 127.0.0.1. Checking the headers that browsers send does.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REFUSAL = "The console talks to its own page only.\n"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """ASGI middleware: refuses requests that are not from the page at ``port``.

    It adds security headers to every answer.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if self._welcome(scope["method"], Headers(scope=scope)):
            await self._app(scope, receive, send_with_headers)
        else:
            refusal = PlainTextResponse(REFUSAL, status_code=403)
            await refusal(scope, receive, send_with_headers)

    def _welcome(self, method: str, headers: Headers) -> bool:
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        site = headers.get("sec-fetch-site", "none")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return False
        if method in ("GET", "HEAD"):
            # If the user opens the page's address, Sec-Fetch-Site is "none", without an Origin.
            return site in ("same-origin", "none") and origins in ([], [f"http://{hosts[0]}"])
        # Another page can post a form without a CORS preflight, but not JSON.
        json = headers.get("content-type", "").partition(";")[0] == "application/json"
        ours = origins == [f"http://{hosts[0]}"] and site in ("same-origin", "none")
        return ours and json
