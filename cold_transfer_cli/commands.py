"""The operator's commands: ``cold-transfer show ACTION_ID``, and others.

They work on a stack in AWS, with the usual credentials (AWS_PROFILE, AWS_DEFAULT_REGION), or with
``--local`` on the one that ``make up`` started. Nothing that is printed holds a phone number.

The status is 0 if nothing is left to do, and 1 if something needs a person.
"""

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parent.parent
# run as a command, only the repository's root is on the path
sys.path.insert(0, str(ROOT / "layers" / "cold_transfer"))

from cold_transfer.action import EntryPoint  # noqa: E402  found only now
from cold_transfer_cli import records  # noqa: E402  its cold_transfer is found only now
from cold_transfer_cli.dead_letters import DeadLetter, Invoked, Queue, Redriven, redrive  # noqa: E402  the same

STACK_NAME = "plivo-cold-transfer"
DESCRIPTION = ROOT / ".local" / "stack.json"
NO_ACTION = "0" * 64

_ACTION_ID = re.compile("[0-9a-f]{64}")
_NO_MESSAGE = (
    "the queue shows no such message: the command dead-letters lists them; one that somebody else"
    " looks at shows itself again after five minutes"
)

# One attempt: what a lost answer of Lambda did is for the ledger to say, not to be tried again.
# The function ends after 25 s.
_ONCE = Config(read_timeout=40, retries={"total_max_attempts": 1})


class OperatorError(Exception):
    """A command cannot be carried out; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """A deployed stack.

    outputs
        The outputs of its template, by name.
    actions_url
        Where the webhook entry point tells what became of an action, up to the Action-Id.
    """

    session: Any
    endpoint_url: str | None
    outputs: dict[str, str]
    actions_url: str

    def client(self, service: str, config: Config | None = None) -> Any:  # noqa: ANN401  boto3 types its clients so
        return self.session.client(service, endpoint_url=self.endpoint_url, config=config)

    def records(self) -> records.Records:
        return records.Records(self.client("dynamodb"), self.outputs["LedgerTableName"])

    def queue(self) -> Queue:
        return Queue(self.client("sqs"), self.outputs["DeadLetterQueueUrl"])

    def invoke(self, output: str, event: dict[str, Any], qualifier: str = "live") -> Invoked:
        """Invoke the function that ``output`` names as its clients do, by the duplicate; wait."""
        try:
            reply = self.client("lambda", _ONCE).invoke(
                FunctionName=self.outputs[output],
                Qualifier=qualifier,
                Payload=json.dumps(event).encode(),
            )
        except ClientError as error:  # throttled by the kill switch, say: that is an answer too
            return Invoked(raised=True, text=f"not invoked: {error.response['Error']['Code']}")
        payload = json.loads(reply["Payload"].read() or "null")
        if "FunctionError" in reply:
            said = payload.get("errorMessage", "") if isinstance(payload, dict) else payload
            return Invoked(raised=True, text=str(said))
        return Invoked(raised=False, text=json.dumps(payload))


def target(stack_name: str, *, local: bool) -> Target:
    """Find the stack.

    Raises
    ------
    OperatorError
        There is none.
    """
    endpoint_url, actions_url = None, None
    session: Any = boto3.Session()
    if local:
        try:
            described = json.loads(DESCRIPTION.read_text())
        except FileNotFoundError:
            raise OperatorError("no local stack is running: make up starts one") from None
        endpoint_url = described["aws_endpoint_url"]
        session = boto3.Session(
            described["aws_access_key_id"],
            described["aws_secret_access_key"],
            region_name=described["aws_region"],
        )
        actions_url = described["webhook_url"].partition("/v1/")[0] + "/v1/actions"
    stacks = session.client("cloudformation", endpoint_url=endpoint_url)
    found = stacks.describe_stacks(StackName=stack_name)["Stacks"][0]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    url = actions_url or outputs["ActionsUrl"].removesuffix("/{action_id}")
    return Target(session, endpoint_url, outputs, url)


def show(on: Target, action_id: str) -> int:
    if not _ACTION_ID.fullmatch(action_id):
        raise OperatorError(
            "an Action-Id has 64 digits from 0 to f; the command id finds it by a client's key"
        )
    known = on.records().look(action_id)
    if known is None:
        _say("The ledger has no such action: it never came, or it is older than RecordDays.")
        return 1
    _say(records.described(known))
    return 0


def find(on: Target, client: str, key: str, entry_point: str | None) -> int:
    """The Action-Id of the client's key at each entry point, and what the ledger knows of it."""
    ledger, found = on.records(), False
    for its_entry_point in EntryPoint:
        if entry_point in (None, its_entry_point):
            action_id = records.action_id(its_entry_point, client, key)
            known = ledger.look(action_id)
            found = found or known is not None
            _say(f"{action_id}  {its_entry_point}: {known.line() if known else 'no record'}")
    return 0 if found else 1


