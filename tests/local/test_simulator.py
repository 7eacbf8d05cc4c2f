"""The Plivo simulator, over real connections."""

import json
import re
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import quote, urlsplit

import plivo as plivo_sdk  # type: ignore[import-untyped]  # the SDK has no types
import pytest

from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.simulator import REQUESTS_KEPT, Simulator
from local.simulator_calls import CALLS, CHANGES, MEMBERS
from local.simulator_rules import CALL_ACTIONS, MEMBER_ACTIONS, UNKNOWN_PHLO_ID

PHLO_ID = "3f1c8a52-6d0e-4b7a-9c21-5e8d7f60a1b2"
NODE_ID = "9b2e4d71-0c5f-4e38-8a16-7d3f5b9c2e04"
PHLO = f"/v1/phlo/{PHLO_ID}/multi_party_call/{NODE_ID}"
COLLEAGUE = "+14152225555"
GOOD = {
    "action": "cold_transfer",
    "to": COLLEAGUE,
    "role": "agent",
    "trigger_source": "+14152223333",
}
AUTHORIZATION = "Basic " + b64encode(f"{PLIVO_AUTH_ID}:{PLIVO_AUTH_TOKEN}".encode()).decode()


@pytest.fixture
def plivo() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def connect(plivo: Simulator, seconds: float = 5.0) -> HTTPConnection:
    return HTTPConnection(urlsplit(plivo.base_url).netloc, timeout=seconds)


def send(
    connection: HTTPConnection,
    fields: object = GOOD,
    path: str = PHLO,
    authorization: str = AUTHORIZATION,
    method: str = "POST",
) -> tuple[int, Any]:
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(fields), headers)
    response = connection.getresponse()
    body = response.read()
    is_json = response.headers["Content-Type"] == "application/json" and body
    return response.status, json.loads(body) if is_json else body


class LiveCall:
    """A call in the simulator, with a customer and an agent on it."""

    def __init__(self, connection: HTTPConnection) -> None:
        self.connection = connection
        ids = {"phlo_id": PHLO_ID, "node_id": NODE_ID}
        status, made = send(connection, ids, "/_calls")
        assert status == 201
        self.call_id = made["call_id"]
        self.customer, self.agent = (member["address"] for member in made["members"])

    def dial(self, action: str, to: str = COLLEAGUE, role: str = "agent") -> tuple[int, Any]:
        fields = {"action": action, "to": to, "role": role, "trigger_source": self.agent}
        return send(self.connection, fields)

    def member(self, action: str, address: str) -> tuple[int, Any]:
        return send(self.connection, {"action": action}, f"{PHLO}/members/{address}")

    def shown(self) -> dict[str, Any]:
        calls: list[dict[str, Any]] = calls_of(self.connection)["calls"]
        (call,) = (one for one in calls if one["call_id"] == self.call_id)
        return call

    def members(self) -> list[tuple[str, str, bool]]:
        members = self.shown()["members"]
        return [(one["address"], one["role"], one["on_hold"]) for one in members]


def calls_of(connection: HTTPConnection, query: str = "") -> Any:
    status, shown = send(connection, path=f"/_calls{query}", method="GET")
    assert status == 200
    return shown


@pytest.fixture
def connection(plivo: Simulator) -> Iterator[HTTPConnection]:
    with closing(connect(plivo)) as opened:
        yield opened


@pytest.fixture
def live(connection: HTTPConnection) -> LiveCall:
    return LiveCall(connection)


def failing(digits: str) -> dict[str, str]:
    return {**GOOD, "to": f"+15550100{digits}"}


@pytest.mark.parametrize("action", CALL_ACTIONS)
@pytest.mark.parametrize("path", [PHLO, PHLO + "/"])
def test_an_action_on_a_call_is_acknowledged_as_documented(
    connection: HTTPConnection, path: str, action: str
) -> None:
    status, body = send(connection, {**GOOD, "action": action}, path)
    assert (status, body.keys(), body["error"]) == (201, {"api_id", "error"}, "")
    assert len(body["api_id"]) == 36


