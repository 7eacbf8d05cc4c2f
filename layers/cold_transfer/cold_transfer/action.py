"""The domain's values: an action, the request for it, its verdict and the answer."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from cold_transfer.causes import TABLE, Cause, Outcome, Resolution

#: Version of ``Action.fingerprint``. A record of another version is never compared or re-sent.
FINGERPRINT_VERSION = 1

#: The form of an Action-Id, and an Action-Id that no request has.
ACTION_ID = re.compile("[0-9a-f]{64}")
NO_ACTION = "0" * 64


class EntryPoint(StrEnum):
    """How a request arrives: through API Gateway or through EventBridge."""

    WEBHOOK = "webhook"
    EVENT = "event"


class ActionName(StrEnum):
    """Plivo's names for the actions on a live Multi-Party Call."""

    COLD_TRANSFER = "cold_transfer"
    WARM_TRANSFER = "warm_transfer"
    CALL = "call"
    ABORT_TRANSFER = "abort_transfer"
    RESUME_CALL = "resume_call"
    VOICEMAIL_DROP = "voicemail_drop"
    HANGUP = "hangup"
    HOLD = "hold"
    UNHOLD = "unhold"

    @property
    def dials(self) -> bool:
        """Whether the action dials ``to`` on behalf of ``trigger_source``.

        Only these actions have a duplicate window. The others act on one member of the call and
        are repeated on purpose: hold, unhold, hold.
        """
        return self in _DIALLING


_DIALLING = frozenset({ActionName.COLD_TRANSFER, ActionName.WARM_TRANSFER, ActionName.CALL})

#: In a list of permitted actions: all of them.
EVERY_ACTION = "*"


def in_title_case(name: str) -> str:
    """An action's or outcome's name as an event's detail-type spells it: ``Cold Transfer``."""
    return name.replace("_", " ").title()


@dataclass(frozen=True, slots=True)
class Action:
    """An action with its parameters. Addresses are kept exactly as received, and not in the repr.

    to, trigger_source, role
        Only for an action that dials.
    member_address
        Only for an action on a member: that member.
    """

    phlo_id: str
    node_id: str
    to: str = field(default="", repr=False)
    trigger_source: str = field(default="", repr=False)
    role: str = "agent"
    name: ActionName = ActionName.COLD_TRANSFER
    member_address: str = field(default="", repr=False)

    def fingerprint(self) -> str:
        """SHA-256 (64 hex digits) of the canonical content: equal for equal actions.

        ``+1415…`` and ``1415…`` count as the same address; SIP hosts and ids are compared without
        case. The ids are part of the hash so that a number cannot be found by trial from a record.
        """
        content: list[object] = [
            FINGERPRINT_VERSION,
            self.name,
            self.phlo_id.lower(),
            self.node_id.lower(),
        ]
        if self.name.dials:
            content += [_canonical(self.to), _canonical(self.trigger_source), self.role]
        else:
            content.append(_canonical(self.member_address))
        return _sha256(content)


class ActionRequest(NamedTuple):
    """A validated, authorised request.

    key
        The idempotency key. Requests of one client at one entry point with the same key are the
        same request, whether the key came from a signature, a header, an event's detail or
        EventBridge. Random if none was given.
    requested_at
        When the client requested the action, in epoch milliseconds; None if it did not say.
    waited
        Milliseconds since the gateway received it, or since the event's time (set by the bus unless
        the producer set it): how long it waited for a function.
    delivery
        Identifies the event across deliveries, or empty.
    from_archive
        Whether it is replayed from an event bus archive: its call is long over.
    reference
        The client's own name for the case, or empty. For people; not part of the action.
    keyed
        Whether the sender knows the key and can therefore retry.
    """

    action: Action
    entry_point: EntryPoint
    client: str
    key: str
    requested_at: int | None = None
    waited: int = 0
    delivery: str = ""
    from_archive: bool = False
    reference: str = ""
    keyed: bool = True

    def action_id(self) -> str:
        """The Action-Id (64 hex digits); the primary key of its record is ``K#`` followed by it."""
        return _sha256([self.entry_point, self.client, self.key])


class Verdict(NamedTuple):
    """The result of one attempt; ``causes.TABLE`` says what follows from it.

    error
        Plivo's text with runs of 7 or more digits masked; empty if there is none.
    plivo_status
        Plivo's own HTTP status, if one was read.
    plivo_retry_after
        Plivo's Retry-After in seconds, if it sent one.
    """

    cause: Cause
    api_id: str = ""
    error: str = ""
    plivo_status: int | None = None
    plivo_retry_after: int | None = None

    @property
    def outcome(self) -> Outcome:
        outcome = TABLE[self.cause].outcome
        if outcome is None:
            raise AssertionError(f"{self.cause} is not an outcome")
        return outcome

    @property
    def status(self) -> int:
        """The webhook's HTTP status, the same on every replay."""
        row = TABLE[self.cause]
        if self.plivo_status is not None and self.plivo_status in row.passed_on:
            return self.plivo_status
        return row.status

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before sending the same request again; None where waiting is no help."""
        return self.plivo_retry_after or TABLE[self.cause].retry_after


class Answer(NamedTuple):
    """What the service returns to an entry point.

    duplicate_of
        For a duplicate, the Action-Id of the action that the verdict belongs to; otherwise None.
    resolution
        How a person resolved an unknown outcome, if it has been resolved.
    """

    action_id: str
    verdict: Verdict
    replayed: bool = False
    duplicate_of: str | None = None
    resolution: Resolution | None = None

    @property
    def retry_after(self) -> int | None:
        """The verdict's; None for a duplicate, whose key is never sent."""
        return None if self.duplicate_of else self.verdict.retry_after


class Settled(Exception):
    """Not a failure: the request already has its ``answer``, so this attempt stops."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"action {answer.action_id} is settled")
        self.answer = answer


def _canonical(address: str) -> str:
    scheme, _, rest = address.partition(":")
    if not rest:
        return address.removeprefix("+")
    user, _, host = rest.partition("@")
    return f"{scheme}:{user}@{host.lower()}"


def _sha256(values: list[object]) -> str:
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
