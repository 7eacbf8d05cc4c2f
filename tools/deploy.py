"""`make deploy`: from a checkout to a working stack, or from one release to the next.

Everything is checked before anything is made. At most five questions are asked; each can be
answered in advance, and has to be where there is no terminal.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from cold_transfer.auth import clients_secret
from cold_transfer.errors import SecretInvalid
from cold_transfer.plivo import credentials
from cold_transfer_cli import clients, commands
from cold_transfer_cli.clients import ClientsSecret
from cold_transfer_cli.commands import say
from cold_transfer_cli.failures import OperatorError, attempt
from cold_transfer_cli.target import Aws, Target
from local.build import ROOT, build
from local.progress import Progress, StackFailed
from tools.change_set import Stack, check_status, shown
from tools.stack_settings import SamConfig, Template, assignments, check_name, parser_for
from tools.terminal import ask, confirmed

SMOKE_SECONDS = 60.0  # the name of a new API takes its time

_LOG_ROLE = "ApiGatewayLogRole"
_TRY_IT = """
Try it, with the ids of your PHLO and its node, and numbers of a test call:
  curl -i '{url}/v1/phlo/PHLO_ID/multi_party_call/NODE_ID' \\
    -H 'Authorization: Bearer {token}' -H 'Idempotency-Key: first' \\
    -d to=%2B14155550123 -d trigger_source=%2B14155550100

