"""The Plivo simulator, over real connections."""

import http.client
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.simulator import Simulator
from local.simulator_rules import UNKNOWN_PHLO_ID

PHLO = "/v1/phlo/3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2/multi_party_call/9b2e4d71-0c5f-4e38-8a16"
GOOD = {
    "action": "cold_transfer",
    "to": "+14152225555",
    "role": "agent",
    "trigger_source": "+14152223333",
}
AUTHORIZATION = "Basic " + b64encode(f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}".encode()).decode()


@pytest.fixture
def plivo() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def connect(plivo: Simulator, seconds: float = 5.0) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(plivo.base_url).netloc, timeout=seconds)


def ask(
    connection: http.client.HTTPConnection,
    fields: object = GOOD,
    path: str = PHLO,
    authorization: str = AUTHORIZATION,
    method: str = "POST",
) -> tuple[int, Any]:
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(fields), headers)
    answer = connection.getresponse()
    body = answer.read()
    is_json = answer.headers["Content-Type"] == "application/json" and body
    return answer.status, json.loads(body) if is_json else body


def failing(digits: str) -> dict[str, str]:
    return {**GOOD, "to": f"+15550100{digits}"}


@pytest.mark.parametrize("path", [PHLO, PHLO + "/"])
def test_a_good_request_is_acknowledged_with_or_without_a_trailing_slash(
    plivo: Simulator, path: str
) -> None:
    with closing(connect(plivo)) as connection:
        status, body = ask(connection, path=path)
    assert (status, body["error"], len(body["api_id"])) == (201, "", 36)


def test_a_connection_serves_many_requests(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection:
        assert ask(connection)[0] == 201
        own_address = connection.sock.getsockname()
        assert ask(connection)[0] == 201
        assert connection.sock.getsockname() == own_address


@pytest.mark.parametrize("authorization", ["", "Basic bm86bm8=", "Bearer x", "Basic \xe9"])
def test_a_wrong_credential_is_401(plivo: Simulator, authorization: str) -> None:
    with closing(connect(plivo)) as connection:
        assert ask(connection, authorization=authorization)[0] == 401


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"to": None}, "to is a mandatory param."),
        ({"role": ""}, "role is a mandatory param."),
        ({"trigger_source": 14152223333}, "expects a string."),
        ({"action": "hangup"}, "Invalid value provided for action."),
        ({"to": "+1 415"}, "Invalid value provided for to."),
        ({"to": "sip:" + "a" * 300}, "The to can be maximum 256 characters long."),
    ],
)
def test_a_faulty_parameter_is_400_with_the_documented_text(
    plivo: Simulator, change: dict[str, object], text: str
) -> None:
    with closing(connect(plivo)) as connection:
        status, body = ask(connection, {**GOOD, **change})
    assert status == 400
    assert body["error"].endswith(text)


@pytest.mark.parametrize("fields", [[], "text", None])
def test_a_body_that_is_no_object_is_400(plivo: Simulator, fields: object) -> None:
    with closing(connect(plivo)) as connection:
        assert ask(connection, fields)[0] == 400


def test_an_unknown_phlo_is_404_and_another_method_405(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection:
        unknown = PHLO.replace(PHLO.split("/")[3], UNKNOWN_PHLO_ID)
        assert ask(connection, path=unknown)[0] == 404
        assert ask(connection, path="/v1/other")[0] == 404
        assert ask(connection, method="PUT")[0] == 405


@pytest.mark.parametrize(
    "status", [200, 202, 204, 301, 307, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503]
)
def test_the_number_asks_for_a_status(plivo: Simulator, status: int) -> None:
    with closing(connect(plivo)) as connection:
        assert ask(connection, failing(str(status)))[0] == status


def test_a_redirect_names_a_place_and_a_throttling_a_delay(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection:
        for digits, header in (("302", "Location"), ("429", "Retry-After")):
            headers = {"Authorization": AUTHORIZATION}
            connection.request("POST", PHLO, json.dumps(failing(digits)), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.headers[header]


def test_002_is_a_success_with_an_error_in_it(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection:
        status, body = ask(connection, failing("002"))
    assert (status, bool(body["error"])) == (201, True)


def test_000_hangs(plivo: Simulator) -> None:
    with closing(connect(plivo, seconds=0.3)) as connection, pytest.raises(TimeoutError):
        ask(connection, failing("000"))
    assert [request.manner for request in plivo.received()] == ["hang"]


def test_001_closes_without_an_answer(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection, pytest.raises(http.client.RemoteDisconnected):
        ask(connection, failing("001"))


def test_003_cuts_the_body(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection, pytest.raises(http.client.IncompleteRead):
        ask(connection, failing("003"))


def test_004_drips_the_body_byte_by_byte(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection:
        connection.request(
            "POST", PHLO, json.dumps(failing("004")), {"Authorization": AUTHORIZATION}
        )
        answer = connection.getresponse()
        begun = time.monotonic()
        assert len(answer.read(3)) == 3
        assert time.monotonic() - begun > 1.0


def test_005_resets(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection, pytest.raises(ConnectionResetError):
        ask(connection, failing("005"))


def test_beyond_the_rate_it_is_429_until_the_time_is_over() -> None:
    with Simulator(rate=(3, 0.5)) as plivo, closing(connect(plivo)) as connection:
        assert [ask(connection)[0] for _ in range(4)] == [201, 201, 201, 429]
        time.sleep(0.6)
        assert ask(connection)[0] == 201


def test_it_shows_what_it_received_and_forgets_it_on_request(plivo: Simulator) -> None:
    with closing(connect(plivo)) as connection:
        ask(connection)
        ask(connection, failing("500"))
        _, shown = ask(connection, path="/_received", method="GET")
        assert [(one["method"], one["path"], one["status"]) for one in shown] == [
            ("POST", PHLO, 201),
            ("POST", PHLO, 500),
        ]
        assert json.loads(shown[0]["body"]) == GOOD
        assert shown[0]["headers"]["authorization"] == AUTHORIZATION
        ask(connection, path="/_received", method="DELETE")
        assert ask(connection, path="/_received", method="GET")[1] == []


def test_it_stops_at_once_though_an_answer_hangs() -> None:
    with Simulator() as plivo:
        connection = connect(plivo)
        connection.request(
            "POST", PHLO, json.dumps(failing("000")), {"Authorization": AUTHORIZATION}
        )
        while not plivo.received():
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 2.0
    connection.close()
