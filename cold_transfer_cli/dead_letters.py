"""Reads and redrives the dead-letter queue.

It has two kinds of message. From the event function's on-failure destination comes the event
(``requestPayload``) with the reason (``responsePayload``). From the rule comes an event that could
not be delivered, unchanged, with the reason in the message's attributes.

A redrive invokes the function with the event itself. Putting it on the bus again would give it a
new id and thereby make it a new request.
"""

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cold_transfer.action import ACTION_ID, EntryPoint
from cold_transfer.causes import Cause, Outcome
from cold_transfer.ledger.view import timestamp
from cold_transfer.masking import masked
from cold_transfer_cli.records import Known, Records, action_id

#: How long a received message is hidden from others: long enough for ten invocations of 25 s.
HIDDEN_SECONDS = 300

_FIELDS = ("phlo_id", "node_id", "role", "to", "trigger_source", "member_address", "reference")

_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{8,15}(Z|[+-]\d\d:\d\d)")
_DIGITS_OF_A_NUMBER = 7
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

# Removed before masking, which could take some of its digits for a number; it has its own line.
_ACTION_ID = re.compile(rf" \(Action-Id {ACTION_ID.pattern}\)")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message of the queue.

    event
        The event as the rule delivered it; None if the message has none.
    reason
        Why it is a dead letter: the kind of error and its text, masked.
    sent_at
        When it was put into the queue, in epoch milliseconds.
    """

    message_id: str
    receipt: str
    event: Mapping[str, Any] | None
    reason: str
    sent_at: int

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> "DeadLetter":
        """Parse a message that was received from SQS with all its attributes."""
        try:
            body = json.loads(message["Body"])
        except ValueError:
            body = None
        reason = "not a message of this system"
        event: object = None
        if isinstance(body, dict) and "requestPayload" in body:
            event, reason = body["requestPayload"], _why_failed(body)
        elif isinstance(body, dict) and "detail-type" in body:
            event, reason = body, _why_undelivered(message.get("MessageAttributes", {}))
        return cls(
            message_id=message["MessageId"],
            receipt=message["ReceiptHandle"],
            event=event if isinstance(event, dict) else None,
            reason=reason,
            sent_at=int(message["Attributes"]["SentTimestamp"]),
        )

    def action_id(self, source: str) -> str | None:
        """The Action-Id that the event entry point gives the event; None if it has no key."""
        event = self.event or {}
        detail = event.get("detail")
        key = detail.get("idempotency_key") if isinstance(detail, dict) else None
        if key is None:
            key = event.get("id")
        return action_id(EntryPoint.EVENT, source, key) if isinstance(key, str) else None

    def dated(self) -> dict[str, Any]:
        """The event; if it has no time, with the time at which it was put into the queue.

        The entry point treats an event without a time as sent now, so it would never be too old.
        """
        return {"time": timestamp(self.sent_at), **(self.event or {})}

    def described(self, source: str) -> str:
        """The message for a person, without addresses."""
        lines = [
            f"message {self.message_id}, since {timestamp(self.sent_at)}",
            f"  reason       {self.reason}",
        ]
        if self.event is not None:
            detail = self.event.get("detail")
            fields = detail if isinstance(detail, dict) else {}
            listed = ", ".join(
                f"{name} {_shown(fields[name])}" for name in _FIELDS if name in fields
            )
            lines += [
                f"  event        {_shown(self.event.get('id'))}",
                f"  time         {_shown(self.event.get('time', 'none'))}",
                f"  Action-Id    {self.action_id(source)}",
                f"  request      {_shown(self.event.get('detail-type', 'no detail-type'))}",
                f"  fields       {listed or 'none could be read'}",
            ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Invoked:
    """The result of an invocation: whether it raised, and the error's text or the returned JSON."""

    raised: bool
    text: str

    def shown(self) -> str:
        return masked(_ACTION_ID.sub("", self.text))


@dataclass(frozen=True, slots=True)
class Redriven:
    """The result of a redrive.

    before, after
        The action in the ledger before and after; None if there is no record.
    invoked
        The result of the invocation; None if there was nothing to invoke the function with.
    done
        Whether the message can be deleted: the request is settled for good, and no person needs
        its numbers any more.
    """

    before: Known | None
    invoked: Invoked | None
    after: Known | None
    done: bool
    verdict: str


