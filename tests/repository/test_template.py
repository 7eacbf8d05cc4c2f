"""What must remain true of the template, whatever else changes in it."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from cold_transfer.auth.signature import TOLERANCE_SECONDS
from cold_transfer.entrypoints.invocation import LONGEST_WAIT_MS
from cold_transfer.settings import Settings, SettingsInvalid
from tests.repository.expanded import PARAMETERS, ROOT, TEMPLATE, TEXT, Expanded
from tests.support.fake_dynamodb import INDEXES

API_GATEWAY_TIMEOUT_SECONDS = 29
SETTLE_SECONDS = 2
DASHBOARD_COLUMNS = 24
FOURTEEN_DAYS = 14 * 24 * 3600
STREAM_SECONDS = 24 * 3600
ALARM = "AWS::CloudWatch::Alarm"

TO_PLIVO = ["WebhookFunction", "EventFunction"]
FUNCTIONS = [*TO_PLIVO, "ReconcileFunction", "OutcomesFunction"]
ROLES = [name.replace("Function", "Role") for name in FUNCTIONS]

AWS = Expanded()
LOCAL = Expanded(AwsEndpointUrl="http://127.0.0.1:4566")
EVERYTHING = Expanded(
    AllowedCidrs="192.0.2.0/24,2001:db8::/32",
    AlarmEmail="all@example.com",
    DataKmsKeyArn="arn:aws:kms:us-east-1:111122223333:key/data",
    EventBusName="calls",
    PagerEmail="pager@example.com",
    ReservedConcurrency="10",
    SecretsKmsKeyArn="arn:aws:kms:us-east-1:111122223333:key/secrets",
    SecurityGroupIds="sg-0a1b2c3d",
    SubnetIds="subnet-0a1b2c3d,subnet-0a1b2c3e",
    WafRateLimit="2000",
)

#: The alarms that page someone: actions are not sent, or their outcome is unknown.
URGENT = {
    "unknown-outcomes",
    "settle-failed",
    "plivo-credentials-refused",
    "secret-invalid",
    "secret-unavailable",
    "ledger-unavailable",
    "webhook-failing",
    "functions-throttled",
    "events-undelivered",
    "dead-letters-lost",
    "reconcile-silent",
}

#: The metrics of this project that each function sends.
_OF_BOTH = {f"Action{outcome}" for outcome in ("Accepted", "Rejected", "NotSent", "Unknown")}
_OF_BOTH |= {"ActionReplayed", "RequestInvalid", "RequestStale", "SecretInvalid", "ColdStart"}
_OF_BOTH |= {"PlivoCredentialsRefused", "PlivoLatency", "PlivoThrottled", "SecretUnavailable"}
_OF_BOTH |= {"LedgerUnavailable", "SettleFailed"}
SENT_BY = {
    "webhook": _OF_BOTH | {"RequestUnauthorized", "RequestWithoutKey"},
    "event": _OF_BOTH,
    "reconcile": {
        *("ActionNotSent", "ActionUnknown", "LedgerUnavailable", "UnknownUnresolved", "ColdStart")
    },
    "outcomes": {"ColdStart", "OutcomeNotPublished"},
}


def test_the_template_is_short_enough_to_be_read() -> None:
    assert len(TEXT.splitlines()) < 1700


def test_functions_are_deployed_in_place() -> None:
    kinds = {it["Type"] for it in AWS.resources.values()}
    assert not {it for it in kinds if "CodeDeploy" in it or it.endswith(("::Version", "::Alias"))}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_plivo_gives_up_before_the_function_and_the_function_before_the_gateway(
    function: str,
) -> None:
    timeout = int(AWS.properties(function)["Timeout"])
    variables = AWS.variables(function)
    options = dict(option.split(":") for option in variables["RES_OPTIONS"].split())

    assert PARAMETERS["PlivoDeadlineSeconds"]["MaxValue"] < timeout < API_GATEWAY_TIMEOUT_SECONDS
    assert variables["FUNCTION_TIMEOUT_SECONDS"] == str(timeout)
    # a DNS lookup takes no longer than the time reserved for settling
    assert int(options["timeout"]) * int(options["attempts"]) <= SETTLE_SECONDS


def test_the_code_has_the_templates_defaults_and_accepts_its_bounds() -> None:
    """Lambda updates code and variables one after the other: a new variable needs a default."""
    variables = AWS.variables("WebhookFunction")
    settings = Settings.from_environment(variables)
    for name in variables:
        without = {key: value for key, value in variables.items() if key != name}
        try:
            assert Settings.from_environment(without) == settings, name
        except SettingsInvalid:
            assert name in {
                "LEDGER_TABLE",
                "PLIVO_BASE_URL",
                "PLIVO_SECRET_NAME",
                "CLIENTS_SECRET_NAME",
                "EVENT_SOURCE",
                "OUTCOME_SOURCE",
            }
    for bound in ("MinValue", "MaxValue"):
        numbers = {name: str(it[bound]) for name, it in PARAMETERS.items() if bound in it}
        Settings.from_environment(Expanded(**numbers).variables("WebhookFunction"))


# --- events --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bus", ["default", "calls"])
def test_no_event_is_retried_and_none_is_lost(bus: str) -> None:
    stack = Expanded(EventBusName=bus)
    [target] = stack.properties("EventRule")["Targets"]
    config = stack.properties("EventInvokeConfig")

    once = {"MaximumRetryAttempts": "0", "MaximumEventAgeInSeconds": "60"}
    assert target["RetryPolicy"] == once
    assert target["DeadLetterConfig"] == {"Arn": "<DeadLetterQueue.Arn>"}
    assert once.items() <= config.items()
    assert (config["FunctionName"], config["Qualifier"]) == ("<EventFunction>", "$LATEST")
    assert config["DestinationConfig"] == {"OnFailure": {"Destination": "<DeadLetterQueue.Arn>"}}


@pytest.mark.parametrize("bus", ["default", "calls"])
def test_the_rule_is_created_after_its_permission_and_its_dead_letter_queue(bus: str) -> None:
    stack = Expanded(EventBusName=bus)
    rule = stack.properties("EventRule")
    path = rule["Name"] if bus == "default" else f"{bus}/{rule['Name']}"
    arn = f"arn:aws:events:us-east-1:111122223333:rule/{path}"
    [to_queue, *_] = stack.properties("DeadLetterQueuePolicy")["PolicyDocument"]["Statement"]

    before = {"EventInvokeConfig", "EventPermission", "DeadLetterQueuePolicy"}
    assert before <= set(stack.resources["EventRule"]["DependsOn"])
    assert fnmatchcase(arn, stack.properties("EventPermission")["SourceArn"])
    assert fnmatchcase(arn, to_queue["Condition"]["ArnLike"]["aws:SourceArn"])
    assert len(rule["Name"]) + 36 - len("acme-id") <= 64  # with a real stack id, which is a UUID


def test_the_rule_matches_only_this_accounts_requests_from_the_configured_source() -> None:
    pattern = AWS.properties("EventRule")["EventPattern"]
    assert (pattern["source"], pattern["account"]) == (["acme.client"], ["111122223333"])
    assert Expanded(EventSource="crm").properties("EventRule")["EventPattern"]["source"] == ["crm"]


def test_every_action_can_be_requested_and_allowed() -> None:
    listed = PARAMETERS["EventActions"]["ConstraintDescription"]
    actions = re.findall(r"\b[a-z]+_[a-z]+\b|\bcall\b|\bhangup\b|\b(?:un)?hold\b", listed)
    assert len(actions) == 9
    titles = [f"{action.replace('_', ' ').title()} Requested" for action in actions]
    assert AWS.properties("EventRule")["EventPattern"]["detail-type"] == titles
    allowed = re.compile(PARAMETERS["EventActions"]["AllowedPattern"])
    taken = [*actions, ",".join(actions), "*", "hold, unhold"]
    assert [it for it in [*taken, "", "transfer", "*,hold", "hold,"] if allowed.search(it)] == taken


# --- several stacks ------------------------------------------------------------------------------


def test_two_stacks_of_an_account_share_no_name() -> None:
    def names(stack: Expanded) -> list[str]:
        variables = stack.variables("WebhookFunction")
        named = ["PLIVO_SECRET_NAME", "CLIENTS_SECRET_NAME", "EVENT_SOURCE", "OUTCOME_SOURCE"]
        found = [variables[name] for name in [*named, "POWERTOOLS_SERVICE_NAME"]]
        for name, resource in stack.resources.items():
            kind = resource["Type"].rpartition("::")[2]  # its name may be "Name" or "AlarmName"
            wanted = {"Name", f"{kind}Name", "LayerName"} - {"StageName"}  # unique within its API
            found += [it for key, it in stack.properties(name).items() if key in wanted]
        return found

    one, other = names(Expanded("one")), names(Expanded("other"))
    assert len(one) == len(other) > len(AWS.of_type(ALARM))
    assert not set(one) & set(other)
    assert not [name for name in one if "one" not in name]


def test_the_metrics_of_one_stack_are_not_in_the_alarms_of_another() -> None:
    for name, alarm in AWS.of_type(ALARM).items():
        for metric in metrics(alarm):
            if metric["Namespace"] == "PlivoColdTransfer":
                assert metric["Dimensions"]["service"] == "acme", name


def test_outcomes_can_be_published_only_with_the_stacks_own_sources() -> None:
    [publish] = [it for it in statements("OutcomesRole") if it["Action"] == "events:PutEvents"]
    sources = ["acme", "acme.self-check"]
    assert publish["Condition"] == {"StringEqualsIfExists": {"events:source": sources}}
    assert AWS.variables("OutcomesFunction")["OUTCOME_SOURCE"] == "acme"


# --- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup", "AWS::SNS::Topic"]
)
def test_resources_with_data_outlive_the_stack_but_not_a_failed_first_deployment(kind: str) -> None:
    found = {name: it for name, it in EVERYTHING.resources.items() if it["Type"] == kind}
    assert found
    for name, resource in found.items():
        assert EVERYTHING.parameters["DataKmsKeyArn"] in str(EVERYTHING.properties(name))
        if kind != "AWS::SNS::Topic":  # a topic holds nothing
            policies = (resource["DeletionPolicy"], resource["UpdateReplacePolicy"])
            assert policies == ("RetainExceptOnCreate", "Retain"), name
    # otherwise the retained table could not be deleted afterwards
    assert AWS.properties("LedgerTable")["DeletionProtectionEnabled"] == "false"


def test_no_resource_depends_on_a_conditional_one() -> None:
    conditional = {name for name, it in TEMPLATE["Resources"].items() if "Condition" in it}
    for name, resource in AWS.resources.items():
        waits = resource.get("DependsOn", [])
        assert not conditional & set([waits] if isinstance(waits, str) else waits), name


def test_the_stage_waits_for_the_log_role_that_this_stack_sets() -> None:
    def stage(role: str) -> dict[str, Any]:
        stack = Expanded(ApiGatewayLogRole=role)
        return stack.properties("ApiStage") | {"account": "ApiGatewayAccount" in stack.resources}

    assert "<ApiGatewayAccount>" in str(stage("create")["Tags"])
    assert stage("create")["account"]
    for role in ("existing", "none"):
        assert "ApiGatewayAccount" not in str(stage(role))
        assert not stage(role)["account"]
    assert "AccessLogSetting" in stage("existing")
    assert "AccessLogSetting" not in stage("none")


def test_the_code_expects_the_longest_request_age_that_the_template_allows() -> None:
    oldest = TEMPLATE["Parameters"]["MaxRequestAgeSeconds"]["MaxValue"]
    assert oldest * 1000 == LONGEST_WAIT_MS
    assert oldest == TOLERANCE_SECONDS


def test_a_record_outlives_a_dead_letter() -> None:
    for name, queue in AWS.of_type("AWS::SQS::Queue").items():
        assert int(queue["MessageRetentionPeriod"]) == FOURTEEN_DAYS, name
        assert queue["SqsManagedSseEnabled"] is True, name
    assert PARAMETERS["RecordDays"]["MinValue"] * 24 * 3600 > FOURTEEN_DAYS


def test_the_ledger_can_be_recovered_expires_records_and_has_the_codes_indexes() -> None:
    table = AWS.properties("LedgerTable")
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    keys = {
        index["IndexName"]: [key["AttributeName"] for key in index["KeySchema"]]
        for index in table["GlobalSecondaryIndexes"]
    }
    assert keys == {name: list(attributes) for name, attributes in INDEXES.items()}


def test_only_settled_records_reach_the_publisher_and_an_outage_exhausts_no_retries() -> None:
    stream = AWS.properties("OutcomesFunctionSettled")
    [wanted] = stream["FilterCriteria"]["Filters"]
    states = json.loads(wanted["Pattern"])["dynamodb"]["NewImage"]["state"]["S"]
    assert states == ["accepted", "rejected", "unknown", "not_sent"]
    assert stream["MaximumRetryAttempts"] == "-1"
    assert int(stream["MaximumRecordAgeInSeconds"]) < STREAM_SECONDS
    queue = {"OnFailure": {"Destination": "<OutcomesDeadLetterQueue.Arn>"}}
    assert stream["DestinationConfig"] == queue


# --- permissions ---------------------------------------------------------------------------------


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(role: str, stack: Expanded = AWS) -> Iterator[dict[str, Any]]:
    for policy in stack.properties(role)["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def actions(role: str, prefix: str) -> set[str]:
    found = {action for it in statements(role) for action in listed(it["Action"])}
    return {action for action in found if action.startswith(prefix)}


@pytest.mark.parametrize("role", ROLES)
def test_every_role_names_its_actions_and_resources(role: str) -> None:
    for statement in statements(role, EVERYTHING):
        assert not [it for it in listed(statement["Action"]) if "*" in it]
        assert not [it for it in listed(statement["Resource"]) if "*" in it]


def test_only_tracing_may_use_any_resource() -> None:
    [statement] = AWS.properties("TracingPolicy")["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
    for role in ROLES:
        assert AWS.properties(role)["ManagedPolicyArns"] == ["<TracingPolicy>"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_the_functions_that_call_plivo_are_in_the_vpc(function: str) -> None:
    talks = function in TO_PLIVO
    role = EVERYTHING.properties(function.replace("Function", "Role"))
    assert ("VpcConfig" in EVERYTHING.properties(function)) == talks
    assert ("<NetworkPolicy>" in role["ManagedPolicyArns"]) == talks
    assert "VpcConfig" not in AWS.properties(function)


def test_the_code_itself_cannot_use_the_permissions_that_lambda_needs_for_a_vpc() -> None:
    allowed, denied = EVERYTHING.properties("NetworkPolicy")["PolicyDocument"]["Statement"]
    assert {action.partition(":")[0] for action in allowed["Action"]} == {"ec2"}
    assert (denied["Effect"], denied["Action"]) == ("Deny", "ec2:*")
    assert denied["Condition"] == {"Null": {"lambda:SourceFunctionArn": "false"}}


@pytest.mark.parametrize(
    ("role", "secrets"),
    [("WebhookRole", ["plivo", "clients"]), ("EventRole", ["plivo"]), ("ReconcileRole", [])],
)
def test_each_function_reads_only_the_secrets_that_it_needs(role: str, secrets: list[str]) -> None:
    read = [it for it in statements(role) if it["Action"] == "secretsmanager:GetSecretValue"]
    prefix = "arn:aws:secretsmanager:us-east-1:111122223333:secret:acme/"
    assert [it["Resource"] for it in read] == [f"{prefix}{name}-??????" for name in secrets]


def test_no_function_may_delete_from_the_ledger_or_scan_it() -> None:
    entry_point = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    assert actions("WebhookRole", "dynamodb:") == entry_point
    assert actions("EventRole", "dynamodb:") == entry_point
    assert actions("ReconcileRole", "dynamodb:") == {
        "dynamodb:GetItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
    }
    assert "dynamodb:GetItem" not in actions("OutcomesRole", "dynamodb:")


# --- the API -------------------------------------------------------------------------------------


def test_the_api_has_plivos_paths_and_the_lookup() -> None:
    paths = AWS.resources["Api"]["Properties"]["Body"]["paths"]
    node = "/v1/phlo/{phlo_id}/multi_party_call/{node_id}"
    assert {path: set(methods) for path, methods in paths.items()} == {
        node: {"post", "get"},
        f"{node}/members/{{member_address}}": {"post"},
        "/v1/phlo/{phlo_id}": {"get"},
        "/v1/actions/{action_id}": {"get"},
    }


def test_the_gateway_logs_no_path_because_it_can_contain_a_members_number() -> None:
    stage = AWS.properties("ApiStage")
    [settings] = stage["MethodSettings"]
    line = json.loads(stage["AccessLogSetting"]["Format"])
    assert stage["TracingEnabled"] is False
    assert (settings["LoggingLevel"], settings["DataTraceEnabled"]) == ("OFF", False)
    assert "$context.resourcePath" in line.values()
    assert not [it for it in line.values() if not re.fullmatch(r"\$context\.[A-Za-z.]+", it)]
    private = {"$context.path", "$context.customDomain.basePathMatched", "$context.error.message"}
    assert not private & set(line.values())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_is_traced_and_logs_to_a_group_with_a_retention(function: str) -> None:
    properties = AWS.properties(function)
    group = properties["LoggingConfig"]["LogGroup"].strip("<>")
    assert properties["TracingConfig"] == {"Mode": "Active"}
    assert AWS.properties(group)["RetentionInDays"] == AWS.parameters["LogRetentionDays"]
    assert AWS.properties(group)["LogGroupClass"] == "STANDARD"  # the other class has no metrics
    [own] = [it for it in statements(function.replace("Function", "Role")) if it["Sid"] == "Log"]
    assert own["Resource"] == f"<{group}.Arn>"


def test_no_parameter_changes_what_is_logged() -> None:
    assert not [name for name in PARAMETERS if "Level" in name]
    assert not [name for name in AWS.variables("WebhookFunction") if "LEVEL" in name]
    assert TEMPLATE["Globals"]["Function"]["LoggingConfig"] == {"LogFormat": "Text"}


def test_an_allow_list_denies_other_addresses_and_without_one_all_are_allowed() -> None:
    def policy(stack: Expanded) -> list[dict[str, Any]]:
        body = stack.resolve(stack.resources["Api"]["Properties"]["Body"])
        found: list[dict[str, Any]] = body["x-amazon-apigateway-policy"]["Statement"]
        return found

    [for_all] = policy(AWS)
    assert (for_all["Effect"], for_all["Principal"]) == ("Allow", "*")
    assert policy(EVERYTHING)[0]["Effect"] == "Allow"
    assert policy(EVERYTHING)[1]["Effect"] == "Deny"
    cidrs = EVERYTHING.parameters["AllowedCidrs"].split(",")
    assert policy(EVERYTHING)[1]["Condition"] == {"NotIpAddress": {"aws:SourceIp": cidrs}}


def test_the_web_acl_limits_each_address_and_is_attached_to_the_api() -> None:
    [rule] = EVERYTHING.properties("WebAcl")["Rules"]
    limit = rule["Statement"]["RateBasedStatement"]
    assert (limit["AggregateKeyType"], limit["Limit"]) == ("IP", "2000")
    assert rule["Action"] == {"Block": {}}
    arn = EVERYTHING.properties("WebAclOfApi")["ResourceArn"]
    assert arn.endswith("/restapis/<Api>/stages/<ApiStage>")
    assert "WebAcl" not in AWS.resources


def test_the_gateways_own_refusals_are_problems_that_a_plivo_sdk_can_read() -> None:
    responses = TEMPLATE["Resources"]["Api"]["Properties"]["GatewayResponses"]
    assert {"MISSING_AUTHENTICATION_TOKEN", "THROTTLED", "DEFAULT_4XX", "DEFAULT_5XX"} <= {
        *responses
    }
    for kind, response in responses.items():
        problem = json.loads(response["ResponseTemplates"]["application/json"])
        headers, status = response["ResponseParameters"]["Headers"], response.get("StatusCode")
        assert headers["Content-Type"] == "'application/problem+json'"
        assert problem["type"].startswith("urn:problem-type:cold-transfer:gateway-")
        assert {"title", "detail", "instance", "error", "api_id"} <= problem.keys()
        # each default covers several statuses and keeps the gateway's
        assert problem.get("status") == status, kind
        assert (status is None) == kind.startswith("DEFAULT"), kind
        assert ("Retry-After" in headers) == (status == 429), kind


# --- alarms --------------------------------------------------------------------------------------


def metrics(alarm: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The metrics that an alarm watches, with their dimensions as a mapping."""
    found = [it["MetricStat"]["Metric"] for it in alarm.get("Metrics", []) if "MetricStat" in it]
    for metric in found or [alarm]:
        dimensions = {it["Name"]: it["Value"] for it in metric["Dimensions"]}
        yield {**metric, "Dimensions": dimensions}


