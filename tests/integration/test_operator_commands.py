"""The operator's command on a stack in the emulator: what it changes, and what it never does."""

import json
import threading
import uuid
from typing import Any

import boto3
import pytest

from cold_transfer.action import Verdict
from cold_transfer.auth import clients_secret
from cold_transfer.causes import Cause, Resolution
from cold_transfer.ledger.ledger import Ledger
from cold_transfer_cli import clients
from cold_transfer_cli.failures import OperatorError
from cold_transfer_cli.records import Records, resolved
from cold_transfer_cli.target import Aws, Target
from local.emulator import REGION
from tests.support import ledgers, operating
from tests.support.operating import Ended

UNKNOWN = Verdict(Cause.OUTCOME_UNKNOWN, plivo_status=500)
ACCEPTED = Verdict(Cause.ACCEPTED, plivo_status=200, api_id="api-1")
KEY = "call-1"
TAG = "cold-transfer:reserved-concurrency-before-stop"

FUNCTION = {
    "Type": "AWS::Lambda::Function",
    "Properties": {
        "Runtime": "python3.13",
        "Handler": "index.handler",
        "Role": "arn:aws:iam::000000000000:role/any",
        "Code": {"ZipFile": "def handler(event, context): return {}"},
    },
}


class Operated:
    """A small stack with the parts that the commands need."""

    def __init__(self, aws: Aws, table: str, parameters: dict[str, str] | None = None) -> None:
        self.aws = aws
        self.name = f"stack-{uuid.uuid4().hex[:12]}"
        self.secret = f"{self.name}/clients"
        given = {"ReservedConcurrency": "0", "SecretsCacheSeconds": "300", **(parameters or {})}
        outputs: dict[str, object] = {
            "LedgerTableName": table,
            "ClientsSecret": self.secret,
            "WebhookFunctionName": {"Ref": "WebhookFunction"},
            "EventFunctionName": {"Ref": "EventFunction"},
        }
        template = {
            "Parameters": {each: {"Type": "String", "Default": ""} for each in given},
            "Resources": {"WebhookFunction": FUNCTION, "EventFunction": FUNCTION},
            "Outputs": {each: {"Value": value} for each, value in outputs.items()},
        }
        stacks = aws.client("cloudformation")
        stacks.create_stack(
            StackName=self.name,
            TemplateBody=json.dumps(template),
            Parameters=[
                {"ParameterKey": each, "ParameterValue": value} for each, value in given.items()
            ],
        )
        stacks.get_waiter("stack_create_complete").wait(StackName=self.name)
        self.target = Target.found(aws, self.name)
        self.ledger = ledgers.ledger_on(aws.client("dynamodb"), table, ledgers.Clock())
        self.table = table

    def run(self, *arguments: str) -> Ended:
        return operating.run(self.target, *arguments)

    def settled(self, verdict: Verdict, key: str = KEY) -> str:
        """An action with this outcome; its Action-Id."""
        return settled(self.ledger, self.aws.client("dynamodb"), self.table, verdict, key)

    def item(self, action_id: str) -> dict[str, Any]:
        reply = self.aws.client("dynamodb").get_item(
            TableName=self.table, Key={"pk": {"S": f"K#{action_id}"}}
        )
        return dict(reply["Item"])

    def stored(self) -> clients.Entries:
        text = self.aws.client("secretsmanager").get_secret_value(SecretId=self.secret)
        entries: clients.Entries = json.loads(text["SecretString"])["clients"]
        return entries

    def function(self, entry_point: str) -> dict[str, Any]:
        name = self.target.outputs[f"{entry_point.title()}FunctionName"]
        found: dict[str, Any] = self.aws.client("lambda").get_function(FunctionName=name)
        return found


def settled(ledger: Ledger, dynamodb: Any, table: str, verdict: Verdict, key: str) -> str:
    request = ledgers.request_of(key, ledgers.ACTION, client=f"crm-{key}")
    claim: Any = ledger.claim(request, ledgers.NOW_MS + 25_000)
    ledger.mark_sending(claim, ledgers.NOW_MS + 25_000)
    ledger.settle(claim, verdict)
    if verdict is UNKNOWN:
        dynamodb.update_item(
            TableName=table,
            Key={"pk": {"S": f"K#{claim.action_id}"}},
            UpdateExpression="SET #reference = :reference",
            ExpressionAttributeNames={"#reference": "reference"},
            ExpressionAttributeValues={":reference": {"S": f"INC-{key}"}},
        )
    return str(claim.action_id)


