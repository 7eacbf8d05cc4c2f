"""What the ledger knows, for a person: read as it is, and nothing settled on the way."""

from dataclasses import dataclass
from typing import Any

from cold_transfer.action import Action, ActionRequest, EntryPoint
from cold_transfer.ledger.record import Record, State, answering
from cold_transfer.ledger.view import timestamp
from cold_transfer.masking import masked


@dataclass(frozen=True, slots=True)
class Known:
    """An action's own record, and the one that its answer comes from: another for a duplicate."""

    own: Record
    answering: Record

    def line(self) -> str:
        """In one line: state, cause and times."""
        answer = self.answering
        parts = [str(answer.state), answer.cause]
        if self.own.duplicate_of is not None:
            parts.insert(0, f"a repeat of {answer.action_id}:")
        parts.append(f"first seen {timestamp(self.own.first_seen)}")
        if answer.settled_at:
            parts.append(f"settled {timestamp(answer.settled_at)}")
        return " ".join(part for part in parts if part)


class Records:
    """``client`` is a DynamoDB client that may GetItem on ``table``."""

    def __init__(self, client: Any, table: str) -> None:  # noqa: ANN401  boto3 types its clients so
        self._client = client
        self._table = table

    def look(self, action_id: str) -> Known | None:
        own = self._get(action_id)
        return None if own is None else Known(own, answering(own, self._get))

    def _get(self, action_id: str) -> Record | None:
        reply = self._client.get_item(
            TableName=self._table, Key={"pk": {"S": f"K#{action_id}"}}, ConsistentRead=True
        )
        return Record.from_item(reply["Item"]) if "Item" in reply else None


def action_id(entry_point: EntryPoint, client: str, key: str) -> str:
    """The Action-Id of a client's key; the content of the action has no part in it."""
    no_content = Action(phlo_id="", node_id="", to="", trigger_source="")
    return ActionRequest(no_content, entry_point, client, key).action_id()


def described(known: Known) -> str:
    """Everything that helps a person, one line for each thing."""
    own, answer = known.own, known.answering
    rows: list[tuple[str, object]] = [
        ("Action-Id", own.action_id),
        ("state", own.state),
        ("repeat of", answer.action_id if own.duplicate_of is not None else None),
        ("outcome", answer.outcome()),
        ("cause", answer.cause),
        ("answered with", answer.verdict().status if answer.outcome() else None),
        ("Plivo answered", answer.plivo_status),
        ("api_id", answer.api_id),
        ("Plivo's text", masked(answer.error)),
        ("entry_point", own.entry_point),
        ("client", own.client),
        ("attempts", own.attempt),
        ("first seen", timestamp(own.first_seen)),
        ("requested at", timestamp(own.requested_at or 0)),
        ("settled at", timestamp(answer.settled_at)),
        ("lease until", timestamp(own.lease_until)),
        ("what it means", MEANING.get(answer.state) if answer.state else None),
    ]
    return "\n".join(f"{name:<16}{value}" for name, value in rows if value not in (None, "", 0))


MEANING = {
    State.CLAIMED: "an attempt is at work, and has sent nothing yet",
    State.SENDING: "an attempt is sending; past its lease it will be called unknown",
    State.ACCEPTED: "Plivo acknowledged it; look for the api_id in Plivo's logs",
    State.REJECTED: "Plivo refused it: nothing happened to the call",
    State.NOT_SENT: "provably nothing happened to the call",
    State.UNKNOWN: "the call may have been moved: look at it before you ask for a new action",
}