def slug(alarm: dict[str, Any]) -> str:
    return str(alarm["AlarmName"]).removeprefix("acme-")


ALARMS = {slug(alarm): alarm for alarm in EVERYTHING.of_type(ALARM).values()}


def test_there_are_few_enough_alarms_to_know_them_all() -> None:
    assert len(AWS.of_type(ALARM)) <= 24


@pytest.mark.parametrize("name", ALARMS)
def test_each_alarm_notifies_when_it_starts_and_ends_and_links_to_the_runbook(name: str) -> None:
    topics = ["<AlarmTopic>", "<PagerTopic>"] if name in URGENT else ["<AlarmTopic>"]
    assert ALARMS[name]["AlarmActions"] == ALARMS[name]["OKActions"] == topics
    assert ALARMS[name]["AlarmDescription"].endswith(f" docs/runbook.md#{name}")


def test_the_runbook_can_be_anywhere() -> None:
    stack = Expanded(RunbookUrl="https://wiki.example.com/calls")
    for alarm in stack.of_type(ALARM).values():
        link = f" https://wiki.example.com/calls#{slug(alarm)}"
        assert alarm["AlarmDescription"].endswith(link)


@pytest.mark.parametrize("name", ALARMS)
def test_missing_data_raises_no_alarm_except_for_what_reports_every_minute(name: str) -> None:
    exceptions = {"reconcile-silent": "breaching", "unknown-unresolved": "ignore"}
    assert ALARMS[name]["TreatMissingData"] == exceptions.get(name, "notBreaching")


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarms_expression_uses_each_of_its_metrics(name: str) -> None:
    entries = ALARMS[name].get("Metrics", [])
    results = [it for it in entries if it.get("ReturnData", True)]
    assert len(results) == bool(entries)
    for result in results:
        used = set(re.findall(r"\b[a-z]\w*", result["Expression"]))
        assert used == {it["Id"] for it in entries if it is not result}
    # CloudWatch evaluates at most a week, or a day if the period is below an hour
    periods = {int(it["MetricStat"]["Period"]) for it in entries if "MetricStat" in it}
    [period] = periods or {int(ALARMS[name]["Period"])}
    assert period * int(ALARMS[name]["EvaluationPeriods"]) <= 24 * 3600
    assert int(ALARMS[name].get("DatapointsToAlarm", 1)) <= int(ALARMS[name]["EvaluationPeriods"])