class Queue:
    """The queue at ``url``, through the SQS client ``client``."""

    def __init__(self, client: Any, url: str) -> None:  # noqa: ANN401  boto3 types its clients so
        self._client = client
        self._url = url

    def letters(self) -> Generator[DeadLetter]:
        """Every message, once. They become visible to others again when the iteration ends."""
        seen: dict[str, DeadLetter] = {}
        try:
            while True:
                reply = self._client.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=10,
                    VisibilityTimeout=HIDDEN_SECONDS,
                    WaitTimeSeconds=1,
                    AttributeNames=["SentTimestamp"],
                    MessageAttributeNames=["All"],
                )
                letters = [DeadLetter.of(message) for message in reply.get("Messages", [])]
                fresh = [letter for letter in letters if letter.message_id not in seen]
                seen |= {letter.message_id: letter for letter in letters}
                if not fresh:
                    return
                yield from fresh
        finally:
            for letter in seen.values():
                self._release(letter)

    def delete(self, letter: DeadLetter) -> None:
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt)

    def _release(self, letter: DeadLetter) -> None:
        try:
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=letter.receipt, VisibilityTimeout=0
            )
        except ClientError:
            return  # deleted already; otherwise its visibility time-out ends soon


def redrive(
    letter: DeadLetter, records: Records, source: str, invoke: Callable[[dict[str, Any]], Invoked]
) -> Redriven:
    """Invoke the event function with the event again, and look up its record before and after.

    The ledger decides whether anything is sent: at most once per key, and nothing older than
    MaxRequestAgeSeconds.

    source
        The stack's EventSource, the client of all events.
    """
    own_id = letter.action_id(source)
    if letter.event is None or own_id is None:
        return Redriven(None, None, None, done=False, verdict="kept: there is no event to redrive")
    before = records.look(own_id)
    invoked = invoke(letter.dated())
    after = records.look(own_id)
    done, verdict = _judge(invoked, own_id, after)
    return Redriven(before, invoked, after, done, verdict)


def _judge(invoked: Invoked, own_id: str, after: Known | None) -> tuple[bool, str]:
    """Whether the message can be deleted, and the verdict."""
    # Only ActionFailed, whose text has the Action-Id, is about the record. With KeyReused, for
    # example, the record is another request's. (The emulator does not return the error's class.)
    if after is None or (invoked.raised and f"(Action-Id {own_id})" not in invoked.text):
        return False, "kept: the function refused it or failed; see its error above"
    answer = after.answering
    if answer.cause == Cause.TOO_OLD:
        return (
            True,
            "deleted: too old to be sent; if the call is still in progress, use a new key",
        )
    return _OF_OUTCOME.get(
        answer.outcome(), (False, "kept: another attempt is in progress; look again in a minute")
    )


_OF_OUTCOME: Mapping[Outcome | None, tuple[bool, str]] = {
    Outcome.ACCEPTED: (True, "deleted: accepted by Plivo"),
    Outcome.REJECTED: (True, "deleted: rejected by Plivo; correct it and send a new request"),
    Outcome.NOT_SENT: (False, "kept: nothing was sent; redrive it again before it is too old"),
    Outcome.UNKNOWN: (False, "kept: unknown; check the call, resolve it, then drop the message"),
}


def _why_failed(body: Mapping[str, Any]) -> str:
    payload = body.get("responsePayload")
    if isinstance(payload, dict) and "errorType" in payload:
        text = _ACTION_ID.sub("", str(payload.get("errorMessage", "")))
        return masked(f"{payload['errorType']}: {text}")
    context = body.get("requestContext")
    condition = context.get("condition") if isinstance(context, dict) else None
    return masked(f"not processed: {condition or 'no reason given'}")


def _why_undelivered(attributes: Mapping[str, Any]) -> str:
    found = [
        str(attributes[name].get("StringValue", ""))
        for name in ("ERROR_CODE", "ERROR_MESSAGE")
        if name in attributes
    ]
    return masked(f"not delivered: {': '.join(found) or 'no reason given'}")


def _shown(value: object) -> str:
    """A value of the event: ids and times unchanged, the rest without numbers and SIP users.

    Many events fail because of a badly formatted number, so digits are masked across separators.
    """
    text = str(value)
    if _UUID.fullmatch(text) or _TIME.fullmatch(text):
        return text
    text = masked(text)
    many = sum(character.isdigit() for character in text) >= _DIGITS_OF_A_NUMBER
    return re.sub(r"\d", "*", text) if many else text
