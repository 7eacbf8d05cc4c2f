"""The commands. Each prints its result, without phone numbers, and returns the exit status.

The status is 0 if nothing is left to do, and 1 if a person is needed. A command that cannot be
carried out raises ``OperatorError``; errors of AWS pass through.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from botocore.exceptions import BotoCoreError, ClientError

from cold_transfer.action import ACTION_ID, EntryPoint
from cold_transfer.ledger.record import State
from cold_transfer.masking import masked
from cold_transfer_cli import clients, records, smoke, switch
from cold_transfer_cli.dead_letters import DeadLetter, Invoked, Queue, Redriven, redrive
from cold_transfer_cli.failures import OperatorError, sentence
from cold_transfer_cli.records import Known
from cold_transfer_cli.target import Target

_NO_ACTION = (
    "The ledger has no such action: it was never received, or is older than RecordDays days."
)
_NO_MESSAGE = (
    "There is no such message in the queue. See: cold-transfer dead-letters. While someone else"
    " reads a message, it is hidden for up to five minutes."
)
_STOPPED = """\
Actions in progress are completed. From now on webhooks are refused (429 or 5xx), and events go to
the dead-letter queue. To start again: cold-transfer start"""


def show(on: Target, options: argparse.Namespace) -> int:
    known = on.records().look(_checked(options.action_id))
    if known is None:
        say(_NO_ACTION)
        return 1
    say(records.described(known))
    return 0


def find(on: Target, options: argparse.Namespace) -> int:
    """Show the action of a client's key at each entry point."""
    ledger, found = on.records(), False
    for entry_point in EntryPoint:
        if options.entry_point in (None, entry_point):
            action_id = records.action_id(entry_point, options.client, options.key)
            known = ledger.look(action_id)
            found = found or known is not None
            if not options.id_only:
                say(f"{action_id}  {entry_point}: {known.line() if known else 'no record'}")
            elif known:
                say(action_id)
    return 0 if found else 1


def unknown(on: Target, _: argparse.Namespace) -> int:
    waiting = on.records().unresolved()
    for known in waiting:
        own = known.own
        say(own.action_id)
        say(f"  waiting for  {records.age(_now_ms() - own.settled_at)}")
        say(f"  ledger       {known.line()}")
        say(f"  client       {own.client}, through {own.entry_point}")
        if own.reference:
            say(f"  reference    {own.reference}")
    say(f"{_count(len(waiting), 'unknown outcome')} to resolve")
    return 1 if waiting else 0


def resolve(on: Target, options: argparse.Namespace) -> int:
    """Record a resolution. An earlier one is kept, even if it is the opposite."""
    ledger, action_id, note = on.records(), _checked(options.action_id), options.note.strip()
    if masked(note) != note:
        raise OperatorError(
            "The note must be one line of at most 500 characters, without a phone number (7 or more"
            " digits) or a SIP address."
        )
    _, person = on.aws.account()
    known = ledger.resolve(action_id, options.resolution, person, _now_ms(), note)
    if known is None:
        say(_NO_ACTION)
        return 1
    _check_unknown(known)
    say(f"{action_id} {records.resolved(known.answering)}")
    if known.answering.resolution != options.resolution:
        say("Your answer contradicts this earlier one and was not recorded. Talk to each other.")
        return 1
    return 0


def dead_letters(on: Target, _: argparse.Namespace) -> int:
    count, source = 0, on.outputs["EventSourceName"]
    for letter in on.queue().letters():
        count += 1
        say(letter.described(source))
        action_id = letter.action_id(source)
        known = on.records().look(action_id) if action_id else None
        say(f"  ledger       {known.line() if known else 'no record'}")
    say(_count(count, "message"))
    return 1 if count else 0


def redrive_all(on: Target, options: argparse.Namespace) -> int:
    queue, source = on.queue(), on.outputs["EventSourceName"]
    count = kept = 0
    for letter in _chosen(queue, options.message_id):
        count += 1
        led_to = redrive(letter, on.records(), source, lambda e: on.invoke("EventFunctionName", e))
        if led_to.done:
            queue.delete(letter)
        kept += not led_to.done
        say(letter.described(source))
        say(_story(led_to))
    if options.message_id and not count:
        raise OperatorError(_NO_MESSAGE)
    say(f"{_count(count, 'message')}, {count - kept} deleted, {kept} kept")
    return 1 if kept else 0


def drop(on: Target, options: argparse.Namespace) -> int:
    """Delete a message that a person has handled."""
    queue, count = on.queue(), 0
    for letter in _chosen(queue, options.message_id):
        queue.delete(letter)
        count += 1
        say(letter.described(on.outputs["EventSourceName"]))
    if not count:
        raise OperatorError(_NO_MESSAGE)
    say(f"{_count(count, 'message')} deleted")
    return 0


def smoke_test(on: Target, options: argparse.Namespace) -> int:
    passed = True
    for check in smoke.checks(on, options.wait):
        say(f"{'PASS' if check.passed else 'FAIL'}  {check.text}")
        passed = passed and check.passed
    return 0 if passed else 1


