"""Follows each of the stack's sources in its own thread, and passes what it finds to the store.

It takes nothing away from others: it does not receive from the dead-letter queue, and outcome
events arrive in the console's own queue.
"""

import asyncio
import contextlib
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import urllib3

from local.console.stack_access import StackAccess
from local.console.store import Store

#: How often a source is polled that cannot be waited for.
LOOK_SECONDS = 0.25
#: How often logs are polled unless there was an invocation in the last ``BUSY_SECONDS``. On a busy
#: machine, lines arrive late.
QUIET_LOOK_SECONDS = 1.0
BUSY_SECONDS = 5.0
AFTER_FAILURE_SECONDS = 1.0
BATCH = 100  # records in one request
OUTCOMES = "console-outcomes"

type Source = Callable[[Store], Generator[None]]

_log = logging.getLogger(__name__)


class Watch:
    """The threads, which are daemons: the process does not wait for them when it exits.

    traces
        The trace sink's file.
    """

    def __init__(self, access: StackAccess, traces: Path) -> None:
        self._access = access
        self._traces = traces
        self._http = urllib3.PoolManager(maxsize=10, retries=False, timeout=20.0)
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._invoked_at = time.monotonic()
        self._notify: Callable[..., object] = lambda take, *found: take(*found)

    def want_record(self, action_id: str) -> None:
        """Have a record read; ``Store.record`` gets it."""
        self._wanted.put(action_id)

    def start(self, store: Store, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads. The methods of ``store`` are called in the thread of ``loop``."""

        def notify(take: Callable[..., object], *found: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the process is exiting
                loop.call_soon_threadsafe(take, *found)

        self._notify = notify
        for name, source in self.sources().items():
            threading.Thread(target=keep, args=(name, source, store), daemon=True).start()

    def sources(self) -> Mapping[str, Source]:
        """The sources by name. Each is a generator that polls once per step."""
        found: dict[str, Source] = {
            "traces": self._follow_traces,
            "records": self._follow_records,
            "outcomes": self._follow_outcomes,
            "letters": self._follow_letters,
            "ticks": self._follow_time,
        }
        if self._access.simulator:
            found |= {"calls": self._follow_calls, "received": self._follow_received}
        for entry_point in self._access.log_groups:
            found[f"log of {entry_point}"] = self._log_of(entry_point)
        return found

    def _follow_time(self, store: Store) -> Generator[None]:
        while True:
            self._notify(store.tick)
            time.sleep(2 * LOOK_SECONDS)
            yield

    def _follow_traces(self, store: Store) -> Generator[None]:
        """The trace sink's file, line by line, from its start."""
        while not self._traces.is_file():
            time.sleep(LOOK_SECONDS)
            yield
        with self._traces.open(encoding="utf-8") as file:
            rest = ""
            while True:
                rest += file.read()
                *whole, rest = rest.split("\n")
                for line in whole:
                    self._invoked_at = time.monotonic()
                    self._notify(store.segment, json.loads(line))
                time.sleep(LOOK_SECONDS / 2)
                yield

    def _log_of(self, entry_point: str) -> Source:
        def follow(store: Store) -> Generator[None]:
            client = self._access.aws("logs")
            group, since, seen = self._access.log_groups[entry_point], 0, set[tuple[str, str]]()
            while True:
                try:
                    pages = client.get_paginator("filter_log_events").paginate(
                        logGroupName=group, startTime=max(0, since - 2_000)
                    )
                    found = [event for page in pages for event in page["events"]]
                except client.exceptions.ResourceNotFoundException:
                    found = []  # nothing has been logged yet
                named = [(event["logStreamName"], event["message"]) for event in found]
                fresh = [line for name, line in named if (name, line) not in seen]
                # lines from before the overlap are not read again
                seen = set(named)
                since = max([since, *(event["timestamp"] for event in found)])
                if fresh:
                    self._notify(store.lines, entry_point, fresh)
                busy = time.monotonic() - self._invoked_at < BUSY_SECONDS
                time.sleep(LOOK_SECONDS if busy else QUIET_LOOK_SECONDS)
                yield

        return follow

    def _follow_records(self, store: Store) -> Generator[None]:
        """The ledger's records that the store wants, in batches."""
        client = self._access.aws("dynamodb")
        while True:
            wanted = {self._wanted.get()}
            time.sleep(LOOK_SECONDS / 2)
            with contextlib.suppress(queue.Empty):
                while len(wanted) < BATCH:
                    wanted.add(self._wanted.get_nowait())
            keys = {action_id: self._access.record_key(action_id) for action_id in wanted}
            table = next(iter(keys.values()))[0]
            wanted_keys = {"Keys": [key for _, key in keys.values()], "ConsistentRead": True}
            reply = client.batch_get_item(RequestItems={table: wanted_keys})
            items = reply["Responses"].get(table, [])
            for action_id, (_, key) in keys.items():
                found = [item for item in items if key.items() <= item.items()]
                self._notify(store.record, action_id, found[0] if found else None)
            yield

    def _follow_outcomes(self, store: Store) -> Generator[None]:
        """Outcome events, which the console's own rule puts into its own queue."""
        sqs, events = self._access.aws("sqs"), self._access.aws("events")
        url = sqs.create_queue(QueueName=OUTCOMES)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        rule = {"Name": OUTCOMES, "EventBusName": self._access.event_bus}
        events.put_rule(**rule, EventPattern=json.dumps(self._access.outcomes_pattern))
        target = {"Id": "console", "Arn": arn["Attributes"]["QueueArn"]}
        events.put_targets(Rule=OUTCOMES, EventBusName=self._access.event_bus, Targets=[target])
        while True:
            reply = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2)
            for message in reply.get("Messages", []):
                self._notify(store.outcome_event, json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            yield

    def _follow_letters(self, store: Store) -> Generator[None]:
        """The dead-letter queue, read from the emulator: receiving would hide its messages."""
        sqs, url = self._access.aws("sqs"), self._access.dead_letter_queue_url
        counted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        before: Mapping[str, str] | None = None
        while True:
            reply = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=counted)
            if reply["Attributes"] != before:
                before = reply["Attributes"]
                peek = f"{self._access.aws_endpoint_url}/_ministack/sqs/messages"
                found = self._http.request("GET", peek, fields={"QueueUrl": url}).json()
                letters = {
                    message["MessageId"]: _letter(message)
                    for regions in found["messages"].values()  # by account
                    for queues in regions.values()
                    for messages in queues.values()
                    for message in messages
                }
                self._notify(store.letters, letters)
            time.sleep(2 * LOOK_SECONDS)
            yield

    def _follow_calls(self, store: Store) -> Generator[None]:
        sequence = 0
        while True:
            feed = f"{self._access.plivo_base_url}/_calls"
            query = {"since": str(sequence), "wait": "5"}
            seen = self._http.request("GET", feed, fields=query).json()
            if seen["changes"]:
                self._notify(store.calls, seen)
            sequence = seen["sequence"]
            yield

    def _follow_received(self, store: Store) -> Generator[None]:
        sequence = 0
        while True:
            list_of_all = f"{self._access.plivo_base_url}/_received"
            found = self._http.request("GET", list_of_all, fields={"since": str(sequence)}).json()
            if found:
                sequence = found[-1]["sequence"]
                self._notify(store.received, found)
            time.sleep(LOOK_SECONDS)
            yield


def keep(name: str, source: Source, store: Store) -> None:
    """Follow a source forever; after a failure, restart it from its beginning a second later."""
    failed = False
    while True:
        try:
            for _ in source(store):
                failed = False
        except Exception as error:  # noqa: BLE001  the page continues without this source
            if not failed:
                _log.warning("%s: %s: %s", name, type(error).__name__, error)
            failed = True
            time.sleep(AFTER_FAILURE_SECONDS)


def _letter(message: Mapping[str, Any]) -> dict[str, Any]:
    """A dead letter as the page shows it: the whole event, and the reason."""
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = {}
    wrapped = isinstance(body, dict) and "requestPayload" in body
    event = body["requestPayload"] if wrapped else body
    payload = body.get("responsePayload") if wrapped else None
    return {
        "message_id": message["MessageId"],
        "event_id": event.get("id", "") if isinstance(event, dict) else "",
        "sent_at": message["SentTimestamp"],
        "reason": payload.get("errorMessage", "") if isinstance(payload, dict) else "",
        "event": event,
    }
