"""`make deploy` and `make destroy`, as a person and as CI run them, on an emulator of their own.

They do not go through make, which would look after the environment that runs these tests.
"""

import json
import re
import shlex
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import boto3
import pytest
import urllib3

from cold_transfer.auth import clients_secret
from cold_transfer_cli.target import Aws, Target
from local import daemons
from local.credentials import PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN
from local.emulator import REGION, clean_environment, start_emulator
from local.simulator import Simulator
from tests.support.builders import NODE_ID, PHLO_ID
from tests.support.terminal import Conversation

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
FIRST, SECOND = "by-hand", "by-ci"
EMAIL = "oncall@example.com"


class Account:
    """An AWS account in which nothing was deployed yet."""

    def __init__(self, endpoint_url: str, plivo: Simulator, home: Path) -> None:
        self.plivo = plivo
        self.aws = Aws(boto3.Session("test", "test", region_name=REGION), endpoint_url)
        self.environment = clean_environment(home) | {
            "AWS_ENDPOINT_URL": endpoint_url,
            "PYTHONPATH": str(ROOT / "layers" / "cold_transfer"),
            "TMPDIR": str(home),
        }
        self.local = [
            *("--parameter", f"AwsEndpointUrl={endpoint_url}"),
            *("--parameter", f"PlivoBaseUrl={plivo.base_url}"),
            *("--parameter", "Architecture=x86_64"),
        ]

    def at_a_terminal(self, module: str, *arguments: str) -> Conversation:
        return Conversation(module, *arguments, environment=self.environment, cwd=ROOT)

    def without_one(
        self, module: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  a module of ours
            [sys.executable, "-m", module, *arguments],
            env=self.environment | variables,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )

    def secret(self, name: str) -> str:
        reply = self.aws.client("secretsmanager").get_secret_value(SecretId=name)
        return str(reply["SecretString"])

    def parameters(self, stack: str) -> dict[str, str]:
        return dict(Target.found(self.aws, stack).parameters)

    def names(self) -> dict[str, Any]:
        """Everything that a deployment makes, as far as the account lists it."""
        stacks = self.aws.client("cloudformation").describe_stacks()["Stacks"]
        secrets = self.aws.client("secretsmanager").list_secrets()["SecretList"]
        return {
            "stacks": sorted(each["StackName"] for each in stacks),
            "secrets": sorted(each["Name"] for each in secrets),
        }


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder = tmp_path_factory.mktemp("account")
    (folder / "tmp").mkdir()
    try:
        with Simulator() as plivo:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # as in the conftest
                endpoint = start_emulator(folder, trace_port=9, auth=False, usual_port=False)
            yield Account(endpoint, plivo, folder)
    finally:
        daemons.stop(daemons.found_in(folder))


class Proxy(ThreadingHTTPServer):
    """In front of the emulator: what has ``refused`` in its body does not get there."""

    daemon_threads = True

    def __init__(self, endpoint_url: str, refused: bytes) -> None:
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.endpoint_url = endpoint_url
        self.refused = refused
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.pool = urllib3.PoolManager(retries=False)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()
        self.pool.clear()


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.server.refused in body:
            error = b"<Error><Code>Refused</Code><Message>not today</Message></Error>"
            self._answer(400, {}, b"<ErrorResponse>%s</ErrorResponse>" % error)
            return
        headers = {name: value for name, value in self.headers.items() if name != "Host"}
        url = self.server.endpoint_url + self.path
        reply = self.server.pool.request(
            self.command, url, body=body, headers=headers, redirect=False
        )
        self._answer(reply.status, reply.headers, b"" if self.command == "HEAD" else reply.data)

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = _pass_on  # noqa: N815  http.server's names

    def log_message(self, *_: object) -> None:
        pass


class Deployed:
    """What a person saw, and what it ended with."""

    def __init__(self, transcript: str, status: int) -> None:
        self.transcript = transcript
        self.status = status


