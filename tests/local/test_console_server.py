"""The console over a real socket: whom it answers, and what it keeps to itself."""

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


class Asked(Served):
    """A console, and the way to ask it by HTTP."""

    def ask(
        self,
        method: str = "GET",
        path: str = "/",
        body: object = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """As the page in the browser asks, but for the headers that are given."""
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
def served() -> Iterator[Asked]:
    with Asked() as one:
        yield one


PAGES = ["/", "/console.css", "/console.js", "/icon.svg", "/api/actions", "/api/stream"]


def test_a_browser_that_opens_its_address_gets_the_page(served: Asked) -> None:
    for host in (served.host, f"localhost:{served.port}"):
        status, headers, page = served.ask(headers={"Host": host, "Sec-Fetch-Site": "none"})

        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "What Plivo received" in page


def test_a_program_without_a_browser_s_headers_may_look(served: Asked) -> None:
    assert served.ask(path="/api/actions", headers={"Sec-Fetch-Site": ""})[0] == 200


@contextmanager
def nothing_sent(served: Asked) -> Iterator[None]:
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
def test_a_page_elsewhere_reaches_nothing(
    served: Asked, path: str, headers: dict[str, str]
) -> None:
    status, answered, text = served.ask(path=path, headers=headers)

    assert status == 403 or (headers == {"Host": ""} and status == 400)
    assert "Access-Control-Allow-Origin" not in answered
    assert "asked" not in text


@pytest.mark.parametrize("path", ["/api/ask", "/api/calls", "/api/count"])
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
def test_a_page_elsewhere_sends_nothing(served: Asked, path: str, headers: dict[str, str]) -> None:
    with nothing_sent(served):
        status, _, _ = served.ask("POST", path, {"form": FORM, "keys": ["key-1"]}, headers)

    assert status == 403


def test_two_hosts_are_none(served: Asked) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as connection:
        connection.putrequest("GET", "/", skip_host=True)
        connection.putheader("Host", served.host)
        connection.putheader("Host", "attacker.example")
        connection.endheaders()
        assert connection.getresponse().status in (400, 403)


def test_no_host_is_none(served: Asked) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 403 ")


def test_a_look_never_sends(served: Asked) -> None:
    with nothing_sent(served):
        for path in ("/api/ask", "/api/calls", "/api/count"):
            assert served.ask("GET", path)[0] == 405
        assert served.ask(path=f"/api/commands?{urlencode(FORM)}")[0] == 200


@pytest.mark.parametrize("path", PAGES[:5])
def test_every_answer_has_the_headers_of_a_safe_page(served: Asked, path: str) -> None:
    for headers in ({}, {"Host": "attacker.example"}):
        _, answered, _ = served.ask(path=path, headers=headers)

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


def test_it_listens_on_loopback_only(served: Asked) -> None:
    listening = [socket for server in served.server.servers for socket in server.sockets]

    assert [each.getsockname()[0] for each in listening] == ["127.0.0.1"]


def test_no_secret_leaves_it(served: Asked) -> None:
    secrets = console.access().secrets
    assert PLIVO_AUTH_TOKEN in secrets
    told = accepted(time.time(), "a" * 64, reason=" ".join(secrets))
    served.tell(served.store.segment, told.segment)
    served.tell(served.store.lines, "webhook", [told.line])
    post = console.received(told.segment["start_time"] + 0.05, headers={"x-echo": secrets[0]})
    served.tell(served.store.received, [{**post, "body": json.dumps({"to": console.TOKEN})}])
    served.tell(served.store.outcome_event, console.outcome_event("a" * 64))

    shown = [served.ask(path=path)[2] for path in PAGES[:5]]
    number = json.loads(shown[4])["actions"][0]["number"]
    shown.append(served.ask(path=f"/api/actions/{number}")[2])
    shown.append(first_update(served))
    form = {**FORM, "reference": console.TOKEN}
    shown.append(
        served.ask(path="/api/commands?" + "&".join(f"{k}={v}" for k, v in form.items()))[2]
    )

    assert "********" in "".join(shown)
    for text in shown:
        assert [secret for secret in secrets if secret in text] == []


def first_update(served: Asked) -> str:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as stream:
        stream.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        text = ""
        while "\n\n" not in text.partition("data: ")[2]:
            text += stream.recv(65_536).decode()
        return text


def test_the_credential_of_what_plivo_received_is_shown_by_its_name_only(served: Asked) -> None:
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
def test_a_body_that_cannot_be_used_sends_nothing(served: Asked, body: object) -> None:
    with nothing_sent(served):
        assert served.ask("POST", "/api/ask", body)[0] == 400


def test_a_body_of_any_length_is_not_read(served: Asked) -> None:
    body = {"form": {**FORM, "reference": "x" * BODY_BYTES}, "keys": ["k"]}

    assert served.ask("POST", "/api/ask", body)[0] == 413


def test_an_answer_that_never_came_is_told(served: Asked) -> None:
    before = served.store.figures()["asked"]

    status, _, text = served.ask("POST", "/api/ask", {"form": FORM, "keys": ["key-1"]})

    assert status == 200
    (answer,) = json.loads(text)["answers"]
    assert (answer["status"], answer["outcome"]) == (0, "")
    assert served.store.figures()["asked"] == before + 1


def test_another_plivo_than_the_simulator_is_not_asked_for_calls() -> None:
    with Asked(simulator=False) as served:
        assert served.ask("POST", "/api/calls", {})[0] == 409


def test_an_action_that_is_not_kept_is_not_found(served: Asked) -> None:
    assert served.ask(path="/api/actions/4711")[0] == 404


def test_a_stream_ends_when_the_server_does() -> None:
    with (
        Asked() as served,
        socket.create_connection(("127.0.0.1", served.port), timeout=10) as stream,
    ):
        stream.sendall(f"GET /api/stream HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode())
        assert stream.recv(1)
        served.server.should_exit = True
        begun = time.monotonic()
        while stream.recv(65_536):
            pass
        assert time.monotonic() - begun < 3