@pytest.mark.parametrize("action", MEMBER_ACTIONS)
@pytest.mark.parametrize("address", ["+14152223333", "sip:agent7@phone.plivo.com"])
@pytest.mark.parametrize("safe", ["", "+:@"], ids=["percent-encoded", "plain"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_an_action_on_a_member_is_acknowledged_with_its_address(
    connection: HTTPConnection, action: str, address: str, safe: str, slash: str
) -> None:
    path = f"{PHLO}/members/{quote(address, safe=safe)}{slash}"
    status, body = send(connection, {"action": action}, path)
    del body["api_id"]
    assert status == 201
    assert body == {
        "error": "",
        "phlo_id": PHLO_ID,
        "node_id": NODE_ID,
        "node_type": "multi_party_call",
        "member_address": address,
    }


@pytest.mark.parametrize("query", ["", f"?phlo_id={PHLO_ID}&node_id={NODE_ID}"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_phlo_and_a_node_can_be_looked_up(
    connection: HTTPConnection, query: str, slash: str
) -> None:
    phlo_status, phlo = send(connection, path=f"/v1/phlo/{PHLO_ID}{slash}{query}", method="GET")
    node_status, node = send(connection, path=f"{PHLO}{slash}{query}", method="GET")
    assert (phlo_status, phlo.keys()) == (200, {"api_id", "phlo_id", "name", "created_on"})
    assert (node_status, node.keys()) == (200, {*phlo.keys(), "node_id", "node_type"})
    assert (phlo["phlo_id"], node["phlo_id"], node["node_id"]) == (PHLO_ID, PHLO_ID, NODE_ID)
    assert node["node_type"] == "multi_party_call"
    documented = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}\+00:00"
    assert re.fullmatch(documented, phlo["created_on"])


def test_a_post_with_a_query_string_is_404(connection: HTTPConnection) -> None:
    assert send(connection, path=f"{PHLO}?node_id={NODE_ID}")[0] == 404


def test_a_connection_serves_many_requests(connection: HTTPConnection) -> None:
    assert send(connection)[0] == 201
    own_address = connection.sock.getsockname()
    assert send(connection)[0] == 201
    assert connection.sock.getsockname() == own_address


@pytest.mark.parametrize("authorization", ["", "Basic bm86bm8=", "Bearer x", "Basic \xe9"])
def test_a_wrong_credential_is_401(connection: HTTPConnection, authorization: str) -> None:
    assert send(connection, authorization=authorization)[0] == 401


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"to": None}, "to is a mandatory param."),
        ({"role": ""}, "role is a mandatory param."),
        ({"trigger_source": 14152223333}, "expects a string."),
        ({"action": "hangup"}, "Invalid value provided for action."),
        ({"role": "supervisor"}, "Invalid value provided for role."),
        ({"to": "+1 415"}, "Invalid value provided for to."),
        ({"to": "sip:" + "a" * 300}, "The to can be maximum 256 characters long."),
    ],
)
def test_a_faulty_parameter_is_400_with_the_documented_text(
    connection: HTTPConnection, change: dict[str, object], text: str
) -> None:
    status, body = send(connection, {**GOOD, **change})
    assert status == 400
    assert body["error"].endswith(text)


@pytest.mark.parametrize(
    ("fields", "address", "text"),
    [
        ({}, "+14152223333", "action is a mandatory param."),
        ({"action": "cold_transfer"}, "+14152223333", "Invalid value provided for action."),
        ({"action": "hold"}, "somebody", "Invalid value provided for member_address."),
    ],
)
def test_a_faulty_action_on_a_member_is_400_with_the_documented_text(
    connection: HTTPConnection, fields: dict[str, str], address: str, text: str
) -> None:
    status, body = send(connection, fields, f"{PHLO}/members/{address}")
    assert (status, body["error"]) == (400, text)


@pytest.mark.parametrize("fields", [[], "text", None])
def test_a_body_that_is_not_an_object_is_400(connection: HTTPConnection, fields: object) -> None:
    assert send(connection, fields)[0] == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_phlo_or_path_is_404(connection: HTTPConnection, method: str) -> None:
    unknown = PHLO.replace(PHLO_ID, UNKNOWN_PHLO_ID)
    for path in (unknown, "/v1/other", PHLO.replace("multi_party_call", "conference_bridge")):
        assert send(connection, path=path, method=method)[0] == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", PHLO), ("POST", f"/v1/phlo/{PHLO_ID}"), ("GET", f"{PHLO}/members/+14152223333")],
)
def test_a_method_that_a_path_does_not_have_is_405(
    connection: HTTPConnection, method: str, path: str
) -> None:
    assert send(connection, path=path, method=method)[0] == 405


