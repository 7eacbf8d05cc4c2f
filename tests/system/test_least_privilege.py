"""Each role has what its function needs: without any one right the function fails as documented.

The emulator enforces IAM on what the functions' code does. What Lambda itself does with a role
(writing logs, reading the stream, failure destinations) it does not look at: those rights are
listed in BY_LAMBDA.
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
from tests.system.deployment import FAILING, Deployment, Invoked
from tests.system.policies import Grant, grants

ROLES = ("WebhookRole", "EventRole", "ReconcileRole", "OutcomesRole")

#: What each role grants: the action, and a logical name for the resource it is granted on.
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

#: Used by Lambda with the role, not by the code; events:PutEvents is in test_outcome_events.py.
BY_LAMBDA = (
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
)
ELSEWHERE = ("OutcomesRole", "events:PutEvents bus")


def policy_of(deployment: Deployment, role: str) -> dict[str, Any]:
    iam, name = deployment.aws("iam"), deployment.name(role)
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document: dict[str, Any] = iam.get_role_policy(RoleName=name, PolicyName=policy)[
        "PolicyDocument"
    ]
    return document


def resources(deployment: Deployment, role: str) -> dict[str, str]:
    """The ARN of each resource that the deployed stack has, by the names that EXPECTED uses."""
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
        got = deployment.aws("sqs").get_queue_attributes(
            QueueUrl=deployment.name(queue), AttributeNames=["QueueArn"]
        )
        found[queue] = got["Attributes"]["QueueArn"]
    for output in ("PlivoSecret", "ClientsSecret"):
        secret = deployment.aws("secretsmanager").describe_secret(
            SecretId=deployment.stack.deployed.outputs[output]
        )
        found[output] = secret["ARN"]
    return found


def grant_of(deployment: Deployment, role: str, right: str) -> Grant:
    """The deployed grant that a line of EXPECTED stands for."""
    action, _, name = right.partition(" ")
    arn = resources(deployment, role)[name]
    (found,) = [
        grant
        for grant in grants(policy_of(deployment, role))
        if grant.action == action and fnmatch(arn, grant.resource)
    ]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_a_role_grants_exactly_what_is_listed_on_exactly_the_deployed_resources(
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
def test_the_one_star_is_x_rays_which_names_no_resources(deployment: Deployment, role: str) -> None:
    iam = deployment.aws("iam")
    attached = iam.list_attached_role_policies(RoleName=deployment.name(role))["AttachedPolicies"]
    (arn,) = [policy["PolicyArn"] for policy in attached]
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]

    actions = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
    assert set(grants(document["Document"])) == {Grant(action, "*") for action in actions}
    own = list(grants(policy_of(deployment, role)))
    assert not any("*" in grant.action for grant in own)
    named = {grant.resource.removesuffix(":*") for grant in own}  # a log group's streams
    assert not any("*" in resource for resource in named)


def overdue(deployment: Deployment) -> str:
    """A record whose attempt was abandoned while sending, as the ledger leaves it."""
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
    """One thing that needs the right: ``fails`` without it, ``works`` with it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.fields = deployment.fields()
        self.key = f"key-{uuid.uuid4()}"

    def prepare(self) -> None:
        """What has to be there while the right is."""

    def fails(self) -> bool:
        raise NotImplementedError

    def works(self) -> bool:
        raise NotImplementedError

    def sent(self) -> int:
        return len(self.deployment.posts(self.fields))


class WebhookAction(Attempt):
    def fails(self) -> bool:
        answer = self.deployment.post(self.fields, key=self.key)
        retry = int(answer.headers["retry-after"]) >= 1
        return (answer.status, answer.cause) == (503, "dependency-unavailable") and retry

    def works(self) -> bool:
        return self.deployment.post(self.fields, key=self.key).status == 201 and self.sent() == 1


class WebhookLookup(Attempt):
    def prepare(self) -> None:
        self.action_id = self.deployment.post(self.fields).action_id

    def fails(self) -> bool:
        return self.deployment.look_up(self.action_id).status == 503

    def works(self) -> bool:
        return self.deployment.look_up(self.action_id).status == 200


class EventAction(Attempt):
    def _invoke(self) -> Invoked:
        detail = builders.detail(**self.fields, idempotency_key=self.key)
        return self.deployment.invoke("EventFunction", builders.eventbridge_event(detail))

    def fails(self) -> bool:
        return self._invoke().error is not None and self.sent() == 0

    def works(self) -> bool:
        return self._invoke().error is None and self.sent() == 1


