"""Everything that ends a request without a verdict of its own.

::

    ColdTransferError
    ├── RequestRefused              the request is at fault; the ledger was not touched
    │   ├── BodyTooLarge
    │   ├── Unauthorized
    │   ├── MediaTypeUnsupported
    │   ├── BodyMalformed
    │   ├── ContractViolated        .faults: every faulty field
    │   ├── PhloNotAllowed
    │   ├── ActionNotAllowed
    │   ├── KeyRequired
    │   └── ActionNotFound
    ├── KeyReused                   the key already stands for other content
    ├── InProgress                  the same key, or the same action, is being sent now
    ├── NotSent                     provably nothing was sent: the same key may try again
    │   ├── TooOld
    │   ├── OutOfTime
    │   ├── PlivoUnreachable
    │   └── DependencyUnavailable   the ledger or Secrets Manager did not answer
    │       ├── LedgerUnavailable
    │       └── SecretUnavailable
    │           └── SecretInvalid   a secret was read and is not of the documented form
    └── ActionFailed                the event entry point's way of saying "not accepted"

``str()`` of each is safe to log and to keep in a dead-letter queue: it names fields and rules,
never a value of the request or of a secret. Each class names its row in ``causes.TABLE``.
"""

import dataclasses

from cold_transfer.causes import Cause


class ColdTransferError(Exception):
    """Base of all errors of this package."""

    cause: Cause


class RequestRefused(ColdTransferError):
    """The request is at fault; the ledger was not touched and nothing was sent."""


class BodyTooLarge(RequestRefused):
    cause = Cause.BODY_TOO_LARGE


class Unauthorized(RequestRefused):
    """No valid credential. Says nothing about which part was wrong, on purpose."""

    cause = Cause.UNAUTHORIZED


class MediaTypeUnsupported(RequestRefused):
    cause = Cause.MEDIA_TYPE_UNSUPPORTED


class BodyMalformed(RequestRefused):
    cause = Cause.BODY_MALFORMED


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One faulty field.

    rule
        What would be right, without the value: safe to log.
    shown
        The same with the value quoted: for the webhook's answer to the one who sent it, only.
    name
        The field's name as it came, for that answer only: it may be a value in the wrong place.
    """

    field: str
    rule: str
    shown: str = dataclasses.field(repr=False, default="")
    name: str = dataclasses.field(repr=False, default="")

    def detail(self) -> str:
        return self.shown or self.rule


class ContractViolated(RequestRefused):
    """Fields are missing, unknown, doubled or malformed; ``faults`` names all of them."""

    cause = Cause.FIELDS_INVALID

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.field}: {fault.rule}" for fault in faults))
        self.faults = faults


class PhloNotAllowed(RequestRefused):
    cause = Cause.PHLO_NOT_ALLOWED


class ActionNotAllowed(RequestRefused):
    cause = Cause.ACTION_NOT_ALLOWED


class KeyRequired(RequestRefused):
    cause = Cause.KEY_REQUIRED


class ActionNotFound(RequestRefused):
    cause = Cause.ACTION_NOT_FOUND


class KeyReused(ColdTransferError):
    """The key already stands for a request with other content."""

    cause = Cause.KEY_REUSED

    def __init__(self, action_id: str) -> None:
        super().__init__("the key was used before, for a request with other content")
        self.action_id = action_id


class InProgress(ColdTransferError):
    """The request, or the same action under another key, is being sent, or rivals were faster.

    retry_after
        Seconds after which asking again is worth it.
    duplicate_of
        The other key's Action-Id where it is not the same key.
    same_delivery
        An attempt is alive, and the same event began it, which is delivered once more: that
        attempt reports what becomes of the event. Otherwise nobody may, and this one has to.
    """

    def __init__(
        self,
        action_id: str,
        retry_after: int,
        duplicate_of: str | None = None,
        *,
        same_delivery: bool = False,
    ) -> None:
        super().__init__("the action is being sent by another attempt")
        self.cause = Cause.DUPLICATE_IN_PROGRESS if duplicate_of else Cause.IN_PROGRESS
        self.action_id = action_id
        self.retry_after = retry_after
        self.duplicate_of = duplicate_of
        self.same_delivery = same_delivery


class NotSent(ColdTransferError):
    """Provably nothing was sent, so that the same key may try again."""


class TooOld(NotSent):
    """The request waited for longer than it may."""

    cause = Cause.TOO_OLD


class OutOfTime(NotSent):
    """The invocation has too little time left."""

    cause = Cause.OUT_OF_TIME


class PlivoUnreachable(NotSent):
    """There is no connection to Plivo."""

    cause = Cause.PLIVO_UNREACHABLE


class DependencyUnavailable(NotSent):
    """The ledger or Secrets Manager did not answer."""

    cause = Cause.DEPENDENCY_UNAVAILABLE


class LedgerUnavailable(DependencyUnavailable):
    pass


class SecretUnavailable(DependencyUnavailable):
    """Secrets Manager did not give a secret, and none was cached."""


class SecretInvalid(SecretUnavailable):
    """A secret was read and is not of the documented form; the message names the field."""


class ActionFailed(ColdTransferError):
    """An event's action was not accepted; raised so that the event reaches the dead letters."""

    def __init__(self, cause: Cause, action_id: str, outcome: str) -> None:
        super().__init__(f"{outcome}: {cause} (Action-Id {action_id})")
        self.cause = cause
        self.action_id = action_id
        self.outcome = outcome
