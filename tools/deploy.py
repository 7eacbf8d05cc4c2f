"""`make deploy`: deploy this checkout, or update a deployed stack to it.

Checks everything before it changes anything. Asks at most five questions, each of which can be
answered by an option or a variable; without a terminal that is required.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
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

SMOKE_SECONDS = 60.0  # a new API's host name takes time to resolve

_LOG_ROLE = "ApiGatewayLogRole"
_TRY_IT = """
Try it, with the ids of your PHLO and its node, and numbers of a test call:
  curl -i '{url}/v1/phlo/PHLO_ID/multi_party_call/NODE_ID' \\
    -H 'Authorization: Bearer {token}' -H 'Idempotency-Key: first' \\
    -d to=%2B14155550123 -d trigger_source=%2B14155550100

Alarms     {alarms}
Dashboard  {dashboard}
Operation  cold-transfer --stack {stack} --region {region} --help; docs/runbook.md"""


@dataclass(slots=True)
class Secrets:
    """The secrets that have to be created.

    manager
        The Secrets Manager client.
    kms_key_arn
        The key to encrypt the Plivo secret with; empty for the AWS managed key.
    plivo
        The text of the Plivo secret; None if it exists.
    client
        The name and credentials of the first client; None if the clients secret exists.
    """

    manager: Any
    plivo_name: str
    clients_secret: ClientsSecret
    kms_key_arn: str
    plivo: str | None = field(default=None, repr=False)
    client: tuple[str, dict[str, str]] | None = field(default=None, repr=False)

    def create(self) -> None:
        """Create those that do not exist."""
        if self.plivo is not None:
            key = {"KmsKeyId": self.kms_key_arn} if self.kms_key_arn else {}
            self.manager.create_secret(Name=self.plivo_name, SecretString=self.plivo, **key)
        if self.client is not None:
            name, made = self.client
            self.clients_secret.change(clients.adding(name, made, [], []))


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return attempt(lambda: deploy(options))


def deploy(options: argparse.Namespace) -> int:
    """Deploy; returns the status of the smoke test, or 1 if the person declined.

    Raises
    ------
    OperatorError
        It cannot be done, or an answer is missing.
    """
    if not (options.yes or sys.stdin.isatty()):
        raise OperatorError("There is no terminal for questions: use --yes.")
    config = SamConfig.read(ROOT / "samconfig.toml", options.config_env)
    stack_name = options.stack or config.stack_name
    check_name(stack_name)
    aws = Aws.of(options.region or config.region, options.profile or config.profile)
    account, person = aws.account()
    stack = Stack(aws, stack_name)
    described = stack.described()
    kind = "an update" if described else "a first deployment"
    say(f"Account {account} (as {person}), region {aws.region}, stack {stack_name}: {kind}.")
    if described:
        check_status(stack_name, described["StackStatus"])

    template = Template(ROOT / "template.yaml")
    given = {**config.parameters, **assignments(options.parameter, "--parameter")}
    before = _parameters(described, template)
    _choose(options, aws, template, given, before if described else None)
    values = template.values(before, given)
    faults = template.faults(values)
    if faults:
        raise OperatorError("\n".join(faults))
    secrets = _secrets(options, aws, stack_name, values)

    progress = Progress()
    try:
        built = build(progress)
    except StackFailed as failure:
        raise OperatorError(str(failure)) from None
    changes = stack.prepare(built, options.config_env, given, progress)
    if changes is None:
        say("The stack is up to date.")
    else:
        say(shown(stack.changes(changes)))
        if not (options.yes or confirmed(f"Deploy it to account {account} in {aws.region}?", "")):
            stack.discard(changes)
            say("Nothing was changed.")
            return 1
    secrets.create()
    try:
        if changes is not None:
            stack.execute(changes, progress)
        target = Target.found(aws, stack_name)
        status = commands.smoke_test(target, argparse.Namespace(wait=SMOKE_SECONDS))
    finally:
        if secrets.client is not None:  # even after a failure: they cannot be shown again
            commands.show_once(*secrets.client)
    _end(target, secrets.client, values)
    return status


def _parser() -> argparse.ArgumentParser:
    made = parser_for(
        "make deploy",
        "Deploy this checkout, or update a deployed stack. Without a terminal, --yes is required,"
        " and --alarm-email for a first deployment. If the secrets do not exist, so are --client"
        " and the environment variables PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN.",
    )
    made.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the template; can be repeated",
    )
    made.add_argument("--alarm-email", help="address for alarms; may be empty")
    made.add_argument("--client", metavar="NAME", help="the first client, if there is none yet")
    made.add_argument("--yes", action="store_true", help="deploy without asking")
    return made


def _parameters(described: Mapping[str, Any] | None, template: Template) -> dict[str, str]:
    """The deployed parameters that the template still has."""
    listed = described.get("Parameters", []) if described else []
    found = {each["ParameterKey"]: each.get("ParameterValue", "") for each in listed}
    return {name: value for name, value in found.items() if name in template.values()}


def _choose(
    options: argparse.Namespace,
    aws: Aws,
    template: Template,
    given: dict[str, str],
    before: Mapping[str, str] | None,
) -> None:
    """Add to the given parameters those that the person or the account decides."""
    if options.alarm_email is not None:
        given["AlarmEmail"] = options.alarm_email
    elif before is None and "AlarmEmail" not in given:
        given["AlarmEmail"] = ask(
            "E-mail address for alarms (empty for none)",
            "use --alarm-email ADDRESS; it may be empty.",
            lambda answer: template.fault("AlarmEmail", answer),
        )
    role = aws.client("apigateway").get_account().get("cloudwatchRoleArn")
    if role and before is None and _LOG_ROLE not in given:
        given[_LOG_ROLE] = "existing"
        say(f"API Gateway logs with {role} in this account and region; this is not changed.")
    elif role and given.get(_LOG_ROLE) == "create" and (before or {}).get(_LOG_ROLE) != "create":
        replaces = f"API Gateway logs with {role}; {_LOG_ROLE}=create replaces it for all APIs."
        if not confirmed(f"{replaces} Replace it?", f"{replaces} Use {_LOG_ROLE}=existing."):
            raise OperatorError(f"Nothing was changed. To keep the role, use {_LOG_ROLE}=existing.")
    elif not role and given.get(_LOG_ROLE) == "existing":
        raise OperatorError(
            f"{_LOG_ROLE} is existing, but API Gateway has no log role here: use create or none."
        )


def _secrets(
    options: argparse.Namespace, aws: Aws, stack_name: str, values: Mapping[str, str]
) -> Secrets:
    """Check the secrets that exist, and ask for the content of the others."""
    manager, key = aws.client("secretsmanager"), values["SecretsKmsKeyArn"]
    plivo_name = values["PlivoSecretName"] or f"{stack_name}/plivo"
    clients_secret = ClientsSecret(
        manager, values["ClientsSecretName"] or f"{stack_name}/clients", key
    )
    secrets = Secrets(manager, plivo_name, clients_secret, key)
    text = _text(manager, plivo_name)
    has_clients = clients_secret.exists()
    if text is None:
        secrets.plivo = _new_plivo_secret(plivo_name)
    elif fault := _plivo_fault(text):
        raise OperatorError(f"The secret {plivo_name} is not valid: {fault}")
    if not has_clients:
        made = clients.fresh([*clients.CREDENTIALS])
        name = options.client or ask(
            "Name of the first client, such as crm",
            "use --client NAME.",
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


def _new_plivo_secret(name: str) -> str:
    """The text of the Plivo secret, from the environment or the person."""
    say(f"The secret {name} does not exist: it will be created with your Plivo Auth ID and Token.")
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
    """Why the functions would refuse this Plivo secret; None if they would not."""
    return _fault(credentials.parse, text)


def _client_fault(name: str, made: dict[str, str]) -> str | None:
    """Why the functions would refuse a client of this name; None if they would not."""
    entries: clients.Entries = {}
    clients.adding(name, made, [], [])(entries)
    return _fault(clients_secret.parse, json.dumps({"clients": entries}))


def _fault(parse: Callable[[str], object], text: str) -> str | None:
    try:
        parse(text)
    except SecretInvalid as error:
        return f"{error}."
    return None


def _end(
    target: Target, client: tuple[str, dict[str, str]] | None, values: Mapping[str, str]
) -> None:
    mail, topic = values["AlarmEmail"], target.outputs["AlarmTopicArn"]
    to_whom = f"{mail}, once the mail from AWS is confirmed; " if mail else "sent to no one yet; "
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
