"""The rows of the fault matrix, with the expected result of each.

The expectations are written out here, not taken from ``causes.TABLE``, so that a mistake in that
table fails a cell.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from cold_transfer.action import ActionName
from cold_transfer.causes import Cause
from cold_transfer.settling import PAUSES
from tests.support import builders
from tests.support.fault_server import ACCEPTS, FAULTS, Fault
from tests.support.processes.environment import (
    CALM,
    ENTRY_POINTS,
    EVENT,
    WEBHOOK,
    Conditions,
    Outage,
)

#: One that dials, whose content has a window, and one on a member, where only the key counts.
ACTIONS = (ActionName.COLD_TRANSFER, ActionName.HOLD)

#: Plivo's time limit in the rows that run into it.
SLOW_SECONDS = 1.0

#: What a client or the event entry point may request if nothing else is configured.
DEFAULT_ACTIONS = frozenset({ActionName.COLD_TRANSFER})

#: What is recorded for a cause, which metric counts it, and whether the key may be sent again.
RECORDED: Mapping[Cause, tuple[str, str, bool]] = MappingProxyType(
    {
        Cause.ACCEPTED: ("accepted", "ActionAccepted", False),
        Cause.REJECTED: ("rejected", "ActionRejected", False),
        Cause.PLIVO_TIMED_OUT: ("unknown", "ActionUnknown", False),
        Cause.OUTCOME_UNKNOWN: ("unknown", "ActionUnknown", False),
        Cause.UNEXPECTED_STATUS: ("unknown", "ActionUnknown", False),
        Cause.ABANDONED: ("unknown", "ActionUnknown", False),
        Cause.PLIVO_CREDENTIALS_REFUSED: ("not_sent", "ActionNotSent", True),
        Cause.PLIVO_THROTTLED: ("not_sent", "ActionNotSent", True),
        Cause.PLIVO_UNREACHABLE: ("not_sent", "ActionNotSent", True),
        Cause.DEPENDENCY_UNAVAILABLE: ("not_sent", "ActionNotSent", True),
        Cause.TOO_OLD: ("not_sent", "ActionNotSent", True),
    }
)


@dataclass(frozen=True, slots=True)
class Content:
    """What the requests of one cell have in common, and builders of their events."""

    entry_point: str
    action: ActionName = ActionName.COLD_TRANSFER
    key: str = field(default_factory=lambda: str(uuid.uuid4()))

    def event(self, *, key: str = "", entry_point: str = "", **changes: Any) -> dict[str, Any]:
        """The example with ``changes`` of its fields, for this cell's entry point and key."""
        if (entry_point or self.entry_point) == EVENT:
            return self.bus(builders.detail_of(self.action, **changes), event_id=key or self.key)
        return self.http(**builders.pieces_of(self.action, **changes), key=key)

    def about(self, number: int) -> dict[str, Any]:
        """The example with another address for each number; number 0 is the example itself."""
        address = f"+1415222{4000 + number}"
        if self.action.dials:
            return self.event(to=address if number else builders.TO)
        if self.entry_point == EVENT:
            return self.event(member_address=address)
        return self.http(**{**builders.pieces_of(self.action), "member_address": address})

    def http(self, *, key: str = "", **pieces: Any) -> dict[str, Any]:
        """A webhook of the action, with ``pieces`` replaced."""
        headers = {**builders.bearer(), "Idempotency-Key": key or self.key}
        given = {**builders.pieces_of(self.action), "headers": headers, **pieces}
        return builders.webhook_event(**given)

    def bus(self, of: object = None, **pieces: Any) -> dict[str, Any]:
        """An event of the action, with ``pieces`` replaced."""
        given = {
            "event_id": self.key,
            "detail_type": builders.detail_type_of(self.action),
            **pieces,
        }
        return builders.eventbridge_event(
            builders.detail_of(self.action) if of is None else of, **given
        )


type EventOf = Callable[[Content, int], dict[str, Any]]