@pytest.mark.parametrize(
    "status", [200, 202, 204, 301, 307, 400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503]
)
def test_the_last_digits_of_a_number_choose_the_status(
    connection: HTTPConnection, status: int
) -> None:
    assert send(connection, failing(str(status)))[0] == status


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500])
def test_a_members_number_and_a_phlos_id_choose_the_status_too(
    connection: HTTPConnection, status: int
) -> None:
    phlo = f"/v1/phlo/00000000-0000-4000-8000-015550100{status}"
    member = send(connection, {"action": "hold"}, f"{PHLO}/members/+15550100{status}")
    assert member[0] == status
    assert send(connection, path=phlo, method="GET")[0] == status
    assert send(connection, path=f"{phlo}/multi_party_call/{NODE_ID}")[0] == status


def test_a_redirect_has_a_location_and_a_429_a_retry_after(connection: HTTPConnection) -> None:
    for digits, header in (("302", "Location"), ("429", "Retry-After")):
        headers = {"Authorization": AUTHORIZATION}
        connection.request("POST", PHLO, json.dumps(failing(digits)), headers)
        response = connection.getresponse()
        response.read()
        assert response.headers[header]


def test_002_answers_201_with_an_error_in_the_body(connection: HTTPConnection) -> None:
    status, body = send(connection, failing("002"))
    assert (status, bool(body["error"])) == (201, True)


def test_000_hangs(plivo: Simulator) -> None:
    with closing(connect(plivo, seconds=0.3)) as connection, pytest.raises(TimeoutError):
        send(connection, failing("000"))
    assert [request.manner for request in plivo.received()] == ["hang"]


def test_001_closes_the_connection_without_an_answer(connection: HTTPConnection) -> None:
    with pytest.raises(RemoteDisconnected):
        send(connection, failing("001"))


def test_003_cuts_the_body_short(connection: HTTPConnection) -> None:
    with pytest.raises(IncompleteRead):
        send(connection, failing("003"))


def test_004_sends_the_body_byte_by_byte(connection: HTTPConnection) -> None:
    connection.request("POST", PHLO, json.dumps(failing("004")), {"Authorization": AUTHORIZATION})
    response = connection.getresponse()
    started = time.monotonic()
    assert len(response.read(3)) == 3
    assert time.monotonic() - started > 1.0


def test_005_resets_the_connection(connection: HTTPConnection) -> None:
    with pytest.raises(ConnectionResetError):
        send(connection, failing("005"))


def test_requests_beyond_the_rate_get_429_until_the_period_ends() -> None:
    with Simulator(rate=(3, 0.5)) as plivo, closing(connect(plivo)) as connection:
        assert [send(connection)[0] for _ in range(4)] == [201, 201, 201, 429]
        time.sleep(0.6)
        assert send(connection)[0] == 201


def test_received_requests_are_listed_until_they_are_deleted(connection: HTTPConnection) -> None:
    member = f"{PHLO}/members/%2B14152223333"
    send(connection)
    send(connection, failing("500"))
    send(connection, {"action": "hold"}, member)
    send(connection, path=PHLO, fields=None, method="GET")
    _, shown = send(connection, path="/_received", method="GET")
    assert [(one["method"], one["path"], one["action"], one["status"]) for one in shown] == [
        ("POST", PHLO, "cold_transfer", 201),
        ("POST", PHLO, "cold_transfer", 500),
        ("POST", member, "hold", 201),
        ("GET", PHLO, "", 200),
    ]
    assert json.loads(shown[0]["body"]) == GOOD
    assert shown[0]["headers"]["authorization"] == AUTHORIZATION
    send(connection, path="/_received", method="DELETE")
    assert send(connection, path="/_received", method="GET")[1] == []


def test_received_requests_can_be_listed_from_a_sequence_number(connection: HTTPConnection) -> None:
    def since(number: int) -> list[int]:
        shown = send(connection, path=f"/_received?since={number}", method="GET")[1]
        return [each["sequence"] for each in shown]

    for _ in range(3):
        send(connection)

    assert since(0) == [1, 2, 3]
    assert since(2) == [3]
    assert since(3) == []
    assert since(7) == []
    send(connection, path="/_received", method="DELETE")
    send(connection)
    assert since(2) == since(3) == [4]
    status, _ = send(connection, path="/_received?since=now", method="GET")
    assert status == 400