def outputs(on: Target, options: argparse.Namespace) -> int:
    if options.name is None:
        width = max(map(len, on.outputs))
        for name, value in sorted(on.outputs.items()):
            say(f"{name:<{width}}  {value}")
        return 0
    if options.name not in on.outputs:
        raise OperatorError(f"The stack has no output {options.name}. See: cold-transfer outputs")
    say(on.outputs[options.name])
    return 0


def clients_list(on: Target, _: argparse.Namespace) -> int:
    entries = _clients_secret(on).entries()
    for name, entry in sorted(entries.items()):
        say(clients.described(name, entry))
    say(_count(len(entries), "client"))
    return 0


def clients_add(on: Target, options: argparse.Namespace) -> int:
    made = clients.fresh(options.kinds or [*clients.CREDENTIALS])
    add = clients.adding(options.name, made, options.phlo_id, options.action)
    _clients_secret(on).change(add)
    show_once(options.name, made)
    say(f"Its requests must have an idempotency key. {_within(on)}")
    return 0


def clients_rotate(on: Target, options: argparse.Namespace) -> int:
    secret = _clients_secret(on)
    if options.finish:
        secret.change(clients.finishing(options.name, options.kinds))
        say(clients.described(options.name, clients.entry_of(options.name, secret.entries())))
        say(f"The old credentials have been removed. {_within(on)}")
        return 0
    entry = clients.entry_of(options.name, secret.entries())
    made = clients.fresh(clients.kinds_of(options.name, entry, options.kinds))
    secret.change(clients.rotating(options.name, made))
    show_once(options.name, made)
    finish = f"cold-transfer clients rotate {options.name} --finish"
    say(f"The old ones stay valid until you run: {finish}\n{_within(on)}")
    return 0


def clients_remove(on: Target, options: argparse.Namespace) -> int:
    _clients_secret(on).change(clients.removing(options.name))
    say(f"The client {options.name} has been removed. {_within(on)}")
    return 0


def stop(on: Target, options: argparse.Namespace) -> int:
    """Stop the named entry points. If one cannot be stopped, continue with the next."""
    client = on.aws.client("lambda")
    status = _switched(on, options, "NOT STOPPED", partial(switch.stop, client))
    if not status:
        say(_STOPPED)
    return status


def start(on: Target, options: argparse.Namespace) -> int:
    """Start the named entry points. If one cannot be started, continue with the next."""
    client, default = on.aws.client("lambda"), on.parameters.get("ReservedConcurrency", "0")

    def started(function: str) -> str:
        return "started" if switch.start(client, function, default) else "already running"

    return _switched(on, options, "NOT STARTED", started)


def _switched(
    on: Target, options: argparse.Namespace, failed: str, change: Callable[[str], str]
) -> int:
    """Change each named entry point, and print the result; the exit status."""
    status = 0
    for name in options.entry_points:
        try:
            done = change(on.outputs[smoke.FUNCTIONS[name]])
        except (BotoCoreError, ClientError) as error:
            done, status = f"{failed}. {sentence(error)}", 2
        say(f"{name}: {done}")
    return status


def say(text: str) -> None:
    """Print and flush, because a person is watching."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _checked(action_id: str) -> str:
    if not ACTION_ID.fullmatch(action_id):
        raise OperatorError(
            "An Action-Id has 64 digits from 0 to f. Find one by its key: cold-transfer find"
        )
    return action_id


def _check_unknown(known: Known) -> None:
    own = known.own
    if own.duplicate_of is not None:
        raise OperatorError(
            f"This is a duplicate of {known.answering.action_id}: resolve that one."
        )
    if own.state is not State.UNKNOWN:
        raise OperatorError(f"Nothing to resolve, the outcome is known: {known.line()}.")


def _clients_secret(on: Target) -> clients.ClientsSecret:
    key = on.parameters.get("SecretsKmsKeyArn", "")
    return clients.ClientsSecret(on.aws.client("secretsmanager"), on.outputs["ClientsSecret"], key)


def show_once(name: str, made: dict[str, str]) -> None:
    """Print a client's new credentials, by kind: the only time that they are shown."""
    say(f"Credentials of {name}, shown only once:")
    for kind, value in made.items():
        say(f"  {clients.CREDENTIALS[kind]:<16}{value}")


def _within(on: Target) -> str:
    seconds = on.parameters.get("SecretsCacheSeconds", "300")
    return f"This takes effect within {seconds} s (SecretsCacheSeconds)."


def _chosen(queue: Queue, message_id: str | None) -> Iterator[DeadLetter]:
    for letter in queue.letters():
        if message_id in (None, letter.message_id):
            yield letter


def _story(led_to: Redriven) -> str:
    lines = [
        f"  before       {led_to.before.line() if led_to.before else 'no record'}",
        f"  the function {_result(led_to.invoked)}",
        f"  after        {led_to.after.line() if led_to.after else 'no record'}",
        f"  → {led_to.verdict}",
    ]
    return "\n".join(lines)


def _result(invoked: Invoked | None) -> str:
    if invoked is None:
        return "was not invoked"
    return f"raised: {invoked.shown()}" if invoked.raised else "returned"


def _count(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
