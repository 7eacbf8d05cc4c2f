"""One execution environment of Lambda: AWS's own runtime client, and a Runtime API that feeds it.

awslambdaric is what a managed Python runtime runs: it sets logging up as Lambda's log settings
say, imports the handler, and asks for one invocation after the other. What it asks is this
module's ``RuntimeApi``, as "Using the Lambda runtime API for custom runtimes" (AWS Lambda
Developer Guide) describes it.
"""

import importlib.util
import json
import os
import queue
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support import artifact

#: As in the template; the runtime client hands it to the function as its deadline.
TIMEOUT_SECONDS = 25
ANSWER_SECONDS = 40
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

#: The modules of the runtime client: all that a function sees besides its code and its layer.
RUNTIME = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")

_FRAME_HEAD = 16


@dataclass(frozen=True, slots=True)
class Result:
    """How one invocation ended."""

    raised: bool
    payload: Any


@dataclass(frozen=True, slots=True)
class Written:
    """All that an environment wrote.

    runtime
        The texts that the runtime client framed for Lambda, each with the frame's type.
    """

    stdout: str
    stderr: str
    runtime: tuple[tuple[int, str], ...]

    @property
    def text(self) -> str:
        return "\n".join([self.stdout, self.stderr, *(text for _, text in self.runtime)])


class RuntimeApi:
    """The Runtime API on a free port of loopback, for one environment."""

    def __init__(self) -> None:
        self._invocations: queue.Queue[tuple[str, bytes] | None] = queue.Queue()
        self._results: queue.Queue[Result] = queue.Queue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                assert self.path == "/2018-06-01/runtime/invocation/next", self.path
                api._next(self)

            def do_POST(self) -> None:
                payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                # …/runtime/init/error, …/invocation/{id}/response, …/invocation/{id}/error
                api._results.put(Result(not self.path.endswith("/response"), payload))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def invoke(self, event: Mapping[str, Any]) -> Result:
        self._invocations.put((str(uuid.uuid4()), json.dumps(event).encode()))
        return self._results.get(timeout=ANSWER_SECONDS)

    def close(self) -> None:
        self._invocations.put(None)  # ends the client's last request
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, request: BaseHTTPRequestHandler) -> None:
        invocation = self._invocations.get()
        if invocation is None:
            request.close_connection = True
            return
        request_id, event = invocation
        deadline = int((time.time() + TIMEOUT_SECONDS) * 1000)
        request.send_response(200)
        for name, value in (
            ("Lambda-Runtime-Aws-Request-Id", request_id),
            ("Lambda-Runtime-Deadline-Ms", str(deadline)),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:f"),
            ("Lambda-Runtime-Trace-Id", TRACE),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(event))),
        ):
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(event)


class Environment:
    """``function`` of the folder ``build`` in a separate process, until the context ends.

    folder
        An empty folder, for what the process writes.
    variables
        Environment variables in addition to those that Lambda always sets.
    """

    def __init__(
        self, build: Path, function: str, folder: Path, variables: Mapping[str, str]
    ) -> None:
        self._folder = folder
        runtime = folder / "runtime"
        runtime.mkdir()
        for name in RUNTIME:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            origin = Path(spec.origin)
            if origin.name == "__init__.py":
                origin = origin.parent
            (runtime / origin.name).symlink_to(origin)
        code = build / f"{function}Function"
        path = os.pathsep.join(map(str, (code, build / artifact.LAYER / "python", runtime)))
        self._api = RuntimeApi()
        with (
            (folder / "stdout").open("wb") as stdout,
            (folder / "stderr").open("wb") as stderr,
            (folder / "frames").open("wb") as frames,
        ):
            self._process = subprocess.Popen(  # noqa: S603  the artifact, under AWS's own client
                [artifact.interpreter(), "-s", "-B", "-m", "awslambdaric", "app.handler"],
                cwd=code,
                env={
                    **artifact.DEPLOYED,
                    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
                    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                    "AWS_LAMBDA_RUNTIME_API": self._api.address,
                    "_LAMBDA_TELEMETRY_LOG_FD": str(frames.fileno()),
                    "PYTHONPATH": path,
                    **variables,
                },
                stdout=stdout,
                stderr=stderr,
                pass_fds=[frames.fileno()],
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._process.kill()  # as Lambda does; all lines of an invocation precede its answer
        self._process.wait()
        self._api.close()

    def invoke(self, event: Mapping[str, Any]) -> Result:
        return self._api.invoke(event)

    def written(self) -> Written:
        return Written(
            (self._folder / "stdout").read_text(encoding="utf-8"),
            (self._folder / "stderr").read_text(encoding="utf-8"),
            tuple(_frames((self._folder / "frames").read_bytes())),
        )


def _frames(data: bytes) -> Iterator[tuple[int, str]]:
    """Type and text of each frame: type, length and time, big-endian, then the text."""
    while data:
        size = int.from_bytes(data[4:8], "big")
        end = _FRAME_HEAD + size
        yield int.from_bytes(data[:4], "big"), data[_FRAME_HEAD:end].decode()
        data = data[end:]