@pytest.mark.parametrize("name", ALARMS)
def test_no_alarm_waits_for_a_metric_that_is_never_sent(name: str) -> None:
    for metric in metrics(ALARMS[name]):
        if metric["Namespace"] == "PlivoColdTransfer":
            assert metric["Dimensions"].keys() == {"service", "function"}
            assert metric["MetricName"] in SENT_BY[metric["Dimensions"]["function"]]


def test_one_quiet_function_does_not_hide_the_count_of_another() -> None:
    """CloudWatch does not document what a sum with a missing data point is."""
    for name, alarm in ALARMS.items():
        for entry in alarm.get("Metrics", []):
            if "Expression" in entry and "AWS/SQS" not in str(alarm):
                ids = re.findall(r"\b[a-z]\w*", entry["Expression"])
                assert ids == re.findall(r"FILL\(([a-z_]+), 0\)", entry["Expression"]), name
                # one data point of several, so that a late metric still counts
                assert int(alarm["DatapointsToAlarm"]) < int(alarm["EvaluationPeriods"]), name


def test_an_unknown_outcome_raises_an_alarm_whichever_function_finds_it() -> None:
    found = {
        metric["Dimensions"]["function"]: metric["MetricName"]
        for metric in metrics(ALARMS["unknown-outcomes"])
    }
    assert found == dict.fromkeys(("webhook", "event", "reconcile"), "ActionUnknown")