@pytest.fixture(scope="module")
def by_hand(account: Account) -> Deployed:
    """A first deployment in which a person answers five questions."""
    with account.at_a_terminal("tools.deploy", "--stack", FIRST, *account.local) as person:
        person.answer("E-mail address for alarms (empty for none): ", "oncall at example")
        person.answer("E-mail address for alarms (empty for none): ", EMAIL)
        person.answer("Plivo Auth ID (not shown): ", PLIVO_AUTH_ID)
        person.answer("Plivo Auth Token (not shown): ", PLIVO_AUTH_TOKEN)
        person.answer("Name of the first client, such as crm: ", "crm")
        person.answer(f"Deploy it to account 000000000000 in {REGION}? [y/N]: ", "y")
        status = person.end()
        return Deployed(person.transcript, status)


def works(status: int, told: str) -> bool:
    """Whether it ended with a smoke test in which webhook and functions passed."""
    return status == 0 and re.findall(r"^(PASS|FAIL)  ", told, re.MULTILINE) == ["PASS"] * 5


def test_five_answers_lead_to_a_stack_with_what_was_answered(
    account: Account, by_hand: Deployed
) -> None:
    assert works(by_hand.status, by_hand.transcript), by_hand.transcript
    assert "PASS  webhook: a request without a credential gets 401" in by_hand.transcript
    plivo = json.loads(account.secret(f"{FIRST}/plivo"))
    assert plivo == {"auth_id": PLIVO_AUTH_ID, "auth_token": PLIVO_AUTH_TOKEN}
    clients_secret.parse(account.secret(f"{FIRST}/clients"))
    assert account.parameters(FIRST)["AlarmEmail"] == EMAIL
    assert account.parameters(FIRST)["ApiGatewayLogRole"] == "create"


def test_the_account_comes_first_and_no_secret_is_on_the_screen(by_hand: Deployed) -> None:
    first = f"Account 000000000000 (as root), region {REGION}, stack {FIRST}: a first deployment."
    assert by_hand.transcript.startswith(first)
    assert "AlarmEmail must be empty, or one e-mail address." in by_hand.transcript
    assert by_hand.transcript.count(": create complete") > 40
    for secret in (PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN):
        assert secret not in by_hand.transcript


def test_it_ends_with_a_curl_that_works_and_where_the_alarms_go(
    account: Account, by_hand: Deployed
) -> None:
    end = by_hand.transcript.partition("Try it, ")[2]
    typed = end[end.index("curl ") : end.index("\n\n")].replace("\\\n", " ")
    words = shlex.split(typed.replace("PHLO_ID", PHLO_ID).replace("NODE_ID", NODE_ID))

    answer = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603  ours

    assert answer.stdout.startswith("HTTP/1.1 201 ")
    assert len(account.plivo.received()) == 1
    topic = Target.found(account.aws, FIRST).outputs["AlarmTopicArn"]
    assert f"Alarms     {EMAIL}, once the mail from AWS is confirmed; " in end
    assert topic in end


def test_an_update_shows_its_changes_and_keeps_what_it_is_not_told(
    account: Account, by_hand: Deployed
) -> None:
    assert by_hand.transcript
    options = ("--stack", FIRST, "--parameter", "SecretsCacheSeconds=60")

    with account.at_a_terminal("tools.deploy", *options) as person:
        person.answer("? [y/N]: ", "n")
        declined = person.end()
    before = account.parameters(FIRST)
    with account.at_a_terminal("tools.deploy", *options) as person:
        person.answer("? [y/N]: ", "y")
        status = person.end()
        told = person.transcript

    assert declined == 1
    assert before["SecretsCacheSeconds"] == "300"
    assert f"stack {FIRST}: an update." in told
    assert re.search(r"^  Modify  WebhookFunction +Lambda::Function", told, re.MULTILINE)
    assert works(status, told), told
    assert account.parameters(FIRST) == before | {"SecretsCacheSeconds": "60"}


@pytest.fixture(scope="module")
def by_ci(account: Account, by_hand: Deployed) -> Deployed:
    """A second stack, deployed without a person."""
    assert by_hand.transcript
    options = ("--stack", SECOND, "--yes", "--alarm-email", "", "--client", "erp", *account.local)
    done = account.without_one(
        "tools.deploy", *options, PLIVO_AUTH_ID=PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN=PLIVO_AUTH_TOKEN
    )
    return Deployed(done.stdout, done.returncode)


