"""`sam local start-api` as in docs/sam-local.md: a POST and a GET with curl."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from local.ports import free_port
from tests.sam_local.checkout import COMMAND_SECONDS, Checkout, Page

pytestmark = pytest.mark.timeout(900)

PORT = "3000"  # in the page; the tests use a free port


@pytest.fixture(scope="module")
def port(prepared: Checkout, page: Page) -> Iterator[str]:
    """The port of a running `sam local start-api`."""
    (command,) = page.with_words("start-api")
    chosen = free_port()
    log = prepared.folder / ".local" / "start-api.log"
    # A job in the background ignores Ctrl-C, and so would its processes.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 -- the page's own command
            ["/bin/bash", "-c", "\n".join([*page.exports, at_port(command, str(chosen))])],
            cwd=prepared.folder,
            env=prepared.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    signal.signal(signal.SIGINT, inherited)
    try:
        deadline = time.monotonic() + COMMAND_SECONDS
        while not listens(chosen):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield str(chosen)
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
        process.wait(COMMAND_SECONDS)
        assert prepared.containers() == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def at_port(command: str, port: str) -> str:
    assert PORT in command
    return command.replace(f"--port {PORT}", f"--port {port}").replace(f":{PORT}/", f":{port}/")


def listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_an_action_is_accepted_and_found(prepared: Checkout, page: Page, port: str) -> None:
    post, get = page.with_words("curl", "-i")
    sent = prepared.run(at_port(post, port))
    status, headers, body = parsed(sent.stdout)
    assert status == 201
    assert json.loads(body)["error"] == ""
    assert get.split()[2].endswith(headers["action-id"])

    found = prepared.run(at_port(get, port))
    status, _, shown = parsed(found.stdout)
    assert status == 200
    assert json.loads(shown)["outcome"] == "accepted"
    assert json.loads(shown)["api_id"] == json.loads(body)["api_id"]

    again = prepared.run(at_port(post, port))
    status, headers, repeated = parsed(again.stdout)
    assert (status, headers["idempotency-replayed"]) == (201, "true")
    assert json.loads(repeated) == json.loads(body)


def parsed(answer: str) -> tuple[int, dict[str, str], str]:
    """Status, headers (names in lower case) and body from the output of `curl -i`."""
    head, _, body = answer.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.splitlines()
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body
