"""`cold-transfer smoke`: its requests, and how it judges the answers."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cold_transfer_cli.target import Target
from tests.support import operating
from tests.support.serving import serving

OK = {"ok": True, "checked": ["clients secret", "ledger"], "failed": {}}
FUNCTIONS = ("webhook", "event", "reconcile", "outcomes")


class Functions:
    """A Lambda client. ``answers`` are results of self-checks; a string is the code of an error."""

    def __init__(self, **answers: object) -> None:
        self.answers = dict.fromkeys(FUNCTIONS, OK) | answers
        self.invoked: list[tuple[str, object]] = []

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803  boto3's own
        self.invoked.append((FunctionName, json.loads(Payload)))
        answer = self.answers[FunctionName]
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer, "Message": answer}}, "Invoke")
        failed = {"FunctionError": "Unhandled"} if isinstance(answer, Exception) else {}
        payload = {"errorMessage": str(answer)} if failed else answer
        return {"Payload": io.BytesIO(json.dumps(payload).encode()), **failed}


class Api(HTTPServer):
    """Stands in for API Gateway: answers every request with ``status`` and ``body``."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.paths: list[str] = []
        self.status = 401
        self.body = json.dumps({"type": "urn:problem-type:cold-transfer:unauthorized"})


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Api]:
    with serving(Api()) as server:
        yield server


def on(api: Api, functions: Functions) -> Target:
    session = operating.Session(**{"lambda": functions})
    url = f"http://127.0.0.1:{api.server_port}/live/v1/actions/{{action_id}}"
    outputs = {f"{name.title()}FunctionName": name for name in FUNCTIONS}
    return operating.target(session, {"ActionsUrl": url, **outputs})


def test_a_working_stack_passes_every_check(api: Api) -> None:
    functions = Functions()

    ended = operating.run(on(api, functions), "smoke")

    assert ended.status == 0
    assert ended.out.splitlines() == [
        "PASS  webhook: a request without a credential gets 401 unauthorized",
        *(f"PASS  {name} function: clients secret, ledger" for name in FUNCTIONS),
    ]
    assert functions.invoked == [(name, {"self_check": True}) for name in FUNCTIONS]
    assert api.paths == [f"/live/v1/actions/{'0' * 64}"]


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (
            {"ok": False, "checked": ["ledger"], "failed": {"plivo": "no connection"}},
            "event function: plivo: no connection",
        ),
        ({"ok": "yes", "checked": [], "failed": {}}, "event function: "),
        ({"statusCode": 404}, 'event function: no report: {"statusCode": 404}'),
        (None, "event function: no report: null"),
        ({"ok": True, "checked": [], "failed": []}, "event function: no report: "),
        (ValueError("timed out"), "event function: no report: timed out"),
        ("TooManyRequestsException", "event function: no report: not invoked: it is stopped"),
    ],
)
def test_a_function_that_fails_its_check_or_returns_no_report_fails(
    api: Api, answer: object, shown: str
) -> None:
    ended = operating.run(on(api, Functions(event=answer)), "smoke")

    assert ended.status == 1
    lines = ended.out.splitlines()
    assert [line[:4] for line in lines] == ["PASS", "PASS", "FAIL", "PASS", "PASS"]
    assert lines[2].startswith(f"FAIL  {shown}")


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (200, "{}", "200 no problem"),
        (403, '{"type": "urn:problem-type:cold-transfer:gateway-refused"}', "403 gateway-refused"),
        (503, "no JSON", "503 and no problem+json"),
        (401, "[]", "401 and no problem+json"),
    ],
)
def test_a_webhook_that_answers_anything_else_fails(
    api: Api, status: int, body: str, shown: str
) -> None:
    api.status, api.body = status, body

    ended = operating.run(on(api, Functions()), "smoke")

    assert ended.status == 1
    assert ended.out.startswith(f"FAIL  webhook: a request without a credential gets {shown}\nPASS")


def test_an_api_that_does_not_answer_fails_and_the_rest_is_checked(api: Api) -> None:
    target = on(api, Functions())
    unreachable = {**target.outputs, "ActionsUrl": "http://127.0.0.1:9/live/v1/actions/{action_id}"}

    ended = operating.run(operating.target(target.aws.session, unreachable), "smoke")

    assert ended.status == 1
    first, *others = ended.out.splitlines()
    assert first.startswith("FAIL  webhook: a request without a credential gets no answer (")
    assert [line[:4] for line in others] == ["PASS"] * 4


def test_with_wait_an_api_may_become_reachable_later(api: Api) -> None:
    target = on(api, Functions())
    port = api.server_port
    api.socket.close()  # at first nothing answers
    late: list[Api] = []

    def answer() -> None:
        with Api(port) as server:
            late.append(server)
            server.handle_request()

    timer = threading.Timer(0.3, answer)
    timer.start()
    try:
        ended = operating.run(target, "smoke", "--wait", "20")
    finally:
        timer.join()

    assert (ended.status, len(late)) == (0, 1)


def test_a_missing_permission_is_not_a_failure_of_the_stack(api: Api) -> None:
    ended = operating.run(on(api, Functions(event="AccessDeniedException")), "smoke")

    assert ended.status == 2
    assert ended.err.startswith("Your AWS permissions do not allow Invoke: ")