def same(content: Content, _number: int) -> dict[str, Any]:
    """The same request, under the same key."""
    return content.event()


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    cause, status
        How the first request ends.
    faults
        What Plivo does to its requests, one after another.
    event_of
        The event of request number n: the first is number 0, repeats are 1 and up.
    entry_points
        Where the row can happen.
    state
        The recorded state; empty if there must be no record.
    resends
        Whether the same key may be sent again.
    first
        The conditions of the first attempt.
    lasting
        Whether the outage among them lasts for every attempt.
    posts
        POSTs of one attempt.
    recovers
        Whether the cause is gone when the request comes again, so that it is accepted.
    kill, left
        The step at which the invocation is killed, and the state in which this leaves the record;
        no step if the row is not played with a kill.
    """

    name: str
    cause: Cause
    status: int
    faults: tuple[Fault, ...] = (ACCEPTS,)
    event_of: EventOf = same
    entry_points: tuple[str, ...] = ENTRY_POINTS
    state: str = ""
    metric: str = ""
    resends: bool = False
    first: Conditions = CALM
    lasting: bool = True
    posts: int = 1
    recovers: bool = False
    kill: str = ""
    left: str = ""

    @property
    def tls(self) -> bool:
        return self.faults[0].tls

    def conditions(self, number: int) -> Conditions:
        return self.first if self.lasting or number == 0 else replace(self.first, outage=None)


def of_plivo(name: str, fault: Fault) -> Row:
    """A row whose fault is Plivo's or the network's."""
    state, metric, resends = RECORDED[fault.cause]
    return Row(
        name,
        fault.cause,
        fault.status,
        (fault,),
        state=state,
        metric=metric,
        resends=resends,
        first=Conditions(plivo_seconds=SLOW_SECONDS if fault.slow else 8.0),
        posts=fault.posts,
        kill="after send" if fault.posts else "failed connect",
        left="sending" if fault.posts else "claimed",
    )


def rotated() -> Row:
    """Plivo refuses the old token, Secrets Manager has a new one: the only case of two POSTs."""
    return Row(
        "credentials-401, rotated meanwhile",
        Cause.ACCEPTED,
        201,
        (FAULTS["credentials-401"], ACCEPTS),
        state="accepted",
        metric="ActionAccepted",
        first=Conditions(secrets="rotated"),
        posts=2,
        kill="after send",
        left="sending",
    )


SETTLES = len(PAUSES)

_LEFT = {
    ("claim", False): "",
    ("claim", True): "claimed",
    ("deduplicate", False): "claimed",
    ("deduplicate", True): "claimed",
    ("mark_sending", False): "claimed",
    ("mark_sending", True): "sending",
    ("settle", False): "sending",
    ("settle", True): "accepted",
}


def outages() -> Iterator[Row]:
    """DynamoDB fails at one call of the ledger: the call, or only its reply, is lost."""
    for call in ("claim", "deduplicate", "mark_sending", "settle"):
        for executed in (False, True):
            lost = "reply lost" if executed else "out of reach"
            settling = call == "settle"
            unsettled = settling and not executed
            yield Row(
                f"ledger: {lost} at {call.replace('_', ' ')}",
                Cause.ACCEPTED if settling else Cause.DEPENDENCY_UNAVAILABLE,
                201 if settling else 503,
                # at these two the next write succeeds and releases the claim
                state="not_sent"
                if call in ("deduplicate", "mark_sending")
                else _LEFT[call, executed],
                metric={
                    "claim": "LedgerUnavailable",
                    "settle": "SettleFailed" if unsettled else "ActionAccepted",
                }.get(call, "ActionNotSent"),
                resends=not settling,
                # a settle is repeated while there is time
                first=Conditions(outage=Outage(call, executed, SETTLES if unsettled else 1)),
                lasting=False,
                posts=int(settling),
                recovers=not settling,
                kill=f"failed {call}",
                left=_LEFT[call, executed],
            )


def secrets_out() -> Iterator[Row]:
    yield Row(
        "secrets: Plivo's out of reach",
        Cause.DEPENDENCY_UNAVAILABLE,
        503,
        state="not_sent",
        metric="ActionNotSent",
        resends=True,
        first=Conditions(secrets="plivo-out"),
        posts=0,
        kill="after deduplicate",
        left="claimed",
    )
    yield Row(
        "secrets: clients' out of reach",
        Cause.DEPENDENCY_UNAVAILABLE,
        503,
        entry_points=(WEBHOOK,),
        metric="SecretUnavailable",
        first=Conditions(secrets="clients-out"),
        posts=0,
    )


def late() -> Iterator[Row]:
    def old(content: Content, _number: int) -> dict[str, Any]:
        asked = datetime.now(tz=UTC) - timedelta(minutes=2)
        return content.event(requested_at=asked.isoformat())

    def old_event(content: Content, _number: int) -> dict[str, Any]:
        event = content.event()
        event["time"] = (datetime.now(tz=UTC) - timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return event

    too_old = Row(
        "requested_at too old",
        Cause.TOO_OLD,
        422,
        event_of=old,
        state="not_sent",
        metric="RequestStale",
        resends=True,
        posts=0,
        kill="after claim",
        left="claimed",
    )
    yield too_old
    yield replace(too_old, name="event's time too old", event_of=old_event, entry_points=(EVENT,))
    yield Row(
        "too little time left to begin",
        Cause.OUT_OF_TIME,
        503,
        first=Conditions(timeout_ms=2_900),
        posts=0,
    )


def refusals() -> Iterator[Row]:
    """The request itself is at fault: no record, and not a byte to Plivo."""

    def webhook(**pieces: Any) -> EventOf:
        def event_of(content: Content, _number: int) -> dict[str, Any]:
            return content.http(**pieces)

        return event_of

    def event(of: object = None, **pieces: Any) -> EventOf:
        def event_of(content: Content, _number: int) -> dict[str, Any]:
            return content.bus(of, **pieces)

        return event_of

    def faulty(content: Content, _number: int) -> dict[str, Any]:
        return content.event(to="+1 415", role="boss")  # no fields of an action on a member

    def not_allowed(content: Content, _number: int) -> dict[str, Any]:
        name = ActionName.WARM_TRANSFER if content.action in DEFAULT_ACTIONS else content.action
        asked = replace(content, action=name)
        if content.entry_point == EVENT:
            return asked.event()
        return asked.http(headers=limited, phlo_id=builders.LIMITED_PHLO_ID)

    def refused(name: str, cause: Cause, status: int, event_of: EventOf, entry_point: str) -> Row:
        metric = "RequestUnauthorized" if status == 401 else "RequestInvalid"
        return Row(
            name,
            cause,
            status,
            event_of=event_of,
            entry_points=(entry_point,),
            metric=metric,
            posts=0,
        )

    other = builders.signed("{}", secret="whsec_" + "QUJD" * 11)
    yield refused("no credential", Cause.UNAUTHORIZED, 401, webhook(headers={}), WEBHOOK)
    wrong = builders.bearer("x" * 32)
    yield refused("wrong token", Cause.UNAUTHORIZED, 401, webhook(headers=wrong), WEBHOOK)
    yield refused("bad signature", Cause.UNAUTHORIZED, 401, webhook(headers=other), WEBHOOK)
    limited = builders.bearer(builders.LIMITED_TOKEN)
    yield refused(
        "PHLO not the client's", Cause.PHLO_NOT_ALLOWED, 403, webhook(headers=limited), WEBHOOK
    )
    yield replace(
        refused("PHLO not in EventPhloIds", Cause.PHLO_NOT_ALLOWED, 403, event(), EVENT),
        first=Conditions(event_phlo_ids=frozenset({builders.LIMITED_PHLO_ID})),
    )
    yield refused("action not the client's", Cause.ACTION_NOT_ALLOWED, 403, not_allowed, WEBHOOK)
    yield replace(
        refused("action not in EventActions", Cause.ACTION_NOT_ALLOWED, 403, not_allowed, EVENT),
        first=Conditions(event_actions=DEFAULT_ACTIONS),
    )
    yield refused("bad JSON", Cause.BODY_MALFORMED, 400, webhook(body='{"to":'), WEBHOOK)
    yield refused("not an object", Cause.BODY_MALFORMED, 400, webhook(body="[]"), WEBHOOK)
    yield refused("detail not an object", Cause.BODY_MALFORMED, 400, event([1]), EVENT)
    yield refused("fields invalid", Cause.FIELDS_INVALID, 422, faulty, WEBHOOK)
    yield refused("detail's fields invalid", Cause.FIELDS_INVALID, 422, faulty, EVENT)
    stranger = event(source="a.stranger")
    yield refused("another source", Cause.FIELDS_INVALID, 422, stranger, EVENT)
    media = webhook(content_type="multipart/form-data; boundary=x")
    yield refused("media type", Cause.MEDIA_TYPE_UNSUPPORTED, 415, media, WEBHOOK)
    large = webhook(body='{"to": "' + "1" * 10_300 + '"}')
    yield refused("over 10 kB", Cause.BODY_TOO_LARGE, 413, large, WEBHOOK)


def rivals() -> Iterator[Row]:
    """A second request with the same key or the same content as a first one that was accepted."""

    def other_key(content: Content, number: int) -> dict[str, Any]:
        return content.event(key=f"{content.key}-{number}" if number else "")

    def other_entry_point(content: Content, number: int) -> dict[str, Any]:
        other = WEBHOOK if content.entry_point == EVENT else EVENT
        return content.event(entry_point=other if number % 2 == 0 else content.entry_point)

    for name, event_of, cause, status in (
        ("same key, other content", Content.about, Cause.KEY_REUSED, 422),
        ("same action, another key", other_key, Cause.ACCEPTED, 201),
        ("same action, the other entry point", other_entry_point, Cause.ACCEPTED, 201),
    ):
        yield Row(
            name,
            cause,
            status,
            event_of=event_of,
            state="accepted",
            kill="after send",
            left="sending",
        )


def rows_of(action: ActionName, rows: Iterable[Row]) -> Iterator[Row]:
    """The rows that can happen to ``action``: only one that dials is deduplicated."""
    for row in rows:
        if action.dials or "deduplicate" not in f"{row.first.outage} {row.kill}":
            yield row
        elif row.first.outage is None:
            yield replace(row, kill="after claim")


PLIVO_ROWS = tuple(of_plivo(name, fault) for name, fault in FAULTS.items())
ROWS = (
    *PLIVO_ROWS,
    rotated(),
    *outages(),
    *secrets_out(),
    *late(),
    *refusals(),
)
RIVAL_ROWS = tuple(rivals())

#: Rows that differ from another one only in how a response is read. The tests of the Plivo client
#: have them all; the matrix plays them only when the page is written, not in every test run.
VARIANTS = tuple(
    row
    for row in PLIVO_ROWS
    if row.name.startswith(("accepted-as-", "interim-", "acknowledged-", "unexpected-"))
    and row.name not in ("acknowledged-html", "acknowledged-endless", "unexpected-408")
)

#: An action on a member goes the same way, except for the content window: every test run plays one
#: row of each kind. The page has all of them.
ON_MEMBER = tuple(
    row
    for row in (*ROWS, *RIVAL_ROWS)
    if row.name
    in (
        "accepted-201",
        "rejected-400",
        "throttled-429",
        "connection-refused",
        "read-timeout",
        "ledger: reply lost at mark sending",
        "ledger: out of reach at settle",
        "requested_at too old",
        "action not the client's",
        "action not in EventActions",
        "fields invalid",
        "detail's fields invalid",
    )
    or row in RIVAL_ROWS
)
