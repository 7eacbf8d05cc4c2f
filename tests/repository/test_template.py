"""What the template must hold, whatever else changes in it."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs would be one more pin

from cold_transfer.service import SETTLE_SECONDS
from cold_transfer.settings import Settings
from cold_transfer.telemetry import NAMESPACE, SERVICE

ROOT = Path(__file__).parents[2]
API_GATEWAY_TIMEOUT_SECONDS = 29
CODE_DEPLOY_ALARMS = 10
DASHBOARD_COLUMNS = 24
QUERY = "AWS::Logs::QueryDefinition"
LAMBDA_DESCRIPTION_LENGTH = 256
SQS_LONGEST_RETENTION_SECONDS = 14 * 24 * 3600


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML comes without types
    """Reads ``!Ref x`` as ``{"Ref": "x"}`` and every other tag as ``{"Fn::<Tag>": …}``."""


def _intrinsic(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    return {tag if tag == "Ref" else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _intrinsic)

TEMPLATE: dict[str, Any] = _Loader((ROOT / "template.yaml").read_text("utf-8")).get_single_data()
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]
GLOBALS: dict[str, Any] = TEMPLATE["Globals"]["Function"]
VARIABLES: dict[str, Any] = GLOBALS["Environment"]["Variables"]
DOORS = ["WebhookFunction", "EventFunction"]
FUNCTIONS = [*DOORS, "ReconcileFunction", "OutcomesFunction", "PreflightFunction"]
#: The alarms for which somebody has to get up: calls are not moved, or nobody knows.
PAGING = {
    "unknown-outcomes",
    "settle-failed",
    "plivo-credentials-refused",
    "secret-invalid",
    "secret-unavailable",
    "ledger-unavailable",
    "doors-throttled",
    "webhook-failing",
    "events-undelivered",
    "events-lost",
    "dead-letters-lost",
    "reconcile-silent",
}
#: One alarm per door or kind under one heading of the runbook.
SUFFIXES = ["", "-webhook", "-event", "-reconcile", "-reads", "-writes"]


def only_if(value: Any) -> Any:
    """What an ``!If`` gives when its condition holds; whatever is no ``!If``, itself."""
    return value["Fn::If"][1] if isinstance(value, dict) and "Fn::If" in value else value


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: it for name, it in RESOURCES.items() if it["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = RESOURCES[name]["Properties"]
    return found


def statements(role: str) -> Iterator[dict[str, Any]]:
    """The role's own statements, those behind a condition included."""
    for policy in properties(role)["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            yield only_if(statement)


def actions(role: str, prefix: str) -> set[str]:
    found: set[str] = set()
    for statement in statements(role):
        named = statement["Action"]
        found |= {named} if isinstance(named, str) else set(named)
    return {action for action in found if action.startswith(prefix)}


def test_the_logical_ids_that_others_rest_on_are_there() -> None:
    names = {*FUNCTIONS, "ColdTransferLayer", "LedgerTable", "DeadLetterQueue", "Api"}
    assert names <= RESOURCES.keys()
    assert set(of_type("AWS::Serverless::Function")) == set(FUNCTIONS)


def test_plivo_gives_up_before_the_function_and_the_function_before_the_gateway() -> None:
    timeout = GLOBALS["Timeout"]
    longest_deadline = TEMPLATE["Parameters"]["PlivoDeadlineSeconds"]["MaxValue"]
    assert longest_deadline < timeout < API_GATEWAY_TIMEOUT_SECONDS
    own = {name: properties(name)["Timeout"] for name in FUNCTIONS if "Timeout" in properties(name)}
    assert own == {"PreflightFunction": 120}  # nobody waits for it behind the gateway


def test_looking_up_a_name_cannot_take_longer_than_a_settle_waits_for() -> None:
    options = dict(option.split(":") for option in VARIABLES["RES_OPTIONS"].split())

    assert int(options["timeout"]) * int(options["attempts"]) <= SETTLE_SECONDS


def test_the_functions_are_told_their_own_timeout() -> None:
    assert VARIABLES["FUNCTION_TIMEOUT_SECONDS"] == str(GLOBALS["Timeout"])


def test_the_defaults_and_bounds_of_the_parameters_are_accepted_by_the_settings() -> None:
    def environment(numbers: str) -> dict[str, str]:
        filled = {"LEDGER_TABLE": "ledger"}
        for name, value in VARIABLES.items():
            parameter = TEMPLATE["Parameters"].get(value["Ref"]) if "Ref" in value else None
            if parameter:
                filled[name] = str(parameter.get(numbers, parameter["Default"]))
            elif isinstance(value, str):
                filled[name] = value
        return filled

    default = Settings.from_environment(environment("Default"))
    assert default == Settings(
        ledger_table="ledger",
        plivo_base_url="https://phlorunner.plivo.com",
        plivo_secret_name="plivo-cold-transfer/plivo",
        callers_secret_name="plivo-cold-transfer/callers",
        event_source="plivo-cold-transfer.caller",
    )
    Settings.from_environment(environment("MinValue"))
    Settings.from_environment(environment("MaxValue"))


def test_no_event_is_retried_and_none_is_lost() -> None:
    event = properties("EventFunction")
    rule = event["Events"]["TransferRequested"]["Properties"]
    assert event["EventInvokeConfig"]["MaximumRetryAttempts"] == 0
    assert rule["RetryPolicy"]["MaximumRetryAttempts"] == 0
    queue = {"Fn::GetAtt": "DeadLetterQueue.Arn"}
    assert event["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Destination"] == queue
    assert rule["DeadLetterConfig"]["Arn"] == queue


def test_an_event_waits_no_longer_than_a_live_call() -> None:
    event = properties("EventFunction")
    rule = event["Events"]["TransferRequested"]["Properties"]
    assert event["EventInvokeConfig"]["MaximumEventAgeInSeconds"] == 60
    assert rule["RetryPolicy"]["MaximumEventAgeInSeconds"] == 60


def test_the_rule_takes_the_configured_source_from_this_account_only() -> None:
    rule = properties("EventFunction")["Events"]["TransferRequested"]["Properties"]
    assert rule["Pattern"] == {
        "source": [{"Ref": "EventSource"}],
        "detail-type": ["Cold Transfer Requested"],
        "account": [{"Ref": "AWS::AccountId"}],
    }


def test_outcomes_cannot_come_back_as_requests() -> None:
    allowed = re.compile(TEMPLATE["Parameters"]["EventSource"]["AllowedPattern"])
    assert not allowed.search("plivo-cold-transfer")
    assert allowed.search("plivo-cold-transfer.caller")


@pytest.mark.parametrize("queue", ["DeadLetterQueue", "OutcomesDeadLetterQueue"])
def test_dead_letters_wait_encrypted_and_for_as_long_as_possible(queue: str) -> None:
    assert properties(queue)["MessageRetentionPeriod"] == SQS_LONGEST_RETENTION_SECONDS
    assert properties(queue)["SqsManagedSseEnabled"]["Fn::If"] == [
        "HasDataKey",
        {"Ref": "AWS::NoValue"},
        True,
    ]
    assert "KmsMasterKeyId" in properties(queue)


def test_a_record_outlives_a_dead_letter() -> None:
    shortest = TEMPLATE["Parameters"]["RecordDays"]["MinValue"] * 24 * 3600
    assert shortest > properties("DeadLetterQueue")["MessageRetentionPeriod"]


def test_the_ledger_can_be_recovered_and_is_never_deleted_with_the_stack() -> None:
    ledger = RESOURCES["LedgerTable"]
    assert (ledger["DeletionPolicy"], ledger["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert ledger["Properties"]["PointInTimeRecoverySpecification"] == {
        "PointInTimeRecoveryEnabled": True
    }


def test_open_transfers_are_found_by_a_sparse_index() -> None:
    [index] = properties("LedgerTable")["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "open-index"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["open", "lease_until"]
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_only_settled_records_reach_the_publisher() -> None:
    [wanted] = properties("OutcomesFunction")["Events"]["Settled"]["Properties"]["FilterCriteria"][
        "Filters"
    ]
    states = json.loads(wanted["Pattern"])["dynamodb"]["NewImage"]["state"]["S"]
    assert states == ["accepted", "rejected", "unknown", "not_sent"]


def test_every_role_names_its_resources() -> None:
    for role in [name.replace("Function", "Role") for name in FUNCTIONS]:
        for statement in statements(role):
            if statement["Sid"] == "Report":
                continue  # the name of CodeDeploy's application ends as CloudFormation likes
            named = statement["Resource"]
            for resource in named if isinstance(named, list) else [named]:
                text = json.dumps(resource)
                if statement["Sid"] == "NewVersions":
                    text = text.replace("Function.Arn}:*", "")  # its own doors, any version
                assert "*" not in text, f"{role}.{statement['Sid']}: {text}"


def test_every_role_names_its_actions() -> None:
    for role in [name.replace("Function", "Role") for name in FUNCTIONS]:
        assert not [action for action in actions(role, "") if "*" in action]


def test_only_tracing_may_use_any_resource() -> None:
    [statement] = properties("TracingPolicy")["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
    for role in [name.replace("Function", "Role") for name in FUNCTIONS]:
        tracing, *network = properties(role)["ManagedPolicyArns"]
        assert tracing == {"Ref": "TracingPolicy"}
        in_a_vpc = "VpcConfig" in properties(role.replace("Role", "Function"))
        wanted = [{"Fn::If": ["HasSubnets", {"Ref": "NetworkPolicy"}, {"Ref": "AWS::NoValue"}]}]
        assert network == (wanted if in_a_vpc else [])


def test_the_code_itself_cannot_use_the_rights_that_lambda_needs_for_a_vpc() -> None:
    allowed, denied = properties("NetworkPolicy")["PolicyDocument"]["Statement"]
    assert {action.partition(":")[0] for action in allowed["Action"]} == {"ec2"}
    assert (denied["Effect"], denied["Action"]) == ("Deny", "ec2:*")
    assert denied["Condition"] == {"Null": {"lambda:SourceFunctionArn": "false"}}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_what_talks_to_plivo_is_in_the_network_that_plivo_lets_in(name: str) -> None:
    talks = name in {*DOORS, "PreflightFunction"}
    assert ("VpcConfig" in properties(name)) == talks


def test_an_address_outside_the_allow_list_is_denied_and_without_one_nobody_is() -> None:
    everybody, others = properties("Api")["Auth"]["ResourcePolicy"]["CustomStatements"]
    assert (everybody["Effect"], everybody["Principal"]) == ("Allow", "*")
    assert others["Fn::If"][0] == "HasAllowedCidrs"
    assert only_if(others)["Effect"] == "Deny"
    assert only_if(others)["Condition"] == {
        "NotIpAddress": {"aws:SourceIp": {"Fn::Split": [",", {"Ref": "AllowedCidrs"}]}}
    }
    assert others["Fn::If"][2] == {"Ref": "AWS::NoValue"}


@pytest.mark.parametrize(
    ("parameter", "taken", "refused"),
    [
        ("AllowedCidrs", ["", "192.0.2.0/24", "192.0.2.0/24,2001:db8::/32"], ["192.0.2.1", "a,"]),
        ("WafRateLimit", ["0", "10", "2000"], ["-1", "010", "many", ""]),
        ("SubnetIds", ["", "subnet-0a1b2c3d,subnet-0a1b2c3e"], ["subnet-0a, subnet-0b", "vpc-1"]),
        ("SecurityGroupIds", ["", "sg-0a1b2c3d"], ["sg-0a1b2c3d,", "default"]),
    ],
)
def test_the_lists_and_limits_of_the_network_are_checked(
    parameter: str, taken: list[str], refused: list[str]
) -> None:
    allowed = re.compile(TEMPLATE["Parameters"][parameter]["AllowedPattern"])
    assert [it for it in [*taken, *refused] if allowed.search(it)] == taken


def test_the_web_acl_limits_each_address_and_stands_before_the_api() -> None:
    [rule] = properties("WebAcl")["Rules"]
    limit = rule["Statement"]["RateBasedStatement"]
    assert (limit["AggregateKeyType"], limit["Limit"]) == ("IP", {"Ref": "WafRateLimit"})
    assert rule["Action"] == {"Block": {}}
    assert properties("WebAclOfApi")["ResourceArn"]["Fn::Sub"].endswith(
        "/restapis/${Api}/stages/${Api.Stage}"
    )
    for name in ("WebAcl", "WebAclOfApi"):
        assert RESOURCES[name]["Condition"] == "HasWafRateLimit"


def test_each_door_reads_only_the_secrets_that_it_needs() -> None:
    def secrets(role: str) -> set[str]:
        return {
            name
            for statement in statements(role)
            if statement["Action"] == "secretsmanager:GetSecretValue"
            for name in re.findall(r"\$\{(\w+SecretName)\}", json.dumps(statement["Resource"]))
        }

    assert secrets("WebhookRole") == {"PlivoSecretName", "CallersSecretName"}
    assert secrets("EventRole") == {"PlivoSecretName"}
    assert secrets("ReconcileRole") == set()
    assert secrets("OutcomesRole") == set()
    assert secrets("PreflightRole") == {"PlivoSecretName", "CallersSecretName"}


def test_nothing_deletes_from_the_ledger_or_scans_it() -> None:
    doors = {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"}
    assert actions("WebhookRole", "dynamodb:") == doors
    assert actions("EventRole", "dynamodb:") == doors
    assert actions("ReconcileRole", "dynamodb:") == {
        "dynamodb:GetItem",
        "dynamodb:Query",
        "dynamodb:UpdateItem",
    }
    assert actions("PreflightRole", "dynamodb:") == {"dynamodb:GetItem"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_change_of_function_layer_or_parameter_publishes_a_new_version(name: str) -> None:
    assert GLOBALS["AutoPublishAlias"] == "live"
    assert properties(name)["AutoPublishAliasAllProperties"] is True
    assert properties("ColdTransferLayer")["PublishLambdaVersion"] is True
    # SAM does not see a changed parameter, unless the version's description does.
    text = properties(name)["VersionDescription"]["Fn::Sub"]
    by_itself = set(re.findall(r"\$\{(\w+)\}", text))
    by_revision = set(re.findall(r"\b[A-Z]\w+", TEMPLATE["Parameters"]["Revision"]["Description"]))
    assert "Revision" in by_itself
    reaching = {it for it in named_in([GLOBALS, properties(name)]) if it in TEMPLATE["Parameters"]}
    # These three are no part of a version.
    reaching -= {"ReservedConcurrency", "DeploymentStrategy", "Project"}
    # The local stack is made anew each time.
    reaching -= {"AwsEndpointUrl"}
    assert reaching <= by_itself | by_revision, reaching - by_itself - by_revision


def test_the_longest_description_of_a_version_fits() -> None:
    longest = properties("WebhookFunction")["VersionDescription"]["Fn::Sub"]
    for name in re.findall(r"\$\{(\w+)\}", longest):
        parameter = TEMPLATE["Parameters"][name]
        if "MaxValue" in parameter:
            length = len(str(parameter["MaxValue"]))
        elif "AllowedValues" in parameter:
            length = max(len(str(value)) for value in parameter["AllowedValues"])
        else:
            length = int(parameter["AllowedPattern"].rpartition(",")[2].rstrip("}$"))
        longest = longest.replace(f"${{{name}}}", "x" * length)
    assert len(longest) <= LAMBDA_DESCRIPTION_LENGTH


def named_in(value: Any) -> Iterator[str]:
    """Everything that is referred to anywhere in there."""
    if isinstance(value, dict):
        if isinstance(value.get("Ref"), str):
            yield value["Ref"]
        for each in value.values():
            yield from named_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from named_in(each)


@pytest.mark.parametrize("name", DOORS)
def test_a_door_gets_traffic_after_the_preflight_and_loses_it_by_its_alarms(name: str) -> None:
    preference = properties(name)["DeploymentPreference"]
    assert preference["Type"] == {"Ref": "DeploymentStrategy"}
    assert preference["Hooks"] == {"PreTraffic": {"Ref": "PreflightFunction"}}
    watched = [alarm["Ref"] for alarm in preference["Alarms"]]
    assert len(watched) <= CODE_DEPLOY_ALARMS
    assert watched[0] == f"UnknownOutcomes{name.removesuffix('Function')}"
    for alarm in watched:
        found = RESOURCES[alarm]
        assert "Condition" not in found, "an alarm that is not always there cannot be watched"
        assert (
            name in json.dumps(found) or "Api" in json.dumps(found) or "door" in json.dumps(found)
        )
        assert found["Properties"]["TreatMissingData"] == "notBreaching"


def test_codedeploy_may_call_the_preflight_check() -> None:
    name = properties("PreflightFunction")["FunctionName"]["Fn::Sub"]
    assert name.startswith("CodeDeployHook_")


def test_the_preflight_check_asks_the_new_versions_and_not_the_old_ones() -> None:
    versions = {
        "NEW_WEBHOOK_VERSION": {"Ref": "WebhookFunction.Version"},
        "NEW_EVENT_VERSION": {"Ref": "EventFunction.Version"},
    }
    assert properties("PreflightFunction")["Environment"]["Variables"] == versions
    [invoke] = [it for it in statements("PreflightRole") if it["Sid"] == "NewVersions"]
    of_both = [{"Fn::Sub": f"${{{door}Function.Arn}}:*"} for door in ("Webhook", "Event")]
    assert invoke["Resource"] == of_both


@pytest.mark.parametrize(
    "kind",
    ["AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup", "AWS::SNS::Topic"],
)
def test_whatever_holds_data_has_the_projects_tag_a_key_of_yours_and_outlives_the_stack(
    kind: str,
) -> None:
    for name, resource in of_type(kind).items():
        assert {"Key": "project", "Value": {"Ref": "Project"}} in resource["Properties"]["Tags"]
        assert "DataKmsKeyArn" in json.dumps(resource["Properties"]), name
        if kind != "AWS::SNS::Topic":  # a topic holds nothing
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (
                "Retain",
                "Retain",
            )


def test_the_logs_that_metrics_are_made_of_are_of_the_class_that_makes_metrics() -> None:
    for name in FUNCTIONS:
        group = properties(name)["LoggingConfig"]["LogGroup"]["Ref"]
        assert properties(group)["LogGroupClass"] == "STANDARD"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_traced_and_logs_into_a_group_that_forgets(name: str) -> None:
    group = properties(name)["LoggingConfig"]["LogGroup"]["Ref"]
    assert properties(group)["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert GLOBALS["Tracing"] == "Active"
    [own] = [it for it in statements(name.replace("Function", "Role")) if it["Sid"] == "Log"]
    assert own["Resource"] == {"Fn::GetAtt": f"{group}.Arn"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_lambda_filters_no_line_of_a_function_and_no_parameter_makes_it(name: str) -> None:
    logging = GLOBALS["LoggingConfig"] | properties(name)["LoggingConfig"]
    assert logging.keys() == {"LogFormat", "LogGroup"}
    assert logging["LogFormat"] == "Text"
    own = properties(name).get("Environment", {}).get("Variables", {})
    assert not [it for it in {**VARIABLES, **own} if "LOG" in it]


def test_the_access_log_holds_no_path_query_header_or_body() -> None:
    line = json.loads(properties("Api")["AccessLogSetting"]["Format"])
    logged = set(line.values())
    assert "$context.resourcePath" in logged
    assert not [it for it in logged if not it.startswith("$context.")]
    assert not logged & {"$context.path", "$context.authorizer.claims", "$context.identity.user"}


#: What API Gateway can say by itself here; the rest needs an authorizer, an API key or a mapping.
OWN_REFUSALS = {
    "ACCESS_DENIED": 403,
    "API_CONFIGURATION_ERROR": 500,
    "BAD_REQUEST_BODY": 400,
    "BAD_REQUEST_PARAMETERS": 400,
    "EXPIRED_TOKEN": 403,
    "INTEGRATION_FAILURE": 504,
    "INTEGRATION_TIMEOUT": 504,
    "INVALID_SIGNATURE": 403,
    "MISSING_AUTHENTICATION_TOKEN": 404,
    "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413,
    "RESOURCE_NOT_FOUND": 404,
    "THROTTLED": 429,
    "WAF_FILTERED": 403,
}
DEFAULTS = ("DEFAULT_4XX", "DEFAULT_5XX")


@pytest.mark.parametrize("kind", [*OWN_REFUSALS, *DEFAULTS])
def test_the_gateways_own_refusals_are_problems_that_a_plivo_sdk_can_read(kind: str) -> None:
    refusal = properties("Api")["GatewayResponses"][kind]
    problem = json.loads(refusal["ResponseTemplates"]["application/json"])
    headers = refusal["ResponseParameters"]["Headers"]

    assert headers["Content-Type"] == "'application/problem+json'"
    assert problem["type"].startswith("urn:problem-type:cold-transfer:gateway-")
    assert {"title", "detail", "instance", "error", "api_id"} <= problem.keys()
    # The defaults stand for several statuses, and keep the gateway's own.
    status = OWN_REFUSALS.get(kind)
    assert (problem.get("status"), refusal.get("StatusCode")) == (status, status)
    assert ("Retry-After" in headers) == (status == 429)


def test_every_refusal_of_the_gateway_is_known() -> None:
    assert properties("Api")["GatewayResponses"].keys() == OWN_REFUSALS.keys() | DEFAULTS


@pytest.mark.parametrize("name", of_type("AWS::CloudWatch::Alarm"))
def test_each_alarm_tells_somebody_and_says_where_to_read_on(name: str) -> None:
    alarm = properties(name)
    slug = alarm["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
    heading = alarm["AlarmDescription"].rpartition(" docs/runbook.md#")[2]
    assert slug in {heading + suffix for suffix in SUFFIXES}
    pager = [{"Ref": "PagerTopic"}] if heading in PAGING else []
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}, *pager]


@pytest.mark.parametrize("name", of_type("AWS::CloudWatch::Alarm"))
def test_no_data_means_that_nothing_happened_except_to_the_reconciler(name: str) -> None:
    missing = "breaching" if name == "ReconcileSilent" else "notBreaching"
    assert properties(name)["TreatMissingData"] == missing


def test_both_topics_take_alarms_of_this_stack_only_and_are_encrypted() -> None:
    assert properties("AlarmTopicPolicy")["Topics"] == [
        {"Ref": "AlarmTopic"},
        {"Ref": "PagerTopic"},
    ]
    [statement] = properties("AlarmTopicPolicy")["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert ":alarm:${AWS::StackName}-*" in json.dumps(statement["Condition"])
    for topic in ("AlarmTopic", "PagerTopic"):
        assert "KmsMasterKeyId" in properties(topic)


def test_the_rules_metrics_are_looked_up_where_eventbridge_puts_them() -> None:
    # A rule of the default bus has one dimension, one of another bus two.
    for name in ("EventsUndelivered", "EventsLost"):
        rule, bus = properties(name)["Dimensions"]
        ref = {"Ref": "EventFunctionTransferRequested"}
        of_own_bus = {"Fn::Select": [1, {"Fn::Split": ["|", ref]}]}  # there Ref is "bus|rule"
        assert rule["Name"] == "RuleName"
        assert rule["Value"] == {"Fn::If": ["UsesDefaultBus", ref, of_own_bus]}
        assert bus["Fn::If"] == [
            "UsesDefaultBus",
            {"Ref": "AWS::NoValue"},
            {"Name": "EventBusName", "Value": {"Ref": "EventBusName"}},
        ]


def test_an_unknown_outcome_raises_an_alarm_whichever_way_it_was_found() -> None:
    doors = set()
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        if alarm["Properties"].get("MetricName") == "TransferUnknown":
            dimensions = {it["Name"]: it["Value"] for it in alarm["Properties"]["Dimensions"]}
            assert dimensions["service"] == SERVICE
            assert alarm["Properties"]["Namespace"] == NAMESPACE
            assert alarm["Properties"]["Threshold"] == 0
            doors.add(dimensions["door"])
    assert doors == {"webhook", "event", "reconcile"}


def test_every_parameter_is_explained_and_bounded() -> None:
    grouped = {
        name
        for group in TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
        for name in group["Parameters"]
    }
    assert grouped == TEMPLATE["Parameters"].keys()
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"], name
        assert "Default" in parameter, name
        bounds = {"MinValue", "MaxValue"} <= parameter.keys()
        assert bounds or parameter.keys() & {"AllowedValues", "AllowedPattern"}, name


def widgets() -> list[dict[str, Any]]:
    body = re.sub(r"\$\{[^}]*\}", "x", properties("Dashboard")["DashboardBody"]["Fn::Sub"])
    found: list[dict[str, Any]] = json.loads(body)["widgets"]
    return found


def own_metrics(rows: list[list[Any]]) -> set[str]:
    return {row[1] for row in rows if row[0] == NAMESPACE}


def test_dashboard_and_alarms_are_about_metrics_that_the_package_counts() -> None:
    package = ROOT / "layers" / "cold_transfer" / "cold_transfer"
    sources = "".join(path.read_text("utf-8") for path in package.glob("*.py"))
    shown = set[str]()
    for widget in widgets():
        shown |= own_metrics(widget["properties"].get("metrics", []))
    alarmed = {
        alarm["Properties"]["MetricName"]
        for alarm in of_type("AWS::CloudWatch::Alarm").values()
        if alarm["Properties"].get("Namespace") == NAMESPACE
    }
    assert {metric for metric in shown | alarmed if f'"{metric}"' not in sources} == set()
    outcomes = {"TransferAccepted", "TransferRejected", "TransferNotSent", "TransferUnknown"}
    assert outcomes | {"PlivoLatency", "PlivoCredentialsRefused", "PlivoThrottled"} <= shown


def test_the_dashboard_is_a_grid_without_overlaps_in_this_region() -> None:
    taken: set[tuple[int, int]] = set()
    for widget in widgets():
        x, y, width, height = (widget[name] for name in ("x", "y", "width", "height"))
        cells = {(x + i, y + j) for i in range(width) for j in range(height)}
        assert x + width <= DASHBOARD_COLUMNS
        assert not cells & taken, widget
        taken |= cells
        if widget["type"] in {"metric", "log"}:
            assert widget["properties"]["region"] == "x"
    assert len(taken) == DASHBOARD_COLUMNS * (1 + max(y for _, y in taken)), "there is a hole"


def test_the_dashboard_begins_with_every_alarm_that_gets_somebody_up() -> None:
    text = properties("Dashboard")["DashboardBody"]["Fn::Sub"]
    paging = {
        name
        for name, alarm in of_type("AWS::CloudWatch::Alarm").items()
        if {"Ref": "PagerTopic"} in alarm["Properties"]["AlarmActions"]
    }
    assert widgets()[0]["type"] == "alarm"
    assert set(re.findall(r"\$\{(\w+)\.Arn\}", text)) == paging


def test_whatever_dashboard_and_queries_name_is_a_resource() -> None:
    texts = [properties("Dashboard")["DashboardBody"]["Fn::Sub"]]
    texts += [it["Properties"]["Name"]["Fn::Sub"] for it in of_type(QUERY).values()]
    named = set(re.findall(r"\$\{([\w:]+)", "".join(texts)))
    assert {it for it in named if not it.startswith("AWS::")} <= {
        *RESOURCES,
        *TEMPLATE["Parameters"],
    }
    for query in of_type(QUERY).values():
        assert query["Condition"] == "IsOnAws"
        for group in query["Properties"]["LogGroupNames"]:
            assert RESOURCES[group["Ref"]]["Type"] == "AWS::Logs::LogGroup"


def test_production_gets_a_new_version_bit_by_bit_and_a_first_try_at_once() -> None:
    environments = tomllib.loads((ROOT / "samconfig.toml").read_text("utf-8"))
    assert TEMPLATE["Parameters"]["DeploymentStrategy"]["Default"] == "AllAtOnce"
    overrides = environments["prod"]["deploy"]["parameters"]["parameter_overrides"]
    chosen = dict(pair.split("=") for pair in overrides.split())
    assert chosen["DeploymentStrategy"].startswith("Canary")
    assert chosen["EventSource"] != TEMPLATE["Parameters"]["EventSource"]["Default"]
    for name, value in chosen.items():
        parameter = TEMPLATE["Parameters"][name]
        allowed = [str(it) for it in parameter.get("AllowedValues", [value])]
        assert value in allowed, name


def test_a_new_description_of_a_version_comes_with_a_new_configuration() -> None:
    # Lambda publishes no version of an unchanged one, and the deployment fails.
    described = {json.dumps(properties(name)["VersionDescription"]) for name in FUNCTIONS}
    assert described == {json.dumps(VARIABLES["DEPLOYED_WITH"])}
