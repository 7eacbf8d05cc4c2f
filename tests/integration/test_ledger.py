"""Each step and each rule of the ledger, on two DynamoDB APIs and on the table in memory."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from cold_transfer.action import Action, ActionRequest, Answer, EntryPoint, Verdict
from cold_transfer.causes import Cause, Outcome
from cold_transfer.errors import InProgress, KeyReused, LedgerUnavailable
from cold_transfer.ledger.ledger import LEASE_MARGIN_MS, SHARDS, Claim, Ledger, SettleFailed
from cold_transfer.ledger.record import Record, State
from tests.support.builders import NODE_ID, PHLO_ID, TO, TRIGGER_SOURCE
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import (
    ACTION,
    LEASE_MS,
    NOW_MS,
    POLICY,
    Clock,
    answer_of,
    create_table,
    items,
    ledger_on,
    records,
    request_of,
)

OTHER_ACTION = Action(PHLO_ID, NODE_ID, "+14152227777", TRIGGER_SOURCE)

ACCEPTED = Verdict(Cause.ACCEPTED, api_id="api-1", plivo_status=201)
REJECTED = Verdict(Cause.REJECTED, api_id="api-2", error="not deployed", plivo_status=404)
UNKNOWN = Verdict(Cause.PLIVO_TIMED_OUT)
THROTTLED = Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=7)


@pytest.fixture(params=["fake", "dynamodb", "moto"])
def client(request: pytest.FixtureRequest) -> Any:
    return FakeDynamoDB() if request.param == "fake" else request.getfixturevalue(request.param)


@pytest.fixture
def table(client: Any) -> str:
    return "ledger" if isinstance(client, FakeDynamoDB) else create_table(client)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def abandoned() -> list[Record]:
    return []


@pytest.fixture
def ledger(client: Any, table: str, clock: Clock, abandoned: list[Record]) -> Ledger:
    return ledger_on(client, table, clock, abandoned.append)


@pytest.fixture
def record(client: Any, table: str) -> Callable[[str], Record]:
    """Reads the record of ``request_of(key)``."""
    return lambda key: records(client, table)[request_of(key).action_id()]


def claimed(ledger: Ledger, request: ActionRequest, clock: Clock) -> Claim:
    return ledger.claim(request, clock.now + LEASE_MS)


def marked(ledger: Ledger, request: ActionRequest, clock: Clock) -> Claim:
    claim = claimed(ledger, request, clock)
    ledger.deduplicate(claim)
    ledger.mark_sending(claim, clock.now + LEASE_MS + LEASE_MARGIN_MS)
    return claim


def settled(ledger: Ledger, request: ActionRequest, clock: Clock, verdict: Verdict) -> Claim:
    claim = marked(ledger, request, clock)
    ledger.settle(claim, verdict)
    return claim


def rewrite_records(client: Any, table: str, change: dict[str, Any]) -> None:
    """Change every record, as another version of the code may write it."""
    for item in items(client, table):
        if item["pk"]["S"].startswith("K#"):
            client.put_item(
                TableName=table,
                Item=item | change,
                ConditionExpression="attribute_not_exists(nothing)",
            )


class TestClaim:
    def test_the_first_request_gets_a_claim(self, ledger: Ledger, clock: Clock) -> None:
        request = request_of(requested_at=NOW_MS - 1_000)

        claim = claimed(ledger, request, clock)

        assert claim.action_id == request.action_id()
        assert claim.fingerprint == ACTION.fingerprint()
        assert (claim.attempt, claim.first_seen, claim.requested_at) == (1, NOW_MS, NOW_MS - 1_000)

    def test_every_attempt_has_its_own_owner(self, ledger: Ledger, clock: Clock) -> None:
        owners = {claimed(ledger, request_of(f"key-{n}"), clock).owner for n in range(20)}

        assert len(owners) == 20
        assert all(len(owner) >= 32 for owner in owners)

    def test_a_claim_is_in_the_reconcilers_index_and_has_no_ttl(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        claimed(ledger, request_of(), clock)

        (item,) = items(client, table)
        assert item["open"]["S"] == request_of().action_id()[0]
        assert item["open"]["S"] in SHARDS
        assert item["lease_until"] == {"N": str(NOW_MS + LEASE_MS)}
        assert "ttl" not in item

    def test_a_retrys_claim_is_in_the_reconcilers_index_too(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        ledger.settle(claimed(ledger, request_of(), clock), THROTTLED)
        again = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1

        assert list(ledger.overdue()) == [again.action_id]

    def test_a_key_that_was_meanwhile_reused_for_other_content_is_not_taken_over(
        self, client: Any, table: str, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        """TTL deleted the record that was read, and the key was used for another action."""
        ledger = ledger_on(client, table, clock)
        first = settled(ledger, request_of(), clock, THROTTLED)

        def replaced() -> None:
            client.delete_item(TableName=table, Key={"pk": {"S": f"K#{first.action_id}"}})
            settled(ledger, request_of(action=OTHER_ACTION), clock, THROTTLED)

        with pytest.raises(KeyReused):
            ledger_on(_Before(client, 1, replaced), table, clock).claim(request_of(), LEASE_MS)

        assert record("key-1").fingerprint == OTHER_ACTION.fingerprint()

    def test_a_retry_while_the_first_attempt_runs_is_in_progress(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS  # the lease's last millisecond

        with pytest.raises(InProgress) as raised:
            ledger.claim(request_of(), clock.now + LEASE_MS)

        assert raised.value.cause is Cause.IN_PROGRESS
        assert raised.value.retry_after == 1

    def test_an_immediate_retry_is_asked_to_wait_at_most_5_seconds(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        claimed(ledger, request_of(), clock)

        with pytest.raises(InProgress) as raised:
            ledger.claim(request_of(), clock.now + LEASE_MS)

        assert raised.value.retry_after == 5

    def test_a_claim_whose_lease_has_expired_is_settled_as_abandoned_and_taken_over(
        self, ledger: Ledger, clock: Clock, abandoned: list[Record]
    ) -> None:
        first = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1

        second = claimed(ledger, request_of(), clock)

        assert second.attempt == first.attempt + 1
        assert second.owner != first.owner
        assert second.first_seen == first.first_seen
        assert [one.state for one in abandoned] == [State.NOT_SENT]

    def test_a_retry_forgets_how_the_attempt_before_it_ended(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        settled(ledger, request_of(), clock, THROTTLED)

        claimed(ledger, request_of(), clock)

        found = record("key-1")
        assert (found.cause, found.settled_at) == ("", 0)
        assert found.plivo_retry_after is found.plivo_status is None

    @pytest.mark.parametrize(
        ("first_requested_at", "waited", "requested_at", "expected"),
        [
            (NOW_MS - 9, 0, None, (NOW_MS, NOW_MS - 9)),
            (NOW_MS - 9, 0, NOW_MS + 8_000, (NOW_MS, NOW_MS - 9)),
            (NOW_MS - 9, 8_500, NOW_MS - 8, (NOW_MS - 500, NOW_MS - 9)),
            (NOW_MS - 9, 8_500, NOW_MS - 700, (NOW_MS - 500, NOW_MS - 700)),
            (NOW_MS - 9, 7_500, NOW_MS - 700, (NOW_MS, NOW_MS - 700)),
            (None, 0, NOW_MS - 9, (NOW_MS, NOW_MS - 9)),
        ],
    )
    def test_a_retry_keeps_the_earlier_of_each_time(  # noqa: PLR0913, PLR0917  fixtures
        self,
        ledger: Ledger,
        clock: Clock,
        record: Callable[[str], Record],
        first_requested_at: int | None,
        waited: int,
        requested_at: int | None,
        expected: tuple[int, int],
    ) -> None:
        settled(ledger, request_of(requested_at=first_requested_at), clock, THROTTLED)
        clock.now += 8_000

        again = claimed(ledger, request_of(requested_at=requested_at, waited=waited), clock)

        assert (again.first_seen, again.requested_at) == expected
        assert (record("key-1").first_seen, record("key-1").requested_at) == expected

    def test_a_retrys_claim_has_no_ttl(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        settled(ledger, request_of(), clock, THROTTLED)

        claimed(ledger, request_of(), clock)

        (item,) = (item for item in items(client, table) if item["pk"]["S"].startswith("K#"))
        assert "ttl" not in item

    @pytest.mark.parametrize("verdict", [ACCEPTED, REJECTED, UNKNOWN], ids=lambda v: v.cause)
    def test_a_settled_request_gets_its_answer_again(
        self, ledger: Ledger, clock: Clock, verdict: Verdict
    ) -> None:
        settled(ledger, request_of(), clock, verdict)
        clock.now += 10 * 86_400_000

        answer = answer_of(ledger.claim, request_of(), clock.now + LEASE_MS)

        assert answer == Answer(request_of().action_id(), verdict, replayed=True)

    def test_the_same_key_with_other_content_is_refused(self, ledger: Ledger, clock: Clock) -> None:
        settled(ledger, request_of(), clock, THROTTLED)

        with pytest.raises(KeyReused) as raised:
            ledger.claim(request_of("key-1", OTHER_ACTION), clock.now + LEASE_MS)

        assert raised.value.action_id == request_of().action_id()

    def test_an_abandoned_claim_is_not_taken_over_by_other_content(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1

        with pytest.raises(KeyReused):
            ledger.claim(request_of("key-1", OTHER_ACTION), clock.now + LEASE_MS)

    def test_a_request_abandoned_while_sending_stays_unknown(
        self, ledger: Ledger, clock: Clock, abandoned: list[Record]
    ) -> None:
        marked(ledger, request_of(), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS + 1

        for _ in range(2):
            answer = answer_of(ledger.claim, request_of(), clock.now + LEASE_MS)
            assert (answer.verdict.cause, answer.replayed) == (Cause.ABANDONED, True)
            assert answer.verdict.status == 504
            clock.now += 3_600_000
        assert [one.state for one in abandoned] == [State.UNKNOWN]

    def test_a_sending_record_is_in_progress_until_its_lease_ends(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        marked(ledger, request_of(), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS

        with pytest.raises(InProgress):
            ledger.claim(request_of(), clock.now + LEASE_MS)

    @pytest.mark.parametrize("before", [State.NOT_SENT, State.CLAIMED])
    def test_a_record_in_a_state_of_another_version_is_never_claimed(
        self, ledger: Ledger, clock: Clock, client: Any, table: str, before: State
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        if before is State.NOT_SENT:
            ledger.settle(claim, THROTTLED)
        rewrite_records(client, table, {"state": {"S": "paused"}})
        clock.now += LEASE_MS + 1

        answer = answer_of(ledger.claim, request_of(), clock.now + LEASE_MS)

        assert answer.verdict.cause is Cause.OUTCOME_UNKNOWN
        found = ledger.look(claim.action_id)
        assert found is not None
        assert found[1].verdict() == answer.verdict

    @pytest.mark.parametrize("before", [State.NOT_SENT, State.CLAIMED])
    def test_a_record_with_another_versions_fingerprint_is_never_claimed(
        self, ledger: Ledger, clock: Clock, client: Any, table: str, before: State
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        if before is State.NOT_SENT:
            ledger.settle(claim, THROTTLED)
        rewrite_records(client, table, {"fp_version": {"N": "2"}})
        clock.now += LEASE_MS + 1

        answer = answer_of(ledger.claim, request_of(), clock.now + LEASE_MS)

        assert answer.verdict.outcome is Outcome.NOT_SENT
        assert answer.replayed
        found = ledger.look(claim.action_id)
        assert found is not None
        assert found[1].verdict() == answer.verdict

    def test_keys_are_scoped_to_entry_point_and_client(self, ledger: Ledger, clock: Clock) -> None:
        ids = {
            claimed(ledger, request_of(entry_point=entry_point, client=client), clock).action_id
            for entry_point in EntryPoint
            for client in ("crm", "phlo")
        }

        assert len(ids) == 4

    def test_of_50_that_race_for_one_key_exactly_one_gets_it(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        def attempt(_: int) -> bool:
            barrier.wait()
            try:
                claimed(ledger, request_of(), clock)
            except InProgress:
                return False
            return True

        barrier = threading.Barrier(50)
        with ThreadPoolExecutor(50) as pool:
            assert sum(pool.map(attempt, range(50))) == 1

    def test_an_attempt_that_was_fenced_before_its_claim_was_confirmed_claims_under_another_owner(
        self, client: Any, table: str, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        """Otherwise a second delivery of its claim could revive the fenced attempt."""
        ledger = ledger_on(client, table, clock)
        fenced: list[Record] = []

        def fence() -> None:
            clock.now += LEASE_MS + 1
            ledger.settle_overdue(request_of().action_id())
            fenced.append(record("key-1"))

        retried = _Retried(client, fence)
        claim = claimed(ledger_on(retried, table, clock), request_of(), clock)

        assert (fenced[0].state, claim.attempt) == (State.NOT_SENT, 2)
        assert claim.owner != fenced[0].owner


class TestDeduplicate:
    def test_a_claim_on_new_content_continues(self, ledger: Ledger, clock: Clock) -> None:
        ledger.deduplicate(claimed(ledger, request_of(), clock))

    def test_other_content_does_not_get_in_the_way(self, ledger: Ledger, clock: Clock) -> None:
        marked(ledger, request_of("key-1"), clock)

        ledger.deduplicate(claimed(ledger, request_of("key-2", OTHER_ACTION), clock))

    @pytest.mark.parametrize("step", [claimed, marked])
    def test_another_key_waits_while_the_first_is_open(
        self,
        ledger: Ledger,
        clock: Clock,
        step: Callable[[Ledger, ActionRequest, Clock], Claim],
    ) -> None:
        first = step(ledger, request_of("key-1"), clock)
        ledger.deduplicate(first)

        with pytest.raises(InProgress) as raised:
            ledger.deduplicate(
                claimed(ledger, request_of("key-2", entry_point=EntryPoint.EVENT), clock)
            )

        assert raised.value.duplicate_of == first.action_id
        assert raised.value.cause is Cause.DUPLICATE_IN_PROGRESS

    def test_the_key_that_has_to_wait_may_retry(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        marked(ledger, request_of("key-1"), clock)
        with pytest.raises(InProgress):
            ledger.deduplicate(claimed(ledger, request_of("key-2"), clock))

        assert record("key-2").state is State.NOT_SENT
        assert record("key-2").cause == Cause.DUPLICATE_IN_PROGRESS
        claimed(ledger, request_of("key-2"), clock)

    @pytest.mark.parametrize(
        ("verdict", "window"),
        [(ACCEPTED, POLICY.duplicate_window), (UNKNOWN, POLICY.unknown_window)],
        ids=["accepted", "unknown"],
    )
    def test_inside_the_window_another_key_gets_the_first_ones_answer(
        self,
        ledger: Ledger,
        clock: Clock,
        record: Callable[[str], Record],
        verdict: Verdict,
        window: int,
    ) -> None:
        first = settled(ledger, request_of("key-1"), clock, verdict)
        clock.now += window  # the window's last millisecond
        second = claimed(ledger, request_of("key-2"), clock)

        answer = answer_of(ledger.deduplicate, second)

        assert answer == Answer(
            second.action_id, verdict, replayed=True, duplicate_of=first.action_id
        )
        assert record("key-2").duplicate_of == first.action_id

    @pytest.mark.parametrize(
        ("verdict", "window"),
        [(ACCEPTED, POLICY.duplicate_window), (UNKNOWN, POLICY.unknown_window)],
        ids=["accepted", "unknown"],
    )
    def test_after_the_window_another_key_is_another_action(
        self, ledger: Ledger, clock: Clock, verdict: Verdict, window: int
    ) -> None:
        settled(ledger, request_of("key-1"), clock, verdict)
        clock.now += window + 1

        marked(ledger, request_of("key-2"), clock)

    def test_the_window_is_measured_from_when_the_request_was_first_seen(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        first = marked(ledger, request_of("key-1"), clock)
        with pytest.raises(InProgress):
            ledger.deduplicate(claimed(ledger, request_of("key-2"), clock))
        ledger.settle(first, ACCEPTED)
        clock.now += 30_000  # much longer than the window

        answer = answer_of(ledger.deduplicate, claimed(ledger, request_of("key-2"), clock))

        assert answer.duplicate_of == first.action_id

    def test_a_request_that_waited_for_its_function_counts_from_its_arrival(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        first = settled(ledger, request_of("key-1"), clock, ACCEPTED)
        clock.now += 17_000

        answer = answer_of(
            ledger.deduplicate, claimed(ledger, request_of("key-2", waited=12_000), clock)
        )

        assert answer.duplicate_of == first.action_id
        marked(ledger, request_of("key-3", waited=11_999), clock)

    @pytest.mark.parametrize("verdict", [REJECTED, THROTTLED], ids=lambda v: v.cause)
    def test_an_action_that_did_not_happen_does_not_get_in_the_way(
        self, ledger: Ledger, clock: Clock, verdict: Verdict
    ) -> None:
        settled(ledger, request_of("key-1"), clock, verdict)

        marked(ledger, request_of("key-2"), clock)

    def test_an_abandoned_claim_is_fenced_before_its_content_is_taken_over(
        self, ledger: Ledger, clock: Clock, abandoned: list[Record]
    ) -> None:
        first = claimed(ledger, request_of("key-1"), clock)
        ledger.deduplicate(first)
        clock.now += LEASE_MS + 1

        marked(ledger, request_of("key-2"), clock)

        answer = answer_of(ledger.mark_sending, first, clock.now + LEASE_MS)
        assert answer.verdict.outcome is Outcome.NOT_SENT
        assert [one.action_id for one in abandoned] == [first.action_id]

    def test_an_attempt_abandoned_while_sending_blocks_its_content_as_unknown(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        first = marked(ledger, request_of("key-1"), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS + 1

        answer = answer_of(ledger.deduplicate, claimed(ledger, request_of("key-2"), clock))

        assert answer.duplicate_of == first.action_id
        assert answer.verdict.cause is Cause.ABANDONED
        assert record("key-1").state is State.UNKNOWN

    def test_a_retry_takes_the_content_lock_over(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        settled(ledger, request_of(), clock, THROTTLED)

        again = marked(ledger, request_of(), clock)

        (lock,) = (item for item in items(client, table) if item["pk"]["S"].startswith("C#"))
        assert lock["owner"]["S"] == again.owner

    def test_a_rival_that_read_the_lock_before_a_retry_took_it_does_not_get_it(
        self, client: Any, table: str, clock: Clock
    ) -> None:
        """The rival read not_sent; before it takes the lock, the first key is retried."""
        ledger = ledger_on(client, table, clock)
        settled(ledger, request_of("key-1"), clock, THROTTLED)
        rival = claimed(ledger, request_of("key-2"), clock)
        late = ledger_on(
            _Before(client, 2, lambda: marked(ledger, request_of("key-1"), clock)), table, clock
        )

        with pytest.raises(InProgress):
            late.deduplicate(rival)

    def test_an_action_whose_record_is_gone_does_not_get_in_the_way(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        first = settled(ledger, request_of("key-1"), clock, UNKNOWN)
        client.delete_item(TableName=table, Key={"pk": {"S": f"K#{first.action_id}"}})

        marked(ledger, request_of("key-2"), clock)

    @pytest.mark.parametrize(
        ("later", "outcome"),
        [
            (LEASE_MS, None),
            (LEASE_MS + 1, Outcome.UNKNOWN),
            (LEASE_MS + POLICY.unknown_window, Outcome.UNKNOWN),
            (LEASE_MS + POLICY.unknown_window + 1, Outcome.ACCEPTED),
        ],
        ids=["open", "over", "in its window", "past"],
    )
    def test_an_action_in_a_state_of_another_version_counts_as_unknown_once_its_lease_has_expired(  # noqa: PLR0913, PLR0917  fixtures
        self,
        ledger: Ledger,
        clock: Clock,
        client: Any,
        table: str,
        later: int,
        outcome: Outcome | None,
    ) -> None:
        first = claimed(ledger, request_of("key-1"), clock)
        ledger.deduplicate(first)
        rewrite_records(client, table, {"state": {"S": "paused"}})
        clock.now += later
        second = claimed(ledger, request_of("key-2"), clock)

        if outcome is None:
            with pytest.raises(InProgress):
                ledger.deduplicate(second)
        elif outcome is Outcome.ACCEPTED:
            ledger.deduplicate(second)
        else:
            answer = answer_of(ledger.deduplicate, second)
            assert (answer.verdict.outcome, answer.duplicate_of) == (outcome, first.action_id)
            assert answer_of(ledger.claim, request_of("key-2"), clock.now) == answer

    def test_a_content_lock_of_a_duplicate_counts_as_one_of_its_first_action(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        first = settled(ledger, request_of("key-1"), clock, ACCEPTED)
        duplicate = claimed(ledger, request_of("key-2"), clock)
        answer_of(ledger.deduplicate, duplicate)
        client.put_item(  # a late write of the duplicate's earlier attempt
            TableName=table,
            Item={
                "pk": {"S": f"C#{duplicate.fingerprint}"},
                "action": {"S": duplicate.action_id},
                "owner": {"S": "an earlier attempt"},
            },
            ConditionExpression="attribute_not_exists(nothing)",
        )

        answer = answer_of(ledger.deduplicate, claimed(ledger, request_of("key-3"), clock))

        assert answer.duplicate_of == first.action_id

    def test_of_50_that_race_for_one_content_exactly_one_gets_it(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        def attempt(number: int) -> bool:
            claim = claimed(ledger, request_of(f"key-{number}"), clock)
            barrier.wait()
            try:
                ledger.deduplicate(claim)
            except InProgress:
                return False
            return True

        barrier = threading.Barrier(50)
        with ThreadPoolExecutor(50) as pool:
            assert sum(pool.map(attempt, range(50))) == 1

    def test_of_50_that_race_for_the_content_of_a_rejected_action_exactly_one_gets_it(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        settled(ledger, request_of("key-first"), clock, REJECTED)

        self.test_of_50_that_race_for_one_content_exactly_one_gets_it(ledger, clock)


class TestDuplicate:
    @pytest.fixture
    def duplicate(self, ledger: Ledger, clock: Clock) -> ActionRequest:
        """Of key-1, which was accepted."""
        settled(ledger, request_of("key-1"), clock, ACCEPTED)
        answer_of(ledger.deduplicate, claimed(ledger, request_of("key-2"), clock))
        return request_of("key-2")

    def test_it_keeps_the_answer_of_the_first(
        self, ledger: Ledger, clock: Clock, duplicate: ActionRequest
    ) -> None:
        clock.now += 86_400_000

        answer = answer_of(ledger.claim, duplicate, clock.now + LEASE_MS)

        first = request_of("key-1").action_id()
        assert answer == Answer(duplicate.action_id(), ACCEPTED, replayed=True, duplicate_of=first)

    @staticmethod
    def of_a_live_attempt(ledger: Ledger, clock: Clock) -> Claim:
        """key-2 is a duplicate of key-1, whose attempt is alive but was settled as abandoned."""
        first = marked(ledger, request_of("key-1"), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS + 1
        ledger.settle_overdue(first.action_id)
        answer_of(ledger.deduplicate, claimed(ledger, request_of("key-2"), clock))
        return first

    def test_it_follows_a_correction_of_the_first(self, ledger: Ledger, clock: Clock) -> None:
        first = self.of_a_live_attempt(ledger, clock)
        ledger.settle(first, ACCEPTED)

        answer = answer_of(ledger.claim, request_of("key-2"), clock.now + LEASE_MS)

        assert answer.verdict == ACCEPTED

    def test_it_is_not_told_to_retry(self, ledger: Ledger, clock: Clock) -> None:
        first = self.of_a_live_attempt(ledger, clock)
        ledger.settle(first, THROTTLED)

        answer = answer_of(ledger.claim, request_of("key-2"), clock.now + LEASE_MS)

        assert answer.verdict.cause is Cause.PLIVO_THROTTLED
        assert answer.retry_after is None

    def test_it_is_in_progress_while_the_first_is(self, ledger: Ledger, clock: Clock) -> None:
        first = self.of_a_live_attempt(ledger, clock)
        ledger.settle(first, THROTTLED)
        claimed(ledger, request_of("key-1"), clock)

        with pytest.raises(InProgress) as raised:
            ledger.claim(request_of("key-2"), clock.now + LEASE_MS)

        assert raised.value.duplicate_of == first.action_id

    def test_it_is_unknown_once_the_firsts_record_is_gone(
        self,
        ledger: Ledger,
        clock: Clock,
        duplicate: ActionRequest,
        client: Any,
        table: str,
    ) -> None:
        gone = f"K#{request_of('key-1').action_id()}"
        client.delete_item(TableName=table, Key={"pk": {"S": gone}})

        answer = answer_of(ledger.claim, duplicate, clock.now + LEASE_MS)

        assert answer.verdict.cause is Cause.OUTCOME_UNKNOWN

    def test_its_key_cannot_be_reused_for_other_content(
        self, ledger: Ledger, clock: Clock, duplicate: ActionRequest
    ) -> None:
        with pytest.raises(KeyReused):
            ledger.claim(request_of(duplicate.key, OTHER_ACTION), clock.now + LEASE_MS)

    def test_it_is_not_in_the_index_and_has_a_ttl(
        self, duplicate: ActionRequest, client: Any, table: str
    ) -> None:
        (item,) = (i for i in items(client, table) if i["pk"]["S"] == f"K#{duplicate.action_id()}")

        assert item["ttl"] == {"N": str(NOW_MS // 1000 + POLICY.record_seconds)}
        assert "open" not in item

    def test_a_claim_that_was_fenced_meanwhile_does_not_become_a_duplicate(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        settled(ledger, request_of("key-1"), clock, UNKNOWN)
        slow = claimed(ledger, request_of("key-2"), clock)
        clock.now += LEASE_MS + 1
        ledger.settle_overdue(slow.action_id)

        answer = answer_of(ledger.deduplicate, slow)

        assert answer.verdict.cause is Cause.OUT_OF_TIME
        assert record("key-2").state is State.NOT_SENT


class TestMarkSending:
    def test_it_is_confirmed_for_a_live_claim(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        marked(ledger, request_of(), clock)

        assert record("key-1").state is State.SENDING
        assert record("key-1").lease_until == NOW_MS + LEASE_MS + LEASE_MARGIN_MS

    def test_it_is_refused_after_the_reconciler_fenced_the_claim(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        ledger.settle_overdue(claim.action_id)

        answer = answer_of(ledger.mark_sending, claim, clock.now + LEASE_MS)

        assert answer.verdict.cause is Cause.OUT_OF_TIME

    def test_it_is_refused_after_another_attempt_took_over(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        second = claimed(ledger, request_of(), clock)

        with pytest.raises(InProgress):
            ledger.mark_sending(claim, clock.now + LEASE_MS)

        assert (record("key-1").owner, record("key-1").state) == (second.owner, State.CLAIMED)

    def test_it_does_not_mistake_another_attempts_mark_for_its_own(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        marked(ledger, request_of(), clock)

        with pytest.raises(InProgress):
            ledger.mark_sending(claim, clock.now + LEASE_MS)

    def test_it_returns_the_answer_of_the_attempt_that_took_over(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        settled(ledger, request_of(), clock, ACCEPTED)

        answer = answer_of(ledger.mark_sending, claim, clock.now + LEASE_MS)

        assert answer == Answer(claim.action_id, ACCEPTED, replayed=True)

    def test_it_is_refused_if_the_record_is_gone(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        client.delete_item(TableName=table, Key={"pk": {"S": f"K#{claim.action_id}"}})

        with pytest.raises(InProgress):
            ledger.mark_sending(claim, clock.now + LEASE_MS)

    def test_it_does_not_mistake_the_mark_of_a_later_record_for_its_own(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        client.delete_item(TableName=table, Key={"pk": {"S": f"K#{claim.action_id}"}})
        assert marked(ledger, request_of(), clock).attempt == claim.attempt

        with pytest.raises(InProgress):
            ledger.mark_sending(claim, clock.now + LEASE_MS)

    def test_a_claim_delivered_twice_does_not_revive_the_attempt_that_was_fenced(
        self, client: Any, table: str, clock: Clock
    ) -> None:
        ledger, repeatable, second = _claimed_again(client, table, clock)
        ledger.deduplicate(second)
        clock.now += LEASE_MS + 1
        marked(ledger, request_of("key-2"), clock)  # fences key-1, takes its content over

        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            repeatable.again()
        answer = answer_of(ledger.mark_sending, second, clock.now + LEASE_MS)

        assert answer.verdict.outcome is Outcome.NOT_SENT

    def test_a_first_claim_delivered_twice_changes_nothing(
        self, client: Any, table: str, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        repeatable = _Repeatable(client)
        first = claimed(ledger_on(repeatable, table, clock), request_of(), clock)
        ledger_on(client, table, clock).settle(first, THROTTLED)

        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            repeatable.again()

        assert record("key-1").state is State.NOT_SENT


class TestSettle:
    @pytest.mark.parametrize("verdict", [ACCEPTED, REJECTED, UNKNOWN, THROTTLED])
    def test_the_record_has_the_verdict(  # noqa: PLR0913, PLR0917  fixtures
        self,
        ledger: Ledger,
        clock: Clock,
        record: Callable[[str], Record],
        client: Any,
        table: str,
        verdict: Verdict,
    ) -> None:
        claim = marked(ledger, request_of(), clock)
        clock.now += 321

        ledger.settle(claim, verdict)

        found = record("key-1")
        assert found.verdict() == verdict
        assert found.outcome() is verdict.outcome
        assert found.settled_at == clock.now
        (item,) = (item for item in items(client, table) if item["pk"]["S"].startswith("K#"))
        assert item["ttl"] == {"N": str(clock.now // 1000 + POLICY.record_seconds)}
        assert not {"open", "lease_until"} & item.keys()

    def test_only_not_sent_may_follow_a_claim_that_was_never_sending(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        claim = claimed(ledger, request_of(), clock)

        for verdict in (ACCEPTED, REJECTED, UNKNOWN):
            with pytest.raises(SettleFailed):
                ledger.settle(claim, verdict)
        ledger.settle(claim, THROTTLED)

        assert record("key-1").state is State.NOT_SENT

    @pytest.mark.parametrize("verdict", [ACCEPTED, REJECTED, UNKNOWN, THROTTLED])
    def test_the_owner_corrects_the_unknown_that_the_reconciler_wrote(
        self,
        ledger: Ledger,
        clock: Clock,
        record: Callable[[str], Record],
        verdict: Verdict,
    ) -> None:
        claim = marked(ledger, request_of(), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS + 1
        ledger.settle_overdue(claim.action_id)

        ledger.settle(claim, verdict)

        assert record("key-1").verdict() == verdict

    def test_only_the_owner_corrects_an_unknown(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        earlier = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        settled(ledger, request_of(), clock, UNKNOWN)

        with pytest.raises(SettleFailed):
            ledger.settle(earlier, ACCEPTED)
        answer = answer_of(ledger.settle, earlier, THROTTLED)

        assert answer == Answer(earlier.action_id, UNKNOWN, replayed=True)
        assert record("key-1").state is State.UNKNOWN

    @pytest.mark.parametrize("final", [ACCEPTED, REJECTED], ids=["accepted", "rejected"])
    def test_an_accepted_or_rejected_record_does_not_change(
        self,
        ledger: Ledger,
        clock: Clock,
        record: Callable[[str], Record],
        final: Verdict,
    ) -> None:
        claim = settled(ledger, request_of(), clock, final)

        with pytest.raises(SettleFailed):
            ledger.settle(claim, UNKNOWN)
        answer = answer_of(ledger.settle, claim, THROTTLED)

        assert answer == Answer(claim.action_id, final, replayed=True)
        assert record("key-1").verdict() == final

    def test_a_claim_delivered_twice_does_not_reopen_a_settled_record(
        self, client: Any, table: str, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        ledger, repeatable, second = _claimed_again(client, table, clock)
        ledger.settle(second, THROTTLED)

        with pytest.raises(ClientError, match="ConditionalCheckFailed"):
            repeatable.again()

        assert record("key-1").state is State.NOT_SENT

    def test_an_attempt_does_not_settle_the_one_that_took_over(
        self, ledger: Ledger, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        earlier = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        marked(ledger, request_of(), clock)

        with pytest.raises(SettleFailed):
            ledger.settle(earlier, ACCEPTED)
        with pytest.raises(InProgress):
            ledger.settle(earlier, THROTTLED)

        assert record("key-1").state is State.SENDING


class TestReconciler:
    def test_it_finds_the_overdue_records_of_every_shard_and_no_others(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        dead = set[str]()
        number = 0
        while {action_id[0] for action_id in dead} != set(SHARDS):
            number += 1
            action = Action(PHLO_ID, NODE_ID, f"+1415222{number:04}", TRIGGER_SOURCE)
            dead.add(claimed(ledger, request_of(f"key-{number}", action), clock).action_id)
        clock.now += LEASE_MS + 1
        claimed(ledger, request_of("alive"), clock)
        settled(ledger, request_of("done", OTHER_ACTION), clock, ACCEPTED)

        assert set(ledger.overdue()) == dead

    def test_it_reads_every_page(self, clock: Clock) -> None:
        client = FakeDynamoDB(page_size=3)
        ledger = ledger_on(client, "ledger", clock)
        dead = {claimed(ledger, request_of(f"key-{n}"), clock).action_id for n in range(200)}
        clock.now += LEASE_MS + 1

        found = list(ledger.overdue())

        assert len(found) == 200
        assert set(found) == dead

    def test_an_unknown_outcome_is_unresolved_until_its_attempt_corrects_it(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        abandoned = marked(ledger, request_of("key-1"), clock)
        claimed(ledger, request_of("key-2", OTHER_ACTION), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS + 1
        for action_id in ledger.overdue():
            ledger.settle_overdue(action_id)
        assert list(ledger.unresolved()) == [abandoned.action_id]

        third = Action(PHLO_ID, NODE_ID, "+14152229999", TRIGGER_SOURCE)
        unknown = settled(ledger, request_of("key-3", third), clock, UNKNOWN)
        assert set(ledger.unresolved()) == {abandoned.action_id, unknown.action_id}

        ledger.settle(abandoned, ACCEPTED)
        assert list(ledger.unresolved()) == [unknown.action_id]

    def test_a_lease_includes_its_last_millisecond(self, ledger: Ledger, clock: Clock) -> None:
        claim = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS

        assert list(ledger.overdue()) == []
        assert ledger.settle_overdue(claim.action_id) is None

        clock.now += 1
        assert list(ledger.overdue()) == [claim.action_id]
        assert ledger.settle_overdue(claim.action_id) is not None

    @pytest.mark.parametrize(
        ("step", "state", "cause"),
        [
            (claimed, State.NOT_SENT, Cause.OUT_OF_TIME),
            (marked, State.UNKNOWN, Cause.ABANDONED),
        ],
    )
    def test_abandoned_attempts_are_settled_once_and_counted_once(  # noqa: PLR0913, PLR0917  fixtures
        self,
        ledger: Ledger,
        clock: Clock,
        abandoned: list[Record],
        step: Callable[[Ledger, ActionRequest, Clock], Claim],
        state: State,
        cause: Cause,
    ) -> None:
        claim = step(ledger, request_of(), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS + 1

        found = ledger.settle_overdue(claim.action_id)

        assert found is not None
        assert (found.state, found.cause, found.settled_at) == (state, cause, clock.now)
        assert ledger.settle_overdue(claim.action_id) is None
        assert list(ledger.overdue()) == []
        assert abandoned == [found]

    def test_the_record_that_it_settles_has_a_ttl(
        self, ledger: Ledger, clock: Clock, client: Any, table: str
    ) -> None:
        claim = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        ledger.settle_overdue(claim.action_id)

        (item,) = items(client, table)
        assert item["ttl"] == {"N": str(clock.now // 1000 + POLICY.record_seconds)}

    def test_a_record_marked_as_sending_after_it_was_read_is_left_alone(
        self, client: Any, table: str, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        """By this clock the lease has expired; the attempt marks before the write arrives."""
        ledger = ledger_on(client, table, clock)
        claim = claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        late = ledger_on(
            _Before(client, 1, lambda: ledger.mark_sending(claim, NOW_MS + LEASE_MS)), table, clock
        )

        assert late.settle_overdue(claim.action_id) is None
        assert record("key-1").state is State.SENDING

    def test_an_attempt_that_took_over_after_it_was_read_is_left_alone(
        self, client: Any, table: str, clock: Clock, record: Callable[[str], Record]
    ) -> None:
        ledger = ledger_on(client, table, clock)
        claimed(ledger, request_of(), clock)
        clock.now += LEASE_MS + 1
        late = ledger_on(
            _Before(client, 1, lambda: claimed(ledger, request_of(), clock)), table, clock
        )

        assert late.settle_overdue(request_of().action_id()) is None
        assert record("key-1").state is State.CLAIMED

    def test_it_settles_nothing_if_there_is_no_record(self, ledger: Ledger) -> None:
        assert ledger.settle_overdue("0" * 64) is None


class TestLook:
    def test_an_action_that_was_never_requested_is_not_found(self, ledger: Ledger) -> None:
        assert ledger.look("0" * 64) is None

    def test_an_answer_comes_from_its_own_record(self, ledger: Ledger, clock: Clock) -> None:
        claim = settled(ledger, request_of(), clock, ACCEPTED)

        found = ledger.look(claim.action_id)

        assert found is not None
        assert found[0] == found[1]
        assert found[0].state is State.ACCEPTED

    def test_a_duplicates_answer_comes_from_the_firsts_record(
        self, ledger: Ledger, clock: Clock
    ) -> None:
        first = settled(ledger, request_of("key-1"), clock, ACCEPTED)
        duplicate = claimed(ledger, request_of("key-2"), clock)
        answer_of(ledger.deduplicate, duplicate)

        found = ledger.look(duplicate.action_id)

        assert found is not None
        assert [record.action_id for record in found] == [duplicate.action_id, first.action_id]

    def test_a_lookup_settles_an_abandoned_attempt(self, ledger: Ledger, clock: Clock) -> None:
        claim = marked(ledger, request_of(), clock)
        clock.now += LEASE_MS + LEASE_MARGIN_MS + 1

        found = ledger.look(claim.action_id)

        assert found is not None
        assert found[0].state is State.UNKNOWN

    def test_it_sees_the_last_write(self, ledger: Ledger, clock: Clock) -> None:
        claim = marked(ledger, request_of(), clock)

        found = ledger.look(claim.action_id)

        assert found is not None
        assert found[0].state is State.SENDING


def test_the_table_has_no_address_and_no_id_of_plivos(
    ledger: Ledger, clock: Clock, client: Any, table: str
) -> None:
    settled(ledger, request_of("key-1"), clock, ACCEPTED)
    answer_of(ledger.deduplicate, claimed(ledger, request_of("key-2"), clock))
    marked(ledger, request_of("key-3", OTHER_ACTION), clock)

    written = str(items(client, table)).lower()

    private = (TO, OTHER_ACTION.to, TRIGGER_SOURCE, PHLO_ID, NODE_ID)
    for value in private:
        for form in (value, value.removeprefix("+"), value.replace("-", "")):
            assert form.lower() not in written
    assert "key-1" not in written


def test_a_content_lock_has_a_ttl(ledger: Ledger, clock: Clock, client: Any, table: str) -> None:
    ledger.deduplicate(claimed(ledger, request_of(), clock))

    (lock,) = (item for item in items(client, table) if item["pk"]["S"].startswith("C#"))
    assert lock["ttl"] == {"N": str(NOW_MS // 1000 + POLICY.record_seconds)}


def every_call(ledger: Ledger) -> Sequence[Callable[[], object]]:
    claim = Claim("0" * 64, "owner", 1, "0" * 64, NOW_MS, None)
    return (
        lambda: ledger.claim(request_of(), NOW_MS),
        lambda: ledger.deduplicate(claim),
        lambda: ledger.mark_sending(claim, NOW_MS),
        lambda: ledger.settle(claim, ACCEPTED),
        lambda: ledger.look("0" * 64),
        lambda: list(ledger.overdue()),
    )


def test_a_table_that_does_not_exist_is_ledger_unavailable(dynamodb: Any, clock: Clock) -> None:
    ledger = ledger_on(dynamodb, "no-such-table", clock)

    for call in every_call(ledger):
        with pytest.raises(LedgerUnavailable, match="ResourceNotFoundException"):
            call()


@pytest.mark.parametrize(
    "failure",
    [
        ResponseParserError("Unable to parse response: <html>+14152225555"),
        # botocore's message for credentials of a container that could not be renewed
        RuntimeError("Credentials were refreshed, but they are still expired: +14152225555"),
        OSError("a certificate bundle that cannot be read: +14152225555"),
    ],
    ids=["garbled", "credentials", "files"],
)
def test_any_exception_of_a_call_is_ledger_unavailable(clock: Clock, failure: Exception) -> None:
    class Failing:
        def get_item(self, **_: Any) -> Any:
            raise failure

        put_item = update_item = query = get_item

    for call in every_call(ledger_on(Failing(), "ledger", clock)):
        with pytest.raises(LedgerUnavailable, match=type(failure).__name__) as raised:
            call()
        assert "4152225555" not in str(raised.value)


def test_a_reply_without_a_request_id_confirms_nothing(clock: Clock) -> None:
    """Such as a proxy's maintenance page: botocore takes its 200 for a successful write."""
    make: Any = boto3.client
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = make("dynamodb", region_name="us-east-1", **keys)
    maintenance = AWSResponse("", 200, HTTPHeaders(), _Page())
    client.meta.events.register("before-send", lambda **_: maintenance)
    ledger = ledger_on(client, "ledger", clock)

    for call in every_call(ledger):
        with pytest.raises(LedgerUnavailable, match="without a request id"):
            call()


