"""Every fault is named in one answer, and the earliest time of a request counts."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause
from cold_transfer.errors import ActionFailed
from tests.support import builders
from tests.support.fakes import ACCEPTED, System, emitted

THROTTLED = Verdict(Cause.PLIVO_THROTTLED, plivo_status=429, plivo_retry_after=1)


def test_a_repeated_field_is_named_with_every_other_fault() -> None:
    body = '{"to": "+14152225555", "to": "+14152225556", "foo": 1}'

    with emitted():
        answer = System().post(body, key="not a key")

    assert answer.status == 422
    named = {each["field"] for each in answer.body["errors"]}
    assert named == {"to", "foo", "trigger_source", "Idempotency-Key"}


@pytest.mark.parametrize("name", ["foo bar", "füge", "+14152225557", "n" * 40])
def test_the_name_of_an_unknown_field_is_in_the_answer_but_not_in_the_log(name: str) -> None:
    with emitted() as output:
        answer = System().post({**builders.FIELDS, name: 1})

    assert [each["field"] for each in answer.body["errors"]] == [name]
    assert name not in output.text
    assert json.dumps(name) not in output.text


def test_a_retry_with_an_old_requested_at_is_not_sent() -> None:
    system = System(THROTTLED, ACCEPTED)
    old = (datetime.now(UTC) - timedelta(seconds=500)).isoformat()

    with emitted():
        first = system.post({**builders.FIELDS, "requested_at": _now()}, key="key-1")
        repeat = system.post({**builders.FIELDS, "requested_at": old}, key="key-1")

    assert (first.status, repeat.status) == (503, 422)
    assert repeat.body["type"].endswith(":too-old")
    assert len(system.plivo.sent) == 1


def test_an_old_event_with_the_key_of_a_new_one_is_not_sent() -> None:
    system = System(THROTTLED, ACCEPTED)
    detail = builders.detail(idempotency_key="call-1")
    old = datetime.now(UTC) - timedelta(seconds=500)

    with emitted():
        with pytest.raises(ActionFailed, match="plivo-throttled"):
            system.event(builders.eventbridge_event(detail))
        with pytest.raises(ActionFailed, match="too-old"):
            system.event(builders.eventbridge_event(detail, at=old))

    assert len(system.plivo.sent) == 1


def _now() -> str:
    return datetime.now(UTC).isoformat()
