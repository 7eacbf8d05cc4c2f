"""The rows of the fault matrix, and what each must lead to.

What is expected is written down here, from the table of the design, and not taken from
``causes.TABLE``: a row of that table that is wrong has to fail.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

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

#: Seconds for the rows that end when the client's own time is over.
SLOW_SECONDS = 1.0

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
    """The requests of one cell: each number is another one, in the way of its row."""

    entry_point: str
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    action: str = "cold_transfer"

    def event(self, *, key: str = "", entry_point: str = "", **changes: Any) -> dict[str, Any]:
        """The example with ``changes`` of its fields, for this cell's entry point and key."""
        key = key or self.key
        if (entry_point or self.entry_point) == EVENT:
            detail = builders.detail_of(self.action, **{"action": None, **changes})
            kind = builders.detail_type_of(self.action)
            return builders.eventbridge_event(detail, event_id=key, detail_type=kind)
        headers = {**builders.bearer(), "Idempotency-Key": key}
        pieces = builders.pieces_of(self.action, **changes)
        if self.action == "cold_transfer":  # the one that no field has to name
            pieces = {"body": builders.fields(**changes)}
        return builders.webhook_event(headers=headers, **pieces)


type Ask = Callable[[Content, int], dict[str, Any]]


def same(content: Content, _number: int) -> dict[str, Any]:
    """The same request, under the same key."""
    return content.event()


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    cause, status
        Of the first request's own end.
    faults
        What Plivo does to its requests, one after another.
    ask
        The event of request number n. The first is number 0, its repeats 1 and up.
    entry points
        Where the row can happen.
    state
        What is recorded; empty if there must be no record.
    first
        The outage and so on that the first attempt meets.
    lasting
        What every attempt meets.
    posts
        POSTs of one attempt.
    mended
        Whether the cause is gone when the request is repeated, which is then accepted.
    kill, left
        The step at which the invocation is killed, and the state that this leaves; no step if
        there is nothing to be killed for.
    """

    name: str
    cause: Cause
    status: int
    faults: tuple[Fault, ...] = (ACCEPTS,)
    ask: Ask = same
    entry_points: tuple[str, ...] = ENTRY_POINTS
    state: str = ""
    metric: str = ""
    resends: bool = False
    first: Conditions = CALM
    lasting: bool = True
    posts: int = 1
    mended: bool = False
    kill: str = ""
    left: str = ""

    @property
    def tls(self) -> bool:
        return self.faults[0].tls

    def conditions(self, number: int) -> Conditions:
        return self.first if self.lasting or number == 0 else replace(self.first, outage=None)


def of_plivo(name: str, fault: Fault) -> Row:
    """A row of the design's table that is Plivo's or the network's."""
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
    """Plivo refuses the old token, Secrets Manager has a new one: the one case of two POSTs."""
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
    """DynamoDB fails at one call of the ledger: what is asked of it, or only its reply, is lost."""
    for call in ("claim", "deduplicate", "mark_sending", "settle"):
        for executed in (False, True):
            lost = "reply lost" if executed else "out of reach"
            settling = call == "settle"
            unsettled = settling and not executed
            yield Row(
                f"ledger: {lost} at {call.replace('_', ' ')}",
                Cause.ACCEPTED if settling else Cause.DEPENDENCY_UNAVAILABLE,
                201 if settling else 503,
                # at these two the next write works, and releases the claim
                state="not_sent"
                if call in ("deduplicate", "mark_sending")
                else _LEFT[call, executed],
                metric={
                    "claim": "LedgerUnavailable",
                    "settle": "SettleFailed" if unsettled else "ActionAccepted",
                }.get(call, "ActionNotSent"),
                resends=not settling,
                # a settle is tried again while there is time
                first=Conditions(outage=Outage(call, executed, SETTLES if unsettled else 1)),
                lasting=False,
                posts=int(settling),
                mended=not settling,
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
        ask=old,
        state="not_sent",
        metric="RequestStale",
        resends=True,
        posts=0,
        kill="after claim",
        left="claimed",
    )
    yield too_old
    yield replace(too_old, name="event's time too old", ask=old_event, entry_points=(EVENT,))
    yield Row(
        "too little time left to begin",
        Cause.OUT_OF_TIME,
        503,
        first=Conditions(timeout_ms=2_900),
        posts=0,
    )


