"""Nothing of a hostile answer reaches the logs, with the real Plivo client and urllib3."""

import json
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cold_transfer.causes import Cause
from cold_transfer.errors import ActionFailed
from cold_transfer.plivo.client import PlivoClient
from tests.support import builders, fakes
from tests.support.fault_server import Fault, FaultServer, Line, http_answer, says, then

NUMBER = "14152225555"
SPELLED = "+1 (415) 222-5555"
FORBIDDEN = (
    NUMBER,
    "14152223333",
    "222-5555",
    fakes.AUTH_TOKEN,
    builders.PHLO_TOKEN,
    "zq-secret-agent",
)

#: Answers with the number in each part of an answer.
HOSTILE = {
    "status line": f"HTTP/1.1 200 {NUMBER}\r\n\r\n",
    "no status line": f"{NUMBER}\r\n\r\n",
    "version": f"HTTP/{NUMBER} 200 OK\r\n\r\n",
    "status": f"HTTP/1.1 {NUMBER} OK\r\n\r\n",
    "header": f"HTTP/1.1 200 OK\r\nX-{NUMBER}: {NUMBER}\r\nContent-Length: 2\r\n\r\n{{}}",
    "broken header": f"HTTP/1.1 200 OK\r\n{NUMBER}\r\nContent-Length: 2\r\n\r\n{{}}",
    "length": f"HTTP/1.1 200 OK\r\nContent-Length: {NUMBER}{NUMBER}x\r\n\r\n{{}}",
    "chunk": f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz{NUMBER}\r\n",
    "retry-after": f"HTTP/1.1 429 No\r\nRetry-After: {NUMBER} x\r\nContent-Length: 0\r\n\r\n",
    "location": f"HTTP/1.1 301 No\r\nLocation: http://{NUMBER}/\r\nContent-Length: 0\r\n\r\n",
    "body": f"HTTP/1.1 400 No\r\nContent-Length: 13\r\n\r\n {NUMBER} ",
    "json": f'HTTP/1.1 400 No\r\nContent-Length: 24\r\n\r\n{{"error": "{NUMBER}"}}',
    **{
        f"{member} {status}": http_answer(status, json.dumps({member: SPELLED}).encode()).decode()
        for member in ("error", "api_id")
        for status in (201, 400)
    },
    "interim answer": f"HTTP/1.1 103 {NUMBER}\r\nX: {NUMBER}\r\n\r\nHTTP/1.1 500 {NUMBER}\r\n\r\n",
    "broken interim answer": f"HTTP/1.1 103 x\r\n{NUMBER}\r\n\r\nHTTP/1.1 201 OK\r\n\r\n",
    "two lengths": (
        f"HTTP/1.1 201 OK\r\nContent-Length: {NUMBER}\r\nContent-Length: 1{NUMBER}\r\n\r\n{{}}"
    ),
    "trailers": (
        f"HTTP/1.1 201 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{NUMBER}: {NUMBER}\r\n\r\n"
    ),
    "more": f"HTTP/1.1 201 OK\r\nContent-Length: 2\r\n\r\n{{}}{NUMBER}",
}


@contextmanager
def debug_logging() -> Iterator[None]:
    """The client's loggers at level DEBUG."""
    loggers = [logging.getLogger(name) for name in ("urllib3", "cold_transfer")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@pytest.mark.parametrize("name", ["cold_transfer", "hold"])
@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_nothing_of_a_hostile_answer_gets_out(answer: str, name: str) -> None:
    fault = Fault(Cause.OUTCOME_UNKNOWN, 502, then(says(answer.encode()), Line.close))
    said: list[str] = []
    with FaultServer(fault) as server, fakes.emitted() as output, debug_logging():
        # one for each entry point: a kept connection may close while the next request is sent
        clients: list[Any] = [PlivoClient(server.url) for _ in range(2)]
        systems = [
            fakes.System(plivo=each, plivo_deadline_seconds=1.0, event_actions=frozenset({"*"}))
            for each in clients
        ]
        said.append(systems[0].ask(name).text)
        event = builders.eventbridge_event(
            builders.detail_of(name), detail_type=builders.detail_type_of(name)
        )
        try:
            said.append(json.dumps(systems[1].event(event)))
        except ActionFailed as error:
            said += traceback.format_exception(error)
        for client in clients:
            client.close()
        assert server.posts == 2

    said.append(output.text)
    for system in systems:
        said += [json.dumps(system.table.items), system.xray.document()]
    for value in FORBIDDEN:
        for text in said:
            assert value not in text
