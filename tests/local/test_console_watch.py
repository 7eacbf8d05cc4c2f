"""How the console follows its sources: a growing file, a simulator, a source that fails."""

import json
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from local.console.store import Store
from local.console.watch import Watch, keep
from local.simulator import Simulator
from tests.support import console
from tests.support.console import FIELDS, accepted


def watching(traces: Path, *, simulator: bool = True, **changes: object) -> tuple[Watch, Store]:
    access = console.access(simulator=simulator, **changes)
    watch = Watch(access, traces)
    return watch, Store(access, watch.want_record)


def test_the_trace_file_is_read_as_it_grows(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    watch, store = watching(file)
    one, other = (accepted(1_000.0 + number, f"{number:064}") for number in range(2))
    for each in (one, other):
        store.lines("webhook", [each.line])
    source = watch.sources()["traces"](store)
    next(source)  # the file does not exist yet
    whole, half = json.dumps(one.segment) + "\n", json.dumps(other.segment) + "\n"

    file.write_text(whole + half[:40])
    next(source)
    assert store.figures()["requests"] == 1

    with file.open("a") as growing:
        growing.write(half[40:])
    next(source)
    assert store.figures()["requests"] == 2
    source.close()


def test_calls_and_requests_come_from_the_simulator(tmp_path: Path) -> None:
    with Simulator() as plivo:
        watch, store = watching(tmp_path, plivo_base_url=plivo.base_url)
        calls, received = (watch.sources()[name](store) for name in ("calls", "received"))
        plivo.calls.make(FIELDS["phlo_id"], FIELDS["node_id"])
        next(calls)
        assert [one["state"] for one in store.calls_shown()] == ["live"]

        http = urllib3.PoolManager()
        post = console.received(0.0)
        for expected in (1, 2):
            http.request("POST", plivo.base_url + post["path"], body=post["body"])
            next(received)
            assert store.figures()["sent"] == expected
        http.clear()


def test_a_plivo_that_is_not_the_simulator_gets_no_requests(tmp_path: Path) -> None:
    watch, _ = watching(tmp_path, simulator=False)

    assert not {"calls", "received"} & watch.sources().keys()


class Stop(BaseException):
    """Ends ``keep``, which otherwise never returns."""


def test_a_failed_source_is_followed_again_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, store = watching(tmp_path)
    looks: list[Any] = [OSError("no emulator"), OSError("no emulator"), None, Stop()]

    def source(_: Store) -> Generator[None]:
        while True:
            found = looks.pop(0)
            if found is not None:
                raise found
            yield

    with caplog.at_level(logging.WARNING), pytest.raises(Stop):
        keep("calls", source, store)

    assert looks == []
    assert caplog.messages == ["calls: OSError: no emulator"]
