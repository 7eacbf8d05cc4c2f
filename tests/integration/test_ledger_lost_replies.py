"""Lost replies of DynamoDB, and calls that arrive twice or late, with botocore's own retries.

A repeated write finds the result of the first one. An attempt that mistakes its own write for
another's would leave a sent action in progress; one that mistakes another's for its own would send
twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.config import Config

from cold_transfer.action import Answer, Verdict
from cold_transfer.causes import Cause
from cold_transfer.composition import URGENT
from cold_transfer.deadline import Deadline
from cold_transfer.entrypoints.components import compose
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.ledger.record import Record, State
from cold_transfer.service import Timing
from local.emulator import REGION
from tests.support import fakes
from tests.support.dynamodb_proxy import Network, between
from tests.support.ledgers import LEASE_MS, Clock, ledger_on, records, request_of

ACCEPTED = Verdict(Cause.ACCEPTED, api_id="api-1", plivo_status=201)
THROTTLED = Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=5)

#: The calls of a first attempt; the POST precedes the last one.
CALLS = ["PutItem", "PutItem", "UpdateItem", "UpdateItem"]
#: Those of a retry, which finds the record and the content lock of the attempt before it.
CALLS_AGAIN = [
    *("PutItem", "UpdateItem"),
    *("PutItem", "GetItem", "PutItem"),
    *("UpdateItem", "UpdateItem"),
]
CLAIM, DEDUPLICATE, MARK, SETTLE = range(4)
ATTEMPTS = 3  # of botocore, as the functions configure it
SETTLES = 5  # of the service


class Process:
    """A function's environment behind ``network``, with the function's DynamoDB client."""

    def __init__(
        self, client: Any, urgent: Any, table: str, network: Network, clock: Clock
    ) -> None:
        self.network = network
        self.clock = clock
        self.abandoned: list[Record] = []
        self.ledger = ledger_on(client, table, clock, self.abandoned.append, urgent=urgent)
        self.probe = fakes.Probe()

    def perform(self, key: str = "key-1", verdict: Verdict = ACCEPTED) -> tuple[Answer, int]:
        """One request; its answer, and the number of POSTs."""
        plivo = fakes.Plivo(verdict)
        made = compose(
            fakes.settings(),
            self.probe,
            self.ledger,
            fakes.SecretsManager(),
            plivo=plivo,
            credentials=fakes.Credentials(),
            timing=Timing(self.clock),
        )
        answer = made.service.perform(request_of(key), Deadline.after(LEASE_MS / 1000))
        return answer, len(plivo.sent)


@contextmanager
def process(endpoint_url: str, table: str, clock: Clock, **faults: Any) -> Iterator[Process]:
    numbers: Any = {name: frozenset(at) for name, at in faults.items()}
    network = Network(**numbers)
    with between(endpoint_url, network):
        make: Any = boto3.Session("test", "test", region_name=REGION).client
        retries: Any = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        patient = Config(connect_timeout=1, read_timeout=2, retries=retries)
        client = make("dynamodb", endpoint_url=network.url, config=patient)
        urgent = make("dynamodb", endpoint_url=network.url, config=URGENT)
        try:
            yield Process(client, urgent, table, network, clock)
        finally:
            client.close()
            urgent.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def state_of(dynamodb: Any, table: str, key: str = "key-1") -> State | None:
    return records(dynamodb, table)[request_of(key).action_id()].state


def test_the_calls_of_a_first_attempt(endpoint_url: str, table: str, clock: Clock) -> None:
    with process(endpoint_url, table, clock) as healthy:
        healthy.perform()

        assert healthy.network.operations == CALLS


@pytest.mark.parametrize("fault", ["lost", "refused", "doubled", "held"])
@pytest.mark.parametrize("position", range(len(CALLS)))
def test_one_fault_at_any_call_does_not_reach_the_client(  # noqa: PLR0913, PLR0917  fixtures
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock, fault: str, position: int
) -> None:
    with process(endpoint_url, table, clock, **{fault: {position}}) as shaky:
        answer, posts = shaky.perform()
        shaky.network.release()

    assert posts == 1
    assert answer == Answer(request_of().action_id(), ACCEPTED)
    assert state_of(dynamodb, table) is State.ACCEPTED
    assert shaky.probe.counted == []


@pytest.mark.parametrize("position", range(len(CALLS)))
def test_two_lost_replies_in_a_row_do_not_reach_the_client(
    endpoint_url: str, table: str, clock: Clock, position: int
) -> None:
    with process(endpoint_url, table, clock, lost={position, position + 1}) as shaky:
        answer, posts = shaky.perform()

    assert (posts, answer.verdict) == (1, ACCEPTED)


@pytest.mark.parametrize("position", range(len(CALLS_AGAIN)))
def test_a_lost_reply_at_any_call_of_a_retry_does_not_reach_the_client(
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock, position: int
) -> None:
    with process(endpoint_url, table, clock) as healthy:
        healthy.perform(verdict=THROTTLED)

    with process(endpoint_url, table, clock, lost={position}) as shaky:
        answer, posts = shaky.perform()

    assert [*CALLS_AGAIN[: position + 1], *CALLS_AGAIN[position:]] == shaky.network.operations
    assert (posts, answer.verdict) == (1, ACCEPTED)
    assert state_of(dynamodb, table) is State.ACCEPTED


@pytest.mark.parametrize("fault", ["lost", "held"])
@pytest.mark.parametrize("position", range(4))
def test_a_duplicate_is_answered_despite_one_fault_at_any_call(  # noqa: PLR0913, PLR0917  fixtures
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock, fault: str, position: int
) -> None:
    with process(endpoint_url, table, clock) as healthy:
        healthy.perform("key-1")

    with process(endpoint_url, table, clock, **{fault: {position}}) as shaky:
        answer, posts = shaky.perform("key-2")
        shaky.network.release()

    assert posts == 0
    assert answer.duplicate_of == request_of("key-1").action_id()
    assert answer.verdict == ACCEPTED
    assert state_of(dynamodb, table, "key-2") is State.DUPLICATE


def test_a_duplicate_whose_write_is_never_confirmed_is_answered(
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock
) -> None:
    with process(endpoint_url, table, clock) as healthy:
        healthy.perform("key-1")

    write = 3
    with process(endpoint_url, table, clock, lost=every_attempt_at(write)) as shaky:
        answer, posts = shaky.perform("key-2")

    assert posts == 0
    assert answer.duplicate_of == request_of("key-1").action_id()
    assert answer.verdict == ACCEPTED
    assert state_of(dynamodb, table, "key-2") is State.DUPLICATE
    assert shaky.probe.counted == ["LedgerUnavailable"]


#: The usual client's attempts at the first settle, and one of the urgent client's at each other.
EVERY_SETTLE = set(range(SETTLE, SETTLE + ATTEMPTS + SETTLES - 1))


def every_attempt_at(position: int) -> set[int]:
    return {position + repeat for repeat in range(ATTEMPTS)}


@pytest.mark.parametrize("fault", ["lost", "refused", "held"])
@pytest.mark.parametrize("position", [DEDUPLICATE, MARK])
def test_a_call_that_never_gets_through_sends_nothing_and_releases_the_key(  # noqa: PLR0913, PLR0917  fixtures
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock, fault: str, position: int
) -> None:
    with process(endpoint_url, table, clock, **{fault: every_attempt_at(position)}) as shaky:
        answer, posts = shaky.perform()
        shaky.network.release()

    assert posts == 0
    assert answer.verdict.cause is Cause.DEPENDENCY_UNAVAILABLE
    assert state_of(dynamodb, table) is State.NOT_SENT


@pytest.mark.parametrize("fault", ["lost", "refused", "held"])
def test_a_settle_that_never_gets_through_does_not_change_the_answer(
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock, fault: str
) -> None:
    with process(endpoint_url, table, clock, **{fault: EVERY_SETTLE}) as shaky:
        answer, posts = shaky.perform()

    assert (posts, answer.verdict) == (1, ACCEPTED)
    assert shaky.probe.counted == ["SettleFailed"]
    expected = State.ACCEPTED if fault == "lost" else State.SENDING
    assert state_of(dynamodb, table) is expected


def test_a_settle_that_arrives_late_corrects_the_reconcilers_unknown(
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock
) -> None:
    with process(endpoint_url, table, clock, held=EVERY_SETTLE) as shaky:
        shaky.perform()
        clock.now += 2 * LEASE_MS
        found = ledger_on(dynamodb, table, clock).settle_overdue(request_of().action_id())
        assert found is not None
        assert found.state is State.UNKNOWN
        shaky.network.release()

    assert state_of(dynamodb, table) is State.ACCEPTED


def test_a_claim_that_is_never_confirmed_is_settled_once_its_lease_has_expired(
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock
) -> None:
    with (
        process(endpoint_url, table, clock, lost=every_attempt_at(CLAIM)) as shaky,
        pytest.raises(LedgerUnavailable),
    ):
        shaky.perform()
    clock.now += 2 * LEASE_MS

    ledger = ledger_on(dynamodb, table, clock)
    assert list(ledger.overdue()) == [request_of().action_id()]
    ledger.settle_overdue(request_of().action_id())
    assert state_of(dynamodb, table) is State.NOT_SENT


def test_an_abandoned_attempt_is_counted_although_the_reply_is_lost(
    endpoint_url: str, dynamodb: Any, table: str, clock: Clock
) -> None:
    ledger_on(dynamodb, table, clock).claim(request_of(), clock.now + LEASE_MS)
    clock.now += LEASE_MS + 1

    with process(endpoint_url, table, clock, lost={1}) as shaky:  # 0 is the read before it
        found = shaky.ledger.settle_overdue(request_of().action_id())

    assert found is not None
    assert shaky.abandoned == [found]
