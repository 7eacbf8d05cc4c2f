"""At most once on the deployed stack: simultaneous requests, killed invocations, failing writes."""

import functools
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from local.waiting import eventually
from tests.support import builders
from tests.system.deployment import Crowd, Deployment, HttpResponse, Invoked
from tests.system.policies import Grant

CROWD = 50
OPEN_STATES = {"claimed", "sending"}


def is_documented(answer: HttpResponse) -> bool:
    """Accepted, in progress, or, on an overloaded machine, a dependency that timed out."""
    if answer.status == 201:
        return bool(answer.body["api_id"])
    busy = {409: ("in-progress", "duplicate-in-progress"), 503: ("dependency-unavailable",)}
    return answer.cause in busy[answer.status] and int(answer.headers["retry-after"]) >= 1


def assert_all_are_settled(deployment: Deployment) -> None:
    """Wait until no record is open; on an overloaded machine that takes the reconciler."""

    def open_records() -> list[dict[str, Any]]:
        return [item for item in deployment.records() if item.get("state") in OPEN_STATES]

    assert eventually(lambda: not open_records(), 110), open_records()


def retried_until_accepted(send: Callable[[], HttpResponse]) -> HttpResponse:
    answers: list[HttpResponse] = []

    def is_accepted() -> bool:
        answers.append(send())
        return answers[-1].status == 201

    assert eventually(is_accepted), answers[-1]
    return answers[-1]


@pytest.mark.timeout(300)  # fifty cold starts on two cores
@pytest.mark.parametrize("keys", ["one key", "different keys or none"])
def test_fifty_webhooks_at_once_for_one_action_are_one_post(
    deployment: Deployment, crowd: Crowd, keys: str
) -> None:
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"

    def post(number: int) -> HttpResponse:
        other = f"{key}-{number}" if number % 2 else None
        return deployment.post(fields, key=key if keys == "one key" else other)

    answers = crowd([functools.partial(post, number) for number in range(CROWD)])

    last = retried_until_accepted(lambda: post(0))
    assert len(deployment.posts(fields)) == 1
    assert all(is_documented(answer) for answer in answers), Counter(a.status for a in answers)
    accepted = [answer for answer in answers if answer.status == 201]
    assert sum(not answer.replayed for answer in [*accepted, last]) == 1
    assert {answer.body["api_id"] for answer in accepted} <= {last.body["api_id"]}
    assert_all_are_settled(deployment)


@pytest.mark.timeout(240)
def test_the_same_action_through_both_entry_points_at_once_is_one_post(
    deployment: Deployment, crowd: Crowd
) -> None:
    fields = deployment.fields()
    detail = builders.detail(**fields)

    def through_the_webhook() -> HttpResponse | Invoked:
        return deployment.post(fields)

    def through_the_event_function() -> HttpResponse | Invoked:
        return deployment.invoke("EventFunction", builders.eventbridge_event(detail))

    answers = crowd([through_the_webhook, through_the_event_function] * 5)
    retried_until_accepted(lambda: deployment.post(fields))

    assert len(deployment.posts(fields)) == 1
    assert all(is_documented(one) for one in answers if isinstance(one, HttpResponse))
    # An event that is a duplicate in progress, or finds the ledger unavailable, raises that cause.
    causes = {one.cause for one in answers if isinstance(one, Invoked)}
    assert not [cause for cause in causes if "unexpected" in cause or "Error at" in cause]
    assert_all_are_settled(deployment)


def killed_while_sending(deployment: Deployment, fields: dict[str, object], key: str) -> str:
    """Kill the execution environment of an action after its POST; returns the Action-Id."""
    with ThreadPoolExecutor(1) as pool, deployment.plivo.holding() as arrived:
        posted = pool.submit(deployment.post, fields, key=key)
        assert arrived.wait(60)
        deployment.replace_workers("WebhookFunction")
        answer = posted.result()
    assert answer.status >= 500  # from the gateway, since the function is gone
    during = deployment.post(fields, key=key)
    assert (during.status, during.cause) == (409, "in-progress")
    return during.action_id


def expire_lease(deployment: Deployment, action_id: str) -> None:
    deployment.set_record(action_id, lease_until=int(time.time() * 1000) - 1)


def test_the_reconciler_settles_an_action_whose_invocation_was_killed(
    deployment: Deployment,
) -> None:
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    action_id = killed_while_sending(deployment, fields, key)
    expire_lease(deployment, action_id)

    # The scheduled run may settle it first.
    assert deployment.invoke("ReconcileFunction", {}).error is None
    record = deployment.record(action_id)
    assert (record["state"], record["cause"]) == ("unknown", "abandoned")
    assert deployment.lines("ReconcileFunction", action_id=action_id)
    assert eventually(lambda: deployment.outcomes_of(action_id))
    repeat = deployment.post(fields, key=key)
    assert (repeat.status, repeat.cause, repeat.replayed) == (504, "abandoned", True)
    assert len(deployment.posts(fields)) == 1


def test_the_next_request_with_its_key_settles_an_action_whose_invocation_was_killed(
    deployment: Deployment,
) -> None:
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    action_id = killed_while_sending(deployment, fields, key)
    expire_lease(deployment, action_id)

    answers = [deployment.post(fields, key=key) for _ in range(2)]
    assert [(one.status, one.cause) for one in answers] == [(504, "abandoned")] * 2
    assert len(deployment.posts(fields)) == 1


def test_an_abandoned_claim_is_released_and_a_retry_is_sent_once(
    deployment: Deployment,
) -> None:
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    update = Grant("dynamodb:UpdateItem", table_arn(deployment))
    with deployment.without("WebhookRole", update):  # the claim cannot be released
        action_id = deployment.post(fields, key=key).action_id
    assert deployment.record(action_id)["state"] == "claimed"
    expire_lease(deployment, action_id)

    assert deployment.invoke("ReconcileFunction", {}).error is None
    assert deployment.record(action_id)["state"] == "not_sent"
    assert deployment.posts(fields) == []
    again = deployment.post(fields, key=key)
    assert (again.status, again.replayed) == (201, False)
    assert len(deployment.posts(fields)) == 1


def table_arn(deployment: Deployment) -> str:
    table = deployment.aws("dynamodb").describe_table(TableName=deployment.name("LedgerTable"))
    return str(table["Table"]["TableArn"])


@pytest.mark.parametrize("entry_point", ["webhook", "event"])
def test_a_ledger_that_fails_after_the_post_does_not_change_the_answer(
    deployment: Deployment, entry_point: str
) -> None:
    function, role = f"{entry_point.title()}Function", f"{entry_point.title()}Role"
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    event = builders.eventbridge_event(builders.detail(**fields))

    def request() -> str:
        if entry_point == "webhook":
            return deployment.post(fields, key=key).cause
        return deployment.invoke("EventFunction", event).cause

    failed = deployment.count(function, "SettleFailed")
    update = Grant("dynamodb:UpdateItem", table_arn(deployment))
    with ThreadPoolExecutor(1) as pool, deployment.plivo.holding() as arrived:
        requested = pool.submit(request)
        assert arrived.wait(60)
        with deployment.without(role, update):
            deployment.plivo.release()
            assert requested.result() == "accepted"

    assert eventually(lambda: deployment.count(function, "SettleFailed") == failed + 1)
    (line,) = deployment.lines(function, message="settle_failed", level="ERROR")[-1:]
    record = deployment.record(line["action_id"])
    assert record["state"] == "sending"
    expire_lease(deployment, line["action_id"])
    assert request() == "abandoned"
    assert len(deployment.posts(fields)) == 1
