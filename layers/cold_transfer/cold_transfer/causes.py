"""The table of causes: why a request ended as it did, and what follows from it.

One row per cause. The webhook takes its status, title, advice and Retry-After from here, and the
event entry point whether it returns or raises. The ledger stores the cause's name. None of this is
decided anywhere else.
"""

from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Outcome(StrEnum):
    """The outcome of an action, as far as it can be known."""

    ACCEPTED = "accepted"  # Plivo acknowledged it; its API never says that the call was moved
    REJECTED = "rejected"  # Plivo refused it: nothing happened to the call
    NOT_SENT = "not_sent"  # provably nothing was executed: the same key may be sent again
    UNKNOWN = "unknown"  # it may have happened: never sent again automatically


class Resolution(StrEnum):
    """How a person resolved an unknown outcome. The outcome stays unknown."""

    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did_not_happen"


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
        The recorded outcome, or None if the request never became an action of its own.
    status
        The webhook's HTTP status, unless Plivo's status is one of ``passed_on``.
    title
        The problem's fixed title (RFC 9457 section 3.1.3).
    advice
        What the client should do; the problem's detail, unless there is a more specific one.
    retry_after
        Seconds after which the same request may be sent again, unless Plivo sent a Retry-After;
        None if waiting does not help.
    passed_on
        Plivo's statuses that mean this cause. The webhook answers with the same status.
    """

    outcome: Outcome | None
    status: int
    title: str
    advice: str
    retry_after: int | None = None
    passed_on: frozenset[int] = frozenset()


_REJECTIONS = frozenset({400, 404, 405, 409, 422})

_CHECK_THE_CALL = (
    "Plivo may have executed the action. Check the call before you request a new action."
)

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
            "Plivo did nothing. The operator must check the Plivo secret, the account and its IP "
            "allow list. Then send the same request again.",
        ),
        Cause.PLIVO_THROTTLED: Row(
            Outcome.NOT_SENT,
            503,
            "Plivo's rate limit is exhausted",
            "Plivo did nothing. Send the same request again after Retry-After seconds.",
            retry_after=5,  # Plivo's documentation gives none
        ),
        Cause.PLIVO_UNREACHABLE: Row(
            Outcome.NOT_SENT,
            503,
            "Plivo could not be reached",
            "Nothing was sent. Send the same request again after Retry-After seconds.",
            retry_after=2,
        ),
        Cause.ABANDONED: Row(
            Outcome.UNKNOWN,
            504,
            "The attempt was interrupted while sending",
            _CHECK_THE_CALL,
        ),
        Cause.PLIVO_TIMED_OUT: Row(
            Outcome.UNKNOWN,
            504,
            "Plivo did not answer in time",
            _CHECK_THE_CALL,
        ),
        Cause.OUTCOME_UNKNOWN: Row(
            Outcome.UNKNOWN,
            502,
            "It is not known whether Plivo executed the action",
            _CHECK_THE_CALL,
        ),
        Cause.UNEXPECTED_STATUS: Row(
            Outcome.UNKNOWN,
            502,
            "Plivo answered with an unexpected status",
            _CHECK_THE_CALL,
        ),
        Cause.READ_REJECTED: Row(
            None,
            422,
            "Plivo rejected the request",
            "Nothing was changed. Check the ids in the path.",
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
            "Plivo's answer could not be used",
            "Nothing was changed. Send the same request again.",
        ),
        Cause.TOO_OLD: Row(
            Outcome.NOT_SENT,
            422,
            "The request is too old to be sent",
            "Nothing was sent: the agent may be on another call by now. If the call is still in "
            "progress, send a new request with a new key.",
        ),
        Cause.OUT_OF_TIME: Row(
            Outcome.NOT_SENT,
            503,
            "There was not enough time left to send the action",
            "Nothing was sent. Send the same request again after Retry-After seconds.",
            retry_after=2,
        ),
        Cause.DEPENDENCY_UNAVAILABLE: Row(
            Outcome.NOT_SENT,
            503,
            "A part of this system is unavailable",
            "Nothing was sent. Send the same request again after Retry-After seconds.",
            retry_after=2,
        ),
        Cause.IN_PROGRESS: Row(
            None,
            409,
            "This request is still in progress",
            "Send it again after Retry-After seconds with the same key, or look it up at "
            "/v1/actions.",
        ),
        Cause.DUPLICATE_IN_PROGRESS: Row(
            Outcome.NOT_SENT,
            409,
            "The same action is in progress under another key",
            "Send the request again after Retry-After seconds with the same key.",
        ),
        Cause.KEY_REUSED: Row(
            None,
            422,
            "The key was used for another request",
            "Use a new key for every new action, and the same key only to retry a request.",
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
            "Use a PHLO that the client may use, or have the client's phlo_ids changed.",
        ),
        Cause.ACTION_NOT_ALLOWED: Row(
            None,
            403,
            "This client may not request this action",
            "By default a client may request cold_transfer only. Have the client's actions "
            "changed, or EventActions for the event entry point.",
        ),
        Cause.KEY_REQUIRED: Row(
            None,
            400,
            "This client must send an idempotency key",
            "Send the header Idempotency-Key, with a new value for every new action and the same "
            "value for a retry. In a signed request, webhook-id is the key.",
        ),
        Cause.BODY_MALFORMED: Row(
            None,
            400,
            "The body cannot be read",
            "Send one JSON object or a form, in UTF-8. Send no body with a GET.",
        ),
        Cause.FIELDS_INVALID: Row(
            None,
            422,
            "The request has invalid fields",
            "Correct the fields listed in errors.",
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
            "Only the client that requested an action can look it up, for RecordDays days.",
        ),
    }
)
