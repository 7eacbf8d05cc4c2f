"""The webhook's answers: Plivo's own form for success, RFC 9457 problems for the rest."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from cold_transfer.action import Answer, Verdict
from cold_transfer.causes import TABLE, Cause, Outcome, Resolution
from cold_transfer.errors import (
    ColdTransferError,
    ContractViolated,
    DependencyUnavailable,
    InProgress,
    KeyReused,
    OutOfTime,
)
from cold_transfer.plivo.response import Reading

#: A problem's type is this followed by the cause.
TYPE_PREFIX = "urn:problem-type:cold-transfer:"

#: For a duplicate of an action that turned out not to have been sent.
_DUPLICATE_ADVICE = (
    "The action that this request duplicates was not sent. This key will always return that"
    " answer: send the request again under a new key."
)

_RESOLVED_ADVICE = {
    Resolution.HAPPENED: (
        "A person has confirmed that the action happened. This key is never sent again."
    ),
    Resolution.DID_NOT_HAPPEN: (
        "A person has confirmed that the action did not happen. This key is never sent again: if "
        "the action is still needed, request it under a new key."
    ),
}

Response = dict[str, Any]


def of_answer(answer: Answer) -> Response:
    """The answer to an action: Plivo's status and body if accepted, a problem otherwise."""
    verdict = answer.verdict
    headers = {"Action-Id": answer.action_id}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    if answer.duplicate_of:
        headers["Duplicate-Of"] = answer.duplicate_of
    headers |= _wait(answer.retry_after)
    if verdict.outcome is Outcome.ACCEPTED:
        body = {"api_id": verdict.api_id, "error": verdict.error}
        return response(verdict.status, body, headers)
    advice = TABLE[verdict.cause].advice
    if answer.duplicate_of and verdict.outcome is Outcome.NOT_SENT:
        advice = _DUPLICATE_ADVICE
    more: dict[str, Any] = {}
    if answer.resolution is not None:
        advice = _RESOLVED_ADVICE[answer.resolution]
        more["resolution"] = answer.resolution
    return _of_verdict(verdict, advice, f"/v1/actions/{answer.action_id}", headers, more)


def without_key(answer: Response) -> Response:
    """``answer`` with the header that shows that the request had no key."""
    return {**answer, "headers": {**answer["headers"], "Idempotency-Key": "none"}}


def of_reading(reading: Reading, request_id: str) -> Response:
    """The answer to a GET: Plivo's status and JSON object, or a problem."""
    failure = reading.failure
    if failure is None:
        return response(reading.plivo_status or HTTPStatus.OK, reading.body, {})
    headers = _wait(failure.retry_after)
    return _of_verdict(failure, TABLE[failure.cause].advice, f"urn:uuid:{request_id}", headers)


def _wait(seconds: int | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(seconds)}


def _of_verdict(
    verdict: Verdict,
    advice: str,
    instance: str,
    headers: Mapping[str, str],
    more: Mapping[str, Any] | None = None,
) -> Response:
    detail = f"Plivo: {verdict.error} - {advice}" if verdict.error else advice
    return _problem(
        verdict.cause,
        verdict.status,
        detail,
        instance=instance,
        headers=headers,
        error=verdict.error or detail,
        api_id=verdict.api_id,
        more=more,
    )


def of_error(error: ColdTransferError, request_id: str) -> Response:
    """The answer to a request that ended without a verdict."""
    row = TABLE[error.cause]
    detail = row.advice
    headers: dict[str, str] = {}
    instance = f"urn:uuid:{request_id}"
    more: dict[str, Any] = {}
    match error:
        case ContractViolated():
            more["errors"] = [
                {"field": fault.name or fault.field, "detail": fault.detail()}
                for fault in error.faults
            ]
            detail = "; ".join(f"{fault.field}: {fault.detail()}" for fault in error.faults)
        case InProgress():
            headers = {"Action-Id": error.action_id, "Retry-After": str(error.retry_after)}
            instance = f"/v1/actions/{error.action_id}"
            if error.duplicate_of:
                headers["Duplicate-Of"] = error.duplicate_of
        case KeyReused():
            headers = {"Action-Id": error.action_id}
            instance = f"/v1/actions/{error.action_id}"
        case DependencyUnavailable() | OutOfTime():
            headers = {"Retry-After": str(row.retry_after)}
        case _ if error.cause is Cause.UNAUTHORIZED:
            # RFC 9110, section 11.6.1: a 401 lists the accepted schemes
            headers = {"WWW-Authenticate": 'Bearer, Basic realm="plivo-cold-transfer"'}
        case _ if str(error):
            detail = f"{str(error)[0].upper()}{str(error)[1:]}. {detail}"
    return _problem(
        error.cause, row.status, detail, instance=instance, headers=headers, error=detail, more=more
    )


def response(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    """An API Gateway proxy response with a JSON body."""
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json", "Cache-Control": "no-store", **headers},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def _problem(  # noqa: PLR0913  the members of a problem
    cause: Cause,
    status: int,
    detail: str,
    *,
    instance: str,
    headers: Mapping[str, str],
    error: str,
    api_id: str = "",
    more: Mapping[str, Any] | None = None,
) -> Response:
    body = {
        "type": f"{TYPE_PREFIX}{cause}",
        "title": TABLE[cause].title,
        "status": status,
        "detail": detail,
        "instance": instance,
        "error": error,
        "api_id": api_id,
        **(more or {}),
    }
    return response(status, body, {**headers, "Content-Type": "application/problem+json"})
