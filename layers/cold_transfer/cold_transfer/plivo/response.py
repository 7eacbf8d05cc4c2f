"""The verdict for each answer of Plivo's, complete or not."""

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import ceil
from types import MappingProxyType
from typing import Any, NamedTuple

from cold_transfer.action import Verdict
from cold_transfer.causes import TABLE, Cause
from cold_transfer.masking import inert, masked

_ACKNOWLEDGED = TABLE[Cause.ACCEPTED].passed_on  # success in Plivo's documentation and SDKs
_REFUSED = TABLE[Cause.REJECTED].passed_on
_FIXED = MappingProxyType(
    {
        401: Cause.PLIVO_CREDENTIALS_REFUSED,
        403: Cause.PLIVO_CREDENTIALS_REFUSED,
        429: Cause.PLIVO_THROTTLED,
    }
)
#: Every status with its own meaning in the table of causes.
EXPECTED = _ACKNOWLEDGED | _REFUSED | _FIXED.keys()

#: The causes' counterparts for a GET, which changes nothing at Plivo.
_OF_READING = MappingProxyType(
    {
        Cause.REJECTED: Cause.READ_REJECTED,
        Cause.PLIVO_TIMED_OUT: Cause.READ_TIMED_OUT,
        Cause.OUTCOME_UNKNOWN: Cause.READ_FAILED,
        Cause.UNEXPECTED_STATUS: Cause.READ_FAILED,
    }
)

_LONGEST_RETRY_AFTER = 30
_LONGEST_API_ID = 128  # Plivo's are UUIDs


class Reading(NamedTuple):
    """The result of a GET.

    plivo_status
        Plivo's own HTTP status, if one was read.
    body
        Plivo's JSON object; empty after a failure.
    failure
        Why there is no object; None after a success.
    """

    plivo_status: int | None
    body: Mapping[str, Any] = MappingProxyType({})
    failure: Verdict | None = None


class PlivoResponse(NamedTuple):
    """What was read after one request, complete or not.

    status
        Plivo's status, if a status line was read.
    head_read
        Whether the headers were read completely.
    retry_after
        The header's value, or empty.
    body
        The body's JSON object; empty if the body was not read completely or is not an object.
    timed_out
        Whether reading ended at the deadline.
    out_of_step
        Whether this may be the answer to another request.
    """

    status: int | None = None
    head_read: bool = False
    retry_after: str = ""
    body: Mapping[str, Any] = MappingProxyType({})
    timed_out: bool = False
    out_of_step: bool = False

    def api_id(self) -> str:
        """Plivo's api_id as received, for comparison only: it may contain a number."""
        api_id = self.body.get("api_id")
        return inert(api_id).strip()[:_LONGEST_API_ID] if isinstance(api_id, str) else ""

    def verdict(self, private: tuple[str, ...], now: float) -> Verdict:
        """The verdict, with texts masked.

        Nothing is used of an answer that is out of step: it may be about another call.

        private
            Values to mask in Plivo's texts.
        now
            Epoch seconds, for a Retry-After that is a date.
        """
        if self.out_of_step:
            return Verdict(Cause.OUTCOME_UNKNOWN)
        error, api_id = self.body.get("error"), self.api_id()
        cause = self._cause(error, api_id)
        return Verdict(
            cause,
            api_id=masked(api_id, *private),
            error=masked(error, *private) if isinstance(error, str) else "",
            plivo_status=self.status,
            plivo_retry_after=(
                _retry_after(self.retry_after, now) if cause is Cause.PLIVO_THROTTLED else None
            ),
        )

    def reading(self, private: tuple[str, ...], now: float) -> Reading:
        """The same for a GET, whose JSON object is not changed."""
        if self.status in _ACKNOWLEDGED and self.body and not self.out_of_step:
            return Reading(self.status, self.body)
        verdict = self.verdict(private, now)
        cause = _OF_READING.get(verdict.cause, verdict.cause)
        return Reading(verdict.plivo_status, failure=verdict._replace(cause=cause))

    def _cause(self, error: object, api_id: str) -> Cause:
        not_understood = Cause.PLIVO_TIMED_OUT if self.timed_out else Cause.OUTCOME_UNKNOWN
        if self.status is None or not self.head_read:
            return not_understood
        if self.status in _ACKNOWLEDGED:
            if isinstance(error, str) and error:
                return Cause.REJECTED
            understood = api_id and error in (None, "")
            return Cause.ACCEPTED if understood else not_understood
        # From here on the status alone decides, even if the body could not be read.
        if self.status in _REFUSED:
            return Cause.REJECTED
        if self.status // 100 in (3, 5):
            return Cause.OUTCOME_UNKNOWN
        return _FIXED.get(self.status, Cause.UNEXPECTED_STATUS)


def json_object(body: bytes | None) -> Mapping[str, Any]:
    """The JSON object in the body; empty for anything else."""
    if body is None:
        return {}
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):  # RecursionError: 64 KiB can hold a lot of "["
        return {}
    return value if isinstance(value, dict) else {}


def _retry_after(value: str, now: float) -> int | None:
    """Whole seconds from 1 to 30 (RFC 9110 section 10.2.3); None if the header is not usable."""
    value = value.strip()
    try:
        if re.fullmatch("[0-9]{1,18}", value):
            seconds = int(value)
        else:
            seconds = ceil(parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return min(max(seconds, 1), _LONGEST_RETRY_AFTER)
