"""The operator's command, `cold-transfer`: look after a deployed stack.

The exit status is 0 if nothing is left to do, 1 if something needs a person, and 2 if a command
could not be carried out; the reason is then a sentence on standard error.
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
Look after a deployed stack: what became of an action, what waits for a person, who may ask, and
the kill switch. Nothing it prints holds a phone number."""

_STATUS = """\
Exit status: 0 nothing is left to do, 1 something needs a person, 2 it could not be done."""

type _Command = Callable[[Target, argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="cold-transfer", description=_DESCRIPTION, epilog=_STATUS, allow_abbrev=False
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    named = made.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_target(made, STACK_NAME, None, default=False)

    one = _command(named, "show", commands.show, "what became of an action")
    one.add_argument("action_id", metavar="ACTION_ID", help="the Action-Id of its answer")

    one = _command(
        named, "find", commands.find, "the Action-Id of a client's key, and what became of it"
    )
    one.add_argument("--client", required=True, help="its name; for events, the EventSource")
    one.add_argument(
        "--key",
        required=True,
        help="webhook-id or Idempotency-Key; for events, idempotency_key or the event's id",
    )
    one.add_argument(
        "--entry-point",
        choices=[str(each) for each in EntryPoint],
        help="where the request came in; without it, both are tried",
    )
    one.add_argument(
        "--id-only", action="store_true", help="print the Action-Ids that the ledger knows, no more"
    )

    _command(named, "unknown", commands.unknown, "the unknown outcomes that wait for a person")

    one = _command(
        named,
        "resolve",
        commands.resolve,
        "record what you found out about an unknown outcome",
        "The outcome stays unknown and its key is never sent again. If it did not happen, the same"
        " action under a new key goes out at once. The first word stands: a contrary one is"
        " refused. Your name is taken from your AWS identity.",
    )
    one.add_argument("action_id", metavar="ACTION_ID")
    which = one.add_mutually_exclusive_group(required=True)
    for resolution, text in (
        (Resolution.HAPPENED, "Plivo carried it out"),
        (Resolution.DID_NOT_HAPPEN, "nothing happened to the call"),
    ):
        which.add_argument(
            f"--{resolution.replace('_', '-')}",
            dest="resolution",
            action="store_const",
            const=resolution,
            help=text,
        )
    one.add_argument("--note", default="", help="how you know, without a phone number")

    _command(named, "dead-letters", commands.dead_letters, "what waits in the dead-letter queue")

    one = _command(
        named,
        "redrive",
        commands.redrive_all,
        "hand dead letters to the event function again",
        "The ledger decides whether anything is sent: at most once per key, and nothing that is"
        " older than MaxRequestAgeSeconds. Messages that need nobody any more are deleted.",
    )
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every message")
    which.add_argument("--message-id", help="one message, as dead-letters shows it")

    one = _command(named, "drop", commands.drop, "delete a dead letter that you have dealt with")
    one.add_argument("--message-id", required=True, help="as dead-letters shows it")

    one = _command(
        named,
        "smoke",
        commands.smoke_test,
        "whether the stack works",
        "Acts on no call. Asks the webhook without a credential, and has each function check what"
        " it needs from where it runs: secrets, ledger, Plivo.",
    )
    one.add_argument(
        "--wait",
        type=float,
        default=0,
        metavar="SECONDS",
        help="how long a new API may take to answer (default: %(default)s)",
    )

    one = _command(named, "outputs", commands.outputs, "the outputs of the stack")
    one.add_argument("name", metavar="NAME", nargs="?", help="print this one's value, no more")

    _add_clients(named)

    for name, command, text, description in (
        (
            "stop",
            commands.stop,
            "the kill switch: carry out no further action",
            "No entry point takes a request any more. What is being sent is finished.",
        ),
        ("start", commands.start, "end a stop", "Gives the functions back what they had before."),
    ):
        one = _command(named, name, command, text, description)
        one.add_argument(
            "entry_points",
            metavar="ENTRY_POINT",
            type=EntryPoint,
            nargs="*",
            default=[*EntryPoint],
            help="webhook or event; both if none is named",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)

    def carry_out() -> int:
        if asked.local and (asked.region or asked.profile):
            raise OperatorError("--local has its own region and credentials: leave the others out.")
        aws = Aws.local() if asked.local else Aws.of(asked.region, asked.profile)
        status: int = asked.command(Target.found(aws, asked.stack), asked)
        return status

    return attempt(carry_out)


def run() -> None:
    """Run it as a program: what the installed command calls."""
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
    """The options that say where; behind a command, they must not undo those before it."""
    group = one.add_argument_group("where")
    group.add_argument("--stack", default=stack, help=f"the stack's name (default: {STACK_NAME})")
    group.add_argument("--region", default=other, help="its AWS region")
    group.add_argument("--profile", default=other, help="the AWS profile to use")
    group.add_argument(
        "--local", action="store_true", default=default, help="the stack that make up started"
    )


def _add_clients(named: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "who may ask: the clients and their credentials"
    grouped = named.add_parser(
        "clients",
        help=text,
        description="Who may ask. The clients secret is validated before it is stored, and two"
        " operators at once lose nothing. A new credential is shown once.",
    )
    under = grouped.add_subparsers(required=True, metavar="COMMAND", title="commands")

    _command(
        under, "list", commands.clients_list, "each client and its rights, without credentials"
    )

    one = _command(
        under,
        "add",
        commands.clients_add,
        "a new client, with fresh credentials",
        "Its requests need a key. Without --signed or --token it gets one of each.",
    )
    one.add_argument("name", metavar="NAME", help="for example crm")
    _add_kinds(one)
    one.add_argument(
        "--phlo-id",
        metavar="ID",
        action="append",
        default=[],
        help="limit it to this PHLO; may be repeated",
    )
    one.add_argument(
        "--action",
        action="append",
        default=[],
        help='an action it may ask for; may be repeated; "*" for all (default: cold_transfer)',
    )

    one = _command(
        under,
        "rotate",
        commands.clients_rotate,
        "replace a client's credentials without downtime",
        "First a new credential is added, in front of the old one; both are valid. When the client"
        " uses the new one, --finish removes the old one.",
    )
    one.add_argument("name", metavar="NAME")
    _add_kinds(one)
    one.add_argument("--finish", action="store_true", help="keep the newest of each kind alone")

    one = _command(under, "remove", commands.clients_remove, "shut a client out")
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
