"""`make deploy` and `make destroy`, as a person and as CI run them, against a separate emulator.

The tests run the modules behind the make targets: make would check the environment each time.
"""

import json
import re
import shlex
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self

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
    """An emulated AWS account, empty at first, and how to run commands against it."""

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

    def without_a_terminal(
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
        """The names of all stacks and secrets in the account."""
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
    """Passes requests on to the emulator, except those with ``refused`` in their body."""

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


class Run(NamedTuple):
    """What a command printed, and its exit status."""

    transcript: str
    status: int


@pytest.fixture(scope="module")
def by_hand(account: Account) -> Run:
    """A first deployment, in which a person answers five questions."""
    with account.at_a_terminal("tools.deploy", "--stack", FIRST, *account.local) as person:
        person.answer("E-mail address for alarms (empty for none): ", "oncall at example")
        person.answer("E-mail address for alarms (empty for none): ", EMAIL)
        person.answer("Plivo Auth ID (not shown): ", PLIVO_AUTH_ID)
        person.answer("Plivo Auth Token (not shown): ", PLIVO_AUTH_TOKEN)
        person.answer("Name of the first client, such as crm: ", "crm")
        person.answer(f"Deploy it to account 000000000000 in {REGION}? [y/N]: ", "y")
        status = person.end()
        return Run(person.transcript, status)


def smoke_test_passed(run: Run) -> bool:
    """Whether the command succeeded, and its smoke test of webhook and functions passed."""
    verdicts = re.findall(r"^(PASS|FAIL)  ", run.transcript, re.MULTILINE)
    return run.status == 0 and verdicts == ["PASS"] * 5


def test_five_answers_deploy_a_stack(account: Account, by_hand: Run) -> None:
    assert smoke_test_passed(by_hand), by_hand.transcript
    assert "PASS  webhook: a request without a credential gets 401" in by_hand.transcript
    plivo = json.loads(account.secret(f"{FIRST}/plivo"))
    assert plivo == {"auth_id": PLIVO_AUTH_ID, "auth_token": PLIVO_AUTH_TOKEN}
    clients_secret.parse(account.secret(f"{FIRST}/clients"))
    assert account.parameters(FIRST)["AlarmEmail"] == EMAIL
    assert account.parameters(FIRST)["ApiGatewayLogRole"] == "create"


def test_the_account_is_shown_first_and_no_secret_is_echoed(by_hand: Run) -> None:
    first = f"Account 000000000000 (as root), region {REGION}, stack {FIRST}: a first deployment."
    assert by_hand.transcript.startswith(first)
    assert "AlarmEmail must be empty, or one e-mail address." in by_hand.transcript
    assert by_hand.transcript.count(": create complete") > 40
    for secret in (PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN):
        assert secret not in by_hand.transcript


def test_the_end_shows_a_working_curl_command_and_where_alarms_go(
    account: Account, by_hand: Run
) -> None:
    end = by_hand.transcript.partition("Try it, ")[2]
    command = end[end.index("curl ") : end.index("\n\n")].replace("\\\n", " ")
    curl = shlex.split(command.replace("PHLO_ID", PHLO_ID).replace("NODE_ID", NODE_ID))

    answer = subprocess.run(curl, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603  ours

    assert answer.stdout.startswith("HTTP/1.1 201 ")
    assert len(account.plivo.received()) == 1
    topic = Target.found(account.aws, FIRST).outputs["AlarmTopicArn"]
    assert f"Alarms     {EMAIL}, once the mail from AWS is confirmed; " in end
    assert topic in end


def test_an_update_shows_its_changes_and_keeps_all_other_parameters(
    account: Account, by_hand: Run
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
        update = Run(person.transcript, status)

    assert declined == 1
    assert before["SecretsCacheSeconds"] == "300"
    assert f"stack {FIRST}: an update." in update.transcript
    change = r"^  Modify  WebhookFunction +Lambda::Function"
    assert re.search(change, update.transcript, re.MULTILINE)
    assert smoke_test_passed(update), update.transcript
    assert account.parameters(FIRST) == before | {"SecretsCacheSeconds": "60"}


@pytest.fixture(scope="module")
def by_ci(account: Account, by_hand: Run) -> Run:
    """The deployment of a second stack, without a terminal."""
    assert by_hand.transcript
    options = ("--stack", SECOND, "--yes", "--alarm-email", "", "--client", "erp", *account.local)
    done = account.without_a_terminal(
        "tools.deploy", *options, PLIVO_AUTH_ID=PLIVO_AUTH_ID, PLIVO_AUTH_TOKEN=PLIVO_AUTH_TOKEN
    )
    return Run(done.stdout, done.returncode)


def test_ci_deploys_a_second_stack_and_keeps_the_accounts_log_role(
    account: Account, by_ci: Run
) -> None:
    role = account.aws.client("apigateway").get_account()["cloudwatchRoleArn"]
    writer = account.aws.client("cloudformation").describe_stack_resource(
        StackName=FIRST, LogicalResourceId="ApiGatewayLogWriter"
    )

    assert smoke_test_passed(by_ci), by_ci.transcript
    assert account.parameters(SECOND)["ApiGatewayLogRole"] == "existing"
    assert role.endswith(f"/{writer['StackResourceDetail']['PhysicalResourceId']}")
    assert f"API Gateway logs with {role} in this account and region" in by_ci.transcript
    assert "Alarms     sent to no one yet; subscribe others to arn:" in by_ci.transcript
    entries = json.loads(account.secret(f"{SECOND}/clients"))["clients"]
    assert entries.keys() == {"erp"}


def test_two_unchanged_stacks_are_only_checked_at_once_from_one_checkout(
    account: Account, by_ci: Run
) -> None:
    assert by_ci.status == 0

    def deploy(stack: str) -> subprocess.CompletedProcess[str]:
        return account.without_a_terminal("tools.deploy", "--stack", stack, "--yes")

    with ThreadPoolExecutor(2) as pool:
        for done in pool.map(deploy, (FIRST, SECOND)):
            assert "The stack is up to date.\n" in done.stdout, done.stderr
            assert smoke_test_passed(Run(done.stdout, done.returncode)), done.stderr


@pytest.mark.parametrize(
    ("options", "error"),
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
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_missing_or_wrong_option_is_named_and_nothing_is_created(
    account: Account, options: list[str], error: str
) -> None:
    before = account.names()

    done = account.without_a_terminal("tools.deploy", "--stack", "third", *options)

    assert done.returncode == 2
    assert done.stderr.startswith(error)
    assert account.names() == before


@pytest.mark.parametrize(
    ("secrets", "options", "error"),
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
def test_a_secret_that_the_functions_would_refuse_is_refused(
    account: Account, secrets: dict[str, str], options: list[str], error: str
) -> None:
    stack = f"refused-{'-'.join(secrets) or 'client'}"
    for name, text in secrets.items():
        manager = account.aws.client("secretsmanager")
        manager.create_secret(Name=f"{stack}/{name}", SecretString=text)
    before = account.names()

    done = account.without_a_terminal(
        "tools.deploy",
        *("--stack", stack, "--yes", "--alarm-email", "", *options),
        PLIVO_AUTH_ID="MA",
        PLIVO_AUTH_TOKEN="token",
    )

    assert done.returncode == 2
    assert done.stderr.startswith(error.format(stack))
    assert account.names() == before


def test_the_accounts_log_role_is_not_replaced_without_confirmation(
    account: Account, by_hand: Run
) -> None:
    assert by_hand.transcript
    options = ("--stack", "third", "--alarm-email", "", "--parameter", "ApiGatewayLogRole=create")

    unattended = account.without_a_terminal("tools.deploy", "--yes", *options)
    with account.at_a_terminal("tools.deploy", *options) as person:
        person.answer("replaces it for all APIs. Replace it? [y/N]: ", "n")
        status = person.end()

    assert (unattended.returncode, status) == (2, 2)
    assert "replaces it for all APIs. Use ApiGatewayLogRole=existing." in unattended.stderr


def test_declining_a_first_deployment_leaves_no_stack_and_no_secret(account: Account) -> None:
    before = account.names()
    options = ("--stack", "third", "--alarm-email", "", "--client", "crm", *account.local)
    with account.at_a_terminal("tools.deploy", *options) as person:
        person.answer("Plivo Auth ID (not shown): ", "MA")
        person.answer("Plivo Auth Token (not shown): ", "token")
        person.answer("? [y/N]: ", "")
        status = person.end()

    assert status == 1
    assert account.names() == before | {"stacks": sorted({*before["stacks"], SAM})}


SAM = "aws-sam-cli-managed-default"  # the stack in which sam deploy makes its bucket


def test_a_failed_deployment_still_shows_the_new_credentials(
    account: Account,
) -> None:
    options = ("--stack", "failing", "--yes", "--alarm-email", "", "--client", "crm")
    plivo = {"PLIVO_AUTH_ID": "MA", "PLIVO_AUTH_TOKEN": "token"}
    with Proxy(account.environment["AWS_ENDPOINT_URL"], b"Action=ExecuteChangeSet") as proxy:
        failed = account.without_a_terminal(
            "tools.deploy", *options, *account.local, AWS_ENDPOINT_URL=proxy.url, **plivo
        )

    assert failed.returncode == 2
    assert failed.stderr.endswith("AWS refused ExecuteChangeSet: not today (Refused)\n")
    token = json.loads(account.secret("failing/clients"))["clients"]["crm"]["tokens"][0]
    assert "Credentials of crm, shown only once:\n" in failed.stdout
    assert token in failed.stdout


def destroy(account: Account, answer: str) -> Run:
    with account.at_a_terminal("tools.destroy", "--stack", FIRST) as person:
        person.answer(f"Type {FIRST} to delete it: ", answer)
        status = person.end()
        return Run(person.transcript, status)


def test_destroying_needs_the_stacks_name_and_lists_what_is_kept(
    account: Account, by_hand: Run
) -> None:
    assert by_hand.transcript
    table = Target.found(account.aws, FIRST).outputs["LedgerTableName"]

    declined = destroy(account, "y")
    kept = FIRST in account.names()["stacks"]
    done = destroy(account, FIRST)

    assert (declined.status, kept) == (1, True)
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


def test_destroying_needs_a_confirmation_and_an_existing_stack(
    account: Account, by_ci: Run
) -> None:
    assert by_ci.transcript
    unconfirmed = account.without_a_terminal("tools.destroy", "--stack", SECOND)
    missing = account.without_a_terminal("tools.destroy", "--stack", "nothing", "--yes")

    no_terminal = "There is no terminal for questions: use --yes.\n"
    assert (unconfirmed.returncode, unconfirmed.stderr) == (2, no_terminal)
    assert (missing.returncode, missing.stderr) == (2, f"There is no stack nothing in {REGION}.\n")
    assert SECOND in account.names()["stacks"]
