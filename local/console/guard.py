"""Admits only the console's own page, in a browser on this machine.

It listens on loopback alone. That does not keep out another page that is open in the same browser,
nor a name that an attacker's DNS points at 127.0.0.1; the headers that browsers send do.
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
    """Refuses what does not come from the page at ``port``, and adds the headers of a safe page."""

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
            # A browser that opens the page by its address says "none", and names no origin.
            return site in ("same-origin", "none") and origins in ([], [f"http://{hosts[0]}"])
        # A form of another page can be posted without asking first, but not as JSON.
        json = headers.get("content-type", "").partition(";")[0] == "application/json"
        ours = origins == [f"http://{hosts[0]}"] and site in ("same-origin", "none")
        return ours and json