@pytest.fixture
def aws_account(endpoint_url: str) -> Aws:
    return Aws(boto3.Session("test", "test", region_name=REGION), endpoint_url)


@pytest.fixture
def stack(aws_account: Aws, table: str) -> Operated:
    return Operated(aws_account, table)


@pytest.fixture(params=["dynamodb", "moto"])
def records(request: pytest.FixtureRequest) -> tuple[Records, Ledger, Any, str]:
    """A ledger in each of the two independent DynamoDBs."""
    client = request.getfixturevalue(request.param)
    table = ledgers.create_table(client)
    ledger = ledgers.ledger_on(client, table, ledgers.Clock())
    return Records(client, table), ledger, client, table


# --- the ledger ----------------------------------------------------------------------------------


def test_an_action_is_found_by_its_clients_key(stack: Operated) -> None:
    action_id = stack.settled(ACCEPTED)

    found = stack.run("find", "--client", f"crm-{KEY}", "--key", KEY)
    alone = stack.run("find", "--client", f"crm-{KEY}", "--key", KEY, "--id-only")
    elsewhere = stack.run("find", "--client", "crm", "--key", KEY, "--entry-point", "event")

    assert found.status == alone.status == 0
    assert found.out.splitlines()[0].startswith(f"{action_id}  webhook: accepted")
    assert found.out.splitlines()[1].endswith("  event: no record")
    assert alone.out == f"{action_id}\n"
    assert elsewhere.status == 1
    assert elsewhere.out.endswith("  event: no record\n")


def test_an_action_is_shown_with_what_it_means(stack: Operated) -> None:
    shown = stack.run("show", stack.settled(ACCEPTED))
    nothing = stack.run("show", "0" * 64)

    assert shown.status == 0
    assert "outcome         accepted" in shown.out
    assert "api_id          api-1" in shown.out
    assert nothing.status == 1


def test_unknown_outcomes_are_listed_until_they_are_resolved(stack: Operated) -> None:
    first, second = stack.settled(UNKNOWN, "one"), stack.settled(UNKNOWN, "two")
    stack.settled(ACCEPTED, "three")

    both = stack.run("unknown")
    resolved = stack.run("resolve", first, "--happened", "--note", "asked the agent, see INC-one")
    rest = stack.run("unknown")
    stack.run("resolve", second, "--did-not-happen")
    none = stack.run("unknown")

    assert both.status == 1
    assert {first, second} <= set(both.out.splitlines())
    assert "  client       crm-one, through webhook" in both.out
    assert "  reference    INC-one" in both.out
    assert resolved.status == 0
    assert (rest.status, first in rest.out, second in rest.out) == (1, False, True)
    assert (none.status, none.out) == (0, "0 unknown outcomes to resolve\n")


def test_a_resolution_is_recorded_with_its_author_and_changes_nothing_else(stack: Operated) -> None:
    action_id = stack.settled(UNKNOWN)
    before = stack.item(action_id)

    ended = stack.run("resolve", action_id, "--did-not-happen", "--note", "call was dropped")

    after = stack.item(action_id)
    written = {"resolution", "resolved_by", "resolved_at", "note"}
    assert ended.status == 0
    assert after["resolution"] == {"S": "did_not_happen"}
    assert after["resolved_by"] == {"S": "root"}
    assert after["note"] == {"S": "call was dropped"}
    assert int(after["resolved_at"]["N"]) > ledgers.NOW_MS
    assert {k: v for k, v in after.items() if k not in written} == {
        k: v for k, v in before.items() if k != "unresolved"
    }
    shown = stack.run("show", action_id).out
    assert "outcome         unknown" in shown
    assert "resolution      did not happen, according to root at 20" in shown
    assert shown.rstrip().endswith("the key is never sent again; use a new key")


