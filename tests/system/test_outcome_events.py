"""Every settled outcome is published on the bus, with a stable id."""

import uuid

import pytest

from local.waiting import eventually
from tests.system.deployment import FAILING, Deployment
from tests.system.policies import Grant

KINDS = {
    "201": ("Cold Transfer Accepted", "accepted"),
    "400": ("Cold Transfer Rejected", "rejected"),
    "429": ("Cold Transfer Not Sent", "not_sent"),
    "500": ("Cold Transfer Unknown", "unknown"),
}


@pytest.mark.parametrize("digits", KINDS, ids=lambda digits: KINDS[digits][1])
def test_each_outcome_is_published_as_recorded(deployment: Deployment, digits: str) -> None:
    detail_type, outcome = KINDS[digits]
    answer = deployment.post(deployment.fields(to=FAILING + digits))

    (event,) = eventually(lambda: deployment.outcomes_of(answer.action_id))
    assert (event["source"], event["detail-type"]) == ("plivo-cold-transfer", detail_type)
    detail = event["detail"]
    assert detail["event_id"] == f"{answer.action_id}:1:{outcome}"
    assert (detail["outcome"], detail["status"]) == (outcome, answer.status)
    assert (detail["entry_point"], detail["client"]) == ("webhook", "phlo")
    looked_up = deployment.look_up(answer.action_id).body
    assert {name: detail[name] for name in looked_up} == looked_up


def test_a_retry_publishes_a_second_outcome_and_a_replay_publishes_none(
    deployment: Deployment,
) -> None:
    fields, key = deployment.fields(to=FAILING + "429"), f"key-{uuid.uuid4()}"
    action_id = deployment.post(fields, key=key).action_id
    deployment.post(fields, key=key)
    settled = deployment.fields()
    replayed, *_ = [deployment.post(settled, key=f"{key}-2") for _ in range(3)]
    last = deployment.post(deployment.fields())

    def event_ids(of: str) -> list[str]:
        return [event["detail"]["event_id"] for event in deployment.outcomes_of(of)]

    assert eventually(lambda: event_ids(last.action_id))  # outcomes are published in order
    assert event_ids(action_id) == [f"{action_id}:1:not_sent", f"{action_id}:2:not_sent"]
    assert event_ids(replayed.action_id) == [f"{replayed.action_id}:1:accepted"]


def test_an_outcome_that_cannot_be_published_is_reported_for_redelivery(
    deployment: Deployment,
) -> None:
    """The test delivers the batch: the emulator's stream ignores partial batch failures."""
    bus = deployment.stack.description["event_bus_name"]
    arn = deployment.aws("events").describe_event_bus(Name=bus)["Arn"]
    action_id = deployment.post(deployment.fields()).action_id
    assert eventually(lambda: deployment.outcomes_of(action_id))
    item = deployment.aws("dynamodb").get_item(
        TableName=deployment.name("LedgerTable"), Key={"pk": {"S": f"K#{action_id}"}}
    )["Item"]
    change = {"NewImage": item, "SequenceNumber": "4711"}
    delivery = {"Records": [{"eventName": "MODIFY", "dynamodb": change}]}

    with deployment.without("OutcomesRole", Grant("events:PutEvents", arn)):
        failed = deployment.invoke("OutcomesFunction", delivery)
    published = deployment.invoke("OutcomesFunction", delivery)

    assert failed.result == {"batchItemFailures": [{"itemIdentifier": "4711"}]}
    assert deployment.lines("OutcomesFunction", message="outcome not published", level="ERROR")
    assert published.result == {"batchItemFailures": []}
    events = eventually(lambda: deployment.outcomes_of(action_id)[1:])
    assert [one["detail"]["event_id"] for one in events] == [f"{action_id}:1:accepted"]