Alarms     {alarms}
Dashboard  {dashboard}
Operation  cold-transfer --stack {stack} --region {region} --help, and docs/runbook.md"""


@dataclass(slots=True)
class Secrets:
    """The two secrets, as far as they have to be made.

    plivo
        The text of the Plivo secret; None if there is one.
    client
        The name and credentials of the first client; None if there is a clients secret.
    """

    manager: Any
    plivo_name: str
    clients_secret: ClientsSecret
    kms_key_arn: str
    plivo: str | None = field(default=None, repr=False)
    client: tuple[str, dict[str, str]] | None = field(default=None, repr=False)

    def make(self) -> None:
        if self.plivo is not None:
            key = {"KmsKeyId": self.kms_key_arn} if self.kms_key_arn else {}
            self.manager.create_secret(Name=self.plivo_name, SecretString=self.plivo, **key)
        if self.client is not None:
            name, made = self.client
            self.clients_secret.change(clients.adding(name, made, [], []))


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _parser().parse_args(arguments)
    return attempt(lambda: deploy(asked))


def deploy(asked: argparse.Namespace) -> int:
    """Deploy; the status of the smoke test, or 1 if a person decided against it.

    Raises
    ------
    OperatorError
        It cannot be done, or something is missing that only a person knows.
    """
    if not (asked.yes or sys.stdin.isatty()):
        raise OperatorError("There is no terminal to ask at: say --yes.")
    config = SamConfig.read(ROOT / "samconfig.toml", asked.config_env)
    stack_name = asked.stack or config.stack_name
    check_name(stack_name)
    aws = Aws.of(asked.region or config.region, asked.profile or config.profile)
    account, person = aws.account()
    stack = Stack(aws, stack_name)
    there = stack.described()
    kind = "an update" if there else "a first deployment"
    say(f"Account {account} (as {person}), region {aws.region}, stack {stack_name}: {kind}.")
    if there:
        check_status(stack_name, there["StackStatus"])

    template = Template(ROOT / "template.yaml")
    given = {**config.parameters, **assignments(asked.parameter, "--parameter")}
    before = _parameters(there, template)
    _choose(asked, aws, template, given, before if there else None)
    values = template.values(before, given)
    faults = template.faults(values)
    if faults:
        raise OperatorError("\n".join(faults))
    secrets = _secrets(asked, aws, stack_name, values)

    progress = Progress()
    try:
        built = build(progress)
    except StackFailed as failure:
        raise OperatorError(str(failure)) from None
    changes = stack.prepare(built, asked.config_env, given, progress)
    if changes is None:
        say("The stack is up to date.")
    else:
        say(shown(stack.changes(changes)))
        if not (asked.yes or confirmed(f"Deploy it to account {account} in {aws.region}?", "")):
            stack.discard(changes)
            say("Nothing was changed.")
            return 1
    secrets.make()
    try:
        if changes is not None:
            stack.execute(changes, progress)
        target = Target.found(aws, stack_name)
        status = commands.smoke_test(target, argparse.Namespace(wait=SMOKE_SECONDS))
    finally:
        if secrets.client is not None:  # whatever comes, nobody sees them again
            commands.show_once(*secrets.client)
    _end(target, secrets.client, values)
    return status


def _parser() -> argparse.ArgumentParser:
    made = parser_for(
        "make deploy",
        "Deploy this checkout, or update what is deployed. Without a terminal it needs"
        " --yes, and for a first deployment --alarm-email; for secrets that are not there, --client"
        " and, in the environment, PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN.",
    )
    made.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the template; may be repeated",
    )
    made.add_argument("--alarm-email", help="who gets the alarms; may be empty")
    made.add_argument("--client", metavar="NAME", help="the first client, if there is none yet")
    made.add_argument("--yes", action="store_true", help="deploy without asking")
    return made


def _parameters(there: Mapping[str, Any] | None, template: Template) -> dict[str, str]:
    """The parameters that a stack was deployed with, as far as the template still has them."""
    listed = there.get("Parameters", []) if there else []
    found = {each["ParameterKey"]: each.get("ParameterValue", "") for each in listed}
    return {name: value for name, value in found.items() if name in template.values()}


def _choose(
    asked: argparse.Namespace,
    aws: Aws,
    template: Template,
    given: dict[str, str],
    before: Mapping[str, str] | None,
) -> None:
    """Add to the given parameters what is asked for, and what the account has already."""
    if asked.alarm_email is not None:
        given["AlarmEmail"] = asked.alarm_email
    elif before is None and "AlarmEmail" not in given:
        given["AlarmEmail"] = ask(
            "E-mail address for alarms (empty for none)",
            "say --alarm-email ADDRESS; it may be empty.",
            lambda answer: template.fault("AlarmEmail", answer),
        )
    role = aws.client("apigateway").get_account().get("cloudwatchRoleArn")
    if role and before is None and _LOG_ROLE not in given:
        given[_LOG_ROLE] = "existing"
        say(f"API Gateway logs with {role} in this account and region, so that stays as it is.")
    elif role and given.get(_LOG_ROLE) == "create" and (before or {}).get(_LOG_ROLE) != "create":
        replaces = f"API Gateway logs with {role}; {_LOG_ROLE}=create replaces it for all APIs."
        if not confirmed(f"{replaces} Replace it?", f"{replaces} Say {_LOG_ROLE}=existing."):
            raise OperatorError(f"Nothing was changed: say {_LOG_ROLE}=existing.")
    elif not role and given.get(_LOG_ROLE) == "existing":
        raise OperatorError(f"{_LOG_ROLE} is existing, but API Gateway has no log role here.")


def _secrets(
    asked: argparse.Namespace, aws: Aws, stack_name: str, values: Mapping[str, str]
) -> Secrets:
    """Judge the secrets that are there, and ask for what the others need."""
    manager, key = aws.client("secretsmanager"), values["SecretsKmsKeyArn"]
    plivo_name = values["PlivoSecretName"] or f"{stack_name}/plivo"
    clients_secret = ClientsSecret(
        manager, values["ClientsSecretName"] or f"{stack_name}/clients", key
    )
    secrets = Secrets(manager, plivo_name, clients_secret, key)
    text = _text(manager, plivo_name)
    has_clients = clients_secret.exists()
    if text is None:
        secrets.plivo = _asked_of_plivo(plivo_name)
    elif fault := _plivo_fault(text):
        raise OperatorError(f"The secret {plivo_name} is not valid: {fault}")
    if not has_clients:
        made = clients.fresh([*clients.CREDENTIALS])
        name = asked.client or ask(
            "Name of the first client, such as crm",
            "say --client NAME.",
            lambda answer: _client_fault(answer, made),
        )
        if fault := _client_fault(name, made):
            raise OperatorError(fault)
        secrets.client = (name, made)
    return secrets


def _text(manager: Any, name: str) -> str | None:  # noqa: ANN401  boto3 types its clients so
    try:
        return str(manager.get_secret_value(SecretId=name).get("SecretString", ""))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None


def _asked_of_plivo(name: str) -> str:
    """The text of the Plivo secret, from the environment or a person."""
    say(f"There is no secret {name} yet: it is made of your Plivo Auth ID and Auth Token.")
    auth_id = os.environ.get("PLIVO_AUTH_ID") or ask(
        "Plivo Auth ID (not shown)",
        "set PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN.",
        lambda answer: _plivo_fault(_plivo_text(answer, "any")),
        hidden=True,
    )
    auth_token = os.environ.get("PLIVO_AUTH_TOKEN") or ask(
        "Plivo Auth Token (not shown)",
        "set PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN.",
        lambda answer: _plivo_fault(_plivo_text("any", answer)),
        hidden=True,
    )
    text = _plivo_text(auth_id, auth_token)
    if fault := _plivo_fault(text):
        raise OperatorError(fault)
    return text


def _plivo_text(auth_id: str, auth_token: str) -> str:
    return json.dumps({"auth_id": auth_id, "auth_token": auth_token})


def _plivo_fault(text: str) -> str | None:
    """What the functions' own parser says against it."""
    try:
        credentials.parse(text)
    except SecretInvalid as error:
        return f"{error}."
    return None


def _client_fault(name: str, made: dict[str, str]) -> str | None:
    """What the functions' own parser says against a client of this name."""
    entries: clients.Entries = {}
    clients.adding(name, made, [], [])(entries)
    try:
        clients_secret.parse(json.dumps({"clients": entries}))
    except SecretInvalid as error:
        return f"{error}."
    return None


def _end(
    target: Target, client: tuple[str, dict[str, str]] | None, values: Mapping[str, str]
) -> None:
    mail, topic = values["AlarmEmail"], target.outputs["AlarmTopicArn"]
    to_whom = f"{mail}, once the mail from AWS is confirmed; " if mail else "to nobody yet; "
    say(
        _TRY_IT.format(
            url=target.api_url(),
            token=client[1]["tokens"] if client else "TOKEN",
            alarms=f"{to_whom}subscribe others to {topic}",
            dashboard=target.outputs["DashboardUrl"],
            stack=target.name,
            region=target.aws.region,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
