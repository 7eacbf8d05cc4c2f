"""The values of the domain: what is asked, by whom, under which key, and what became of it."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from cold_transfer.causes import TABLE, Cause, Outcome, Resolution

#: Version of ``Action.fingerprint``. A record with another version is never compared or re-sent.
FINGERPRINT_VERSION = 1


#: The form of an Action-Id, and one that no request has.
ACTION_ID = re.compile("[0-9a-f]{64}")
NO_ACTION = "0" * 64


class EntryPoint(StrEnum):
    """A way in."""

    WEBHOOK = "webhook"
    EVENT = "event"


class ActionName(StrEnum):
    """Plivo's names of what can be asked for on a live Multi-Party Call."""

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
        """Whether it dials someone: ``to``, in the name of ``trigger_source``.

        The content window is for these. The others are asked of one member of the call, and
        repeated on purpose: hold, unhold, hold.
        """
        return self in _DIALLING


_DIALLING = frozenset({ActionName.COLD_TRANSFER, ActionName.WARM_TRANSFER, ActionName.CALL})

#: What a right to actions holds for all of them.
EVERY_ACTION = "*"


def in_title_case(name: str) -> str:
    """An action's or an outcome's name as detail-types of events have it: ``Cold Transfer``."""
    return name.replace("_", " ").title()


@dataclass(frozen=True, slots=True)
class Action:
    """What is asked of Plivo. Addresses are exactly as they came in, and stay out of the repr.

    to, trigger_source, role
        Of an action that dials.
    member_address
        Of one that does not: the member that it is about.
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

        ``+1415…`` and ``1415…`` count as one address, as do SIP hosts and ids in another case.
        The ids are hashed along so that the numbers cannot be found by trial from a record.
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
        What makes two requests of one client at one entry point the same request, however it came:
        signed or not, named by the sender or by EventBridge. A random one where none was given.
    requested_at
        When the client asked, in epoch milliseconds, if it said so.
    waited
        Milliseconds since the gateway took it, or since the event's time, which the bus sets unless
        its producer does: it may have waited for a function.
    delivery
        What stays the same when one event is delivered again, or empty.
    from_archive
        Whether an archive of the bus replays it: the call it was about is not there any more.
    reference
        The client's own name for what it is about, or empty: for people, and no part of the action.
    keyed
        Whether the sender knows the key, so that it can repeat the request.
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
        """The Action-Id (64 hex digits): the ledger's K item is ``K#`` and this."""
        return _sha256([self.entry_point, self.client, self.key])


class Verdict(NamedTuple):
    """What one attempt led to; ``causes.TABLE`` says what follows from it.

    error
        Plivo's text, digit runs of 7 or more masked; empty if there is none.
    plivo_status
        Plivo's own HTTP status, if one was read.
    plivo_retry_after
        The seconds to wait that Plivo named, if it did.
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
        """The HTTP status that the webhook answers, also on every replay."""
        row = TABLE[self.cause]
        if self.plivo_status is not None and self.plivo_status in row.passed_on:
            return self.plivo_status
        return row.status

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before the same request is sent again, where that may help."""
        return self.plivo_retry_after or TABLE[self.cause].retry_after


class Answer(NamedTuple):
    """What the service tells an entry point: the verdict, of which action, and whether replayed.

    duplicate_of
        The Action-Id of the other key's action whose verdict this is, or None.
    resolution
        What a person found out since about an unknown outcome, if anybody did.
    """

    action_id: str
    verdict: Verdict
    replayed: bool = False
    duplicate_of: str | None = None
    resolution: Resolution | None = None

    @property
    def retry_after(self) -> int | None:
        """The verdict's; None for a duplicate, which never sends: it would wait in vain."""
        return None if self.duplicate_of else self.verdict.retry_after


class Settled(Exception):
    """The request needs no more of this attempt: ``answer`` is there already. No failure."""

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