def test_the_oldest_requests_are_forgotten(plivo: Simulator) -> None:
    for number in range(REQUESTS_KEPT + 1):
        plivo.decide("GET", f"/{number}", {}, b"")
    assert [request.path for request in plivo.received()[:2]] == ["/1", "/2"]


def test_it_stops_at_once_while_an_answer_hangs() -> None:
    with Simulator() as plivo:
        connection = connect(plivo)
        connection.request(
            "POST", PHLO, json.dumps(failing("000")), {"Authorization": AUTHORIZATION}
        )
        while not plivo.received():
            time.sleep(0.01)
        started = time.monotonic()
    assert time.monotonic() - started < 2.0
    connection.close()


# --- calls ---------------------------------------------------------------------------------------


def test_a_new_call_has_a_customer_and_an_agent(live: LiveCall) -> None:
    shown = live.shown()
    assert (shown["phlo_id"], shown["node_id"], shown["state"]) == (PHLO_ID, NODE_ID, "live")
    assert live.members() == [(live.customer, "customer", False), (live.agent, "agent", False)]
    assert all(member["joined_at"].endswith("Z") for member in shown["members"])


def test_new_calls_share_neither_addresses_nor_a_node(connection: HTTPConnection) -> None:
    calls = [send(connection, {}, "/_calls")[1] for _ in range(2)]
    members = [member["address"] for call in calls for member in call["members"]]
    assert len(set(members)) == 4
    assert calls[0]["node_id"] != calls[1]["node_id"]


@pytest.mark.parametrize("role", ["agent", "customer"])
def test_a_cold_transfer_replaces_the_agent_with_the_dialled_member(
    live: LiveCall, role: str
) -> None:
    live.dial("cold_transfer", role=role)
    assert live.members() == [(live.customer, "customer", False), (COLLEAGUE, role, False)]


def test_a_call_adds_the_dialled_member(live: LiveCall) -> None:
    live.dial("call", role="customer")
    assert live.members()[2:] == [(COLLEAGUE, "customer", False)]
    fields = {**GOOD, "action": "call", "to": "+14152226666", "trigger_source": "+14150000000"}
    send(live.connection, fields)  # a caller id need not be a member
    assert len(live.members()) == 4


def test_during_a_warm_transfer_the_agents_talk_while_the_customer_is_on_hold(
    live: LiveCall,
) -> None:
    live.dial("warm_transfer")
    assert live.members() == [
        (live.customer, "customer", True),
        (live.agent, "agent", False),
        (COLLEAGUE, "agent", False),
    ]
    assert live.shown()["private_talk"] == [live.agent, COLLEAGUE]


def test_a_warm_transfer_does_not_put_the_dialled_member_on_hold(live: LiveCall) -> None:
    live.dial("warm_transfer", role="customer")
    assert live.members()[2] == (COLLEAGUE, "customer", False)


def test_an_aborted_warm_transfer_leaves_the_call_as_it_was(live: LiveCall) -> None:
    before = live.members()
    live.dial("warm_transfer")
    live.member("abort_transfer", COLLEAGUE)  # not the agent who began it
    assert len(live.members()) == 3
    live.member("abort_transfer", live.agent)
    assert live.members() == before
    assert live.shown()["private_talk"] is None


@pytest.mark.parametrize("who", ["agent", "colleague"])
def test_after_resume_call_no_member_is_on_hold(live: LiveCall, who: str) -> None:
    live.dial("warm_transfer")
    live.member("resume_call", live.agent if who == "agent" else COLLEAGUE)
    assert [on_hold for _, _, on_hold in live.members()] == [False, False, False]
    assert live.shown()["private_talk"] is None


@pytest.mark.parametrize("action", ["abort_transfer", "resume_call"])
def test_without_a_warm_transfer_there_is_nothing_to_abort_or_resume(
    live: LiveCall, action: str
) -> None:
    live.dial("call")
    before = live.shown()
    assert live.member(action, live.agent)[0] == 201
    assert live.shown() == before


def test_a_private_talk_ends_when_one_of_the_two_leaves(live: LiveCall) -> None:
    live.dial("warm_transfer")
    live.member("hangup", live.agent)
    assert live.members() == [(live.customer, "customer", False), (COLLEAGUE, "agent", False)]
    assert live.shown()["private_talk"] is None