def test_ci_deploys_a_second_stack_and_leaves_the_log_role_of_the_account(
    account: Account, by_ci: Deployed
) -> None:
    role = account.aws.client("apigateway").get_account()["cloudwatchRoleArn"]
    writer = account.aws.client("cloudformation").describe_stack_resource(
        StackName=FIRST, LogicalResourceId="ApiGatewayLogWriter"
    )

    assert works(by_ci.status, by_ci.transcript), by_ci.transcript
    assert account.parameters(SECOND)["ApiGatewayLogRole"] == "existing"
    assert role.endswith(f"/{writer['StackResourceDetail']['PhysicalResourceId']}")
    assert f"API Gateway logs with {role} in this account and region" in by_ci.transcript
    assert "Alarms     sent to no one yet; subscribe others to arn:" in by_ci.transcript
    entries = json.loads(account.secret(f"{SECOND}/clients"))["clients"]
    assert entries.keys() == {"erp"}


def test_without_changes_it_only_checks_and_two_stacks_at_once_from_one_checkout(
    account: Account, by_ci: Deployed
) -> None:
    assert by_ci.status == 0

    def deploy(stack: str) -> subprocess.CompletedProcess[str]:
        return account.without_one("tools.deploy", "--stack", stack, "--yes")

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(deploy, (FIRST, SECOND)):
            assert "The stack is up to date.\n" in done.stdout, done.stderr
            assert works(done.returncode, done.stdout), done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "There is no terminal for questions: use --yes.\n"),
        (
            ["--yes"],
            "There is no terminal for questions: use --alarm-email ADDRESS; it may be empty.\n",
        ),
        (
            ["--yes", "--alarm-email", ""],
            "There is no terminal for questions: set PLIVO_AUTH_ID and",
        ),
        (["--yes", "--alarm-email", "x"], "AlarmEmail must be empty, or one e-mail address.\n"),
        (["--yes", "--stack", "no_stack"], "'no_stack' cannot be the name of a stack"),
        (["--yes", "--config-env", "nowhere"], "samconfig.toml has no environment nowhere.\n"),
        (["--yes", "--parameter", "X"], "--parameter: X does not have the form NAME=VALUE.\n"),
        (
            ["--yes", "--alarm-email", "", "--parameter", "SubnetIds=subnet-1"],
            "SubnetIds needs SecurityGroupIds.\n",
        ),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_ci_forgot_is_told_and_nothing_is_made(
    account: Account, options: list[str], told: str
) -> None:
    before = account.names()

    done = account.without_one("tools.deploy", "--stack", "third", *options)

    assert done.returncode == 2
    assert done.stderr.startswith(told)
    assert account.names() == before


@pytest.mark.parametrize(
    ("secrets", "options", "told"),
    [
        (
            {"plivo": '{"auth_id": "MA"}'},
            [],
            "The secret {}/plivo is not valid: the Plivo secret: ",
        ),
        (
            {"clients": '{"clients": []}'},
            [],
            "The secret {}/clients is not valid, and the functions",
        ),
        ({}, ["--client", "a:b"], "the clients secret: the name of client 1 must be "),
    ],
    ids=["plivo", "clients", "first client"],
)
def test_secrets_are_judged_as_the_functions_judge_them(
    account: Account, secrets: dict[str, str], options: list[str], told: str
) -> None:
    stack = f"judged-{'-'.join(secrets) or 'client'}"
    for name, text in secrets.items():
        manager = account.aws.client("secretsmanager")
        manager.create_secret(Name=f"{stack}/{name}", SecretString=text)
    before = account.names()

    done = account.without_one(
        "tools.deploy",
        *("--stack", stack, "--yes", "--alarm-email", "", *options),
        PLIVO_AUTH_ID="MA",
        PLIVO_AUTH_TOKEN="token",
    )

    assert done.returncode == 2
    assert done.stderr.startswith(told.format(stack))
    assert account.names() == before


