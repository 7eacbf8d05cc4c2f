"""The load test: its audit finds lost and doubled actions and leaks, its plan covers all cases."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks.load import plan, report
from benchmarks.load.__main__ import PROGRAM
from benchmarks.load.audit import Answer, Found, Played, Sent, faults
from benchmarks.load.plan import MANNERS, Manner, Order, Resend
from benchmarks.load.run import Part, Run, Soak
from benchmarks.load.soak import Sample, slope
from cold_transfer.action import EntryPoint
from cold_transfer.causes import Cause
from cold_transfer.ledger.record import Record, State
from local.build import ROOT
from tools import markers

FIRST, SECOND = "1" * 64, "2" * 64
ACCEPTED = next(each for each in MANNERS if each.name == "accepted")


def manner(name: str) -> Manner:
    return next(each for each in MANNERS if each.name == name)


def order(kind: Manner = ACCEPTED, resend: Resend = Resend.NONE) -> Order:
    return Order(EntryPoint.WEBHOOK, "crm", kind, resend, "key", "+14155550100", "+14155550101")


def answer(kind: Manner = ACCEPTED, **changes: Any) -> Answer:
    given = Answer(kind.status, kind.cause, action_id=FIRST)
    return dataclasses.replace(given, **changes)


def sent(given: Answer | None, action_id: str = FIRST, **changes: Any) -> Sent:
    return dataclasses.replace(Sent(EntryPoint.WEBHOOK, action_id, given, 0.01), **changes)


def record(kind: Manner = ACCEPTED, action_id: str = FIRST, **changes: Any) -> Record:
    stored: dict[str, Any] = {
        "pk": {"S": f"K#{action_id}"},
        "client": {"S": "crm"},
        "cause": {"S": kind.cause},
    }
    stored |= {"state": {"S": str(kind.state)}, "plivo_status": {"N": str(kind.status)}}
    return Record.from_item(stored)._replace(**changes)


def judged(played: Played, *records: Record, **changes: Any) -> list[str]:
    known = {each.action_id: each for each in records}
    posts = 1 if played.order.manner.is_final else 0
    found = Found(known, Counter({played.order.trigger_source: posts}), Counter(), Counter())
    return list(faults([played], dataclasses.replace(found, **changes)))


def test_a_consistent_run_has_no_fault() -> None:
    assert judged(Played(order(), [sent(answer())]), record()) == []


@pytest.mark.parametrize("name", [each.name for each in MANNERS if each.state is not None])
def test_each_recorded_manner_passes_when_answer_record_and_plivo_agree(name: str) -> None:
    kind = manner(name)
    throttled = Counter({"+14155550101": 1})
    posts = Counter({"+14155550101": 1} if kind.is_final else {})

    played = Played(order(kind), [sent(answer(kind))])

    assert judged(played, record(kind), acted_on=posts, throttled=throttled) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"acted_on": {"+14155550101": 2}}, "2 POSTs, not 1"),
        ({"acted_on": {}}, "0 POSTs, not 1"),
        ({"acted_on": {"+14155550101": 1, "+1999": 1}}, "+1999: a POST that nothing requested"),
        ({"records": {}}, "has no record"),
        ({"records": {FIRST: record(), SECOND: record()}}, "a record that nothing requested"),
        ({"records": {FIRST: record(state=State.SENDING)}}, "is still sending"),
        ({"records": {FIRST: record(state=State.UNKNOWN)}}, "is unknown"),
        ({"records": {FIRST: record(plivo_status=200)}}, "recorded with 200"),
        ({"dead_letters": {FIRST: 1}}, "accepted, and a dead letter"),
        ({"dead_letters": {SECOND: 1}}, "a dead letter of no order"),
    ],
)
def test_a_lost_or_doubled_action_is_found(changes: dict[str, Any], fault: str) -> None:
    found = judged(Played(order(), [sent(answer())]), record(), **changes)

    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (answer(cause=Cause.OUTCOME_UNKNOWN, status=502), "answered 502 outcome-unknown"),
        (answer(status=200), "answered 200 accepted"),
        (answer(action_id=SECOND), "has the Action-Id"),
        (answer(replayed=True), "was replayed"),
        (answer(duplicate_of=SECOND), "was called a duplicate"),
    ],
)
def test_a_wrong_answer_is_found(given: Answer, fault: str) -> None:
    found = judged(Played(order(), [sent(given)]), record())

    assert [text for text in found if fault in text] == found != []


def test_an_answer_that_should_have_been_a_replay_is_found() -> None:
    played = Played(order(resend=Resend.LATER), [sent(answer()), sent(answer())])

    assert "request 2 was not replayed" in judged(played, record())[0]


def test_the_same_action_under_another_key_must_be_a_duplicate_of_the_first() -> None:
    replayed = answer(action_id=SECOND, replayed=True, duplicate_of=FIRST)
    played = Played(order(resend=Resend.OTHER_KEY), [sent(answer()), sent(replayed, SECOND)])
    duplicate = record(action_id=SECOND, state=State.DUPLICATE, duplicate_of=FIRST)

    assert judged(played, record(), duplicate) == []
    assert "not a duplicate of the first" in judged(played, record(), record(action_id=SECOND))[0]


def test_of_two_simultaneous_requests_exactly_one_must_be_the_first() -> None:
    busy = Answer(409, Cause.IN_PROGRESS)
    replay = answer(replayed=True)

    def both(one: Answer, other: Answer) -> list[str]:
        played = Played(order(resend=Resend.AT_ONCE), [sent(one), sent(other)])
        return judged(played, record())

    assert both(answer(), busy) == both(answer(), replay) == []
    assert "2 of its requests were answered as the first" in both(answer(), answer())[0]
    assert "0 of its requests were answered as the first" in both(replay, busy)[0]


def test_each_failed_event_must_be_in_the_dead_letter_queue() -> None:
    kind = manner("rejected")
    event = sent(None, entry_point=EntryPoint.EVENT, dead_letter=True)
    played = Played(order(kind, Resend.LATER), [event, event])

    assert judged(played, record(kind), dead_letters={FIRST: 2}) == []
    assert "1 dead letters, not 2" in judged(played, record(kind), dead_letters={FIRST: 1})[0]


def test_an_event_that_met_another_with_its_key_may_be_a_dead_letter_once() -> None:
    event = sent(None, entry_point=EntryPoint.EVENT)
    invoked = sent(dataclasses.replace(answer(), status=None), entry_point=EntryPoint.EVENT)
    played = Played(order(resend=Resend.AT_ONCE), [event, invoked])

    assert judged(played, record(), dead_letters={FIRST: 1}) == []
    assert "a dead letter" in judged(played, record(), dead_letters={FIRST: 2})[0]
    alone = Played(order(), [event])
    assert "a dead letter" in judged(alone, record(), dead_letters={FIRST: 1})[0]


def test_a_plan_has_every_manner_and_every_resend_and_is_the_same_for_its_seed() -> None:
    drawn = list(plan.orders(2_000, seed=3))

    assert drawn == list(plan.orders(2_000, seed=3))
    assert {each.manner for each in drawn} == set(MANNERS)
    assert {each.resend for each in drawn} == set(Resend)
    assert {each.entry_point for each in drawn} == set(EntryPoint)
    assert all(each.entry_point in each.manner.entry_points for each in drawn)
    assert len({each.trigger_source for each in drawn}) == 2_000


def test_two_seeds_share_no_number_and_no_key() -> None:
    one, other = (list(plan.orders(500, seed=seed)) for seed in (1, 2))

    assert {each.trigger_source for each in one}.isdisjoint(each.trigger_source for each in other)
    assert {each.key for each in one}.isdisjoint(each.key for each in other)


def samples(*kib: float) -> list[Sample]:
    return [Sample(number * 100, round(each)) for number, each in enumerate(kib, 1)]


def test_a_leak_of_a_small_object_in_each_invocation_is_too_steep() -> None:
    leaking = samples(*(50_000 + number * 100 * 56 / 1024 for number in range(100)))

    assert slope(leaking) == pytest.approx(54.7, abs=0.5)
    assert slope(leaking) > report.MOST_KIB_PER_THOUSAND


def test_a_leak_that_begins_late_is_too_steep() -> None:
    late = samples(*[50_000] * 55, *(50_000 + number * 15 for number in range(45)))

    assert slope(late) > report.MOST_KIB_PER_THOUSAND


@pytest.mark.parametrize(
    "flat",
    [
        samples(*[40_000] * 20, *[50_000] * 80),  # a warm-up is not a leak
        samples(*[50_000] * 60, 80_000, 80_000, *[50_000] * 38),
        samples(*[50_000, 50_004] * 50),
    ],
    ids=["warm-up", "spike", "noise"],
)
def test_what_only_looks_like_a_leak_is_flat(flat: Sequence[Sample]) -> None:
    assert slope(flat) == pytest.approx(0, abs=1)


def test_a_single_sample_is_too_few_for_a_slope() -> None:
    with pytest.raises(ValueError, match="too few samples"):
        slope(samples(50_000))


def run_of(leak: float = 0.0) -> Run:
    played = [Played(order(), [sent(answer(), seconds=0.01 * number)]) for number in range(1, 6)]
    soak = Soak(
        EntryPoint.WEBHOOK, Part(played, 1.0), samples(*(50_000 + leak * n for n in range(50)))
    )
    found = Found({}, Counter({"+14155550101": 1}), Counter(), Counter())
    return Run(Part(played, 2.0), [soak], Part(played, 1.0), found)


def test_a_worker_whose_memory_grows_is_named() -> None:
    assert report.too_steep(run_of()) == []
    assert (
        "the worker of the webhook entry point grows by 100.0 KiB"
        in report.too_steep(run_of(10))[0]
    )


def test_latencies_exclude_requests_that_were_tried_again() -> None:
    run = run_of()
    again = Played(order(), [sent(answer(), seconds=60.0, tries=2)])
    run.traffic = Part([*run.traffic.played, again], 2.0)

    assert report.latencies(run)["webhook, accepted"] == pytest.approx([10, 20, 30, 40, 50])


@pytest.mark.parametrize(("share", "value"), [(50, 5), (90, 9), (99, 10), (100, 10)])
def test_a_percentile_is_the_smallest_value_that_covers_the_share(share: int, value: float) -> None:
    assert report.percentile(share, [float(each) for each in range(10, 0, -1)]) == value


def test_every_table_of_the_document_is_written() -> None:
    document = (ROOT / "docs" / "throughput.md").read_text(encoding="utf-8")

    text = markers.written(document, PROGRAM, report.written(run_of()))

    assert "| webhook, accepted | 5 | 30.0 |" in text
    assert "| 5 | 5 | 0 | 1 | 1 |" in text
