"""The console over a real socket: which requests it accepts, and what it keeps secret."""

import base64
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlencode

import pytest

from local.console import app as console_app
from local.console.app import BODY_BYTES
from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from tests.support import console
from tests.support.console import FIELDS, Served, accepted

FORM = {**FIELDS, "entry_point": "webhook", "client": "phlo"}


class Console(Served):
    """A console, with an HTTP client for it."""

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """Send a request with the headers of the page in a browser; ``headers`` replace them."""
        usual = {"Host": self.host, "Sec-Fetch-Site": "same-origin"}
        if method == "POST":
            usual |= {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        sent = {name: value for name, value in {**usual, **(headers or {})}.items() if value}
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.putrequest(method, path, skip_host=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if text is not None:
                connection.putheader("Content-Length", str(len(text.encode())))
            connection.endheaders(text.encode() if text is not None else None)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()


@pytest.fixture(scope="module")
def served() -> Iterator[Console]:
    with Console() as running:
        yield running


PAGES = ["/", "/console.css", "/console.js", "/icon.svg", "/api/actions", "/api/stream"]


def test_a_browser_that_opens_the_url_gets_the_page(served: Console) -> None:
    for host in (served.host, f"localhost:{served.port}"):
        status, headers, page = served.request(headers={"Host": host, "Sec-Fetch-Site": "none"})

        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "What Plivo received" in page


def test_a_program_without_a_browsers_headers_may_read(served: Console) -> None:
    assert served.request(path="/api/actions", headers={"Sec-Fetch-Site": ""})[0] == 200


@contextmanager
def nothing_sent(served: Console) -> Iterator[None]:
    before = served.store.figures()
    yield
    assert served.store.figures() == before


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_a_page_of_another_origin_can_read_nothing(
    served: Console, path: str, headers: dict[str, str]
) -> None:
    status, answered, text = served.request(path=path, headers=headers)

    assert status == 403 or (headers == {"Host": ""} and status == 400)
    assert "Access-Control-Allow-Origin" not in answered
    assert "requests" not in text


@pytest.mark.parametrize("path", ["/api/send", "/api/calls", "/api/count"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "https://attacker.example"},
        {"Origin": "http://localhost:1"},
        {"Host": "attacker.example", "Origin": "http://attacker.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": ""},
    ],
    ids=str,
)
def test_a_page_of_another_origin_can_send_nothing(
    served: Console, path: str, headers: dict[str, str]
) -> None:
    with nothing_sent(served):
        status, _, _ = served.request("POST", path, {"form": FORM, "keys": ["key-1"]}, headers)

    assert status == 403


def test_a_request_with_two_hosts_is_refused(served: Console) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as connection:
        connection.putrequest("GET", "/", skip_host=True)
        connection.putheader("Host", served.host)
        connection.putheader("Host", "attacker.example")
        connection.endheaders()
        assert connection.getresponse().status in (400, 403)


def test_a_request_without_a_host_is_refused(served: Console) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 403 ")


def test_a_get_never_sends(served: Console) -> None:
    with nothing_sent(served):
        for path in ("/api/send", "/api/calls", "/api/count"):
            assert served.request("GET", path)[0] == 405
        assert served.request(path=f"/api/commands?{urlencode(FORM)}")[0] == 200


@pytest.mark.parametrize("path", PAGES[:5])
def test_every_answer_has_the_security_headers(served: Console, path: str) -> None:
    for headers in ({}, {"Host": "attacker.example"}):
        _, answered, _ = served.request(path=path, headers=headers)

        policy = answered["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answered["X-Content-Type-Options"] == "nosniff"
        assert answered["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answered["Cache-Control"] == "no-store"
        assert "server" not in answered


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    page = (console_app.PAGE / "index.html").read_text()

    assert "<style" not in page
    assert " style=" not in page
    assert not re.search(r" on\w+=", page)
    for name in ("index.html", "console.css", "console.js"):
        text = (console_app.PAGE / name).read_text()
        assert "https:" not in text
        assert "http:" not in text.replace("http://www.w3.org", "")
        assert "innerHTML" not in text


def test_it_listens_on_loopback_only(served: Console) -> None:
    listening = [socket for server in served.server.servers for socket in server.sockets]

    assert [each.getsockname()[0] for each in listening] == ["127.0.0.1"]


def test_no_secret_is_shown(served: Console) -> None:
    secrets = console.access().secrets
    assert PLIVO_AUTH_TOKEN in secrets
    invocation = accepted(time.time(), "a" * 64, reason=" ".join(secrets))
    served.tell(served.store.segment, invocation.segment)
    served.tell(served.store.lines, "webhook", [invocation.line])
    post = console.received(invocation.segment["start_time"] + 0.05, headers={"x-echo": secrets[0]})
    served.tell(served.store.received, [{**post, "body": json.dumps({"to": console.TOKEN})}])
    served.tell(served.store.outcome_event, console.outcome_event("a" * 64))

    shown = [served.request(path=path)[2] for path in PAGES[:5]]
    number = json.loads(shown[4])["actions"][0]["number"]
    shown.append(served.request(path=f"/api/actions/{number}")[2])
    shown.append(first_update(served))
    form = {**FORM, "reference": console.TOKEN}
    shown.append(
        served.request(path="/api/commands?" + "&".join(f"{k}={v}" for k, v in form.items()))[2]
    )

    assert "********" in "".join(shown)
    for text in shown:
        assert [secret for secret in secrets if secret in text] == []


def first_update(served: Console) -> str:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as stream:
        stream.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        text = ""
        while "\n\n" not in text.partition("data: ")[2]:
            text += stream.recv(65_536).decode()
        return text


def test_the_credential_of_what_plivo_received_is_shown_by_its_name_only(served: Console) -> None:
    pair = base64.b64encode(f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}".encode()).decode()
    post = console.received(1.0, headers={"authorization": f"Basic {pair}"})

    served.tell(served.store.received, [post])

    assert f"Basic {PLIVO_AUTH_ID}:********" in first_update(served)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        {"form": FORM},
        {"form": FORM, "keys": []},
        {"form": FORM, "keys": ["k"] * 51},
        {"form": [1], "keys": ["k"]},
        {"form": {**FORM, "action": "teleport"}, "keys": ["k"]},
    ],
    ids=str,
)
def test_a_body_that_cannot_be_used_sends_nothing(served: Console, body: object) -> None:
    with nothing_sent(served):
        assert served.request("POST", "/api/send", body)[0] == 400


def test_a_body_that_is_too_long_is_refused(served: Console) -> None:
    body = {"form": {**FORM, "reference": "x" * BODY_BYTES}, "keys": ["k"]}

    assert served.request("POST", "/api/send", body)[0] == 413


def test_a_missing_answer_is_reported(served: Console) -> None:
    before = served.store.figures()["requests"]

    status, _, text = served.request("POST", "/api/send", {"form": FORM, "keys": ["key-1"]})

    assert status == 200
    (answer,) = json.loads(text)["answers"]
    assert (answer["status"], answer["outcome"]) == (0, "")
    _, _, detail = served.request(path=f"/api/actions/{answer['action']}")
    assert json.loads(detail)["requests"][-1]["answer"]["body"].startswith("no answer")
    assert served.store.figures()["requests"] == before + 1


def test_a_plivo_that_is_not_the_simulator_is_not_asked_for_calls() -> None:
    with Console(simulator=False) as served:
        assert served.request("POST", "/api/calls", {})[0] == 409


def test_an_action_that_is_not_kept_is_not_found(served: Console) -> None:
    assert served.request(path="/api/actions/4711")[0] == 404


def test_a_stream_ends_when_the_server_does() -> None:
    with (
        Console() as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=10) as stream,
    ):
        stream.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        assert stream.recv(1)
        served.server.should_exit = True
        started = time.monotonic()
        while stream.recv(65_536):
            pass
        assert time.monotonic() - started < 3