def dead_letters(on: Target) -> int:
    count = 0
    for letter in on.queue().letters():
        count += 1
        _say(letter.described(on.outputs["EventSourceName"]))
        action_id = letter.action_id(on.outputs["EventSourceName"])
        known = on.records().look(action_id) if action_id else None
        _say(f"  ledger       {known.line() if known else 'no record'}")
    _say(_messages(count))
    return 1 if count else 0


def redrive_all(on: Target, message_id: str | None) -> int:
    queue, source = on.queue(), on.outputs["EventSourceName"]
    count = kept = 0
    for letter in _chosen(queue, message_id):
        count += 1
        led_to = redrive(letter, on.records(), source, lambda e: on.invoke("EventFunctionName", e))
        if led_to.done:
            queue.delete(letter)
        kept += not led_to.done
        _say(letter.described(source))
        _say(_story(led_to))
    if message_id and not count:
        raise OperatorError(_NO_MESSAGE)
    _say(f"{_messages(count)}, {count - kept} deleted, {kept} kept")
    return 1 if kept else 0


def drop(on: Target, message_id: str) -> int:
    """Delete a message that a person has dealt with.

    Raises
    ------
    OperatorError
        There is no such message.
    """
    queue, count = on.queue(), 0
    for letter in _chosen(queue, message_id):
        queue.delete(letter)
        count += 1
        _say(letter.described(on.outputs["EventSourceName"]))
    if not count:
        raise OperatorError(_NO_MESSAGE)
    _say(f"{_messages(count)} deleted")
    return 0


def smoke(on: Target) -> int:
    """Whether a deployed stack works, as far as that can be told without moving a call."""
    status, cause = _unauthorised(f"{on.actions_url}/{NO_ACTION}")
    checks = {
        f"the webhook refuses a request without a credential: {status} {cause}": cause
        == "unauthorized"
    }
    for name in ("Webhook", "Event", "Reconcile", "Outcomes"):
        report = on.invoke(f"{name}FunctionName", {"self_check": True})
        checks[f"{name.lower()}: {report.shown()}"] = '"ok": true' in report.text
    for text, well in checks.items():
        _say(f"{'ok  ' if well else 'NOT '} {text}")
    return 0 if all(checks.values()) else 1


def _unauthorised(url: str) -> tuple[int, str]:
    """Status and problem type: to say 401, the function must have read the clients secret."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  the stack's own address
            return answer.status, "no problem"
    except urllib.error.HTTPError as refusal:
        with refusal:
            text = refusal.read()
        try:
            kind = str(json.loads(text).get("type", ""))
        except (ValueError, AttributeError):
            kind = "an answer that is no problem+json"
        return refusal.code, kind.rpartition(":")[2]
    except OSError as error:
        return 0, f"no answer ({error})"


def _chosen(queue: Queue, message_id: str | None) -> Iterator[DeadLetter]:
    for letter in queue.letters():
        if message_id in (None, letter.message_id):
            yield letter


def _story(led_to: Redriven) -> str:
    said = led_to.invoked
    lines = [
        f"  before       {led_to.before.line() if led_to.before else 'no record'}",
        f"  the function {_said(said)}",
        f"  after        {led_to.after.line() if led_to.after else 'no record'}",
        f"  → {led_to.verdict}",
    ]
    return "\n".join(lines)


def _said(said: Invoked | None) -> str:
    if said is None:
        return "was not asked"
    return f"raised: {said.shown()}" if said.raised else "returned"


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="cold-transfer", description="Look after a deployed stack.")
    made.add_argument("--local", action="store_true", help="the stack that make up started")
    made.add_argument("--stack", default=STACK_NAME, help="the stack's name (%(default)s)")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("show", help="what became of an action")
    one.add_argument("action_id", metavar="ACTION_ID")

    one = commands.add_parser("id", help="the Action-Id of a client's key")
    one.add_argument("--client", required=True, help="its name; for events, the EventSource")
    one.add_argument("--key", required=True, help="webhook-id, Idempotency-Key, or the event's id")
    one.add_argument("--entry-point", choices=[str(entry_point) for entry_point in EntryPoint])

    commands.add_parser("dead-letters", help="what waits in the dead-letter queue")

    one = commands.add_parser("redrive", help="hand dead letters to the event function again")
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true")
    which.add_argument("--message-id")

    one = commands.add_parser("drop", help="delete a dead letter that a person has dealt with")
    one.add_argument("--message-id", required=True)

    commands.add_parser("smoke", help="whether the stack works, without moving a call")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    try:
        return _run(target(asked.stack, local=asked.local), asked)
    except (OperatorError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except BrokenPipeError:
        # Whoever reads (head, less) has seen enough; the interpreter must not write at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(on: Target, asked: argparse.Namespace) -> int:
    match asked.command:
        case "show":
            return show(on, asked.action_id)
        case "id":
            return find(on, asked.client, asked.key, asked.entry_point)
        case "dead-letters":
            return dead_letters(on)
        case "redrive":
            return redrive_all(on, asked.message_id)
        case "drop":
            return drop(on, asked.message_id)
        case _:
            return smoke(on)


if __name__ == "__main__":
    sys.exit(main())