def test_the_first_resolution_is_kept(
    records: tuple[Records, Ledger, Any, str],
) -> None:
    ledger_records, ledger, client, table = records
    action_id = settled(ledger, client, table, UNKNOWN, KEY)

    said = [
        ledger_records.resolve(action_id, Resolution.HAPPENED, "ann", 1, "seen"),
        ledger_records.resolve(action_id, Resolution.DID_NOT_HAPPEN, "bob", 2, "not seen"),
        ledger_records.resolve(action_id, Resolution.HAPPENED, "eve", 3),
    ]

    for known in said:
        assert known is not None
        assert resolved(known.own) == "happened, according to ann at 1970-01-01T00:00:00.001Z: seen"
    assert ledger_records.unresolved() == []


def test_a_contradicting_resolution_is_refused_and_the_same_one_is_not(stack: Operated) -> None:
    action_id = stack.settled(UNKNOWN)
    stack.run("resolve", action_id, "--happened")

    contrary = stack.run("resolve", action_id, "--did-not-happen")
    same = stack.run("resolve", action_id, "--happened")

    assert (contrary.status, same.status) == (1, 0)
    assert "happened, according to root at" in contrary.out
    assert "contradicts this earlier one and was not recorded" in contrary.out


def test_only_an_unknown_outcome_can_be_resolved(stack: Operated) -> None:
    accepted = stack.settled(ACCEPTED)
    before = stack.item(accepted)

    known = stack.run("resolve", accepted, "--happened")
    nothing = stack.run("resolve", "0" * 64, "--happened")

    assert known.status == 2
    assert known.err.startswith("Nothing to resolve, the outcome is known: accepted")
    assert nothing.status == 1
    assert stack.item(accepted) == before


def test_a_duplicate_names_the_action_to_resolve(stack: Operated) -> None:
    first, other = stack.settled(UNKNOWN, "first"), ledgers.request_of("other")
    claim: Any = stack.ledger.claim(other, ledgers.NOW_MS + 25_000)
    stack.ledger.deduplicate(claim)
    stack.aws.client("dynamodb").update_item(
        TableName=stack.table,
        Key={"pk": {"S": f"K#{claim.action_id}"}},
        UpdateExpression="SET #state = :duplicate, duplicate_of = :first",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":duplicate": {"S": "duplicate"}, ":first": {"S": first}},
    )

    ended = stack.run("resolve", claim.action_id, "--happened")

    assert (ended.status, ended.err) == (
        2,
        f"This is a duplicate of {first}: resolve that one.\n",
    )


@pytest.mark.parametrize(
    "note", ["+14155550100", "called (415) 555-0100", "sip:ann@example.com", "x" * 501, "a\nb"]
)
def test_a_note_holds_no_number_and_is_one_short_line(stack: Operated, note: str) -> None:
    action_id = stack.settled(UNKNOWN)

    ended = stack.run("resolve", action_id, "--happened", "--note", note)

    assert ended.status == 2
    assert ended.err.startswith("The note must be one line")
    assert "resolution" not in stack.item(action_id)


@pytest.mark.parametrize("given", ["", "call-1001", "F" * 64, "0" * 63])
def test_an_invalid_action_id_gets_a_hint_how_to_find_one(stack: Operated, given: str) -> None:
    for command in (["show", given], ["resolve", given, "--happened"]):
        ended = stack.run(*command)

        assert ended.status == 2
        assert "cold-transfer find" in ended.err


# --- the stack -----------------------------------------------------------------------------------


def test_one_output_is_printed_alone(stack: Operated) -> None:
    assert stack.run("outputs", "LedgerTableName").out == f"{stack.table}\n"
    assert stack.run("outputs", "Nothing").status == 2
    assert f"LedgerTableName      {stack.table}\n" in stack.run("outputs").out


def test_a_stack_of_another_project_is_refused(aws_account: Aws) -> None:
    topic = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    stacks, name = aws_account.client("cloudformation"), f"other-{uuid.uuid4().hex[:8]}"
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(topic))
    stacks.get_waiter("stack_create_complete").wait(StackName=name)

    with pytest.raises(Exception, match="lacks the outputs of this project"):
        Target.found(aws_account, name)


# --- the kill switch -----------------------------------------------------------------------------