def test_a_member_is_put_on_hold_and_taken_off(live: LiveCall) -> None:
    live.member("hold", live.customer)
    assert live.members()[0] == (live.customer, "customer", True)
    assert live.members()[1] == (live.agent, "agent", False)
    live.member("unhold", quote(live.customer))
    assert live.members()[0] == (live.customer, "customer", False)


@pytest.mark.parametrize("action", ["hangup", "voicemail_drop"])
def test_a_member_that_hangs_up_or_goes_to_voicemail_leaves(live: LiveCall, action: str) -> None:
    live.member(action, live.customer)
    assert live.members() == [(live.agent, "agent", False)]
    assert live.shown()["state"] == "live"
    live.member(action, live.agent)
    assert live.members() == []
    assert live.shown()["state"] == "ended"


def test_an_action_applies_to_the_latest_call_that_has_the_member(
    connection: HTTPConnection,
) -> None:
    first, second = LiveCall(connection), LiveCall(connection)
    first.dial("call")
    assert [address for address, _, _ in first.members()][2:] == [COLLEAGUE]
    second.dial("call")
    second.member("hangup", COLLEAGUE)
    assert len(first.members()) == 3
    assert len(second.members()) == 2


@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_the_ids_of_a_call_are_case_insensitive(
    connection: HTTPConnection, change: Callable[[str], str]
) -> None:
    ids = {"phlo_id": change(PHLO_ID), "node_id": change(NODE_ID)}
    address = send(connection, ids, "/_calls")[1]["members"][0]["address"]
    for each in (PHLO_ID, NODE_ID):
        path = f"{PHLO}/members/{address}".replace(each, each.swapcase())
        assert send(connection, {"action": "hold"}, path)[0] == 201
    (call,) = calls_of(connection)["calls"]
    assert [member["on_hold"] for member in call["members"]] == [True, False]


def test_the_member_in_the_path_overrides_the_one_in_the_body(live: LiveCall) -> None:
    fields = {"action": "hangup", "member_address": live.customer}
    send(live.connection, fields, f"{PHLO}/members/{live.agent}")
    assert live.members() == [(live.customer, "customer", False)]


@pytest.mark.parametrize(
    ("digits", "done"),
    [(digits, True) for digits in ("200", "001", "003", "005")]
    + [(digits, False) for digits in ("002", "204", "302", "400", "429", "500")],
)
def test_only_an_acknowledged_action_is_applied_even_if_its_answer_is_lost(
    plivo: Simulator, live: LiveCall, digits: str, *, done: bool
) -> None:
    fields = {**failing(digits), "trigger_source": live.agent}
    with closing(connect(plivo)) as connection, suppress(OSError, HTTPException):
        send(connection, fields)
    assert (live.agent not in [address for address, _, _ in live.members()]) is done


# --- unknown calls and members -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "members"),
    [
        ("cold_transfer", [COLLEAGUE]),
        ("warm_transfer", [GOOD["trigger_source"], COLLEAGUE]),
        ("call", [COLLEAGUE]),
    ],
)
def test_an_action_that_dials_opens_a_call_if_none_exists(
    connection: HTTPConnection, action: str, members: list[str]
) -> None:
    assert send(connection, {**GOOD, "action": action})[0] == 201
    (call,) = calls_of(connection)["calls"]
    assert [member["address"] for member in call["members"]] == members
    assert call["state"] == "live"


@pytest.mark.parametrize("action", MEMBER_ACTIONS)
def test_an_action_on_an_unknown_member_changes_nothing(live: LiveCall, action: str) -> None:
    before = calls_of(live.connection)
    assert live.member(action, "+14150000000")[0] == 201
    assert calls_of(live.connection) == before


def test_a_strict_simulator_refuses_unknown_calls_and_members() -> None:
    with Simulator(strict=True) as plivo, closing(connect(plivo)) as connection:
        member = f"{PHLO}/members/+14150000000"
        for path, fields in (
            (PHLO, GOOD),
            (PHLO, {**GOOD, "action": "call"}),
            (member, {"action": "hold"}),
        ):
            status, body = send(connection, fields, path)
            assert (status, body["error"]) == (404, "Invalid value provided for node_id.")
            assert len(body["api_id"]) == 36
        live = LiveCall(connection)
        status, body = send(connection, {"action": "hold"}, member)
        assert (status, body["error"]) == (404, "Invalid value provided for member_address.")
        status, body = send(connection, GOOD)
        assert (status, body["error"]) == (400, "Invalid value provided for trigger_source.")
        assert live.members() == [(live.customer, "customer", False), (live.agent, "agent", False)]


