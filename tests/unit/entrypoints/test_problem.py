"""HTTP answers: each cause has its own problem type, and each row of the table is rendered."""

import json

import pytest

from cold_transfer.action import Answer, Verdict
from cold_transfer.causes import TABLE, Cause, Outcome
from cold_transfer.entrypoints import problem
from cold_transfer.errors import (
    ActionNotAllowed,
    ActionNotFound,
    BodyMalformed,
    BodyTooLarge,
    ColdTransferError,
    ContractViolated,
    DependencyUnavailable,
    Fault,
    InProgress,
    KeyRequired,
    KeyReused,
    LedgerUnavailable,
    MediaTypeUnsupported,
    OutOfTime,
    PhloNotAllowed,
    SecretInvalid,
    SecretUnavailable,
    Unauthorized,
)
from cold_transfer.plivo.response import Reading
from tests.support import fakes

ACTION_ID = "0a2c" * 16
OTHER_ID = "beef" * 16
REQUEST_ID = "dd9f6087-cc7a-5d0e-8f3b-05db068d63be"

ERRORS: list[tuple[ColdTransferError, int, Cause]] = [
    (BodyTooLarge("the body is longer than 10240 bytes"), 413, Cause.BODY_TOO_LARGE),
    (Unauthorized("no valid credential"), 401, Cause.UNAUTHORIZED),
    (MediaTypeUnsupported("the charset is not utf-8"), 415, Cause.MEDIA_TYPE_UNSUPPORTED),
    (BodyMalformed("the body is empty"), 400, Cause.BODY_MALFORMED),
    (ContractViolated([Fault("to", "is missing")]), 422, Cause.FIELDS_INVALID),
    (
        ActionNotAllowed("this action is not among the client's actions"),
        403,
        Cause.ACTION_NOT_ALLOWED,
    ),
    (KeyRequired("there is no Idempotency-Key"), 400, Cause.KEY_REQUIRED),
    (PhloNotAllowed("not this PHLO"), 403, Cause.PHLO_NOT_ALLOWED),
    (ActionNotFound("no such action"), 404, Cause.ACTION_NOT_FOUND),
    (KeyReused(ACTION_ID), 422, Cause.KEY_REUSED),
    (InProgress(ACTION_ID, 2), 409, Cause.IN_PROGRESS),
    (InProgress(ACTION_ID, 2, OTHER_ID), 409, Cause.DUPLICATE_IN_PROGRESS),
    (OutOfTime("too little time"), 503, Cause.OUT_OF_TIME),
    (LedgerUnavailable("DynamoDB: X"), 503, Cause.DEPENDENCY_UNAVAILABLE),
    (SecretUnavailable("the secret x: Y"), 503, Cause.DEPENDENCY_UNAVAILABLE),
    (SecretInvalid("clients secret: z"), 503, Cause.DEPENDENCY_UNAVAILABLE),
]

#: The causes after which a client may retry, with the header's value.
RETRY_AFTER = {
    Cause.PLIVO_THROTTLED: "5",
    Cause.PLIVO_UNREACHABLE: "2",
    Cause.OUT_OF_TIME: "2",
    Cause.DEPENDENCY_UNAVAILABLE: "2",
}

VERDICTS = [
    Verdict(cause) for cause, row in TABLE.items() if row.outcome not in (None, Outcome.ACCEPTED)
]


FAILED_READS = [
    Verdict(Cause.READ_REJECTED),
    Verdict(Cause.READ_TIMED_OUT),
    Verdict(Cause.READ_FAILED),
]


def rendered(error: ColdTransferError) -> fakes.HttpResponse:
    return fakes.HttpResponse.of(problem.of_error(error, REQUEST_ID))


def answered(answer: Answer) -> fakes.HttpResponse:
    return fakes.HttpResponse.of(problem.of_answer(answer))


def read(failure: Verdict) -> fakes.HttpResponse:
    return fakes.HttpResponse.of(problem.of_reading(Reading(None, failure=failure), REQUEST_ID))


def test_every_cause_has_a_row_and_titles_differ() -> None:
    assert set(TABLE) == set(Cause)
    titles = [row.title for row in TABLE.values()]
    assert len(set(titles)) == len(titles)