class Unreleased(Attempt):
    """Its claim stays until its lease is over, so that only another request can work."""

    def works(self) -> bool:
        self.fields, self.key = self.deployment.fields(), f"key-{uuid.uuid4()}"
        return super().works()


class UnreleasedWebhookAction(Unreleased, WebhookAction):
    pass


class UnreleasedEventAction(Unreleased, EventAction):
    pass


class Cold(Attempt):
    """With a secret that no execution environment has cached."""

    function: str

    def prepare(self) -> None:
        self.deployment.replace_workers(self.function)

    def works(self) -> bool:
        self.deployment.replace_workers(self.function)
        return super().works()


class ColdWebhookAction(Cold, WebhookAction):
    function = "WebhookFunction"


class ColdEventAction(Cold, EventAction):
    function = "EventFunction"


class EventDuplicate(EventAction):
    """Another key's action has to be read to find out whether it is a duplicate."""

    def prepare(self) -> None:
        assert self.deployment.post(self.fields).status == 201

    def fails(self) -> bool:
        return self._invoke().error is not None and self.sent() == 1


class Reconciliation(Attempt):
    action_id: str

    def _state(self) -> object:
        return self.deployment.record(self.action_id)["state"]

    def fails(self) -> bool:
        # not before the right is gone: the schedule's own run might come in between
        self.action_id = overdue(self.deployment)
        invoked = self.deployment.invoke("ReconcileFunction", {})
        return invoked.error is not None and self._state() == "sending"

    def works(self) -> bool:
        invoked = self.deployment.invoke("ReconcileFunction", {})
        return invoked.error is None and self._state() == "unknown"


class UnresolvedCount(Attempt):
    """Runs whose count is missing raise the alarm ReconcileSilent."""

    def fails(self) -> bool:
        return self.deployment.invoke("ReconcileFunction", {}).error is not None

    def works(self) -> bool:
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


def test_every_right_that_the_code_uses_is_taken_away_once() -> None:
    listed = {(role, right) for role, rights in EXPECTED.items() for right in rights}
    unused = {each for each in listed if each[1].split(" ")[0] in BY_LAMBDA}
    assert set(NEEDED_BY) | {ELSEWHERE} == listed - unused


@pytest.mark.parametrize(("role", "right"), NEEDED_BY, ids=str)
def test_without_one_right_the_function_fails_as_documented(
    deployment: Deployment, role: str, right: str
) -> None:
    attempt = NEEDED_BY[role, right](deployment)
    grant = grant_of(deployment, role, right)
    attempt.prepare()

    with deployment.without(role, grant):
        assert attempt.fails()
    assert attempt.works()


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
def test_nothing_beyond_is_allowed(deployment: Deployment, role: str, beyond: str) -> None:
    got = deployment.aws("sts").assume_role(
        RoleArn=f"arn:aws:iam::{builders.ACCOUNT}:role/{deployment.name(role)}",
        RoleSessionName="system-test",
    )["Credentials"]
    session = boto3.Session(
        got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"], region_name="us-east-1"
    )

    def client(service: str) -> Any:
        make: Any = session.client
        return make(service, endpoint_url=deployment.stack.endpoint_url)

    with pytest.raises(ClientError, match="AccessDenied"):
        BEYOND[beyond](deployment, client)


def test_a_secret_that_cannot_be_read_is_counted_at_each_entry_point(
    deployment: Deployment,
) -> None:
    """The alarm's metric: the rights above were taken away, or are taken away here."""
    for function, role in (("WebhookFunction", "WebhookRole"), ("EventFunction", "EventRole")):
        grant = grant_of(deployment, role, "secretsmanager:GetSecretValue PlivoSecret")
        before = deployment.count(function, "SecretUnavailable")
        deployment.replace_workers(function)
        with deployment.without(role, grant):
            if function == "WebhookFunction":
                deployment.post(deployment.fields())
            else:
                event = builders.eventbridge_event(deployment.detail(to=FAILING + "201"))
                deployment.invoke(function, event)
        after = before + 1
        assert eventually(
            lambda: deployment.count(function, "SecretUnavailable") == after  # noqa: B023 -- read at once
        )
        deployment.replace_workers(function)
