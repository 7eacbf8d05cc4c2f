"""Each role has exactly the rights that its function needs: without one, the function fails.

The emulator enforces IAM on the functions' own calls, but not on what Lambda does with a role
(writing logs, reading the stream, failure destinations). BY_LAMBDA lists those rights.
"""

import time
import uuid
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.waiting import eventually
from tests.support import builders
from tests.support.fake_dynamodb import INDEXES
from tests.system.deployment import Deployment, Invoked
from tests.system.policies import Grant, grants

ROLES = ("WebhookRole", "EventRole", "ReconcileRole", "OutcomesRole")

#: The grants of each role: the action, and a logical name for its resource.
EXPECTED = {
    "WebhookRole": {
        "logs:CreateLogStream log-group",
        "logs:PutLogEvents log-group",
        "dynamodb:GetItem ledger",
        "dynamodb:PutItem ledger",
        "dynamodb:UpdateItem ledger",
        "secretsmanager:GetSecretValue PlivoSecret",
        "secretsmanager:GetSecretValue ClientsSecret",
    },
    "EventRole": {
        "logs:CreateLogStream log-group",
        "logs:PutLogEvents log-group",
        "dynamodb:GetItem ledger",
        "dynamodb:PutItem ledger",
        "dynamodb:UpdateItem ledger",
        "secretsmanager:GetSecretValue PlivoSecret",
        "sqs:SendMessage DeadLetterQueue",
    },
    "ReconcileRole": {
        "logs:CreateLogStream log-group",
        "logs:PutLogEvents log-group",
        "dynamodb:GetItem ledger",
        "dynamodb:UpdateItem ledger",
        "dynamodb:Query open-index",
        "dynamodb:Query unresolved-index",
    },
    "OutcomesRole": {
        "logs:CreateLogStream log-group",
        "logs:PutLogEvents log-group",
        "dynamodb:DescribeStream stream",
        "dynamodb:GetRecords stream",
        "dynamodb:GetShardIterator stream",
        "dynamodb:ListStreams stream",
        "events:PutEvents bus",
        "sqs:SendMessage OutcomesDeadLetterQueue",
    },
}

#: Used by Lambda and not by the code.
BY_LAMBDA = (
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
)

#: test_outcome_events.py takes this one away.
TESTED_ELSEWHERE = ("OutcomesRole", "events:PutEvents bus")


def policy_of(deployment: Deployment, role: str) -> dict[str, Any]:
    iam, name = deployment.aws("iam"), deployment.name(role)
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document: dict[str, Any] = iam.get_role_policy(RoleName=name, PolicyName=policy)[
        "PolicyDocument"
    ]
    return document


def resources(deployment: Deployment, role: str) -> dict[str, str]:
    """The ARNs of the deployed resources, by the names that EXPECTED uses."""
    table = deployment.aws("dynamodb").describe_table(TableName=deployment.name("LedgerTable"))
    bus = deployment.stack.description["event_bus_name"]
    groups = deployment.aws("logs").describe_log_groups()["logGroups"]
    group = deployment.stack.deployed.log_groups[role.replace("Role", "Function")]
    found = {
        "ledger": table["Table"]["TableArn"],
        **{name: f"{table['Table']['TableArn']}/index/{name}" for name in INDEXES},
        "stream": table["Table"]["LatestStreamArn"],
        "bus": deployment.aws("events").describe_event_bus(Name=bus)["Arn"],
        "log-group": next(one["arn"] for one in groups if one["logGroupName"] == group),
    }
    for queue in ("DeadLetterQueue", "OutcomesDeadLetterQueue"):
        attributes = deployment.aws("sqs").get_queue_attributes(
            QueueUrl=deployment.name(queue), AttributeNames=["QueueArn"]
        )["Attributes"]
        found[queue] = attributes["QueueArn"]
    for output in ("PlivoSecret", "ClientsSecret"):
        secret = deployment.aws("secretsmanager").describe_secret(
            SecretId=deployment.stack.deployed.outputs[output]
        )
        found[output] = secret["ARN"]
    return found


def grant_of(deployment: Deployment, role: str, right: str) -> Grant:
    """The deployed grant for an entry of EXPECTED."""
    action, _, name = right.partition(" ")
    arn = resources(deployment, role)[name]
    (found,) = [
        grant
        for grant in grants(policy_of(deployment, role))
        if grant.action == action and fnmatch(arn, grant.resource)
    ]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_role_grants_exactly_the_expected_actions_on_the_deployed_resources(
    deployment: Deployment, role: str
) -> None:
    known = resources(deployment, role)
    granted = set()
    for grant in grants(policy_of(deployment, role)):
        names = [name for name, arn in known.items() if fnmatch(arn, grant.resource)]
        assert len(names) == 1, grant
        granted.add(f"{grant.action} {names[0]}")

    assert granted == EXPECTED[role]


