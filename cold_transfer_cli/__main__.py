"""The operator's command, `cold-transfer`: operate a deployed stack.

The exit status is 0 if nothing is left to do, 1 if a person is needed, and 2 if the command failed;
standard error then has the reason.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from cold_transfer import __version__
from cold_transfer.action import EntryPoint
from cold_transfer.causes import Resolution
from cold_transfer_cli import commands
from cold_transfer_cli.failures import OperatorError, attempt
from cold_transfer_cli.target import STACK_NAME, Aws, Target

_DESCRIPTION = """\
Operate a deployed stack: look up actions, handle what waits for a person, manage clients, and stop
or start the entry points. The output never contains a phone number."""

_STATUS = """\
Exit status: 0 nothing is left to do, 1 a person is needed, 2 the command failed."""

type _Command = Callable[[Target, argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="cold-transfer", description=_DESCRIPTION, epilog=_STATUS, allow_abbrev=False
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    named = made.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_target(made, STACK_NAME, None, default=False)

    one = _command(named, "show", commands.show, "show the record of an action")
    one.add_argument("action_id", metavar="ACTION_ID", help="from the Action-Id header")

    one = _command(named, "find", commands.find, "find an action by its client and key")
    one.add_argument("--client", required=True, help="its name; for events, the EventSource")
    one.add_argument(
        "--key",
        required=True,
        help="webhook-id or Idempotency-Key; for events, idempotency_key or the event's id",
    )
    one.add_argument(
        "--entry-point",
        choices=[str(each) for each in EntryPoint],
        help="how the request arrived (default: try both)",
    )
    one.add_argument(
        "--id-only", action="store_true", help="print only the Action-Ids that have a record"
    )

    _command(named, "unknown", commands.unknown, "list the unknown outcomes to resolve")

    one = _command(
        named,
        "resolve",
        commands.resolve,
        "record whether an action with an unknown outcome happened",
        "The outcome stays unknown, and its key is never sent again. After --did-not-happen, the"
        " same action under a new key is sent at once. A resolution cannot be changed. Your AWS"
        " identity is recorded with it.",
    )
    one.add_argument("action_id", metavar="ACTION_ID")
    which = one.add_mutually_exclusive_group(required=True)
    for resolution, text in (
        (Resolution.HAPPENED, "Plivo executed the action"),
        (Resolution.DID_NOT_HAPPEN, "nothing happened to the call"),
    ):
        which.add_argument(
            f"--{resolution.replace('_', '-')}",
            dest="resolution",
            action="store_const",
            const=resolution,
            help=text,
        )
    one.add_argument("--note", default="", help="how you know; no phone numbers")

    _command(named, "dead-letters", commands.dead_letters, "list the dead-letter queue")

    one = _command(
        named,
        "redrive",
        commands.redrive_all,
        "invoke the event function with dead letters again",
        "The ledger decides whether anything is sent: at most once per key, and nothing older than"
        " MaxRequestAgeSeconds. Messages that no longer need a person are deleted.",
    )
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every message")
    which.add_argument("--message-id", help="one message, with the id that dead-letters shows")

    one = _command(named, "drop", commands.drop, "delete a dead letter that you have handled")
    one.add_argument("--message-id", required=True, help="the id that dead-letters shows")

    one = _command(
        named,
        "smoke",
        commands.smoke_test,
        "check that the stack works",
        "Does not act on any call. Sends the webhook a request without a credential, and has each"
        " function check, from where it runs, what it needs: secrets, ledger, Plivo.",
    )
    one.add_argument(
        "--wait",
        type=float,
        default=0,
        metavar="SECONDS",
        help="how long to wait for a new API to answer (default: %(default)s)",
    )

    one = _command(named, "outputs", commands.outputs, "show the stack's outputs")
    one.add_argument("name", metavar="NAME", nargs="?", help="print only this output's value")

    _add_clients(named)

    for name, command, text, description in (
        (
            "stop",
            commands.stop,
            "stop the entry points (kill switch)",
            "They accept no further requests. Actions in progress are completed.",
        ),
        (
            "start",
            commands.start,
            "start stopped entry points",
            "Restores the reserved concurrency that the functions had before.",
        ),
    ):
        one = _command(named, name, command, text, description)
        one.add_argument(
            "entry_points",
            metavar="ENTRY_POINT",
            type=EntryPoint,
            nargs="*",
            default=[*EntryPoint],
            help="webhook or event (default: both)",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)

    def carry_out() -> int:
        if options.local and (options.region or options.profile):
            raise OperatorError("--local cannot be combined with --region or --profile.")
        aws = Aws.local() if options.local else Aws.of(options.region, options.profile)
        status: int = options.command(Target.found(aws, options.stack), options)
        return status

    return attempt(carry_out)


def run() -> None:
    """The entry point of the installed command."""
    sys.exit(main())


def _command(
    named: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: _Command,
    text: str,
    description: str = "",
) -> argparse.ArgumentParser:
    sentences = f"{text[0].upper()}{text[1:]}. {description}".strip()
    one = named.add_parser(name, help=text, description=sentences, allow_abbrev=False)
    _add_target(one, *[argparse.SUPPRESS] * 2, default=argparse.SUPPRESS)
    one.set_defaults(command=command)
    return one


def _add_target(
    one: argparse.ArgumentParser, stack: str, other: str | None, *, default: bool | str
) -> None:
    """The options for the stack. Omitted after a command, they keep the values given before it."""
    group = one.add_argument_group("stack")
    group.add_argument("--stack", default=stack, help=f"the stack's name (default: {STACK_NAME})")
    group.add_argument("--region", default=other, help="its AWS region")
    group.add_argument("--profile", default=other, help="the AWS profile to use")
    group.add_argument(
        "--local", action="store_true", default=default, help="use the stack that make up started"
    )


def _add_clients(named: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "manage the clients and their credentials"
    grouped = named.add_parser(
        "clients",
        help=text,
        description="Manage the clients and their credentials. The clients secret is validated"
        " before it is stored, and concurrent changes are not lost. A new credential is shown"
        " only once.",
    )
    under = grouped.add_subparsers(required=True, metavar="COMMAND", title="commands")

    _command(under, "list", commands.clients_list, "list clients and rights, not credentials")

    one = _command(
        under,
        "add",
        commands.clients_add,
        "add a client with new credentials",
        "Its requests must have an idempotency key. Without --signed or --token, it gets both"
        " kinds of credential.",
    )
    one.add_argument("name", metavar="NAME", help="for example crm")
    _add_kinds(one)
    one.add_argument(
        "--phlo-id",
        metavar="ID",
        action="append",
        default=[],
        help="allow only this PHLO; can be repeated (default: all)",
    )
    one.add_argument(
        "--action",
        action="append",
        default=[],
        help='an action it may request; can be repeated; "*" for all (default: cold_transfer)',
    )

    one = _command(
        under,
        "rotate",
        commands.clients_rotate,
        "replace a client's credentials without downtime",
        "Adds a new credential; the old one stays valid. Once the client uses the new one, remove"
        " the old one with --finish.",
    )
    one.add_argument("name", metavar="NAME")
    _add_kinds(one)
    one.add_argument("--finish", action="store_true", help="keep only the newest of each kind")

    one = _command(under, "remove", commands.clients_remove, "remove a client")
    one.add_argument("name", metavar="NAME")


def _add_kinds(one: argparse.ArgumentParser) -> None:
    for option, kind, text in (
        ("--signed", "signing_secrets", "a signing secret (Standard Webhooks)"),
        ("--token", "tokens", "a token (Bearer, Basic)"),
    ):
        one.add_argument(
            option, dest="kinds", action="append_const", const=kind, default=[], help=text
        )


if __name__ == "__main__":
    run()
