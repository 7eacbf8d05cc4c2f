"""Two stacks in one account and region do not affect each other."""

import copy
import json
from collections.abc import Iterator

import pytest

from local.waiting import eventually
from tests.support import builders
from tests.system.deployment import FUNCTIONS, Deployment

SECOND = "a-second-stack"
ITS_TOKEN = "token-of-the-second-stack-not-a-secret"

pytestmark = pytest.mark.timeout(300)  # the first one waits for another deployment


@pytest.fixture(scope="module")
def second(deployment: Deployment) -> Iterator[Deployment]:
    """Another stack in the same emulator, whose client ``phlo`` has a different token."""
    stack = copy.copy(deployment.stack)
    stack.deployed = deployment.stack.deploy(SECOND)
    other = Deployment(stack, deployment.plivo)
    clients = {"clients": {"phlo": {"tokens": [ITS_TOKEN]}}}
    with other.secret("ClientsSecret", json.dumps(clients)):
        for one in (deployment, other):  # or else the first metrics come with the next minute
            one.invoke("ReconcileFunction", {})
        yield other
    other.close()


def test_they_share_no_resource(deployment: Deployment, second: Deployment) -> None:
    first, other = (set(one.stack.deployed.resources.items()) for one in (deployment, second))

    # The name of a stage belongs to its API, and an account has one log role for all APIs.
    assert {name for name, _ in first & other} <= {"ApiStage", "ApiGatewayAccount"}
    assert set(deployment.stack.deployed.log_groups.values()).isdisjoint(
        second.stack.deployed.log_groups.values()
    )
    assert (
        deployment.stack.deployed.outputs["EventBus"] == second.stack.deployed.outputs["EventBus"]
    )


def test_the_same_request_to_both_is_sent_and_recorded_by_each(
    deployment: Deployment, second: Deployment
) -> None:
    fields = deployment.fields()

    first = deployment.post(fields, key="the-same-key")
    other = second.post(fields, builders.bearer(ITS_TOKEN), key="the-same-key")

    assert (first.status, other.status, other.replayed) == (201, 201, False)
    assert len(deployment.posts(fields)) == 2
    assert first.body["api_id"] != other.body["api_id"]
    assert deployment.record(first.action_id)["api_id"] == first.body["api_id"]
    assert second.record(other.action_id)["api_id"] == other.body["api_id"]
    for one, answer in ((deployment, first), (second, other)):
        (event,) = eventually(lambda: one.outcomes_of(answer.action_id))  # noqa: B023  read at once
        assert event["detail"]["api_id"] == answer.body["api_id"]


def test_a_credential_is_valid_for_its_own_stack_only(
    deployment: Deployment, second: Deployment
) -> None:
    fields = deployment.fields()

    assert second.post(fields, builders.bearer()).status == 401
    assert deployment.post(fields, builders.bearer(ITS_TOKEN)).status == 401
    assert deployment.posts(fields) == []


def test_an_event_is_handled_only_by_the_stack_with_its_source(
    deployment: Deployment, second: Deployment
) -> None:
    detail = {**deployment.detail(), "idempotency_key": "of-the-second"}
    second.put_event(detail)
    assert eventually(lambda: deployment.posts(detail), 60)
    later = deployment.detail()
    deployment.put_event(later)
    assert eventually(lambda: deployment.posts(later), 60)

    assert len(deployment.posts(detail)) == 1
    (record,) = [one for one in second.records() if one.get("entry_point") == "event"]
    assert record["client"] == f"{SECOND}.client"
    assert record["action_id"] not in {one.get("action_id") for one in deployment.records()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_metrics_and_log_lines_have_the_name_of_their_stack(
    deployment: Deployment, second: Deployment, function: str
) -> None:
    for one in (deployment, second):
        name = one.stack.deployed.outputs["OutcomeSource"]
        lines = eventually(lambda: one.metrics(function), 90)  # noqa: B023  read at once
        assert {line["service"] for line in lines} == {name}
        assert {line["service"] for line in one.lines(function)} <= {name}
        declared = [of for line in lines for of in line["_aws"]["CloudWatchMetrics"]]
        assert {tuple(of["Dimensions"][0]) for of in declared} == {("service", "function")}


def test_outcome_events_have_the_source_of_their_stack(
    deployment: Deployment, second: Deployment
) -> None:
    deployment.outcomes_of("")
    second.outcomes_of("")

    seen = [{event["source"] for event in one.outcomes} for one in (deployment, second)]

    assert seen == [{"plivo-cold-transfer"}, {SECOND}]


def test_an_alarm_watches_its_own_stack(deployment: Deployment, second: Deployment) -> None:
    alarms = deployment.aws("cloudwatch").describe_alarms()["MetricAlarms"]
    of_second = [alarm for alarm in alarms if alarm["AlarmName"].startswith(SECOND)]

    assert of_second
    assert len(of_second) * 2 == len(alarms)
    for alarm in of_second:
        topics = {*alarm["AlarmActions"], *alarm["OKActions"]}
        assert topics <= set(second.stack.deployed.resources.values())
        services = [one["Value"] for one in alarm["Dimensions"] if one["Name"] == "service"]
        assert services in ([], [SECOND])
