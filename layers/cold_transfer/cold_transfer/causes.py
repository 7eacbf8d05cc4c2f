"""The table of causes: why a request ended as it did, and what follows from it.

One row per cause. The webhook takes its status, title, advice and Retry-After from here, the event
entry point takes from here whether it may return, and the ledger stores the cause's name; nothing
else decides any of this.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Outcome(StrEnum):
    """What became of an action, as far as anybody can know."""

    ACCEPTED = "accepted"  # Plivo acknowledged it; its API never says that the call was moved
    REJECTED = "rejected"  # Plivo refused it: nothing happened to the call
    NOT_SENT = "not_sent"  # provably nothing was executed: the same key may try again
    UNKNOWN = "unknown"  # it may have happened: never sent again by itself


class Cause(StrEnum):
    """Why a request ended as it did. The value is part of the problem's ``type``, and stable."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PLIVO_CREDENTIALS_REFUSED = "plivo-credentials-refused"
    PLIVO_THROTTLED = "plivo-throttled"
    PLIVO_UNREACHABLE = "plivo-unreachable"
    ABANDONED = "abandoned"
    PLIVO_TIMED_OUT = "plivo-timed-out"
    OUTCOME_UNKNOWN = "outcome-unknown"
    UNEXPECTED_STATUS = "unexpected-status"
    READ_REJECTED = "read-rejected"
    READ_TIMED_OUT = "read-timed-out"
    READ_FAILED = "read-failed"
    TOO_OLD = "too-old"
    OUT_OF_TIME = "out-of-time"
    DEPENDENCY_UNAVAILABLE = "dependency-unavailable"
    IN_PROGRESS = "in-progress"
    DUPLICATE_IN_PROGRESS = "duplicate-in-progress"
    KEY_REUSED = "key-reused"
    UNAUTHORIZED = "unauthorized"
    PHLO_NOT_ALLOWED = "phlo-not-allowed"
    ACTION_NOT_ALLOWED = "action-not-allowed"
    KEY_REQUIRED = "key-required"
    BODY_MALFORMED = "body-malformed"
    FIELDS_INVALID = "fields-invalid"
    MEDIA_TYPE_UNSUPPORTED = "media-type-unsupported"
    BODY_TOO_LARGE = "body-too-large"
    ACTION_NOT_FOUND = "action-not-found"


class Row(NamedTuple):
    """One row of the table.

    outcome
        The recorded outcome, or None where the request never became an action of its own.
    status
        The webhook's HTTP status, unless Plivo's own is one of ``passed_on``.
    title
        The problem's fixed title (RFC 9457 section 3.1.3).
    advice
        What the reader of the answer should do; the fallback for the problem's detail.
    retry_after
        Seconds after which the same request may be sent again, unless Plivo named them; None where
        waiting is no help.
    passed_on
        Plivo's statuses that mean this cause, and that the webhook answers as they are.
    """

    outcome: Outcome | None
    status: int
    title: str
    advice: str
    retry_after: int | None = None
    passed_on: frozenset[int] = frozenset()


_REJECTIONS = frozenset({400, 404, 405, 409, 422})