@pytest.mark.parametrize("role", ROLES)
def test_only_x_ray_is_granted_on_all_resources(deployment: Deployment, role: str) -> None:
    iam = deployment.aws("iam")
    attached = iam.list_attached_role_policies(RoleName=deployment.name(role))["AttachedPolicies"]
    (arn,) = [policy["PolicyArn"] for policy in attached]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]

    actions = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
    assert set(grants(document["Document"])) == {Grant(action, "*") for action in actions}
    own = list(grants(policy_of(deployment, role)))
    assert not any("*" in grant.action for grant in own)
    # The streams of a log group end with ":*".
    resources_of_own = {grant.resource.removesuffix(":*") for grant in own}
    assert not any("*" in resource for resource in resources_of_own)


def overdue(deployment: Deployment) -> str:
    """Insert the record of an attempt that was abandoned while sending; returns its Action-Id."""
    action_id = uuid.uuid4().hex * 2
    past = int(time.time() * 1000) - 60_000
    text = {
        "pk": f"K#{action_id}",
        "state": "sending",
        "owner": uuid.uuid4().hex,
        "open": action_id[0],
        "fp": uuid.uuid4().hex * 2,
        "client": "phlo",
        "entry_point": "webhook",
        "action_id": action_id,
    }
    numbers = {"lease_until": past, "first_seen": past, "attempt": 1, "fp_version": 1}
    item = {name: {"S": value} for name, value in text.items()}
    deployment.aws("dynamodb").put_item(
        TableName=deployment.name("LedgerTable"),
        Item=item | {name: {"N": str(value)} for name, value in numbers.items()},
    )
    return action_id