@pytest.mark.parametrize("reserved", [None, 5])
def test_a_function_starts_with_the_concurrency_from_before_its_stop(
    stack: Operated, reserved: int | None
) -> None:
    name = stack.function("webhook")["Configuration"]["FunctionName"]
    if reserved is not None:
        stack.aws.client("lambda").put_function_concurrency(
            FunctionName=name, ReservedConcurrentExecutions=reserved
        )
    before = [stack.function(each).get("Concurrency") for each in ("webhook", "event")]

    stopped = stack.run("stop")
    during = [stack.function(each)["Concurrency"] for each in ("webhook", "event")]
    again = stack.run("stop")
    started = stack.run("start")
    after = [stack.function(each).get("Concurrency") for each in ("webhook", "event")]

    assert (stopped.status, again.status, started.status) == (0, 0, 0)
    assert stopped.out.startswith("webhook: stopped\nevent: stopped\n")
    assert again.out.startswith("webhook: already stopped\nevent: already stopped\n")
    assert started.out == "webhook: started\nevent: started\n"
    assert during == [{"ReservedConcurrentExecutions": 0}] * 2
    assert after == before
    assert TAG not in stack.function("webhook")["Tags"]
    assert stack.run("start").out == "webhook: already running\nevent: already running\n"


def test_one_entry_point_is_stopped_alone(stack: Operated) -> None:
    stack.run("stop", "event")

    assert "Concurrency" not in stack.function("webhook")
    assert stack.function("event")["Concurrency"] == {"ReservedConcurrentExecutions": 0}


def test_a_function_stopped_by_hand_starts_with_the_templates_concurrency(
    aws_account: Aws, table: str
) -> None:
    stack = Operated(aws_account, table, {"ReservedConcurrency": "7"})
    stack.aws.client("lambda").put_function_concurrency(
        FunctionName=stack.function("event")["Configuration"]["FunctionName"],
        ReservedConcurrentExecutions=0,
    )

    stack.run("start", "event")

    assert stack.function("event")["Concurrency"] == {"ReservedConcurrentExecutions": 7}


# --- the clients secret --------------------------------------------------------------------------


def test_the_first_client_creates_the_secret_and_its_credentials_are_shown_once(
    stack: Operated,
) -> None:
    added = stack.run("clients", "add", "crm", "--phlo-id", "f" * 24, "--action", "hold")

    entry = stack.stored()["crm"]
    assert added.status == 0
    assert entry.keys() == {"signing_secrets", "tokens", "phlo_ids", "actions", "require_key"}
    assert (entry["phlo_ids"], entry["actions"], entry["require_key"]) == (
        ["f" * 24],
        ["hold"],
        True,
    )
    for credential in (*entry["tokens"], *entry["signing_secrets"]):
        assert credential in added.out
        assert credential not in stack.run("clients", "list").out
    assert "actions      hold" in stack.run("clients", "list").out


def test_only_the_requested_kind_of_credential_is_made(stack: Operated) -> None:
    stack.run("clients", "add", "phlo", "--token")
    stack.run("clients", "add", "crm", "--signed")

    entries = stack.stored()
    assert entries["phlo"].keys() == {"tokens", "require_key"}
    assert entries["crm"].keys() == {"signing_secrets", "require_key"}


def test_a_rotation_leaves_no_moment_without_a_valid_credential(stack: Operated) -> None:
    stack.run("clients", "add", "crm")
    old = stack.stored()["crm"]

    rotated = stack.run("clients", "rotate", "crm", "--token")
    both = stack.stored()["crm"]
    twice = stack.run("clients", "rotate", "crm")
    finished = stack.run("clients", "rotate", "crm", "--finish")
    new = stack.stored()["crm"]

    assert rotated.status == finished.status == 0
    assert both["tokens"][1:] == old["tokens"]
    assert both["tokens"][0] in rotated.out
    assert both["signing_secrets"] == old["signing_secrets"]
    assert twice.status == 2
    assert "a rotation is in progress" in twice.err
    assert new == {**both, "tokens": both["tokens"][:1]}


def test_a_removed_client_is_no_longer_in_the_secret(stack: Operated) -> None:
    stack.run("clients", "add", "crm")
    stack.run("clients", "add", "erp")

    removed = stack.run("clients", "remove", "crm")

    assert removed.status == 0
    assert stack.stored().keys() == {"erp"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["add", "crm"], "The client crm already exists"),
        (["add", "a:b"], "Nothing was stored: the clients secret: the name of client 2 must be"),
        (["add", "erp", "--phlo-id", "all"], "Nothing was stored: the clients secret: clients.erp"),
        (["add", "erp", "--action", "fold"], "Nothing was stored: the clients secret: clients.erp"),
        (["rotate", "erp"], "There is no client erp"),
        (["rotate", "crm", "--signed"], "The client crm has no signing secret."),
        (["rotate", "erp", "--finish"], "There is no client erp"),
        (["remove", "erp"], "There is no client erp"),
    ],
    ids=" ".join,
)
def test_an_impossible_change_changes_nothing(
    stack: Operated, arguments: list[str], told: str
) -> None:
    stack.run("clients", "add", "crm", "--token")
    before = stack.stored()

    ended = stack.run("clients", *arguments)

    assert ended.status == 2
    assert ended.err.startswith(told)
    assert stack.stored() == before