class _Page:
    def stream(self, **_: Any) -> list[bytes]:
        return [b"<html>maintenance</html>"]


class _Before:
    """A client that calls ``action`` before its n-th call (from 0)."""

    def __init__(self, client: Any, number: int, action: Callable[[], object]) -> None:
        self._client = client
        self._left = number
        self._action = action

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            if self._left == 0:
                self._action()
            self._left -= 1
            return getattr(self._client, operation)(**arguments)

        return call


def _claimed_again(client: Any, table: str, clock: Clock) -> tuple[Ledger, "_Repeatable", Claim]:
    """A retry after not_sent, whose claim can be delivered once more."""
    ledger = ledger_on(client, table, clock)
    ledger.settle(claimed(ledger, request_of("key-1"), clock), THROTTLED)
    repeatable = _Repeatable(client)
    return (
        ledger,
        repeatable,
        claimed(ledger_on(repeatable, table, clock), request_of("key-1"), clock),
    )


class _Retried:
    """A client whose first reply is lost: it makes the call again, after ``meanwhile``."""

    def __init__(self, client: Any, meanwhile: Callable[[], None]) -> None:
        self._client = client
        self._meanwhile: Callable[[], None] | None = meanwhile

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            if self._meanwhile is not None:
                meanwhile, self._meanwhile = self._meanwhile, None
                getattr(self._client, operation)(**arguments)
                meanwhile()
            return getattr(self._client, operation)(**arguments)

        return call


class _Repeatable:
    """A client whose last call can be made once more."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._call: tuple[str, dict[str, Any]]

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self._call = (operation, arguments)
            return getattr(self._client, operation)(**arguments)

        return call

    def again(self) -> None:
        operation, arguments = self._call
        getattr(self._client, operation)(**arguments)
