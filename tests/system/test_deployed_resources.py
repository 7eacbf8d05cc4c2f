"""The settings of the deployed resources.

The emulator ignores some that CloudFormation sets: the table's time to live and point-in-time
recovery, and the topics' key. ``tests/repository/test_template.py`` checks those in the template.
"""

import json
from typing import Any

import pytest

from tests.support.fake_dynamodb import INDEXES
from tests.system.deployment import FUNCTIONS, Deployment

API_GATEWAY_SECONDS = 29
FOURTEEN_DAYS = 14 * 86_400


def function(deployment: Deployment, logical_id: str) -> dict[str, Any]:
    found: dict[str, Any] = deployment.aws("lambda").get_function_configuration(
        FunctionName=deployment.name(logical_id)
    )
    return found


def queue(deployment: Deployment, logical_id: str) -> dict[str, Any]:
    found: dict[str, Any] = deployment.aws("sqs").get_queue_attributes(
        QueueUrl=deployment.name(logical_id), AttributeNames=["All"]
    )["Attributes"]
    return found


def invoke_config(deployment: Deployment, logical_id: str) -> dict[str, Any]:
    """The settings of asynchronous invocations."""
    listed = deployment.aws("lambda").list_function_event_invoke_configs(
        FunctionName=deployment.name(logical_id)
    )
    found: dict[str, Any] = listed["FunctionEventInvokeConfigs"][0]
    return found


@pytest.mark.parametrize("logical_id", FUNCTIONS)
def test_plivos_deadline_is_below_the_functions_timeout_and_that_below_the_gateways(
    deployment: Deployment, logical_id: str
) -> None:
    configuration = function(deployment, logical_id)
    variables = configuration["Environment"]["Variables"]

    assert float(variables["PLIVO_DEADLINE_SECONDS"]) < configuration["Timeout"]
    assert configuration["Timeout"] < API_GATEWAY_SECONDS
    assert float(variables["FUNCTION_TIMEOUT_SECONDS"]) == configuration["Timeout"]
    assert configuration["TracingConfig"] == {"Mode": "Active"}


@pytest.mark.parametrize("logical_id", ["EventFunction", "ReconcileFunction"])
def test_nothing_asynchronous_is_retried(deployment: Deployment, logical_id: str) -> None:
    config = invoke_config(deployment, logical_id)

    assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)


def test_failed_and_undelivered_events_go_to_the_same_queue(deployment: Deployment) -> None:
    arn = queue(deployment, "DeadLetterQueue")["QueueArn"]
    name = deployment.name("EventFunction")
    config = invoke_config(deployment, "EventFunction")
    (target,) = deployment.aws("events").list_targets_by_rule(Rule=deployment.name("EventRule"))[
        "Targets"
    ]

    assert config["DestinationConfig"]["OnFailure"]["Destination"] == arn
    assert target["DeadLetterConfig"]["Arn"] == arn
    assert target["RetryPolicy"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert name in target["Arn"]


def test_the_rule_matches_only_requests_of_this_account_and_source(deployment: Deployment) -> None:
    rule = deployment.aws("events").describe_rule(Name=deployment.name("EventRule"))

    assert rule["State"] == "ENABLED"
    assert json.loads(rule["EventPattern"]) == {
        "source": [deployment.stack.description["event_source"]],
        "detail-type": [
            f"{name} Requested"
            for name in (
                "Cold Transfer",
                "Warm Transfer",
                "Call",
                "Abort Transfer",
                "Resume Call",
                "Voicemail Drop",
                "Hangup",
                "Hold",
                "Unhold",
            )
        ],
        "account": ["000000000000"],
    }


def test_the_reconciler_runs_every_minute(deployment: Deployment) -> None:
    name = deployment.name("ReconcileFunctionEveryMinute")
    rule = deployment.aws("events").describe_rule(Name=name)
    (target,) = deployment.aws("events").list_targets_by_rule(Rule=name)["Targets"]

    assert (rule["State"], rule["ScheduleExpression"]) == ("ENABLED", "rate(1 minute)")
    assert deployment.name("ReconcileFunction") in target["Arn"]


@pytest.mark.parametrize("logical_id", ["DeadLetterQueue", "OutcomesDeadLetterQueue"])
def test_a_dead_letter_queue_is_encrypted_and_keeps_messages_for_14_days(
    deployment: Deployment, logical_id: str
) -> None:
    attributes = queue(deployment, logical_id)

    assert int(attributes["MessageRetentionPeriod"]) == FOURTEEN_DAYS
    assert attributes["SqsManagedSseEnabled"] == "true"


def test_a_record_outlives_the_dead_letter_that_may_repeat_it(deployment: Deployment) -> None:
    answer = deployment.post(deployment.fields())
    record = deployment.record(answer.action_id)

    assert int(record["ttl"]) - int(record["settled_at"]) // 1000 > FOURTEEN_DAYS
    assert "open" not in record


def test_the_ledger_grows_on_demand_streams_both_images_and_is_protected(
    deployment: Deployment,
) -> None:
    table = deployment.aws("dynamodb").describe_table(TableName=deployment.name("LedgerTable"))
    found = table["Table"]

    assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert found["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert str(found["DeletionProtectionEnabled"]).lower() == "true"
    indexes = {one["IndexName"]: one["Projection"] for one in found["GlobalSecondaryIndexes"]}
    assert indexes == {name: {"ProjectionType": "KEYS_ONLY"} for name in INDEXES}


def test_every_log_group_keeps_lines_for_log_retention_days(deployment: Deployment) -> None:
    days = int(deployment.stack.deployed.parameters["LogRetentionDays"])
    groups = deployment.aws("logs").describe_log_groups()["logGroups"]

    expected = set(deployment.stack.deployed.log_groups.values())
    assert expected <= {group["logGroupName"] for group in groups}
    assert {group.get("retentionInDays") for group in groups} == {days}


def test_the_stage_is_throttled_and_neither_logs_nor_traces_paths_and_bodies(
    deployment: Deployment,
) -> None:
    (stage,) = deployment.aws("apigateway").get_stages(restApiId=deployment.name("Api"))["item"]
    (settings,) = stage["methodSettings"].values()
    parameters = deployment.stack.deployed.parameters

    assert stage["tracingEnabled"] is False  # its segments hold paths, and so numbers of members
    assert settings["throttlingRateLimit"] == float(parameters["StageRateLimit"])
    assert settings["throttlingBurstLimit"] == int(parameters["StageBurstLimit"])
    assert settings["loggingLevel"] == "OFF"
    assert settings["dataTraceEnabled"] is False


def test_every_alarm_notifies_a_topic_and_links_to_the_runbook(deployment: Deployment) -> None:
    resources = deployment.stack.deployed.resources
    topics = {resources[name] for name in ("AlarmTopic", "PagerTopic") if name in resources}
    alarms = deployment.aws("cloudwatch").describe_alarms()["MetricAlarms"]

    assert alarms
    for alarm in alarms:
        # By default, an alarm without data is "insufficient" and notifies nobody.
        assert alarm["TreatMissingData"] in (
            "breaching",
            "notBreaching",
            "ignore",
        ), alarm["AlarmName"]
        assert "docs/runbook.md#" in alarm["AlarmDescription"], alarm["AlarmName"]
        assert resources["AlarmTopic"] in alarm["AlarmActions"], alarm["AlarmName"]
        assert topics.issuperset(alarm["AlarmActions"]), alarm["AlarmName"]