@pytest.mark.parametrize("name", ["dead-letters", "dead-letters-forgotten", "outcomes-unpublished"])
def test_looking_at_a_queue_does_not_silence_its_alarm(name: str) -> None:
    counted = {metric["MetricName"] for metric in metrics(ALARMS[name])}
    visible = "ApproximateNumberOfMessagesVisible"
    assert counted == {visible, visible.replace("Visible", "NotVisible")}


def test_throttling_of_the_table_and_of_each_index_is_watched() -> None:
    watched = {
        (metric["MetricName"], metric["Dimensions"].get("GlobalSecondaryIndexName"))
        for metric in metrics(ALARMS["ledger-throttled"])
    }
    indexes = AWS.properties("LedgerTable")["GlobalSecondaryIndexes"]
    parts = [None, *(index["IndexName"] for index in indexes)]
    kinds = ("ReadThrottleEvents", "WriteThrottleEvents")
    assert watched == {(kind, part) for kind in kinds for part in parts}


@pytest.mark.parametrize(("bus", "names"), [("default", 1), ("calls", 2)])
def test_the_rules_metrics_are_looked_up_where_eventbridge_puts_them(bus: str, names: int) -> None:
    # A rule on the default bus has one dimension, on any other bus two.
    stack = Expanded(EventBusName=bus)
    rule = {"RuleName": stack.properties("EventRule")["Name"], "EventBusName": bus}
    wanted = dict(list(rule.items())[:names])
    for name in ("EventsUndelivered", "DeadLettersLost"):
        found = [it for it in metrics(stack.properties(name)) if it["Namespace"] == "AWS/Events"]
        assert found
        assert all(it["Dimensions"] == wanted for it in found)


