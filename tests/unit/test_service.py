"""The steps of an attempt: their order, their time limits, and what happens when one fails."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from cold_transfer.action import Action, ActionRequest, Answer, EntryPoint, Verdict
from cold_transfer.causes import Cause, Outcome
from cold_transfer.deadline import Deadline
from cold_transfer.entrypoints.components import compose
from cold_transfer.errors import (
    InProgress,
    LedgerUnavailable,
    NotSent,
    OutOfTime,
    SecretInvalid,
    SecretUnavailable,
)
from cold_transfer.ledger.ledger import LEASE_MARGIN_MS
from cold_transfer.service import SEND_SECONDS, Timing
from cold_transfer.settling import (
    ANSWER_SECONDS,
    ATTEMPT_SECONDS,
    CALL_SECONDS,
    PAUSES,
    SETTLE_SECONDS,
)
from tests.support import builders, fakes
from tests.support.ledgers import Clock, ledger_on

MAX_AGE = 60_000

REFUSED = Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=401)
UNREACHABLE = Verdict(Cause.PLIVO_UNREACHABLE)


class Bench:
    """The service on fakes, and a stopwatch that only the test moves."""

    def __init__(self, *script: Verdict | BaseException, seconds: float = 25.0) -> None:
        self.clock = Clock()
        self.table = fakes.Table()
        self.plivo = fakes.Plivo(*script)
        self.credentials = fakes.Credentials()
        self.probe = fakes.Probe()
        self.elapsed = 0.0
        self.pauses: list[float] = []
        self.before_repeating: Callable[[], None] = lambda: None
        self.waits: list[float] = []
        self.deadline = Deadline(seconds, lambda: self.elapsed)
        self.urgent = fakes.Table()
        self.urgent.items = self.table.items
        self.ledger = ledger_on(self.table, "ledger", self.clock, urgent=self.urgent)
        self.service = compose(
            fakes.settings(),
            self.probe,
            self.ledger,
            fakes.SecretsManager(),
            plivo=self.plivo,
            credentials=self.credentials,
            timing=Timing(self.clock, lambda: self.elapsed, self.pause, self.within),
        ).service

    def perform(self, given: ActionRequest | None = None) -> Answer:
        return self.service.perform(given or request(), self.deadline)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.before_repeating()

    def within[T](self, seconds: float, work: Callable[[], T]) -> T:
        self.waits.append(seconds)
        return work()

    def takes(self, seconds: float) -> Callable[[], None]:
        """A callback that takes this long, on both clocks."""

        def work() -> None:
            self.elapsed += seconds
            self.clock.now += int(seconds * 1000)

        return work


def request(key: str = "key-1", *, requested_at: int | None = None) -> ActionRequest:
    action = Action(builders.PHLO_ID, builders.NODE_ID, builders.TO, builders.TRIGGER_SOURCE)
    return ActionRequest(action, EntryPoint.WEBHOOK, "crm", key, requested_at)


def test_the_steps_of_an_action_have_a_fixed_order() -> None:
    bench = Bench()
    at_the_post: list[str] = []
    bench.plivo.before_answer = lambda: at_the_post.extend(bench.table.calls)

    answer = bench.perform()

    assert answer == Answer(request().action_id(), fakes.ACCEPTED)
    assert bench.probe.steps == [
        "claim",
        "deduplicate",
        "connect",
        "mark sending",
        "send",
        "settle",
    ]
    assert bench.table.calls == ["claimed", "deduplicate", "sending", "accepted"]
    assert at_the_post == ["claimed", "deduplicate", "sending"]
    assert bench.plivo.sent == [(request().action, fakes.OLD)]
    assert bench.table.states() == ["accepted"]


def test_an_earlier_record_is_read_only_if_the_last_attempt_with_the_content_failed() -> None:
    bench = Bench()
    bench.perform(request("key-1"))
    bench.clock.now += 6_000
    bench.plivo.unreachable = True
    bench.perform(request("key-2"))
    assert bench.table.calls[4:] == ["claimed", "deduplicate", "get", "deduplicate", "not_sent"]

    bench.plivo.unreachable = False
    bench.perform(request("key-3"))
    assert bench.table.calls[9:13] == ["claimed", "deduplicate", "get", "get"]
    assert bench.table.calls[13:] == ["deduplicate", "sending", "accepted"]


# --- time -------------------------------------------------------------------------------------


def test_nothing_is_claimed_without_enough_time_to_finish() -> None:
    bench = Bench(seconds=SETTLE_SECONDS + SEND_SECONDS)

    with pytest.raises(OutOfTime):
        bench.perform()

    assert bench.table.calls == []


def test_slightly_more_time_is_enough() -> None:
    bench = Bench(seconds=SETTLE_SECONDS + SEND_SECONDS + 0.01)

    assert bench.perform().verdict == fakes.ACCEPTED


def test_nothing_is_sent_if_too_little_time_is_left_after_mark_sending() -> None:
    bench = Bench()
    bench.plivo.before_connect = bench.takes(22.5)

    answer = bench.perform()

    assert (answer.verdict.cause, answer.verdict.status) == (Cause.OUT_OF_TIME, 503)
    assert answer.verdict.retry_after is not None
    assert bench.plivo.sent == []
    assert bench.table.calls == ["claimed", "deduplicate", "sending", "not_sent"]


def test_plivo_gets_its_deadline_less_what_is_reserved_for_the_settle() -> None:
    plenty = Bench(seconds=25.0)
    plenty.perform()
    assert plenty.plivo.patience == [10.0, 10.0]

    scarce = Bench(seconds=8.0)
    scarce.perform()
    assert scarce.plivo.patience == [6.0, 6.0]


def test_the_lease_ends_with_the_invocation_and_10_seconds_later_once_sending() -> None:
    bench = Bench(seconds=25.0)
    leases: list[int] = []

    def measure() -> None:
        item = bench.table.record(request().action_id())
        leases.append(int(item["lease_until"]["N"]) - bench.clock.now)

    bench.plivo.before_connect = measure
    bench.plivo.before_answer = measure
    bench.perform()

    assert leases == [25_000, 25_000 + LEASE_MARGIN_MS]
    assert LEASE_MARGIN_MS == 10_000


def test_an_old_request_is_not_sent() -> None:
    bench = Bench()

    answer = bench.perform(request(requested_at=bench.clock.now - MAX_AGE - 1))

    assert (answer.verdict.cause, answer.verdict.status) == (Cause.TOO_OLD, 422)
    assert bench.table.calls == ["claimed", "not_sent"]
    assert bench.plivo.connects == 0


def test_a_request_of_exactly_the_maximum_age_is_sent() -> None:
    bench = Bench()

    answer = bench.perform(request(requested_at=bench.clock.now - MAX_AGE))

    assert answer.verdict == fakes.ACCEPTED


def test_a_request_that_becomes_too_old_while_connecting_is_not_marked_as_sending() -> None:
    bench = Bench()
    bench.plivo.before_connect = bench.takes(1.0)

    answer = bench.perform(request(requested_at=bench.clock.now - MAX_AGE))

    assert answer.verdict.cause is Cause.TOO_OLD
    assert bench.table.calls == ["claimed", "deduplicate", "not_sent"]
    assert bench.plivo.sent == []


def test_the_age_counts_from_the_first_attempt_with_the_key() -> None:
    bench = Bench(REFUSED)
    bench.perform()
    bench.clock.now += MAX_AGE + 1

    answer = bench.perform()

    assert answer.verdict.cause is Cause.TOO_OLD
    assert len(bench.plivo.sent) == 1


def test_a_requested_at_in_the_future_does_not_extend_the_age() -> None:
    bench = Bench(REFUSED)
    early = request(requested_at=bench.clock.now + 20_000)
    bench.perform(early)
    bench.clock.now += MAX_AGE + 1

    assert bench.perform(early).verdict.cause is Cause.TOO_OLD


# --- not sent ---------------------------------------------------------------------------------


def subclasses(error: type[NotSent]) -> Iterator[type[NotSent]]:
    yield from (error, *itertools.chain(*map(subclasses, error.__subclasses__())))


@pytest.mark.parametrize("error", [kind for kind in subclasses(NotSent) if hasattr(kind, "cause")])
def test_every_not_sent_error_is_recorded_as_not_sent(error: type[NotSent]) -> None:
    bench = Bench()
    bench.credentials.known = error("a reason")

    answer = bench.perform()

    assert answer.verdict == Verdict(error.cause)
    assert bench.plivo.sent == []
    assert bench.table.states() == ["not_sent"]


def test_a_failed_connection_releases_the_claim_and_the_key_can_be_retried() -> None:
    bench = Bench()
    bench.plivo.unreachable = True

    assert bench.perform().verdict == UNREACHABLE
    assert bench.table.calls == ["claimed", "deduplicate", "not_sent"]

    bench.plivo.unreachable = False
    assert bench.perform().verdict == fakes.ACCEPTED
    assert len(bench.plivo.sent) == 1


@pytest.mark.parametrize(
    ("failure", "metric"),
    [
        (SecretUnavailable("the secret plivo: no reply"), "SecretUnavailable"),
        (SecretInvalid("the Plivo secret: auth_id is missing"), "SecretInvalid"),
    ],
)
def test_without_a_plivo_secret_nothing_is_sent(failure: Exception, metric: str) -> None:
    bench = Bench()
    bench.credentials.known = failure

    answer = bench.perform()

    assert (answer.verdict.cause, answer.verdict.status) == (Cause.DEPENDENCY_UNAVAILABLE, 503)
    assert answer.verdict.retry_after is not None
    assert bench.table.states() == ["not_sent"]
    assert bench.plivo.connects == 0
    assert bench.probe.counted == [metric]


# --- Plivo's 401 ------------------------------------------------------------------------------


def test_after_a_401_a_rotated_token_is_used() -> None:
    bench = Bench(REFUSED, fakes.ACCEPTED)
    bench.credentials.latest = fakes.NEW

    assert bench.perform().verdict == fakes.ACCEPTED

    assert [used for _, used in bench.plivo.sent] == [fakes.OLD, fakes.NEW]
    assert bench.credentials.refreshes == 1
    assert bench.table.states() == ["accepted"]


def test_a_second_401_is_final() -> None:
    bench = Bench(REFUSED)
    bench.credentials.latest = fakes.NEW

    assert bench.perform().verdict == REFUSED

    assert len(bench.plivo.sent) == 2
    assert bench.credentials.refreshes == 1
    assert bench.table.states() == ["not_sent"]


def test_after_a_401_the_same_token_is_not_tried_again() -> None:
    bench = Bench(REFUSED)

    assert bench.perform().verdict == REFUSED

    assert len(bench.plivo.sent) == 1
    assert bench.credentials.refreshes == 1


@pytest.mark.parametrize(
    "failure", [SecretUnavailable("no reply"), SecretInvalid("auth_id is missing")]
)
def test_a_401_is_returned_if_the_secret_cannot_be_read(failure: Exception) -> None:
    bench = Bench(REFUSED)
    bench.credentials.latest = failure

    assert bench.perform().verdict == REFUSED

    assert len(bench.plivo.sent) == 1
    assert bench.probe.counted == [type(failure).__name__]


def test_after_a_401_nothing_is_sent_without_time_for_another_post() -> None:
    bench = Bench(REFUSED)
    bench.credentials.latest = fakes.NEW
    bench.plivo.before_answer = bench.takes(5.0)
    bench.credentials.before_refresh = bench.takes(4.5)

    assert bench.perform().verdict == REFUSED

    assert bench.credentials.refreshes == 1
    assert len(bench.plivo.sent) == 1


@pytest.mark.parametrize(("spare", "refreshes"), [(-0.1, 0), (0.1, 1)])
def test_the_token_is_refreshed_only_if_the_401_can_still_be_recorded_afterwards(
    spare: float, refreshes: int
) -> None:
    bench = Bench(REFUSED)
    bench.credentials.latest = fakes.NEW
    bench.plivo.before_answer = bench.takes(25 - SETTLE_SECONDS - CALL_SECONDS - spare)

    assert bench.perform().verdict == REFUSED

    assert bench.credentials.refreshes == refreshes
    assert bench.table.states() == ["not_sent"]


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Cause.PLIVO_CREDENTIALS_REFUSED, plivo_status=403),
        Verdict(Cause.REJECTED, plivo_status=400),
        Verdict(Cause.PLIVO_TIMED_OUT),
    ],
)
def test_only_a_401_is_retried_with_another_token(verdict: Verdict) -> None:
    bench = Bench(verdict)
    bench.credentials.latest = fakes.NEW

    bench.perform()

    assert len(bench.plivo.sent) == 1
    assert bench.credentials.refreshes == 0


# --- a failing ledger -------------------------------------------------------------------------


@pytest.mark.parametrize("call", range(4))
def test_a_write_that_botocore_repeats_is_recognised_as_its_own(call: int) -> None:
    bench = Bench()
    bench.table.retried.add(call)

    assert bench.perform() == Answer(request().action_id(), fakes.ACCEPTED)

    assert bench.table.calls == ["claimed", "deduplicate", "sending", "accepted"]  # nothing is read
    assert len(bench.plivo.sent) == 1
    assert bench.probe.counted == []


def test_a_repeated_write_of_a_duplicate_is_recognised_as_its_own() -> None:
    bench = Bench()
    first = bench.perform()
    bench.table.retried.add(7)

    other = bench.perform(request("key-2"))

    assert bench.table.calls[7] == "duplicate"
    assert (other.verdict, other.duplicate_of) == (fakes.ACCEPTED, first.action_id)
    assert bench.table.states() == ["accepted", "duplicate"]


@pytest.mark.parametrize("manner", ["out", "lost"])
def test_if_the_ledger_fails_at_the_claim_nothing_is_sent(manner: str) -> None:
    bench = Bench()
    getattr(bench.table, manner).add(0)

    with pytest.raises(LedgerUnavailable):
        bench.perform()

    assert bench.table.calls == ["claimed"]
    assert bench.plivo.connects == 0


@pytest.mark.parametrize("manner", ["out", "lost"])
@pytest.mark.parametrize("call", [1, 2])
def test_if_the_ledger_fails_before_the_post_nothing_is_sent(manner: str, call: int) -> None:
    bench = Bench()
    getattr(bench.table, manner).add(call)

    answer = bench.perform()

    assert (answer.verdict.cause, answer.verdict.status) == (Cause.DEPENDENCY_UNAVAILABLE, 503)
    assert answer.verdict.retry_after is not None
    assert bench.plivo.sent == []
    assert bench.table.states() == ["not_sent"]
    assert bench.probe.counted == ["LedgerUnavailable"]

    assert bench.perform().verdict == fakes.ACCEPTED


@pytest.mark.parametrize("call", [1, 2])
def test_if_the_ledger_stays_unavailable_the_answer_is_the_same_and_settle_failed_is_counted(
    call: int,
) -> None:
    bench = Bench()
    bench.table.out |= {call, call + 1}
    bench.urgent.out |= set(range(len(PAUSES)))

    answer = bench.perform()

    assert answer.verdict.cause is Cause.DEPENDENCY_UNAVAILABLE
    assert bench.plivo.sent == []
    assert bench.table.states() == ["claimed"]
    assert bench.probe.counted == ["LedgerUnavailable", "SettleFailed"]


def test_a_duplicate_is_answered_although_the_reply_to_its_write_is_lost() -> None:
    bench = Bench()
    first = bench.perform()
    bench.table.lost.add(7)  # after the claim, the content lock and the read

    other = bench.perform(request("key-2"))

    assert bench.table.calls[4:8] == ["claimed", "deduplicate", "get", "duplicate"]
    assert (other.verdict, other.duplicate_of) == (fakes.ACCEPTED, first.action_id)
    assert bench.table.states() == ["accepted", "duplicate"]
    assert bench.probe.counted == ["LedgerUnavailable"]


@pytest.mark.parametrize("seconds", [26.0, 36.0])
def test_an_attempt_that_was_taken_over_gets_the_next_attempts_answer(
    seconds: float,
) -> None:
    bench = Bench()
    second: list[Answer] = []

    def overtaken() -> None:
        if not second:
            bench.plivo.before_connect = lambda: None
            bench.clock.now += int(seconds * 1000)  # this process was frozen
            second.append(bench.perform())
            bench.plivo.unreachable = True

    bench.plivo.before_connect = overtaken

    answer = bench.perform()

    assert (answer.verdict, answer.replayed) == (fakes.ACCEPTED, True)
    assert bench.probe.counted == []


def test_an_attempt_that_was_taken_over_is_in_progress_while_the_next_one_runs() -> None:
    bench = Bench()
    bench.plivo.unreachable = True

    def taken_over() -> None:
        bench.table.record(request().action_id())["owner"] = {"S": "the next attempt"}

    bench.plivo.before_connect = taken_over

    with pytest.raises(InProgress):
        bench.perform()

    assert bench.probe.counted == []


def test_an_attempt_that_yields_after_it_was_taken_over_gets_the_next_attempts_answer() -> None:
    bench = Bench()
    found: list[Answer] = []

    def meanwhile(number: int) -> None:
        if bench.table.calls[number] == "not_sent" and not found:
            bench.table.before_call = lambda _: None
            record = bench.table.record(request("key-2").action_id())
            record |= {"owner": {"S": "the next attempt"}, "state": {"S": "rejected"}}
            record |= {"cause": {"S": "rejected"}, "plivo_status": {"N": "404"}}

    def double_click() -> None:
        bench.table.before_call = meanwhile
        found.append(bench.perform(request("key-2")))

    bench.plivo.before_answer = double_click

    bench.perform()

    assert [answer.verdict for answer in found] == [Verdict(Cause.REJECTED, plivo_status=404)]


@pytest.mark.parametrize(("spare", "waits"), [(0.1, []), (-0.1, [ATTEMPT_SECONDS])])
def test_the_wait_for_the_settle_is_limited_if_the_client_might_outlive_the_invocation(
    spare: float, waits: list[float]
) -> None:
    bench = Bench()
    bench.plivo.before_answer = bench.takes(25 - SETTLE_SECONDS - CALL_SECONDS - spare)

    bench.perform()

    assert bench.waits == waits
    assert bench.urgent.calls == []  # its connection would still have to be opened
    assert bench.table.states() == ["accepted"]


@pytest.mark.parametrize("manner", ["out", "lost"])
def test_a_failed_settle_is_repeated_whether_or_not_it_was_written(manner: str) -> None:
    bench = Bench()
    getattr(bench.table, manner).add(3)

    answer = bench.perform()

    assert answer == Answer(request().action_id(), fakes.ACCEPTED)
    assert bench.table.states() == ["accepted"]
    assert (bench.table.calls[3:], bench.urgent.calls) == (["accepted"], ["accepted"])
    assert bench.probe.counted == []


def test_a_settle_that_fails_with_any_other_error_is_repeated_too() -> None:
    bench = Bench()
    bench.table.failure = RuntimeError("Credentials were refreshed, but they are still expired")
    bench.table.out.add(3)

    assert bench.perform().verdict == fakes.ACCEPTED
    assert bench.table.states() == ["accepted"]


def test_the_pauses_before_repeating_to_settle_grow() -> None:
    bench = Bench()
    bench.table.out.add(3)
    bench.urgent.out |= set(range(len(PAUSES) - 2))

    bench.perform()

    assert bench.table.states() == ["accepted"]
    assert bench.pauses == list(PAUSES[1:])


def test_a_settle_that_hangs_is_given_up_before_the_invocation_ends() -> None:
    bench = Bench()
    bench.table.out.add(3)
    bench.urgent.out |= set(range(len(PAUSES)))
    bench.plivo.before_answer = bench.takes(25 - SETTLE_SECONDS)
    hang = bench.takes(ATTEMPT_SECONDS)
    bench.table.before_call = lambda number: hang() if number == 3 else None
    bench.urgent.before_call = lambda _: hang()

    answer = bench.perform()

    assert answer.verdict == fakes.ACCEPTED
    assert (bench.table.calls[3:], bench.urgent.calls) == (["accepted"], ["accepted"])
    assert bench.deadline.remaining() >= ANSWER_SECONDS


def test_a_released_attempt_gets_the_answer_of_an_attempt_that_came_in_between() -> None:
    bench = Bench(REFUSED, fakes.ACCEPTED)
    bench.table.lost.add(3)  # the first attempt's first write of its outcome
    bench.probe.counted.clear()
    second: list[Answer] = []

    def meanwhile() -> None:
        if not second:
            second.append(bench.perform())

    bench.before_repeating = meanwhile

    first = bench.perform()

    assert (first.verdict, first.replayed) == (fakes.ACCEPTED, True)
    assert (second[0].verdict, second[0].replayed) == (fakes.ACCEPTED, False)
    assert bench.table.states() == ["accepted"]
    assert bench.probe.counted == []


def test_the_answer_is_plivos_although_the_ledger_fails_after_the_post() -> None:
    bench = Bench()
    bench.table.out.add(3)
    bench.urgent.out |= set(range(len(PAUSES)))

    answer = bench.perform()

    assert answer == Answer(request().action_id(), fakes.ACCEPTED)
    assert bench.table.states() == ["sending"]
    assert bench.probe.counted == ["SettleFailed"]
    ((message, keys),) = bench.probe.errors
    assert message == "settle_failed"
    assert keys["action_id"] == answer.action_id
    assert keys["outcome"] is Outcome.ACCEPTED
    assert len(bench.plivo.sent) == 1


def test_an_outcome_whose_record_was_taken_over_is_answered_and_counted_as_settle_failed() -> None:
    bench = Bench()

    def taken_over() -> None:
        bench.table.record(request().action_id())["owner"] = {"S": "the next attempt"}

    bench.plivo.before_answer = taken_over

    assert bench.perform().verdict == fakes.ACCEPTED
    assert bench.probe.counted == ["SettleFailed"]


def test_a_fenced_claim_is_not_sent() -> None:
    bench = Bench()

    def fenced() -> None:
        bench.clock.now += 26_000
        bench.ledger.settle_overdue(request().action_id())

    bench.plivo.before_connect = fenced

    answer = bench.perform()

    assert answer.verdict.outcome is Outcome.NOT_SENT
    assert bench.plivo.sent == []
    assert bench.table.states() == ["not_sent"]


def test_a_claim_that_was_taken_over_is_not_sent() -> None:
    bench = Bench()

    def taken_over() -> None:
        bench.table.record(request().action_id())["owner"] = {"S": "the next attempt"}

    bench.plivo.before_connect = taken_over

    with pytest.raises(InProgress):
        bench.perform()

    assert bench.plivo.sent == []
    assert bench.table.calls == ["claimed", "deduplicate", "sending"]


def test_an_unexpected_error_leaves_the_record_sending() -> None:
    bench = Bench(RuntimeError("a fault"), fakes.ACCEPTED)

    with pytest.raises(RuntimeError):
        bench.perform()

    assert bench.table.states() == ["sending"]
    bench.clock.now += 36_000
    assert bench.perform().verdict.cause is Cause.ABANDONED
    assert len(bench.plivo.sent) == 1


# --- metrics and traces -----------------------------------------------------------------------


def test_plivo_latency_is_that_of_the_post_alone() -> None:
    bench = Bench()
    bench.plivo.before_connect = bench.takes(3.0)
    bench.plivo.before_answer = bench.takes(0.25)

    bench.perform()

    assert bench.probe.measured == [("PlivoLatency", 250.0)]


def test_the_trace_has_host_path_template_and_status_of_each_post() -> None:
    bench = Bench(REFUSED, fakes.ACCEPTED)
    bench.credentials.latest = fakes.NEW

    bench.perform()

    template = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"
    assert bench.probe.remotes == [
        ("phlorunner.plivo.com", template, {"status": 401}),
        ("phlorunner.plivo.com", template, {"status": 201}),
    ]


def test_a_post_without_an_answer_has_no_status_in_the_trace() -> None:
    bench = Bench(Verdict(Cause.PLIVO_TIMED_OUT))

    bench.perform()

    assert bench.probe.remotes[0][2] == {}
