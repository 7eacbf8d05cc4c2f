"""`make destroy`: delete a stack, after listing what will remain and how to remove it."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from cold_transfer_cli.commands import say
from cold_transfer_cli.failures import OperatorError, attempt
from cold_transfer_cli.target import Aws
from local.build import ROOT
from local.progress import Progress
from tools.change_set import Stack
from tools.stack_settings import SamConfig, parser_for
from tools.terminal import ask

_LOG_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"

#: The commands that remove retained resources, by the kind of resource.
_REMOVED_BY = {
    "AWS::DynamoDB::Table": (
        "aws dynamodb update-table --no-deletion-protection-enabled --table-name {0}",
        "aws dynamodb delete-table --table-name {0}",
    ),
    "AWS::SQS::Queue": ("aws sqs delete-queue --queue-url {0}",),
    "AWS::Logs::LogGroup": ("aws logs delete-log-group --log-group-name {0}",),
    "AWS::ApiGateway::Account": (
        "aws apigateway update-account --patch-operations op=remove,path=/cloudwatchRoleArn",
    ),
    "AWS::IAM::Role": (
        f"aws iam detach-role-policy --role-name {{0}} --policy-arn {_LOG_POLICY}",
        "aws iam delete-role --role-name {0}",
    ),
}
_SECRET = "aws secretsmanager delete-secret --secret-id {0}"  # noqa: S105  a command


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    return attempt(lambda: destroy(options))


def destroy(options: argparse.Namespace) -> int:
    """Delete the stack; returns 1 if the person declined.

    Raises
    ------
    OperatorError
        There is no such stack, or it could not be deleted.
    """
    config = SamConfig.read(ROOT / "samconfig.toml", options.config_env)
    aws = Aws.of(options.region or config.region, options.profile or config.profile)
    stack = Stack(aws, options.stack or config.stack_name)
    account, person = aws.account()
    described = stack.described()
    if described is None:
        raise OperatorError(f"There is no stack {stack.name} in {aws.region}.")
    say(f"Account {account} (as {person}), region {aws.region}, stack {stack.name}.")
    say("These remain. Once they are no longer needed, remove them with:")
    for line in _removals(stack):
        say(f"  {line}")
    outputs = {each["OutputKey"]: each["OutputValue"] for each in described.get("Outputs", [])}
    for name in ("PlivoSecret", "ClientsSecret"):
        if name in outputs:
            say(f"  {_SECRET.format(outputs[name])}")
    say("Everything else is deleted: the API, functions, alarms. Uploads remain in SAM's bucket.")
    if not options.yes:
        typed = ask(f"Type {stack.name} to delete it", "use --yes.")
        if typed != stack.name:
            say("Nothing was changed.")
            return 1
    stack.delete(Progress())
    say(f"The stack {stack.name} has been deleted.")
    return 0


def _removals(stack: Stack) -> Iterator[str]:
    """The commands that remove the retained resources."""
    retained = stack.retained()
    for kind, commands in _REMOVED_BY.items():
        for physical_id in (name for its_kind, name in retained if its_kind == kind):
            if kind == "AWS::ApiGateway::Account":
                yield "# only if no other API of this account and region logs with that role:"
            yield from (command.format(physical_id) for command in commands)


def _parser() -> argparse.ArgumentParser:
    made = parser_for(
        "make destroy",
        "Delete a stack, after listing what will remain and how to remove it.",
    )
    made.add_argument("--yes", action="store_true", help="delete without asking")
    return made


if __name__ == "__main__":
    sys.exit(main())