TABLE = MappingProxyType(
    {
        Cause.ACCEPTED: Row(
            Outcome.ACCEPTED,
            200,
            "Accepted by Plivo",
            "Plivo acknowledged the action.",
            passed_on=frozenset({200, 201, 202}),
        ),
        Cause.REJECTED: Row(
            Outcome.REJECTED,
            422,
            "Plivo rejected the action",
            "Nothing happened to the call. Correct the request and send it under a new key.",
            passed_on=_REJECTIONS,
        ),
        Cause.PLIVO_CREDENTIALS_REFUSED: Row(
            Outcome.NOT_SENT,
            502,
            "Plivo refused this system's credentials",
            "Nothing was sent to the call. The operator has to check the Plivo secret, the "
            "account and its IP allow list; then the same request may be sent again.",
        ),
        Cause.PLIVO_THROTTLED: Row(
            Outcome.NOT_SENT,
            503,
            "Plivo's rate limit is used up",
            "Nothing was sent to the call. Send the same request again after Retry-After seconds.",
            retry_after=5,  # Plivo's documents name none
        ),
        Cause.PLIVO_UNREACHABLE: Row(
            Outcome.NOT_SENT,
            503,
            "Plivo could not be reached",
            "No byte of the request left. Send the same request again after Retry-After seconds.",
            retry_after=2,
        ),
        Cause.ABANDONED: Row(
            Outcome.UNKNOWN,
            504,
            "The attempt died while sending",
            "The call may have been moved. Look at the call before you ask for a new action.",
        ),
        Cause.PLIVO_TIMED_OUT: Row(
            Outcome.UNKNOWN,
            504,
            "Plivo did not answer in time",
            "The call may have been moved. Look at the call before you ask for a new action.",
        ),
        Cause.OUTCOME_UNKNOWN: Row(
            Outcome.UNKNOWN,
            502,
            "Plivo's answer is not known",
            "The call may have been moved. Look at the call before you ask for a new action.",
        ),
        Cause.UNEXPECTED_STATUS: Row(
            Outcome.UNKNOWN,
            502,
            "Plivo answered with an unexpected status",
            "The call may have been moved. Look at the call before you ask for a new action.",
        ),
        Cause.READ_REJECTED: Row(
            None,
            422,
            "Plivo rejected the request",
            "Nothing was changed. Check the ids of the path.",
            passed_on=_REJECTIONS,
        ),
        Cause.READ_TIMED_OUT: Row(
            None,
            504,
            "Plivo did not answer the read in time",
            "Nothing was changed. Send the same request again.",
        ),
        Cause.READ_FAILED: Row(
            None,
            502,
            "Plivo gave no answer that can be used",
            "Nothing was changed. Send the same request again.",
        ),
        Cause.TOO_OLD: Row(
            Outcome.NOT_SENT,
            422,
            "The request is too old to be sent",
            "Nothing was sent: by now the agent may be on another call. If the call is still up, "
            "ask again with a new key.",
        ),
        Cause.OUT_OF_TIME: Row(
            Outcome.NOT_SENT,
            503,
            "Too little time was left to send the action",
            "Nothing was sent. Send the same request again after Retry-After seconds.",
            retry_after=2,
        ),
        Cause.DEPENDENCY_UNAVAILABLE: Row(
            Outcome.NOT_SENT,
            503,
            "A part of this system is out of reach",
            "Nothing was sent. Send the same request again after Retry-After seconds.",
            retry_after=2,
        ),
        Cause.IN_PROGRESS: Row(
            None,
            409,
            "This request is still being sent",
            "Ask again after Retry-After seconds, with the same key or at /v1/actions.",
        ),
        Cause.DUPLICATE_IN_PROGRESS: Row(
            Outcome.NOT_SENT,
            409,
            "The same action is being sent under another key",
            "Ask again after Retry-After seconds with the same key.",
        ),
        Cause.KEY_REUSED: Row(
            None,
            422,
            "The key belongs to another request",
            "Use a new key for every new action, and the same key only to repeat a request.",
        ),
        Cause.UNAUTHORIZED: Row(
            None,
            401,
            "No valid credential",
            "Sign the request (Standard Webhooks), or send Authorization: Bearer or Basic.",
        ),
        Cause.PHLO_NOT_ALLOWED: Row(
            None,
            403,
            "This client may not use this PHLO",
            "Use a PHLO that the client is allowed, or have phlo_ids of the client changed.",
        ),
        Cause.ACTION_NOT_ALLOWED: Row(
            None,
            403,
            "This client may not ask for this action",
            "Without a list of its own, a client may ask for cold_transfer alone. Have actions of "
            "the client changed, or EventActions for the event entry point.",
        ),
        Cause.KEY_REQUIRED: Row(
            None,
            400,
            "This client has to send a key",
            "Send the header Idempotency-Key, with a new value for every new action and the same "
            "value to repeat one; or sign the request, and its webhook-id is the key.",
        ),
        Cause.BODY_MALFORMED: Row(
            None,
            400,
            "The body cannot be read",
            "Send one JSON object, or a form, in UTF-8; with a GET, no body at all.",
        ),
        Cause.FIELDS_INVALID: Row(
            None,
            422,
            "Fields of the request are not valid",
            "Correct the fields that errors names.",
        ),
        Cause.MEDIA_TYPE_UNSUPPORTED: Row(
            None,
            415,
            "The media type is not supported",
            "Send application/json or application/x-www-form-urlencoded, in UTF-8.",
        ),
        Cause.BODY_TOO_LARGE: Row(
            None, 413, "The body is too large", "An action needs a few hundred bytes."
        ),
        Cause.ACTION_NOT_FOUND: Row(
            None,
            404,
            "No such action",
            "An Action-Id is known to its own client, for RecordDays.",
        ),
    }
)