def test_an_invalid_secret_is_never_overwritten(stack: Operated) -> None:
    manager = stack.aws.client("secretsmanager")
    manager.create_secret(Name=stack.secret, SecretString='{"clients": {"crm": {}}}')

    ended = stack.run("clients", "add", "erp")

    assert ended.status == 2
    assert "is not valid, and the functions refuse it too" in ended.err
    assert stack.stored() == {"crm": {}}


class Interrupted:
    """A client of Secrets Manager; another operator makes a change after each of its puts."""

    def __init__(self, manager: Any, *others: Any) -> None:
        self._manager = manager
        self._others = list(others)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def put_secret_value(self, **call: Any) -> Any:
        stored = self._manager.put_secret_value(**call)
        if self._others:
            self._others.pop(0)()
        return stored


def test_an_overtaken_operator_applies_the_change_to_the_others_result(stack: Operated) -> None:
    stack.run("clients", "add", "crm", "--token")
    overtaken = Interrupted(
        stack.aws.client("secretsmanager"),
        lambda: stack.run("clients", "rotate", "crm"),
        lambda: stack.run("clients", "add", "phlo", "--token"),
        lambda: stack.run("clients", "remove", "phlo"),
    )

    clients.ClientsSecret(overtaken, stack.secret).change(
        clients.adding("erp", clients.fresh(["tokens"]), [], [])
    )

    entries = stack.stored()
    assert entries.keys() == {"crm", "erp"}
    assert len(entries["crm"]["tokens"]) == 2


def test_an_operator_who_is_overtaken_every_time_stores_nothing(stack: Operated) -> None:
    stack.run("clients", "add", "crm", "--token")
    busy = [lambda n=n: stack.run("clients", "add", f"other-{n}", "--token") for n in range(9)]
    overtaken = Interrupted(stack.aws.client("secretsmanager"), *busy)

    with pytest.raises(Exception, match="others kept changing"):
        clients.ClientsSecret(overtaken, stack.secret).change(
            clients.adding("erp", clients.fresh(["tokens"]), [], [])
        )

    assert "erp" not in stack.stored()


class LosingReplies:
    """A client of Secrets Manager that repeats a request, as after a lost reply."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def update_secret_version_stage(self, **call: Any) -> Any:
        self._manager.update_secret_version_stage(**call)
        return self._manager.update_secret_version_stage(**call)


def test_a_change_whose_reply_was_lost_is_made_once(stack: Operated) -> None:
    stack.run("clients", "add", "crm", "--token")
    losing = LosingReplies(stack.aws.client("secretsmanager"))

    clients.ClientsSecret(losing, stack.secret).change(clients.removing("crm"))

    assert stack.stored() == {}


def test_eight_operators_at_once_lose_nothing_and_leave_no_draft(stack: Operated) -> None:
    names = [f"client-{n}" for n in range(8)]
    stack.run("clients", "add", "crm", "--token")

    def add(name: str) -> None:
        secret = clients.ClientsSecret(stack.aws.client("secretsmanager"), stack.secret)
        while True:
            try:
                secret.change(clients.adding(name, clients.fresh(["tokens"]), [], []))
            except OperatorError as error:
                assert "others kept changing" in str(error)  # noqa: PT017  repeated, as the message asks
            else:
                return

    threads = [threading.Thread(target=add, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert stack.stored().keys() == {"crm", *names}
    clients_secret.parse(json.dumps({"clients": stack.stored()}))
    versions = stack.aws.client("secretsmanager").list_secret_version_ids(SecretId=stack.secret)
    stages = sorted(stage for each in versions["Versions"] for stage in each["VersionStages"])
    assert stages == ["AWSCURRENT", "AWSPREVIOUS"]