class Attempt:
    """Something that needs a right: ``fails`` is tried without it, then ``succeeds`` with it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.fields = deployment.fields()
        self.key = f"key-{uuid.uuid4()}"

    def prepare(self) -> None:
        """Prepare what needs the right."""

    def fails(self) -> bool:
        raise NotImplementedError

    def succeeds(self) -> bool:
        raise NotImplementedError

    def sent(self) -> int:
        return len(self.deployment.posts(self.fields))


class WebhookAction(Attempt):
    def fails(self) -> bool:
        answer = self.deployment.post(self.fields, key=self.key)
        retry = int(answer.headers["retry-after"]) >= 1
        return (answer.status, answer.cause) == (503, "dependency-unavailable") and retry

    def succeeds(self) -> bool:
        return self.deployment.post(self.fields, key=self.key).status == 201 and self.sent() == 1


class WebhookLookup(Attempt):
    def prepare(self) -> None:
        self.action_id = self.deployment.post(self.fields).action_id

    def fails(self) -> bool:
        return self.deployment.look_up(self.action_id).status == 503

    def succeeds(self) -> bool:
        return self.deployment.look_up(self.action_id).status == 200


class EventAction(Attempt):
    def _invoke(self) -> Invoked:
        detail = builders.detail(**self.fields, idempotency_key=self.key)
        return self.deployment.invoke("EventFunction", builders.eventbridge_event(detail))

    def fails(self) -> bool:
        return self._invoke().error is not None and self.sent() == 0

    def succeeds(self) -> bool:
        return self._invoke().error is None and self.sent() == 1


class Unreleased(Attempt):
    """The failed request stays claimed until its lease expires, so another request is sent."""

    def succeeds(self) -> bool:
        self.fields, self.key = self.deployment.fields(), f"key-{uuid.uuid4()}"
        return super().succeeds()


class UnreleasedWebhookAction(Unreleased, WebhookAction):
    pass


class UnreleasedEventAction(Unreleased, EventAction):
    pass


class Cold(Attempt):
    """In new execution environments, which have not cached any secret."""

    function: str

    def prepare(self) -> None:
        self.deployment.replace_workers(self.function)

    def fails(self) -> bool:
        expected = self.deployment.count(self.function, "SecretUnavailable") + 1
        return super().fails() and eventually(
            lambda: self.deployment.count(self.function, "SecretUnavailable") == expected
        )

    def succeeds(self) -> bool:
        self.deployment.replace_workers(self.function)
        return super().succeeds()


class ColdWebhookAction(Cold, WebhookAction):
    function = "WebhookFunction"


class ColdEventAction(Cold, EventAction):
    function = "EventFunction"


class EventDuplicate(EventAction):
    """The event is a duplicate of a webhook, whose record has to be read."""

    def prepare(self) -> None:
        assert self.deployment.post(self.fields).status == 201

    def fails(self) -> bool:
        return self._invoke().error is not None and self.sent() == 1


class Reconciliation(Attempt):
    action_id: str

    def _state(self) -> object:
        return self.deployment.record(self.action_id)["state"]

    def fails(self) -> bool:
        # Inserted only now: while the right is there, a scheduled run would settle it.
        self.action_id = overdue(self.deployment)
        invoked = self.deployment.invoke("ReconcileFunction", {})
        return invoked.error is not None and self._state() == "sending"

    def succeeds(self) -> bool:
        invoked = self.deployment.invoke("ReconcileFunction", {})
        return invoked.error is None and self._state() == "unknown"


class UnresolvedCount(Attempt):
    """A run that cannot count fails; missing counts raise the alarm ReconcileSilent."""

    def fails(self) -> bool:
        return self.deployment.invoke("ReconcileFunction", {}).error is not None

    def succeeds(self) -> bool:
        return self.deployment.invoke("ReconcileFunction", {}).error is None


NEEDED_BY: dict[tuple[str, str], Callable[[Deployment], Attempt]] = {
    ("WebhookRole", "dynamodb:GetItem ledger"): WebhookLookup,
    ("WebhookRole", "dynamodb:PutItem ledger"): WebhookAction,
    ("WebhookRole", "dynamodb:UpdateItem ledger"): UnreleasedWebhookAction,
    ("WebhookRole", "secretsmanager:GetSecretValue PlivoSecret"): ColdWebhookAction,
    ("WebhookRole", "secretsmanager:GetSecretValue ClientsSecret"): ColdWebhookAction,
    ("EventRole", "dynamodb:GetItem ledger"): EventDuplicate,
    ("EventRole", "dynamodb:PutItem ledger"): EventAction,
    ("EventRole", "dynamodb:UpdateItem ledger"): UnreleasedEventAction,
    ("EventRole", "secretsmanager:GetSecretValue PlivoSecret"): ColdEventAction,
    ("ReconcileRole", "dynamodb:GetItem ledger"): Reconciliation,
    ("ReconcileRole", "dynamodb:UpdateItem ledger"): Reconciliation,
    ("ReconcileRole", "dynamodb:Query open-index"): Reconciliation,
    ("ReconcileRole", "dynamodb:Query unresolved-index"): UnresolvedCount,
}


def test_every_right_that_the_code_uses_is_tested() -> None:
    listed = {(role, right) for role, rights in EXPECTED.items() for right in rights}
    unused = {each for each in listed if each[1].split(" ")[0] in BY_LAMBDA}
    assert set(NEEDED_BY) | {TESTED_ELSEWHERE} == listed - unused


@pytest.mark.parametrize(("role", "right"), NEEDED_BY, ids=str)
def test_without_one_right_the_function_fails_as_documented(
    deployment: Deployment, role: str, right: str
) -> None:
    attempt = NEEDED_BY[role, right](deployment)
    grant = grant_of(deployment, role, right)
    attempt.prepare()

    with deployment.without(role, grant):
        assert attempt.fails()
    assert attempt.succeeds()


BEYOND: dict[str, Callable[[Deployment, Callable[[str], Any]], object]] = {
    "scan the ledger": lambda d, c: c("dynamodb").scan(TableName=d.name("LedgerTable")),
    "delete a record": lambda d, c: c("dynamodb").delete_item(
        TableName=d.name("LedgerTable"), Key={"pk": {"S": "K#0"}}
    ),
    "list secrets": lambda _, c: c("secretsmanager").list_secrets(),
    "change a secret": lambda d, c: c("secretsmanager").put_secret_value(
        SecretId=d.stack.deployed.outputs["PlivoSecret"], SecretString="{}"
    ),
    "read dead letters": lambda d, c: c("sqs").receive_message(QueueUrl=d.name("DeadLetterQueue")),
    "change a function": lambda d, c: c("lambda").update_function_configuration(
        FunctionName=d.name("WebhookFunction"), Timeout=1
    ),
    "read other secrets": lambda _, c: c("secretsmanager").get_secret_value(SecretId="other"),
}


@pytest.mark.parametrize("beyond", BEYOND, ids=str)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_nothing_else(deployment: Deployment, role: str, beyond: str) -> None:
    credentials = deployment.aws("sts").assume_role(
        RoleArn=f"arn:aws:iam::{builders.ACCOUNT}:role/{deployment.name(role)}",
        RoleSessionName="system-test",
    )["Credentials"]
    session = boto3.Session(
        credentials["AccessKeyId"],
        credentials["SecretAccessKey"],
        credentials["SessionToken"],
        region_name="us-east-1",
    )

    def client(service: str) -> Any:
        make: Any = session.client
        return make(service, endpoint_url=deployment.stack.endpoint_url)

    with pytest.raises(ClientError, match="AccessDenied"):
        BEYOND[beyond](deployment, client)