def test_every_cause_has_its_own_type() -> None:
    types = {rendered(error).cause for error, _, _ in ERRORS}
    types |= {answered(Answer(ACTION_ID, verdict)).cause for verdict in VERDICTS}
    types |= {read(verdict).cause for verdict in FAILED_READS}

    assert types == {str(cause) for cause in Cause} - {"accepted"}


@pytest.mark.parametrize(("error", "status", "cause"), ERRORS)
def test_an_error_is_rendered_from_its_row(
    error: ColdTransferError, status: int, cause: Cause
) -> None:
    answer = rendered(error)

    assert (answer.status, answer.cause) == (status, cause)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == status
    assert answer.body["title"] == TABLE[cause].title
    assert answer.body["error"] == answer.body["detail"]
    assert answer.body["api_id"] == ""
    if isinstance(error, KeyReused | InProgress):
        assert answer.headers["Action-Id"] == ACTION_ID
        assert answer.body["instance"] == f"/v1/actions/{ACTION_ID}"
    else:
        assert "Action-Id" not in answer.headers
        assert answer.body["instance"] == f"urn:uuid:{REQUEST_ID}"
    assert answer.headers.get("Duplicate-Of") == getattr(error, "duplicate_of", None)
    retryable = isinstance(error, InProgress | DependencyUnavailable | OutOfTime)
    assert ("Retry-After" in answer.headers) == retryable


def test_the_text_of_a_dependency_or_credential_error_is_not_in_the_answer() -> None:
    for error in (SecretInvalid("the secret names/of/it"), Unauthorized("the second header")):
        assert str(error) not in rendered(error).text.lower()


def test_the_answer_quotes_the_value_but_the_error_does_not() -> None:
    error = ContractViolated([Fault("to", "must be a number", '"+1 415" is no number')])

    answer = rendered(error)

    assert answer.body["errors"] == [{"field": "to", "detail": '"+1 415" is no number'}]
    assert answer.body["detail"] == 'to: "+1 415" is no number'
    assert str(error) == "to: must be a number"


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: str(verdict.cause))
def test_a_verdict_and_its_replay_are_rendered_from_its_row(verdict: Verdict) -> None:
    answer = answered(Answer(ACTION_ID, verdict))
    replay = answered(Answer(ACTION_ID, verdict, replayed=True))

    assert (answer.status, answer.cause) == (verdict.status, verdict.cause)
    assert answer.headers["Action-Id"] == ACTION_ID
    assert replay.headers == {**answer.headers, "Idempotency-Replayed": "true"}
    assert (replay.status, replay.text) == (answer.status, answer.text)
    assert answer.headers.get("Retry-After") == RETRY_AFTER.get(verdict.cause)
    assert answer.body["detail"] == answer.body["error"] == TABLE[verdict.cause].advice


@pytest.mark.parametrize("status", [200, 201, 202])
def test_an_accepted_action_is_answered_as_plivo_does(status: int) -> None:
    verdict = Verdict(Cause.ACCEPTED, api_id=fakes.API_ID, plivo_status=status)

    answer = answered(Answer(ACTION_ID, verdict, replayed=True, duplicate_of=OTHER_ID))

    assert answer.status == status
    assert answer.text == json.dumps({"api_id": fakes.API_ID, "error": ""})
    assert answer.headers == {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Action-Id": ACTION_ID,
        "Idempotency-Replayed": "true",
        "Duplicate-Of": OTHER_ID,
    }


def test_a_duplicate_of_an_action_that_was_not_sent_needs_a_new_key() -> None:
    verdict = Verdict(Cause.PLIVO_THROTTLED)

    answer = answered(Answer(ACTION_ID, verdict, replayed=True, duplicate_of=OTHER_ID))

    assert "under a new key" in answer.body["detail"]
    assert TABLE[Cause.PLIVO_THROTTLED].advice not in answer.body["detail"]
    assert "Retry-After" not in answer.headers


def test_plivos_error_text_is_returned_verbatim_in_error() -> None:
    text = "Invalid value provided for to. to expects a/an string."
    verdict = Verdict(Cause.REJECTED, api_id=fakes.API_ID, error=text, plivo_status=400)

    answer = answered(Answer(ACTION_ID, verdict))

    assert answer.body["error"] == text
    assert answer.body["api_id"] == fakes.API_ID
    assert text in answer.body["detail"]
    assert TABLE[Cause.REJECTED].advice in answer.body["detail"]