def test_both_topics_accept_only_alarms_of_this_stack_and_are_encrypted() -> None:
    policy = AWS.properties("AlarmTopicPolicy")
    [statement] = policy["PolicyDocument"]["Statement"]
    assert policy["Topics"] == ["<AlarmTopic>", "<PagerTopic>"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Condition"]["ArnLike"]["aws:SourceArn"].endswith(":alarm:acme-*")
    assert {it["KmsMasterKeyId"] for it in AWS.of_type("AWS::SNS::Topic").values()} == {
        "<AlarmKey>"
    }


def test_the_local_stack_has_only_what_its_emulator_supports() -> None:
    assert not LOCAL.of_type("AWS::Logs::QueryDefinition")
    assert LOCAL.of_type(ALARM)
    assert not [name for name, alarm in LOCAL.of_type(ALARM).items() if "Metrics" in alarm]


# --- the dashboard -------------------------------------------------------------------------------


WIDGETS: list[dict[str, Any]] = json.loads(AWS.properties("Dashboard")["DashboardBody"])["widgets"]


def test_the_dashboard_is_a_grid_without_overlaps_in_this_region() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in WIDGETS:
        x, y, width, height = (widget[name] for name in ("x", "y", "width", "height"))
        cells = {(x + i, y + j) for i in range(width) for j in range(height)}
        assert x + width <= DASHBOARD_COLUMNS
        assert not cells & taken, widget
        taken |= cells
        if widget["type"] in {"metric", "log"}:
            assert widget["properties"]["region"] == "us-east-1"
    assert len(taken) == DASHBOARD_COLUMNS * (1 + max(y for _, y in taken)), "the grid has a gap"


def test_the_dashboard_starts_with_the_urgent_alarms_and_the_work_for_a_person() -> None:
    shown = {arn.rpartition(":acme-")[2] for arn in WIDGETS[0]["properties"]["alarms"]}
    assert shown == URGENT == URGENT & {slug(alarm) for alarm in AWS.of_type(ALARM).values()}
    waiting = [row[1] for row in WIDGETS[1]["properties"]["metrics"]]
    assert waiting == ["UnknownUnresolved", *2 * ["ApproximateNumberOfMessagesVisible"]]


def test_the_dashboard_shows_every_metric_of_this_stack_and_none_of_another() -> None:
    text = AWS.properties("Dashboard")["DashboardBody"]
    searched = set(re.findall(r'MetricName=\\"(\w+)\\"', text))
    assert searched | {"UnknownUnresolved"} == set().union(*SENT_BY.values())
    for search in re.findall(r"SEARCH\('([^']*)'", text):
        assert search.startswith(r"{PlivoColdTransfer,function,service} service=\"acme\" ")
    assert text.isascii()
    assert not re.findall(r"<(?!\w+(?:\.QueueName)?>)", text)


def test_every_metric_is_counted_by_the_code() -> None:
    folders = [ROOT / "layers" / "cold_transfer" / "cold_transfer", ROOT / "functions"]
    code = "".join(path.read_text("utf-8") for it in folders for path in it.rglob("*.py"))
    assert {it for it in set().union(*SENT_BY.values()) if f'"{it}"' not in code} == set()


# --- parameters ----------------------------------------------------------------------------------


def test_every_parameter_is_explained_bounded_and_in_a_group() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(PARAMETERS) == sorted(name for it in groups for name in it["Parameters"])
    for name, parameter in PARAMETERS.items():
        assert parameter["Description"], name
        assert "Default" in parameter, name
        bounds = {"MinValue", "MaxValue"} <= parameter.keys()
        assert bounds or parameter.keys() & {"AllowedValues", "AllowedPattern"}, name


@pytest.mark.parametrize(
    ("parameter", "taken", "refused"),
    [
        ("AllowedCidrs", ["", "192.0.2.0/24", "192.0.2.0/24,2001:db8::/32"], ["192.0.2.1", "a,"]),
        ("EventSource", ["", "acme.client"], ["aws.events", "a b"]),
        (
            "RunbookUrl",
            ["docs/runbook.md", "https://wiki.example.com/x"],
            ["http://a", "https://a#b"],
        ),
        ("SecurityGroupIds", ["", "sg-0a1b2c3d"], ["sg-0a1b2c3d,", "default"]),
        ("SubnetIds", ["", "subnet-0a1b2c3d,subnet-0a1b2c3e"], ["subnet-0a, subnet-0b", "vpc-1"]),
        ("WafRateLimit", ["0", "10", "2000"], ["-1", "5", "010", "many", ""]),
    ],
)
def test_a_mistyped_parameter_is_refused(
    parameter: str, taken: list[str], refused: list[str]
) -> None:
    allowed = re.compile(PARAMETERS[parameter]["AllowedPattern"])
    assert [it for it in [*taken, *refused] if allowed.search(it)] == taken


def test_the_outputs_that_the_commands_use_exist() -> None:
    outputs = AWS.outputs
    assert outputs["WebhookUrl"].endswith("/live/v1/phlo/{phlo_id}/multi_party_call/{node_id}")
    assert outputs["ActionsUrl"].endswith("/live/v1/actions/{action_id}")
    assert (outputs["PlivoSecret"], outputs["ClientsSecret"]) == ("acme/plivo", "acme/clients")
    assert (outputs["EventSourceName"], outputs["OutcomeSource"]) == ("acme.client", "acme")
    assert outputs["LedgerTableName"] == "<LedgerTable>"
    assert outputs["DeadLetterQueueUrl"] == "<DeadLetterQueue>"
    for function in FUNCTIONS:
        group = function.replace("Function", "LogGroup")
        assert outputs[f"{function}Name"] == f"<{function}>"
        assert outputs[f"{group}Name"] == f"<{group}>"
