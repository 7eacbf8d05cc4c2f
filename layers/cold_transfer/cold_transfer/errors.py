"""Everything that ends a request without its own verdict.

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
    ├── KeyReused                   the key was used for other content
    ├── InProgress                  the same key, or the same action, is in progress
    ├── NotSent                     provably nothing was sent: the same key may be sent again
    │   ├── TooOld
    │   ├── OutOfTime
    │   ├── PlivoUnreachable
    │   └── DependencyUnavailable   the ledger or Secrets Manager did not answer
    │       ├── LedgerUnavailable
    │       └── SecretUnavailable
    │           └── SecretInvalid   a secret does not have the documented form
    └── ActionFailed                an event's action was not accepted

``str()`` of each is safe to log and to keep in a dead-letter queue: it names fields and rules,
never a value of the request or of a secret. ``cause`` is the row in ``causes.TABLE``.
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
    """No valid credential. Deliberately does not say which part was wrong."""

    cause = Cause.UNAUTHORIZED


class MediaTypeUnsupported(RequestRefused):
    cause = Cause.MEDIA_TYPE_UNSUPPORTED


class BodyMalformed(RequestRefused):
    cause = Cause.BODY_MALFORMED


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One faulty field.

    rule
        What the field must be, without its value: safe to log.
    shown
        The same with the value quoted: only for the webhook's answer to the sender.
    name
        The field's name as received, also only for that answer: it may be a misplaced value.
    """

    field: str
    rule: str
    shown: str = dataclasses.field(repr=False, default="")
    name: str = dataclasses.field(repr=False, default="")

    def detail(self) -> str:
        return self.shown or self.rule


class ContractViolated(RequestRefused):
    """Fields are missing, unknown, repeated or malformed; ``faults`` has all of them."""

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
    """The key was used for a request with other content."""

    cause = Cause.KEY_REUSED

    def __init__(self, action_id: str) -> None:
        super().__init__("the key was used for a request with other content")
        self.action_id = action_id


class InProgress(ColdTransferError):
    """The request, or the same action under another key, is in progress, or rivals were faster.

    retry_after
        Seconds after which to ask again.
    duplicate_of
        The Action-Id of the action in progress, if that has another key.
    same_delivery
        Whether an earlier delivery of the same event started the attempt in progress. That attempt
        reports the outcome; in any other case, this one has to raise.
    """

    def __init__(
        self,
        action_id: str,
        retry_after: int,
        duplicate_of: str | None = None,
        *,
        same_delivery: bool = False,
    ) -> None:
        super().__init__("another attempt is sending the action")
        self.cause = Cause.DUPLICATE_IN_PROGRESS if duplicate_of else Cause.IN_PROGRESS
        self.action_id = action_id
        self.retry_after = retry_after
        self.duplicate_of = duplicate_of
        self.same_delivery = same_delivery


class NotSent(ColdTransferError):
    """Provably nothing was sent: the same key may be sent again."""


class TooOld(NotSent):
    """The request is older than MaxRequestAgeSeconds."""

    cause = Cause.TOO_OLD


class OutOfTime(NotSent):
    """The invocation has too little time left."""

    cause = Cause.OUT_OF_TIME


class PlivoUnreachable(NotSent):
    """Connecting to Plivo failed."""

    cause = Cause.PLIVO_UNREACHABLE


class DependencyUnavailable(NotSent):
    """The ledger or Secrets Manager did not answer."""

    cause = Cause.DEPENDENCY_UNAVAILABLE


class LedgerUnavailable(DependencyUnavailable):
    pass


class SecretUnavailable(DependencyUnavailable):
    """Secrets Manager did not answer, and no usable value was cached."""


class SecretInvalid(SecretUnavailable):
    """A secret does not have the documented form; the message names the field."""


class ActionFailed(ColdTransferError):
    """An event's action was not accepted; raised so that the event becomes a dead letter."""

    def __init__(self, cause: Cause, action_id: str, outcome: str) -> None:
        super().__init__(f"{outcome}: {cause} (Action-Id {action_id})")
        self.cause = cause
        self.action_id = action_id
        self.outcome = outcome
