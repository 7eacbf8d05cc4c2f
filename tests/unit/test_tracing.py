"""The subsegments of an invocation, as X-Ray receives them."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from cold_transfer.errors import (
    ColdTransferError,
    InProgress,
    KeyReused,
    LedgerUnavailable,
    OutOfTime,
)
from cold_transfer.tracing import Daemon, Subsegment, Trace
from tests.support import fakes

TIMEOUT_SECONDS = 0.01
URL = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"


class Safe(Exception):
    """Raised in place of an error whose text must not be stored."""


def safe(error: Exception) -> Exception:
    return error if isinstance(error, (ColdTransferError, Safe)) else Safe(type(error).__name__)


@pytest.fixture
def xray() -> fakes.Xray:
    return fakes.Xray()


def fail(daemon: fakes.Xray | None, where: str) -> None:
    with Trace(daemon, "## webhook", safe) as trace:
        trace.annotate("function", "webhook")
        with trace.remote("phlorunner.plivo.com", URL) as seen:
            seen["status"] = 201
            if where == "remote":
                raise ValueError("+14152225555")
        with trace.step("settle"):
            if where == "step":
                raise ValueError("+14152225555")
        raise ValueError("+14152225555")


def time_out() -> None:
    time.sleep(TIMEOUT_SECONDS)
    raise LedgerUnavailable("DynamoDB: Timeout")


def exceptions(part: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["type"], each["message"]) for each in part["cause"]["exceptions"]]


def test_an_invocation_is_sent_once_with_its_steps_inside(xray: fakes.Xray) -> None:
    with Trace(xray, "## webhook", safe) as trace:
        with trace.step("claim"):
            pass
        with trace.remote("phlorunner.plivo.com", URL) as seen:
            seen["status"] = 201
        assert xray.sent == []

    assert len(xray.sent) == 1
    top, claim, remote = xray.subsegments()
    assert (top["name"], claim["name"], remote["name"]) == (
        "## webhook",
        "claim",
        "phlorunner.plivo.com",
    )
    assert (top["trace_id"], top["parent_id"]) == xray.ids
    assert top["type"] == "subsegment"
    assert len({part["id"] for part in (top, claim, remote)}) == 3
    assert top["start_time"] <= claim["start_time"] <= claim["end_time"] <= remote["start_time"]
    assert remote["end_time"] <= top["end_time"]


def test_an_error_is_recorded_in_its_step_and_in_the_invocation(xray: fakes.Xray) -> None:
    with (
        pytest.raises(LedgerUnavailable, match="DynamoDB"),
        Trace(xray, "## webhook", safe) as trace,
        trace.step("mark_sending"),
    ):
        time_out()

    top, mark = xray.subsegments()
    assert exceptions(mark) == [("LedgerUnavailable", "DynamoDB: Timeout")]
    assert mark["fault"] is top["fault"] is True
    assert mark["start_time"] + TIMEOUT_SECONDS <= mark["end_time"] <= top["end_time"]


PLACES = {"step": "settle", "remote": "phlorunner.plivo.com", "invocation": "## webhook"}


@pytest.mark.parametrize("where", PLACES)
def test_an_unexpected_error_is_reraised_and_recorded_without_its_text(
    xray: fakes.Xray, where: str
) -> None:
    with pytest.raises(Safe, match="ValueError"):
        fail(xray, where)

    (failed,) = (part for part in xray.subsegments() if isinstance(part.get("cause"), dict))
    assert (failed["name"], exceptions(failed)) == (PLACES[where], [("Safe", "ValueError")])
    assert xray.subsegments()[0]["fault"] is True
    assert "4152225555" not in xray.document()


def flags(part: dict[str, Any]) -> set[str]:
    return {name for name in ("error", "throttle", "fault") if part.get(name) is True}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (201, set()),
        (301, set()),
        (400, {"error"}),
        (404, {"error"}),
        (429, {"error", "throttle"}),
        (499, {"error"}),
        (500, {"fault"}),
        (599, {"fault"}),
    ],
)
def test_plivos_status_marks_only_the_remote_call(
    xray: fakes.Xray, status: int, expected: set[str]
) -> None:
    with (
        Trace(xray, "## webhook", safe) as trace,
        trace.remote("phlorunner.plivo.com", URL) as seen,
    ):
        seen["status"] = status

    top, remote = xray.subsegments()
    assert remote["http"]["response"] == {"status": status}
    assert (flags(remote), flags(top)) == (expected, set())


def test_a_remote_call_without_an_answer_is_a_fault(xray: fakes.Xray) -> None:
    with Trace(xray, "## webhook", safe) as trace, trace.remote("phlorunner.plivo.com", URL):
        pass

    top, remote = xray.subsegments()
    assert (flags(remote), flags(top)) == ({"fault"}, set())
    assert "response" not in remote["http"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KeyReused("0" * 64), {"error"}),
        (InProgress("0" * 64, 2), {"error"}),
        (OutOfTime("too late"), {"fault"}),
        (LedgerUnavailable("DynamoDB: Timeout"), {"fault"}),
        (ValueError("+14152225555"), {"fault"}),
    ],
)
def test_a_step_is_marked_by_its_errors_status_and_a_raising_invocation_is_a_fault(
    xray: fakes.Xray, error: Exception, expected: set[str]
) -> None:
    with (
        pytest.raises((ColdTransferError, Safe)),
        Trace(xray, "## event", safe) as trace,
        trace.step("claim"),
    ):
        raise error

    top, claim = xray.subsegments()
    assert (flags(claim), flags(top)) == (expected, {"fault"})


@pytest.mark.parametrize("traced", [True, False])
def test_without_a_sampled_trace_nothing_is_sent_and_errors_are_still_safe(
    xray: fakes.Xray, *, traced: bool
) -> None:
    xray.ids = None
    with pytest.raises(Safe, match="ValueError"):
        fail(xray if traced else None, "step")

    assert xray.sent == []


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("Root=1-a;Parent=b;Sampled=1", ("1-a", "b")),
        ("Root=1-a;Parent=b;Sampled=1;Lineage=1:c:0", ("1-a", "b")),
        ("Sampled=1;Parent=b;Root=1-a", ("1-a", "b")),
        ("Root=1-a;Parent=b;Sampled=0", None),
        ("Root=1-a;Parent=b", None),
        ("Root=1-a;Sampled=1", None),
        ("Parent=b;Sampled=1", None),
        ("no header at all", None),
        ("", None),
    ],
)
def test_the_ids_of_a_sampled_trace_are_read_from_the_tracing_header(
    monkeypatch: pytest.MonkeyPatch, header: str, ids: tuple[str, str] | None
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header)

    assert Daemon("127.0.0.1", 9).sampled() == ids


def test_nothing_is_sampled_outside_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)

    assert Daemon("127.0.0.1", 9).sampled() is None


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000"}, True),
        ({}, False),
        ({"AWS_XRAY_DAEMON_ADDRESS": ""}, False),
        ({"AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129"}, False),
        ({"AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:udp"}, False),
        *(
            (
                {
                    "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000",
                    "POWERTOOLS_TRACE_DISABLED": switch,
                },
                switch == "false",
            )
            for switch in ("true", "True", "1", "yes", "on", "false")
        ),
    ],
)
def test_the_daemons_address_is_read_from_the_environment(
    variables: dict[str, str], *, found: bool
) -> None:
    assert (Daemon.of(variables) is not None) is found


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(5)
        yield sink


def test_each_subsegment_is_sent_as_one_datagram_with_a_header(listening: socket.socket) -> None:
    host, port = listening.getsockname()
    daemon = Daemon.of({"AWS_XRAY_DAEMON_ADDRESS": f"{host}:{port}"})
    assert daemon is not None
    with closing(daemon):
        for name in ("first", "second"):
            daemon.send(Subsegment(name))

    for name in ("first", "second"):
        header, document = listening.recv(65_536).split(b"\n")
        assert json.loads(header) == {"format": "json", "version": 1}
        assert json.loads(document)["name"] == name


@pytest.mark.parametrize(
    ("port", "name", "error"),
    [
        (9, "too large" * 10_000, "OSError"),
        (99_999, "no such port", "OverflowError"),
        (9, object(), "TypeError"),
    ],
    ids=["size", "port", "no JSON"],
)
def test_a_trace_that_cannot_be_sent_is_logged_and_lost(port: int, name: Any, error: str) -> None:
    with fakes.emitted() as emitted, closing(Daemon("127.0.0.1", port)) as daemon:
        daemon.send(Subsegment(name))

    assert emitted.others.getvalue() == f"the trace was not sent: {error}\n"


def test_the_stack_of_an_error_has_file_names_without_folders(xray: fakes.Xray) -> None:
    with pytest.raises(LedgerUnavailable), Trace(xray, "## webhook", safe):
        time_out()

    (error,) = xray.subsegments()[0]["cause"]["exceptions"]
    assert [(frame["path"], frame["label"]) for frame in error["stack"]][-1] == (
        "test_tracing.py",
        "time_out",
    )
    assert not any("/" in frame["path"] for frame in error["stack"])


def test_an_outer_subsegment_refers_to_the_inner_ones_exception(xray: fakes.Xray) -> None:
    with (
        pytest.raises(LedgerUnavailable),
        Trace(xray, "## webhook", safe) as trace,
        trace.step("mark_sending"),
    ):
        time_out()

    top, mark = xray.subsegments()
    assert top["cause"] == mark["cause"]["exceptions"][0]["id"]
