"""Compares answers, ledger, Plivo and dead letters to find what a load run lost or doubled."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.load.plan import Order, Resend
from cold_transfer.action import EntryPoint
from cold_transfer.causes import Cause
from cold_transfer.ledger.record import OPEN, Record, State

_BUSY = frozenset({Cause.IN_PROGRESS, Cause.DUPLICATE_IN_PROGRESS})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    status
        The webhook's; None at the event entry point.
    action_id, duplicate_of
        As the answer has them; empty if it has none.
    replayed
        None for an event that raises, whose error does not say.
    retry_after
        Seconds.
    """

    status: int | None
    cause: str
    action_id: str = ""
    replayed: bool | None = False
    duplicate_of: str = ""
    retry_after: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """One request of an order.

    action_id
        What its key makes of it.
    answer
        None where the entry point gives none: an event that was put on the bus, or handed over
        for later.
    seconds
        Until the answer, or until the record was settled.
    tries
        How often it was sent: more than once if a part of the system was out of reach.
    dead_letter
        Whether it was delivered in the way that takes a failure to the dead-letter queue.
    """

    entry_point: EntryPoint
    action_id: str
    answer: Answer | None
    seconds: float
    tries: int = 1
    dead_letter: bool = False


@dataclass(frozen=True, slots=True)
class Played:
    """An order and its requests, in the order in which they were sent."""

    order: Order
    requests: Sequence[Sent]


@dataclass(frozen=True, slots=True)
class Found:
    """What a run left behind.

    records
        The ledger's, by Action-Id.
    acted_on
        POSTs that Plivo may have acted on, by ``trigger_source``.
    throttled
        POSTs that Plivo answered 429: proof that nothing happened.
    dead_letters
        How often each Action-Id is in the dead-letter queue.
    """

    records: Mapping[str, Record]
    acted_on: Mapping[str, int]
    throttled: Mapping[str, int]
    dead_letters: Mapping[str, int]


def faults(run: Sequence[Played], found: Found) -> Iterator[str]:
    """Every deviation as a text; empty if nothing was lost or doubled."""
    for played in run:
        where = (
            f"{played.order.key} ({played.order.manner.name}, sent again: {played.order.resend})"
        )
        for fault in _faults_of(played, found):
            yield f"{where}: {fault}"
    ids = {sent.action_id for played in run for sent in played.requests}
    numbers = {played.order.trigger_source for played in run}
    yield from (f"{one}: a record that nothing requested" for one in found.records.keys() - ids)
    yield from (f"{one}: a POST that nothing requested" for one in found.acted_on.keys() - numbers)
    yield from (f"{one}: a dead letter of no order" for one in found.dead_letters.keys() - ids)


def _faults_of(played: Played, found: Found) -> Iterator[str]:
    order, sent = played.order, played.requests
    if not sent:
        yield "was not requested"
        return
    yield from _of_answers(order, sent)
    for place, one in enumerate(_by_id(sent).values()):
        yield from _of_record(order, one, sent[0].action_id, place, found.records)
    wanted, there = _posts(order, sent), found.acted_on.get(order.trigger_source, 0)
    if there != wanted:
        yield f"Plivo received {there} POSTs, not {wanted}"
    if order.manner.cause is Cause.PLIVO_THROTTLED and order.trigger_source not in found.throttled:
        yield "Plivo received nothing"
    if order.manner.state is not State.ACCEPTED:
        letters = Counter(one.action_id for one in sent if one.dead_letter)
        for action_id, count in letters.items():
            there = found.dead_letters.get(action_id, 0)
            if there != count:
                yield f"{there} dead letters, not {count}"
        return
    # An event on the bus that meets another request with its key in progress is a dead letter.
    over_the_bus = sum(one.answer is None for one in sent)
    allowed = over_the_bus if order.resend is Resend.AT_ONCE else 0
    if sum(found.dead_letters.get(one, 0) for one in _by_id(sent)) > allowed:
        yield "accepted, and a dead letter"


def _of_answers(order: Order, sent: Sequence[Sent]) -> Iterator[str]:
    for place, one in enumerate(sent):
        for fault in _of_answer(order, one, sent[0].action_id if place else ""):
            yield f"request {place + 1} {fault}"
    if order.resend is not Resend.AT_ONCE or not order.manner.is_final:
        return
    answers = [one.answer for one in sent if one.answer is not None and one.tries == 1]
    judged = [answer.replayed for answer in answers if answer.cause not in _BUSY]
    if len(answers) == len(sent) and None not in judged and judged.count(False) != 1:
        yield f"{judged.count(False)} of its requests were answered as the first"


def _of_answer(order: Order, one: Sent, first_id: str) -> Iterator[str]:
    """``first_id`` is the Action-Id of the order's first request, empty if this is the first."""
    manner, answer, at_once = order.manner, one.answer, order.resend is Resend.AT_ONCE
    if answer is None or (at_once and answer.cause in _BUSY):
        return
    if answer.cause != manner.cause or answer.status not in (manner.status, None):
        yield f"was answered {answer.status} {answer.cause}, not {manner.status} {manner.cause}"
        return
    if manner.state is not None and answer.action_id != one.action_id:
        yield f"has the Action-Id {answer.action_id!r}"
    if at_once or one.tries > 1 or answer.replayed is None:
        return
    same_key = one.action_id == first_id
    duplicate = bool(first_id) and not same_key and manner.holds_a_window
    if answer.replayed != (duplicate or (same_key and manner.is_final)):
        yield f"was {'' if answer.replayed else 'not '}replayed"
    if answer.duplicate_of != (first_id if duplicate else ""):
        yield f"was called a duplicate of {answer.duplicate_of!r}"


def _of_record(
    order: Order, one: Sent, first_id: str, place: int, records: Mapping[str, Record]
) -> Iterator[str]:
    manner, record = order.manner, records.get(one.action_id)
    if record is None:
        if manner.state is not None:
            yield f"request {place + 1} has no record"
        return
    if manner.state is None:
        yield f"request {place + 1} has a record, {record.state}"
    elif record.state in OPEN or record.state is None:
        yield f"request {place + 1} is still {record.state}"
    elif place and manner.holds_a_window:
        if (record.state, record.duplicate_of) != (State.DUPLICATE, first_id):
            yield f"request {place + 1} is {record.state}, not a duplicate of the first"
    elif (record.state, record.cause) != (manner.state, manner.cause):
        yield f"request {place + 1} is {record.state}, {record.cause}"
    elif record.verdict().status != manner.status:
        yield f"request {place + 1} is recorded with {record.verdict().status}"


def _posts(order: Order, sent: Sequence[Sent]) -> int:
    """How many POSTs of this order Plivo may have acted on: never more than one per key."""
    manner = order.manner
    if manner.holds_a_window:
        return 1
    return len(_by_id(sent)) if manner.is_final else 0


def _by_id(sent: Sequence[Sent]) -> dict[str, Sent]:
    return {one.action_id: one for one in sent}
