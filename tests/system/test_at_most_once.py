"""At most once, on the deployed stack: crowds, deaths and a ledger that fails."""

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
    """Accepted, still being sent, or, on a machine that cannot keep up, a part out of reach."""
    if answer.status == 201:
        return bool(answer.body["api_id"])
    busy = {409: ("in-progress", "duplicate-in-progress"), 503: ("dependency-unavailable",)}
    return answer.cause in busy[answer.status] and int(answer.headers["retry-after"]) >= 1


def assert_all_end_settled(deployment: Deployment) -> None:
    """At the latest by the reconciler: a machine that cannot keep up leaves claims behind."""

    def still_open() -> list[dict[str, Any]]:
        return [item for item in deployment.records() if item.get("state") in OPEN_STATES]

    assert eventually(lambda: not still_open(), 110), still_open()


def eventually_accepted(ask: Callable[[], HttpResponse]) -> HttpResponse:
    """What a sender gets who goes on asking while it is told to."""
    answers: list[HttpResponse] = []

    def is_accepted() -> bool:
        answers.append(ask())
        return answers[-1].status == 201

    assert eventually(is_accepted), answers[-1]
    return answers[-1]


@pytest.mark.timeout(300)  # fifty cold starts on two cores
@pytest.mark.parametrize("keys", ["one key", "no key or a key of their own"])
def test_fifty_webhooks_at_once_for_one_action_are_one_post(
    deployment: Deployment, crowd: Crowd, keys: str
) -> None:
    fields, one = deployment.fields(), f"key-{uuid.uuid4()}"

    def ask(number: int) -> HttpResponse:
        own = f"{one}-{number}" if number % 2 else None
        return deployment.post(fields, key=one if keys == "one key" else own)

    answers = crowd([functools.partial(ask, number) for number in range(CROWD)])

    last = eventually_accepted(lambda: ask(0))
    assert len(deployment.posts(fields)) == 1
    assert all(is_documented(answer) for answer in answers), Counter(a.status for a in answers)
    accepted = [answer for answer in answers if answer.status == 201]
    assert sum(not answer.replayed for answer in [*accepted, last]) == 1
    assert {answer.body["api_id"] for answer in accepted} <= {last.body["api_id"]}
    assert_all_end_settled(deployment)


@pytest.mark.timeout(240)
def test_the_same_action_through_both_entry_points_at_once_is_one_post(
    deployment: Deployment, crowd: Crowd
) -> None:
    fields = deployment.fields()
    detail = builders.detail(**fields)

    def through_the_webhook() -> HttpResponse | Invoked:
        return deployment.post(fields)

    def through_the_bus() -> HttpResponse | Invoked:
        return deployment.invoke("EventFunction", builders.eventbridge_event(detail))

    told = crowd([through_the_webhook, through_the_bus] * 5)
    eventually_accepted(lambda: deployment.post(fields))

    assert len(deployment.posts(fields)) == 1
    assert all(is_documented(one) for one in told if isinstance(one, HttpResponse))
    # one that stepped aside, or found the ledger out of reach, raises and says so
    said = {one.cause for one in told if isinstance(one, Invoked)}
    assert not [text for text in said if "unexpected" in text or "Error at" in text]
    assert_all_end_settled(deployment)


def killed_while_sending(deployment: Deployment, fields: dict[str, object], key: str) -> str:
    """Start an action whose execution environment dies after the POST left; its Action-Id."""
    with ThreadPoolExecutor(1) as pool, deployment.plivo.holding() as arrived:
        asked = pool.submit(deployment.post, fields, key=key)
        assert arrived.wait(60)
        deployment.replace_workers("WebhookFunction")
        answer = asked.result()
    assert answer.status >= 500  # the gateway's: nobody is left to say more
    during = deployment.post(fields, key=key)
    assert (during.status, during.cause) == (409, "in-progress")
    return during.action_id


def its_lease_ends(deployment: Deployment, action_id: str) -> None:
    deployment.set_record(action_id, lease_until=int(time.time() * 1000) - 1)


def test_an_action_whose_invocation_was_killed_is_found_by_the_reconciler(
    deployment: Deployment,
) -> None:
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    action_id = killed_while_sending(deployment, fields, key)
    its_lease_ends(deployment, action_id)

    # the schedule may have been first, which is as good
    assert deployment.invoke("ReconcileFunction", {}).error is None
    record = deployment.record(action_id)
    assert (record["state"], record["cause"]) == ("unknown", "abandoned")
    assert deployment.lines("ReconcileFunction", action_id=action_id)
    assert eventually(lambda: deployment.outcomes_of(action_id))
    repeat = deployment.post(fields, key=key)
    assert (repeat.status, repeat.cause, repeat.replayed) == (504, "abandoned", True)
    assert len(deployment.posts(fields)) == 1


def test_the_next_request_with_its_key_finds_a_killed_action_by_itself(
    deployment: Deployment,
) -> None:
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    action_id = killed_while_sending(deployment, fields, key)
    its_lease_ends(deployment, action_id)

    answers = [deployment.post(fields, key=key) for _ in range(2)]
    assert [(one.status, one.cause) for one in answers] == [(504, "abandoned")] * 2
    assert len(deployment.posts(fields)) == 1


def test_a_claim_whose_invocation_died_is_released_and_may_be_sent_once(
    deployment: Deployment,
) -> None:
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    update = Grant("dynamodb:UpdateItem", table_arn(deployment))
    with deployment.without("WebhookRole", update):  # what is claimed cannot even be released
        action_id = deployment.post(fields, key=key).action_id
    assert deployment.record(action_id)["state"] == "claimed"
    its_lease_ends(deployment, action_id)

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
def test_a_ledger_that_fails_after_the_post_leaves_plivos_verdict_standing(
    deployment: Deployment, entry_point: str
) -> None:
    function, role = f"{entry_point.title()}Function", f"{entry_point.title()}Role"
    fields, key = deployment.fields(), f"key-{uuid.uuid4()}"
    event = builders.eventbridge_event(builders.detail(**fields))

    def ask() -> str:
        if entry_point == "webhook":
            return deployment.post(fields, key=key).cause
        return deployment.invoke("EventFunction", event).cause

    failed = deployment.count(function, "SettleFailed")
    update = Grant("dynamodb:UpdateItem", table_arn(deployment))
    with ThreadPoolExecutor(1) as pool, deployment.plivo.holding() as arrived:
        asked = pool.submit(ask)
        assert arrived.wait(60)
        with deployment.without(role, update):
            deployment.plivo.let_in()
            assert asked.result() == "accepted"

    assert eventually(lambda: deployment.count(function, "SettleFailed") == failed + 1)
    (line,) = deployment.lines(function, message="settle_failed", level="ERROR")[-1:]
    record = deployment.record(line["action_id"])
    assert record["state"] == "sending"
    its_lease_ends(deployment, line["action_id"])
    assert ask() == "abandoned"
    assert len(deployment.posts(fields)) == 1