def test_the_accounts_log_role_is_not_replaced_unless_a_person_says_so(
    account: Account, by_hand: Deployed
) -> None:
    assert by_hand.transcript
    options = ("--stack", "third", "--alarm-email", "", "--parameter", "ApiGatewayLogRole=create")

    alone = account.without_one("tools.deploy", "--yes", *options)
    with account.at_a_terminal("tools.deploy", *options) as person:
        person.answer("replaces it for all APIs. Replace it? [y/N]: ", "n")
        status = person.end()

    assert (alone.returncode, status) == (2, 2)
    assert "replaces it for all APIs. Use ApiGatewayLogRole=existing." in alone.stderr


def test_a_first_deployment_that_is_declined_leaves_nothing(account: Account) -> None:
    before = account.names()
    options = ("--stack", "third", "--alarm-email", "", "--client", "crm", *account.local)
    with account.at_a_terminal("tools.deploy", *options) as person:
        person.answer("Plivo Auth ID (not shown): ", "MA")
        person.answer("Plivo Auth Token (not shown): ", "token")
        person.answer("? [y/N]: ", "")
        status = person.end()

    assert status == 1
    assert account.names() == before | {"stacks": sorted({*before["stacks"], SAM})}


SAM = "aws-sam-cli-managed-default"  # the bucket of sam deploy, in a stack of its own


def test_a_deployment_that_fails_shows_the_credentials_that_it_made_all_the_same(
    account: Account,
) -> None:
    options = ("--stack", "failing", "--yes", "--alarm-email", "", "--client", "crm")
    plivo = {"PLIVO_AUTH_ID": "MA", "PLIVO_AUTH_TOKEN": "token"}
    with Proxy(account.environment["AWS_ENDPOINT_URL"], b"Action=ExecuteChangeSet") as proxy:
        failed = account.without_one(
            "tools.deploy", *options, *account.local, AWS_ENDPOINT_URL=proxy.url, **plivo
        )

    assert failed.returncode == 2
    assert failed.stderr.endswith("AWS refused ExecuteChangeSet: not today (Refused)\n")
    token = json.loads(account.secret("failing/clients"))["clients"]["crm"]["tokens"][0]
    assert "Credentials of crm, shown only once:\n" in failed.stdout
    assert token in failed.stdout


@pytest.fixture
def destroyed(account: Account, by_hand: Deployed) -> Callable[[str], Deployed]:
    assert by_hand.transcript

    def destroy(typed: str) -> Deployed:
        with account.at_a_terminal("tools.destroy", "--stack", FIRST) as person:
            person.answer(f"Type {FIRST} to delete it: ", typed)
            status = person.end()
            return Deployed(person.transcript, status)

    return destroy


def test_a_stack_is_destroyed_by_its_name_and_what_stays_is_told(
    account: Account, destroyed: Callable[[str], Deployed]
) -> None:
    table = Target.found(account.aws, FIRST).outputs["LedgerTableName"]

    declined = destroyed("y")
    still_there = FIRST in account.names()["stacks"]
    done = destroyed(FIRST)

    assert (declined.status, still_there) == (1, True)
    assert done.status == 0
    assert done.transcript.endswith(f"The stack {FIRST} has been deleted.\n")
    assert FIRST not in account.names()["stacks"]
    for command in (
        f"aws dynamodb delete-table --table-name {table}",
        f"aws secretsmanager delete-secret --secret-id {FIRST}/plivo",
        f"aws secretsmanager delete-secret --secret-id {FIRST}/clients",
    ):
        assert f"  {command}\n" in done.transcript
    assert account.aws.client("dynamodb").describe_table(TableName=table)["Table"]
    assert account.secret(f"{FIRST}/plivo")


def test_destroying_needs_a_word_and_a_stack(account: Account, by_ci: Deployed) -> None:
    assert by_ci.transcript
    word = account.without_one("tools.destroy", "--stack", SECOND)
    stack = account.without_one("tools.destroy", "--stack", "nothing", "--yes")

    assert (word.returncode, word.stderr) == (2, "There is no terminal for questions: use --yes.\n")
    assert (stack.returncode, stack.stderr) == (2, f"There is no stack nothing in {REGION}.\n")
    assert SECOND in account.names()["stacks"]
