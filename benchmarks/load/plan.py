"""The requests of a load run, and the result that each must have.

The end of ``to`` tells the Plivo simulator how to fail, so the outcome of every order is known
before it is sent. Each order has its own ``trigger_source``, which identifies its POSTs.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from cold_transfer.action import EntryPoint
from cold_transfer.causes import Cause
from cold_transfer.ledger.record import State
from local.simulator_rules import FAILING


class Resend(StrEnum):
    """How an order is sent a second time."""

    NONE = "none"
    LATER = "later"  # with its key, after its answer
    AT_ONCE = "at once"  # with its key, in the same moment
    OTHER_KEY = "other key"  # the same action under a new key, after its answer
    OTHER_ENTRY_POINT = "other entry point"  # the same, through the other entry point


#: Of 100 orders.
RESENDS = {
    Resend.NONE: 60,
    Resend.LATER: 18,
    Resend.AT_ONCE: 12,
    Resend.OTHER_KEY: 6,
    Resend.OTHER_ENTRY_POINT: 4,
}


ENTRY_POINTS = {EntryPoint.WEBHOOK: 70, EntryPoint.EVENT: 30}


@dataclass(frozen=True, slots=True)
class Manner:
    """One way for a request to end.

    weight
        How many of 100 orders.
    to
        The end of the number that makes the simulator fail in this way; empty for success.
    status
        The webhook's status, also in the ledger.
    state
        The record's; None if the request never gets one.
    sent
        Whether an attempt reaches Plivo.
    entry points
        Through which it can come.
    """

    name: str
    weight: int
    to: str
    status: int
    state: State | None
    cause: Cause
    sent: bool = True
    entry_points: tuple[EntryPoint, ...] = (EntryPoint.WEBHOOK, EntryPoint.EVENT)

    @property
    def holds_a_window(self) -> bool:
        """Whether the same action under another key is a duplicate of it."""
        return self.state in (State.ACCEPTED, State.UNKNOWN)

    @property
    def is_final(self) -> bool:
        """Whether the same key gets the same answer, and nothing is sent again."""
        return self.state in (State.ACCEPTED, State.REJECTED, State.UNKNOWN)


_WEBHOOK = (EntryPoint.WEBHOOK,)

MANNERS = (
    Manner("accepted", 70, "", 201, State.ACCEPTED, Cause.ACCEPTED),
    Manner("rejected", 6, "400", 400, State.REJECTED, Cause.REJECTED),
    Manner("an error in a 201", 2, "002", 422, State.REJECTED, Cause.REJECTED),
    Manner("Plivo's rate limit", 5, "429", 503, State.NOT_SENT, Cause.PLIVO_THROTTLED),
    Manner("Plivo's 500", 4, "500", 502, State.UNKNOWN, Cause.OUTCOME_UNKNOWN),
    Manner("connection closed", 2, "001", 502, State.UNKNOWN, Cause.OUTCOME_UNKNOWN),
    Manner("answer cut", 2, "003", 502, State.UNKNOWN, Cause.OUTCOME_UNKNOWN),
    Manner("no answer in time", 1, "000", 504, State.UNKNOWN, Cause.PLIVO_TIMED_OUT),
    Manner("too old", 3, "", 422, State.NOT_SENT, Cause.TOO_OLD, sent=False),
    Manner("a field not valid", 3, "", 422, None, Cause.FIELDS_INVALID, sent=False),
    Manner(
        "no credential", 2, "", 401, None, Cause.UNAUTHORIZED, sent=False, entry_points=_WEBHOOK
    ),
)


@dataclass(frozen=True, slots=True)
class Order:
    """One action that is requested once or twice.

    client
        Who asks at the webhook.
    key
        Of its first request; ``second_key`` is that of a duplicate.
    """

    entry_point: EntryPoint
    client: str
    manner: Manner
    resend: Resend
    key: str
    to: str
    trigger_source: str

    @property
    def second_key(self) -> str:
        return f"{self.key}-again"


def orders(
    count: int,
    *,
    seed: int,
    entry_points: tuple[EntryPoint, ...] = (EntryPoint.WEBHOOK, EntryPoint.EVENT),
    without: tuple[str, ...] = (),
    resends: tuple[Resend, ...] = tuple(Resend),
) -> Iterator[Order]:
    """``count`` orders in random order, always the same for the same seed; at most a million.

    seed
        From 0 to 9. The numbers of two seeds differ, so that both can go to one ledger.
    without
        Names of manners that are left out.
    resends
        The ways of sending an order again that are drawn from.
    """
    chance = random.Random(seed)  # noqa: S311  a mixture, not a secret
    manners = [
        manner
        for manner in MANNERS
        if manner.name not in without and not set(entry_points).isdisjoint(manner.entry_points)
    ]
    for number in range(count):
        manner = chance.choices(manners, [each.weight for each in manners])[0]
        open_entry_points = [
            entry_point for entry_point in entry_points if entry_point in manner.entry_points
        ]
        ways = [
            each
            for each in resends
            if each is not Resend.OTHER_ENTRY_POINT or len(manner.entry_points) > 1
        ]
        yield Order(
            entry_point=chance.choices(
                open_entry_points, [ENTRY_POINTS[each] for each in open_entry_points]
            )[0],
            client=chance.choice(("crm", "phlo")),
            manner=manner,
            resend=chance.choices(ways, [RESENDS[each] for each in ways])[0],
            key=f"load-{seed}-{number}",
            to=f"{FAILING}{manner.to}" if manner.to else f"+1416{seed}{number:06}",
            trigger_source=f"+1415{seed}{number:06}",
        )
