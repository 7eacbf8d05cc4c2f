"""What a stack tells the console, made up: traces, log lines, records, what Plivo received."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Self

from cold_transfer.action import in_title_case
from local.console.app import server_of
from local.console.stack_access import StackAccess
from local.console.store import Store
from local.credentials import CLIENTS
from local.ports import free_port
from local.sender import NODE_ID, PHLO_ID

TOKEN = CLIENTS["phlo"]["tokens"][0]
SIGNING_SECRET = CLIENTS["crm"]["signing_secrets"][0]
SOURCE = "plivo-cold-transfer.client"
FIELDS = {
    "phlo_id": PHLO_ID,
    "node_id": NODE_ID,
    "action": "cold_transfer",
    "to": "+14152225555",
    "role": "agent",
    "trigger_source": "+14152223333",
}
NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing listens there

_numbers = itertools.count(1)


def description(**changes: object) -> dict[str, Any]:
    """As `.local/stack.json` has it, of a stack that is not there."""
    return {
        "webhook_url": f"{NOWHERE}/v1/phlo/{{phlo_id}}/multi_party_call/{{node_id}}",
        "aws_endpoint_url": NOWHERE,
        "aws_region": "us-east-1",
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "plivo_base_url": NOWHERE,
        "event_bus_name": "default",
        "event_source": SOURCE,
        "clients": {
            "crm": {"signing_secret": SIGNING_SECRET},
            "phlo": {"token": TOKEN},
            "MALOCALSDKCLIENT0001": {"token": CLIENTS["MALOCALSDKCLIENT0001"]["tokens"][0]},
        },
        "ledger_table": "ledger",
        "dead_letter_queue_url": f"{NOWHERE}/dead-letters",
        "log_groups": {"webhook": "/webhook", "event": "/event"},
        **changes,
    }


def access(*, simulator: bool = True, **changes: object) -> StackAccess:
    return StackAccess(description(**changes), simulator=simulator)


class Invoked:
    """One invocation of an entry point, as the trace sink and the log tell of it.

    Parameters
    ----------
    at
        When it began, in epoch seconds; it takes 100 ms.
    posted
        Whether it got as far as the POST, which is under way from 40 to 60 ms after the beginning.
    said
        What the log's line of the answer has besides.
    """

    def __init__(
        self,
        at: float,
        *,
        entry_point: str = "webhook",
        client: str = "phlo",
        posted: bool = False,
        **said: object,
    ) -> None:
        number = next(_numbers)
        self.trace_id = f"1-00000000-{number:024x}"
        self.correlation_id = str(said.pop("correlation_id", f"request-{number}"))
        self.entry_point = entry_point
        outcome = str(said.get("outcome", ""))
        steps = [_step("claim", at, 0.01)]
        if posted:
            remote = {"request": {"method": "POST"}, "response": {"status": 201}}
            post = {**_step("127.0.0.1", at + 0.04, 0.02), "namespace": "remote", "http": remote}
            steps += [_step("mark_sending", at + 0.02, 0.01), post]
        method = {"method": said["method"]} if "method" in said else {}
        notes = {
            "function": entry_point,
            "client": client,
            "cause": said.get("cause", ""),
            **method,
        }
        self.segment: dict[str, Any] = {
            "trace_id": self.trace_id,
            "name": f"## {entry_point}",
            "start_time": at,
            "end_time": at + 0.1,
            "annotations": {**notes, "outcome": outcome, "action": said.pop("action", "")},
            "subsegments": steps,
        }
        line = {
            "message": f"action {outcome}" if outcome else "request refused",
            "correlation_id": self.correlation_id,
            "client": client,
            "xray_trace_id": self.trace_id,
            **said,
        }
        self.line = json.dumps(line)


def accepted(at: float, action_id: str, **said: Any) -> Invoked:
    """One that was accepted by Plivo; or, if ``replayed``, before."""
    replayed = said.pop("replayed", False)
    told = {"action_id": action_id, "outcome": "accepted", "cause": "accepted", "status": 201}
    return Invoked(at, posted=not replayed, **{**told, "replayed": replayed, **said})


def answer(action_id: str, **changes: object) -> dict[str, Any]:
    """What the console's sender makes of a webhook's answer."""
    return {
        "status": 201,
        "headers": {"Content-Type": "application/json"},
        "body": '{"api_id": "a", "error": ""}',
        "action_id": action_id,
        "duplicate_of": "",
        "replayed": False,
        "outcome": "accepted",
        "cause": "accepted",
        "correlation_id": "",
        "advice": "",
        "milliseconds": 100.0,
        **changes,
    }


def received(at: float, fields: Mapping[str, str] = FIELDS, **changes: object) -> dict[str, Any]:
    """One entry of the simulator's list."""
    body = {name: fields[name] for name in ("action", "to", "role", "trigger_source")}
    return {
        "sequence": next(_numbers),
        "at": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        "method": "POST",
        "path": f"/v1/phlo/{fields['phlo_id']}/multi_party_call/{fields['node_id']}",
        "action": fields["action"],
        "headers": {"host": "127.0.0.1"},
        "body": json.dumps(body),
        "status": 201,
        "manner": "whole",
        **changes,
    }


def outcome_event(action_id: str, action: str = "cold_transfer") -> dict[str, Any]:
    detail = {"action_id": action_id, "action": action, "outcome": "accepted"}
    words = f"{in_title_case(action)} Accepted"
    return {"source": "plivo-cold-transfer", "detail-type": words, "detail": detail}


def item(action_id: str, state: str, duplicate_of: str = "") -> dict[str, Any]:
    """A record as DynamoDB gives it."""
    first = {"duplicate_of": {"S": duplicate_of}} if duplicate_of else {}
    return {"pk": {"S": f"K#{action_id}"}, "state": {"S": state}, "cause": {"S": state}, **first}


class Blind:
    """Watches nothing: there is no stack."""

    def want_record(self, action_id: str) -> None:
        """Not looked for."""

    def start(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing to follow."""


class Served:
    """A console of a stack that is not there, on a port of this machine."""

    def __init__(self, *, simulator: bool = True, port: int = 0) -> None:
        self.port = port or free_port()
        stack = access(simulator=simulator)
        self.server, self.store = server_of(stack, Blind(), self.port)
        self.host = f"127.0.0.1:{self.port}"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self.server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        with closing(self._loop):
            self._loop.run_until_complete(self.server.serve())

    def tell(self, take: Callable[..., object], *found: object) -> None:
        """Call the store where it lives, as the watchers do, and wait for it."""
        done = threading.Event()

        def work() -> None:
            take(*found)
            done.set()

        self._loop.call_soon_threadsafe(work)
        assert done.wait(5)


def _step(name: str, at: float, seconds: float) -> dict[str, Any]:
    return {"name": name, "start_time": at, "end_time": at + seconds}
