"""What the ledger knows, for a person: read as it is, and nothing settled on the way.

The one thing that is written is a resolution: what a person found out about an unknown outcome.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from cold_transfer.action import Action, ActionRequest, EntryPoint
from cold_transfer.ledger.ledger import SHARDS
from cold_transfer.ledger.record import Item, Record, State, answering
from cold_transfer.ledger.view import timestamp
from cold_transfer.masking import masked


class Resolution(StrEnum):
    """What a person found out about an unknown outcome."""

    HAPPENED = "happened"
    DID_NOT_HAPPEN = "did_not_happen"


class Remarks(NamedTuple):
    """What stands in a record for people: the sender's word and the operator's.

    reference
        The sender's own ticket.
    resolved_at
        Epoch milliseconds.
    """

    reference: str
    resolution: str
    resolved_by: str
    resolved_at: int
    note: str

    @classmethod
    def of(cls, item: Item) -> "Remarks":
        def text(name: str) -> str:
            return str(item[name]["S"]) if name in item else ""

        return cls(
            text("reference"),
            text("resolution"),
            text("resolved_by"),
            int(item["resolved_at"]["N"]) if "resolved_at" in item else 0,
            text("note"),
        )

    def resolved(self) -> str | None:
        """Who found out what, and when; None while nobody has."""
        if not self.resolution:
            return None
        found = self.resolution.replace("_", " ")
        noted = f": {self.note}" if self.note else ""
        return f"{found}, says {self.resolved_by} at {timestamp(self.resolved_at)}{noted}"


@dataclass(frozen=True, slots=True)
class Known:
    """An action's own record, and the one that its answer comes from: the same but for duplicates.

    asked
        The remarks of its own record.
    found
        Those of the one that its answer comes from.
    """

    own: Record
    answering: Record
    asked: Remarks
    found: Remarks

    def line(self) -> str:
        """In one line: state, cause and times."""
        answer = self.answering
        parts = [str(answer.state), answer.cause]
        if self.own.duplicate_of is not None:
            parts.insert(0, f"a duplicate of {answer.action_id}:")
        parts.append(f"first seen {timestamp(self.own.first_seen)}")
        if answer.settled_at:
            parts.append(f"settled {timestamp(answer.settled_at)}")
        return " ".join(part for part in parts if part)


class Records:
    """``client`` is a DynamoDB client that may read ``table`` and its indexes, and update items."""

    def __init__(self, client: Any, table: str) -> None:  # noqa: ANN401  boto3 types its clients so
        self._client = client
        self._table = table

    def look(self, action_id: str) -> Known | None:
        item = self._get(action_id)
        if item is None:
            return None
        own = Record.from_item(item)
        items = {action_id: item}

        def get(other_id: str) -> Record | None:
            other = self._get(other_id)
            if other is None:
                return None
            items[other_id] = other
            return Record.from_item(other)

        last = answering(own, get)
        return Known(own, last, Remarks.of(item), Remarks.of(items.get(last.action_id, {})))

    def unresolved(self) -> list[Known]:
        """Every unknown outcome that waits for a person, the oldest first."""
        found = [self.look(action_id) for action_id in self._nominated()]
        # The index is a moment behind the table.
        waiting = [
            known
            for known in found
            if known and known.own.state is State.UNKNOWN and not known.found.resolution
        ]
        return sorted(waiting, key=lambda known: known.own.settled_at)

    def resolve(
        self, action_id: str, resolution: Resolution, by: str, at: int, note: str = ""
    ) -> Known | None:
        """Write down what a person found out about an unknown outcome, unless somebody has.

        Nothing else changes but that it waits for nobody any more: the outcome stays unknown.

        Returns
        -------
        Known | None
            The action as it is now, or None if there is none. If it is not unknown, or somebody
            was faster, that is what it says.
        """
        values: dict[str, Any] = {
            ":unknown": {"S": State.UNKNOWN},
            ":resolution": {"S": resolution},
            ":by": {"S": by},
            ":at": {"N": str(at)},
        }
        noted = ""
        if note:
            noted = ", note = :note"
            values[":note"] = {"S": note}
        try:
            self._client.update_item(
                TableName=self._table,
                Key={"pk": {"S": f"K#{action_id}"}},
                UpdateExpression="SET resolution = :resolution, resolved_by = :by,"
                f" resolved_at = :at{noted} REMOVE unresolved",
                ConditionExpression="#state = :unknown AND attribute_not_exists(resolution)",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=values,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
        return self.look(action_id)

    def _nominated(self) -> Iterator[str]:
        query = self._client.get_paginator("query")
        for shard in SHARDS:
            pages = query.paginate(
                TableName=self._table,
                IndexName="unresolved-index",
                KeyConditionExpression="unresolved = :shard",
                ExpressionAttributeValues={":shard": {"S": shard}},
            )
            for page in pages:
                for item in page["Items"]:
                    yield str(item["pk"]["S"]).removeprefix("K#")

    def _get(self, action_id: str) -> Item | None:
        reply = self._client.get_item(
            TableName=self._table, Key={"pk": {"S": f"K#{action_id}"}}, ConsistentRead=True
        )
        item: Item | None = reply.get("Item")
        return item


def action_id(entry_point: EntryPoint, client: str, key: str) -> str:
    """The Action-Id of a client's key; the content of the action has no part in it."""
    no_content = Action(phlo_id="", node_id="", to="", trigger_source="")
    return ActionRequest(no_content, entry_point, client, key).action_id()


def described(known: Known) -> str:
    """Everything that helps a person, one line for each thing."""
    own, answer = known.own, known.answering
    rows: list[tuple[str, object]] = [
        ("Action-Id", own.action_id),
        ("action", own.action),
        ("state", own.state),
        ("duplicate of", answer.action_id if own.duplicate_of else None),
        ("outcome", answer.outcome()),
        ("cause", answer.cause),
        ("answered with", answer.verdict().status if answer.outcome() else None),
        ("Plivo answered", answer.plivo_status),
        ("api_id", answer.api_id),
        ("Plivo's text", masked(answer.error)),
        ("entry point", own.entry_point),
        ("client", own.client),
        ("reference", known.asked.reference),
        ("attempts", own.attempt),
        ("first seen", timestamp(own.first_seen)),
        ("requested at", timestamp(own.requested_at or 0)),
        ("settled at", timestamp(answer.settled_at)),
        ("lease until", timestamp(own.lease_until)),
        ("resolution", known.found.resolved()),
        ("what it means", _meaning(known)),
    ]
    return "\n".join(f"{name:<16}{value}" for name, value in rows if value not in (None, "", 0))


def age(milliseconds: int) -> str:
    """For a person: the two largest units."""
    minutes = max(milliseconds, 0) // 60_000
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _meaning(known: Known) -> str | None:
    if known.found.resolution:
        return "it stays unknown, and its key is never sent again; a new key is a new action"
    return MEANING.get(known.answering.state) if known.answering.state else None


MEANING = {
    State.CLAIMED: "an attempt is under way, and has sent nothing yet",
    State.SENDING: "an attempt is sending; past its lease it becomes unknown",
    State.ACCEPTED: "Plivo acknowledged it; look for the api_id in Plivo's logs",
    State.REJECTED: "Plivo refused it: nothing happened to the call",
    State.NOT_SENT: "provably nothing happened to the call",
    State.UNKNOWN: "it may have happened: look at the call, then cold-transfer resolve",
}
