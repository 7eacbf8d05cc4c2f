"""The commands for dead letters, on a queue and a ledger in the emulator, with the simulator."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from cold_transfer.deadline import now_ms
from cold_transfer.entrypoints.components import compose
from cold_transfer.plivo.client import PlivoClient
from cold_transfer.telemetry import Telemetry
from cold_transfer_cli.dead_letters import DeadLetter, Invoked, Queue, Redriven, redrive
from cold_transfer_cli.records import Records
from local.simulator import Simulator
from tests.support import builders, fakes
from tests.support.ledgers import ledger_on

# At these addresses the simulator answers 500 and 429.
UNKNOWN_TO = "+15550100500"
THROTTLED_TO = "+15550100429"


@pytest.fixture
def plivo() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def queue_url(aws: Any) -> str:
    made = aws("sqs").create_queue(QueueName=f"dead-{uuid.uuid4()}")
    return str(made["QueueUrl"])


class Operated:
    """The event entry point on the real ledger, and the commands for its dead letters."""

    def __init__(self, aws: Any, table: str, queue_url: str, plivo: Simulator) -> None:
        self.sqs = aws("sqs")
        self.queue_url = queue_url
        self.plivo = plivo
        self.queue = Queue(self.sqs, queue_url)
        self.records = Records(aws("dynamodb"), table)
        secret = {"auth_id": "MALOCALPLIVOACCOUNT0", "auth_token": "local-plivo-token-not-a-secret"}
        self.client = PlivoClient(plivo.base_url)
        components = compose(
            fakes.settings(ledger_table=table, plivo_base_url=plivo.base_url),
            Telemetry("event"),
            ledger_on(aws("dynamodb"), table, now_ms),
            fakes.SecretsManager(plivo=json.dumps(secret)),
            plivo=self.client,
        )
        self._function = fakes.entry_point("event").EventFunction(components)

    def invoke(self, event: dict[str, Any]) -> Invoked:
        """As Lambda does: an exception is a result."""
        try:
            answer = self._function(event, builders.FakeLambdaContext())
        except Exception as error:  # noqa: BLE001  any of them
            return Invoked(raised=True, text=str(error))
        return Invoked(raised=False, text=json.dumps(answer))

    def fail(self, event: dict[str, Any]) -> None:
        """Invoke with an event, and put it into the queue as the on-failure destination does."""
        said = self.invoke(event)
        assert said.raised
        payload = {"errorType": "ActionFailed", "errorMessage": said.text}
        self.put({"requestPayload": event, "requestContext": {}, "responsePayload": payload})

    def put(self, body: dict[str, Any]) -> None:
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(body))

    def redrive_all(self) -> list[Redriven]:
        led_to = []
        for letter in self.queue.letters():
            led_to.append(redrive(letter, self.records, builders.EVENT_SOURCE, self.invoke))
            if led_to[-1].done:
                self.queue.delete(letter)
        return led_to

    def left(self) -> list[DeadLetter]:
        return list(self.queue.letters())


@pytest.fixture
def operated(aws: Any, table: str, queue_url: str, plivo: Simulator) -> Iterator[Operated]:
    made = Operated(aws, table, queue_url, plivo)
    with contextlib.closing(made.client):
        yield made


def test_redriving_twice_sends_once(operated: Operated) -> None:
    # An undelivered event, so that nothing was sent before the first redrive; twice in the queue,
    # because SQS delivers at least once.
    event = builders.eventbridge_event()
    operated.put(event)
    operated.put(event)

    first = operated.redrive_all()
    operated.put(event)
    second = operated.redrive_all()

    assert [led_to.done for led_to in (*first, *second)] == [True, True, True]
    assert len(operated.plivo.received()) == 1
    assert operated.left() == []


def test_redriving_an_unknown_outcome_never_sends_it_again(operated: Operated) -> None:
    operated.fail(builders.eventbridge_event(builders.detail(to=UNKNOWN_TO)))

    for _ in range(3):
        operated.redrive_all()

    assert len(operated.plivo.received()) == 1
    assert len(operated.left()) == 1


def test_a_throttled_action_is_sent_again_by_a_redrive_and_stays_in_the_queue(
    operated: Operated,
) -> None:
    event = builders.eventbridge_event(builders.detail(to=THROTTLED_TO))
    operated.fail(event)

    led_to = operated.redrive_all()

    assert [each.done for each in led_to] == [False]
    assert [request.status for request in operated.plivo.received()] == [429, 429]


def test_an_event_past_its_age_is_never_sent(operated: Operated) -> None:
    event = builders.eventbridge_event()
    event["time"] = "2026-01-01T00:00:00Z"
    operated.put(event)

    led_to = operated.redrive_all()

    assert [each.done for each in led_to] == [True]
    assert operated.plivo.received() == []
    assert operated.left() == []


def test_listing_hides_no_message(operated: Operated) -> None:
    for _ in range(12):  # more than one receive gives
        operated.put(builders.eventbridge_event())

    looked_at = [operated.left() for _ in range(2)]

    assert [len({letter.message_id for letter in letters}) for letters in looked_at] == [12, 12]


def test_an_interrupted_command_leaves_the_messages_visible(operated: Operated) -> None:
    operated.put(builders.eventbridge_event())
    letters = operated.queue.letters()
    next(letters)
    letters.close()  # as a person's Ctrl-C does

    assert len(operated.left()) == 1