def test_a_strict_simulator_applies_actions_to_a_known_call() -> None:
    with Simulator(strict=True) as plivo, closing(connect(plivo)) as connection:
        live = LiveCall(connection)
        # a caller id need not be a member
        assert send(connection, {**GOOD, "action": "call"})[0] == 201
        assert live.dial("cold_transfer", to="+14152226666")[0] == 201
        assert live.member("hangup", live.agent)[0] == 404
        for address, _, _ in live.members():
            assert live.member("hangup", address)[0] == 201
        status, body = live.member("hangup", live.customer)
        assert (status, body["error"]) == (404, "Invalid value provided for node_id.")


def test_strictness_can_be_changed_while_it_runs(connection: HTTPConnection) -> None:
    for method, strict, status in (("PUT", True, 404), ("DELETE", False, 201)):
        assert send(connection, path="/_strict", method=method)[1] == {"strict": strict}
        assert send(connection, path="/_strict", method="GET")[1] == {"strict": strict}
        assert send(connection)[0] == status


def test_it_can_be_started_strict() -> None:
    command = [sys.executable, "-m", "local.simulator", "--strict"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 -- our own program
        assert process.stdout
        try:
            base_url = process.stdout.readline().split()[-1]
            with closing(HTTPConnection(urlsplit(base_url).netloc)) as connection:
                assert send(connection)[0] == 404
        finally:
            process.terminate()
    assert process.returncode == 0


# --- the feed ------------------------------------------------------------------------------------


def steps(shown: dict[str, Any], live: LiveCall) -> list[tuple[str, str, str]]:
    names = {live.agent: "agent", live.customer: "customer", COLLEAGUE: "colleague", "": ""}
    return [(one["action"], one["change"], names[one["address"]]) for one in shown["changes"]]


def test_the_feed_has_each_step_of_an_action(live: LiveCall) -> None:
    made = calls_of(live.connection)
    assert steps(made, live) == [
        ("", "opened", ""),
        ("", "joined", "customer"),
        ("", "joined", "agent"),
    ]
    live.dial("warm_transfer")
    live.member("abort_transfer", live.agent)
    live.dial("cold_transfer")
    shown = calls_of(live.connection, f"?since={made['sequence']}")
    assert steps(shown, live) == [
        ("warm_transfer", "joined", "colleague"),
        ("warm_transfer", "talk_begun", ""),
        ("warm_transfer", "on_hold", "customer"),
        ("abort_transfer", "left", "colleague"),
        ("abort_transfer", "talk_over", ""),
        ("abort_transfer", "off_hold", "customer"),
        ("cold_transfer", "left", "agent"),
        ("cold_transfer", "joined", "colleague"),
    ]
    numbers = [one["sequence"] for one in shown["changes"]]
    assert numbers == list(range(made["sequence"] + 1, shown["sequence"] + 1))
    assert {one["call_id"] for one in shown["changes"]} == {live.call_id}


def test_holding_a_member_that_is_already_on_hold_changes_nothing(live: LiveCall) -> None:
    live.member("hold", live.customer)
    before = calls_of(live.connection)
    live.member("hold", live.customer)
    assert calls_of(live.connection) == before


def test_the_end_of_a_call_is_a_change(live: LiveCall) -> None:
    for address in (live.agent, live.customer):
        live.member("hangup", address)
    assert steps(calls_of(live.connection), live)[-2:] == [
        ("hangup", "left", "customer"),
        ("hangup", "ended", ""),
    ]


def test_the_feed_has_only_calls_that_changed_since(live: LiveCall) -> None:
    before = calls_of(live.connection)
    assert calls_of(live.connection, f"?since={before['sequence']}")["calls"] == []
    other = LiveCall(live.connection)
    (shown,) = calls_of(live.connection, f"?since={before['sequence']}")["calls"]
    assert shown["call_id"] == other.call_id


def test_a_request_to_the_feed_can_wait_for_a_change(plivo: Simulator, live: LiveCall) -> None:
    since = calls_of(live.connection)["sequence"]
    started = time.monotonic()
    assert calls_of(live.connection, f"?since={since}&wait=1")["changes"] == []
    assert time.monotonic() - started > 0.9
    with closing(connect(plivo, seconds=20.0)) as waiting:
        later = threading.Timer(0.3, live.member, ["hangup", live.agent])
        later.start()
        shown = calls_of(waiting, f"?since={since}&wait={10**12}")
        later.join()
    assert steps(shown, live) == [("hangup", "left", "agent")]
    assert time.monotonic() - started < 5.0


def test_a_sequence_number_of_an_earlier_simulator_returns_everything(live: LiveCall) -> None:
    assert calls_of(live.connection, "?since=999&wait=10") == calls_of(live.connection)


@pytest.mark.parametrize("query", ["?since=x", "?wait=nan"])
def test_a_feed_from_something_that_is_not_a_number_is_400(
    connection: HTTPConnection, query: str
) -> None:
    assert send(connection, path=f"/_calls{query}", method="GET")[0] == 400


def test_the_oldest_calls_members_and_changes_are_forgotten(
    live: LiveCall, plivo: Simulator
) -> None:
    for number in range(MEMBERS):
        assert live.dial("call", to=f"+1415333{number:04d}")[0] == 201
    assert [address for address, _, _ in live.members()][-1] == f"+1415333{MEMBERS - 1:04d}"
    assert len(live.members()) == MEMBERS
    for _ in range(CHANGES // 3 + 1):
        plivo.calls.make(PHLO_ID, NODE_ID)
    shown = calls_of(live.connection)
    assert [call["call_id"] for call in shown["calls"]] == list(
        range(CHANGES // 3 + 3 - CALLS, CHANGES // 3 + 3)
    )
    assert len(shown["changes"]) == CHANGES
    assert shown["changes"][-1]["sequence"] == shown["sequence"]


# --- Plivo's own SDK -----------------------------------------------------------------------------


@pytest.fixture
def sdk(plivo: Simulator) -> Iterator[Callable[[], Any]]:
    """A function that looks up the node, as plivo-python's documentation does."""
    with plivo_sdk.phlo.RestClient(PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN) as client:
        client.phlo_base_uri = f"{plivo.base_url}/v1"
        yield lambda: client.phlo.get(PHLO_ID).multi_party_call(NODE_ID)


@pytest.mark.parametrize("action", CALL_ACTIONS)
def test_plivo_python_acts_on_a_call(
    plivo: Simulator, live: LiveCall, sdk: Callable[[], Any], action: str
) -> None:
    answer = getattr(sdk(), action)(trigger_source=live.agent, to=COLLEAGUE, role="agent")
    assert answer.error == ""
    assert [(one.method, one.path.rstrip("/"), one.action) for one in plivo.received()] == [
        ("GET", f"/v1/phlo/{PHLO_ID}", ""),
        ("GET", PHLO, ""),
        ("POST", PHLO, action),
    ]
    assert COLLEAGUE in [address for address, _, _ in live.members()]


@pytest.mark.parametrize("action", MEMBER_ACTIONS)
def test_plivo_python_acts_on_a_member(
    plivo: Simulator, live: LiveCall, sdk: Callable[[], Any], action: str
) -> None:
    live.dial("warm_transfer")
    if action == "unhold":
        live.member("hold", live.agent)
    before = live.members()
    answer = getattr(sdk().member(live.agent), action)()
    assert (answer.error, answer.member_address) == ("", live.agent)
    assert live.members() != before
    last = plivo.received()[-1]
    assert (last.method, last.path, last.action) == (
        "POST",
        f"{PHLO}/members/{live.agent}/",
        action,
    )


def test_plivo_python_understands_a_refusal(plivo: Simulator, sdk: Callable[[], Any]) -> None:
    plivo.strict = True
    node = sdk()
    with pytest.raises(plivo_sdk.exceptions.ResourceNotFoundError, match=r"node_id\.$"):
        node.cold_transfer(trigger_source="+14152223333", to=COLLEAGUE)
    with pytest.raises(plivo_sdk.exceptions.ValidationError, match=r"^Invalid value .* to\.$"):
        node.cold_transfer(trigger_source="+14152223333", to="somebody")
