"""The console's pages and streams, on Starlette.

GET  /                    the page, with its style and its script
GET  /api/stream          server-sent events: everything first, then each change
GET  /api/actions         the list: ?limit=N&outcome=&entry_point=&client=
GET  /api/actions/NUMBER  one action in detail; ?whole=1 for all its requests
GET  /api/commands        the form's content as shell commands
POST /api/send            {"form": {…}, "keys": [one per request]}: sends the requests at once
POST /api/calls           makes a call with a customer and an agent
POST /api/count           resets the counters
"""

import asyncio
import concurrent.futures
import contextlib
import json
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from local.console import request_form
from local.console.guard import Guard
from local.console.model import Request as Seen
from local.console.request_form import FormInvalid, RequestForm, Sender
from local.console.stack_access import MASKED, StackAccess
from local.console.store import Store

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html"),
    "/console.css": ("console.css", "text/css"),
    "/console.js": ("console.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
LISTED = 50
AT_ONCE = 50
BODY_BYTES = 64_000
#: Changes within this time are sent together, so that a burst is a few messages.
GATHER_SECONDS = 0.15
#: A silent stream sends a comment this often: only a failed write shows that the page is gone.
SILENCE_SECONDS = 15.0
#: How often a silent stream checks whether the server is shutting down.
LEAVING_SECONDS = 0.25
#: How long to wait for the outcome of an event.
EVENT_SECONDS = 45.0


class Console:
    """The handlers of the page's requests; ``leaving`` says whether the server is shutting down."""

    def __init__(
        self, access: StackAccess, store: Store, sender: Sender, leaving: Callable[[], bool]
    ) -> None:
        self._access = access
        self._store = store
        self._sender = sender
        self._leaving = leaving
        self._secrets = access.secrets
        self._instance = uuid.uuid4().hex

    def routes(self) -> list[Route]:
        files = [Route(path, self._file, methods=["GET"]) for path in FILES]
        return [
            *files,
            Route("/api/stream", self._stream, methods=["GET"]),
            Route("/api/actions", self._list, methods=["GET"]),
            Route("/api/actions/{number:int}", self._detail, methods=["GET"]),
            Route("/api/commands", self._commands, methods=["GET"]),
            Route("/api/send", self._send_all, methods=["POST"]),
            Route("/api/calls", self._make_call, methods=["POST"]),
            Route("/api/count", self._count, methods=["POST"]),
        ]

    async def _file(self, request: Request) -> Response:
        name, media_type = FILES[request.url.path]
        return Response((PAGE / name).read_bytes(), media_type=media_type)

    async def _stream(self, _: Request) -> StreamingResponse:
        return StreamingResponse(self._updates(), media_type="text/event-stream")

    async def _updates(self) -> AsyncIterator[str]:
        store = self._store
        version, silent = -1, 0.0
        while not self._leaving():
            await store.next_change(version, LEAVING_SECONDS)
            if store.version != version:
                changed = store.changed_since(version, LISTED) if version >= 0 else {}
                update = {
                    **(changed or {"about": self._about()}),
                    "figures": store.figures(),
                    "calls": store.calls_shown(),
                    "received": store.received_shown(),
                }
                version, silent = store.version, 0.0
                yield f"data: {self._shown(update)}\n\n"
                await asyncio.sleep(GATHER_SECONDS)
            elif (silent := silent + LEAVING_SECONDS) >= SILENCE_SECONDS:
                silent = 0.0
                yield ": nothing new\n\n"

    def _about(self) -> dict[str, Any]:
        return {
            "instance": self._instance,
            "clients": list(self._access.clients),
            "event_source": self._access.event_source,
            "simulator": self._access.simulator,
            "plivo_base_url": self._access.plivo_base_url,
            "meaning": request_form.ADVICE,
        }

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        names = [name for name in ("outcome", "entry_point", "client") if name in query]
        limit = query.get("limit", "")
        actions, more = self._store.listing(
            {name: query[name] for name in names}, int(limit) if limit.isdecimal() else LISTED
        )
        return self._json({"actions": actions, "more": more})

    async def _detail(self, request: Request) -> Response:
        number, whole = request.path_params["number"], "whole" in request.query_params
        detail = self._store.detail(number, whole=whole)
        if detail is None:
            raise HTTPException(404, "no such action, or it is no longer kept")
        return self._json(detail)

    async def _commands(self, request: Request) -> Response:
        form = self._read(dict(request.query_params))
        return self._json(
            {
                "curl": request_form.curl(form, self._access),
                "put_events": request_form.put_events(form, self._access),
            }
        )

    async def _send_all(self, request: Request) -> Response:
        try:
            body = await request.json()
            form, keys = dict(body["form"]), list(body["keys"])
        except (ValueError, TypeError, KeyError):
            raise HTTPException(400, "send a form and a list of keys") from None
        if not 1 <= len(keys) <= AT_ONCE:
            raise HTTPException(400, f"send one key for each request, {AT_ONCE} at most")
        forms = [self._read({**form, "Idempotency-Key": key}) for key in keys]
        return self._json({"answers": await asyncio.gather(*map(self._send, forms))})

    async def _send(self, form: RequestForm) -> dict[str, Any]:
        client = self._access.event_source if form.entry_point == "event" else form.client
        seen = self._store.requested(form.entry_point, client, form.fields, form.key)
        if form.entry_point == "webhook":
            answer = await in_thread(self._sender.post, form)
            self._store.answered(seen, answer)
            advice = answer["advice"]
        else:
            self._store.on_the_bus(seen, await in_thread(self._sender.put, form))
            try:
                await asyncio.wait_for(seen.done.wait(), EVENT_SECONDS)
            except TimeoutError:
                self._store.lost(seen, "no-invocation-seen")
            advice = ""
        return self._answer(seen, advice)

    def _answer(self, seen: Seen, advice: str) -> dict[str, Any]:
        """The answer to a request, as the page shows it."""
        sentences = [request_form.REPLAYED] if seen.replayed else []
        if not seen.replayed or seen.outcome != "accepted":
            sentences.append(advice or request_form.ADVICE.get(seen.outcome, ""))
        if seen.entry_point == "event" and seen.outcome != "accepted":
            sentences.append(request_form.DEAD_LETTER)
        names = ("status", "outcome", "cause", "replayed", "duplicate_of", "entry_point")
        return {
            **{name: getattr(seen, name) for name in names},
            "action": seen.action.number,
            "advice": " ".join(filter(None, sentences)),
        }

    async def _make_call(self, _: Request) -> Response:
        if not self._access.simulator:
            raise HTTPException(409, "calls need the simulator, but PLIVO_BASE_URL is set")
        return self._json(await in_thread(self._sender.make_call))

    async def _count(self, _: Request) -> Response:
        self._store.count_from_here()
        return self._json(self._store.figures())

    def _read(self, form: Mapping[str, object]) -> RequestForm:
        try:
            return request_form.read(form, self._access)
        except FormInvalid as error:
            raise HTTPException(400, str(error)) from None

    def _json(self, value: object) -> Response:
        return Response(self._shown(value), media_type="application/json")

    def _shown(self, value: object) -> str:
        """As JSON, with any credentials removed."""
        text = json.dumps(value)
        for secret in self._secrets:
            text = text.replace(secret, MASKED)
        return text


async def in_thread[T](work: Callable[..., T], *arguments: object) -> T:
    """Run ``work`` in a thread and return its result.

    The thread is a daemon, unlike those of ``asyncio.to_thread``: the server does not wait for a
    slow stack when it shuts down.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()  # from here on, cancelling the task does not affect it

    def run() -> None:
        try:
            future.set_result(work(*arguments))
        except Exception as error:  # noqa: BLE001  it is raised where it is awaited
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return await asyncio.wrap_future(future)


class Watcher(Protocol):
    """The part of ``watch.Watch`` that is used."""

    def want_record(self, action_id: str) -> None: ...
    def start(self, store: Store, loop: asyncio.AbstractEventLoop) -> None: ...


def server_of(access: StackAccess, watch: Watcher, port: int) -> tuple[uvicorn.Server, Store]:
    """The console's server for one stack, on loopback at ``port``, and its store. Not started."""
    store = Store(access, watch.want_record)

    def leaving() -> bool:
        return server.should_exit

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        watch.start(store, asyncio.get_running_loop())
        yield
        sender.close()

    sender = Sender(access)
    app = Starlette(
        routes=Console(access, store, sender, leaving).routes(),
        middleware=[Middleware(Guard, port=port)],
        lifespan=lifespan,
        max_body_size=BODY_BYTES,
    )
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    return server, store