def refusals() -> Iterator[Row]:
    """What is at fault with the request itself: no record, and no byte to Plivo."""

    def webhook(**pieces: Any) -> Ask:
        def ask(content: Content, _number: int) -> dict[str, Any]:
            given = {"headers": {**builders.bearer(), "Idempotency-Key": content.key}, **pieces}
            return builders.webhook_event(**given)

        return ask

    def event(of: object = None, **pieces: Any) -> Ask:
        def ask(content: Content, _number: int) -> dict[str, Any]:
            return builders.eventbridge_event(of, event_id=content.key, **pieces)

        return ask

    def refused(name: str, cause: Cause, status: int, ask: Ask, entry_point: str) -> Row:
        metric = "RequestUnauthorized" if status == 401 else "RequestInvalid"
        return Row(
            name, cause, status, ask=ask, entry_points=(entry_point,), metric=metric, posts=0
        )

    faulty = builders.fields(to="+1 415", role="boss")
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
    warm = webhook(
        body=builders.fields(action="warm_transfer"),
        headers=limited,
        phlo_id=builders.LIMITED_PHLO_ID,
    )
    yield refused("action not the client's", Cause.ACTION_NOT_ALLOWED, 403, warm, WEBHOOK)
    warm = event(builders.detail(action="warm_transfer"), detail_type="Warm Transfer Requested")
    yield refused("action not in EventActions", Cause.ACTION_NOT_ALLOWED, 403, warm, EVENT)
    yield refused("bad JSON", Cause.BODY_MALFORMED, 400, webhook(body='{"to":'), WEBHOOK)
    yield refused("not an object", Cause.BODY_MALFORMED, 400, webhook(body="[]"), WEBHOOK)
    yield refused("detail not an object", Cause.BODY_MALFORMED, 400, event([1]), EVENT)
    yield refused("fields invalid", Cause.FIELDS_INVALID, 422, webhook(body=faulty), WEBHOOK)
    detail = builders.detail(to="+1 415", role="boss")
    yield refused("detail's fields invalid", Cause.FIELDS_INVALID, 422, event(detail), EVENT)
    stranger = event(source="a.stranger")
    yield refused("another source", Cause.FIELDS_INVALID, 422, stranger, EVENT)
    media = webhook(content_type="multipart/form-data; boundary=x")
    yield refused("media type", Cause.MEDIA_TYPE_UNSUPPORTED, 415, media, WEBHOOK)
    large = webhook(body='{"to": "' + "1" * 10_300 + '"}')
    yield refused("over 10 kB", Cause.BODY_TOO_LARGE, 413, large, WEBHOOK)


def rivals() -> Iterator[Row]:
    """A second request that stands in some relation to a first one, which was accepted."""

    def other_content(content: Content, number: int) -> dict[str, Any]:
        return content.event(to=f"+1415222{4000 + number}" if number else builders.TO)

    def other_key(content: Content, number: int) -> dict[str, Any]:
        return content.event(key=f"{content.key}-{number}" if number else "")

    def other_entry_point(content: Content, number: int) -> dict[str, Any]:
        other = WEBHOOK if content.entry_point == EVENT else EVENT
        return content.event(entry_point=other if number % 2 == 0 else content.entry_point)

    for name, ask, cause, status in (
        ("same key, other content", other_content, Cause.KEY_REUSED, 422),
        ("same action, another key", other_key, Cause.ACCEPTED, 201),
        ("same action, the other entry point", other_entry_point, Cause.ACCEPTED, 201),
    ):
        yield Row(name, cause, status, ask=ask, state="accepted", kill="after send", left="sending")


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

#: Rows that differ from another one only in how an answer is read, which the Plivo client's own
#: tests go through: in the printed matrix, not in every test run.
VARIANTS = tuple(
    row
    for row in PLIVO_ROWS
    if row.name.startswith(("accepted-as-", "interim-", "acknowledged-", "unexpected-"))
    and row.name not in ("acknowledged-html", "acknowledged-endless", "unexpected-408")
)
