"""Reads the ledger for a person, without settling anything.

The only thing it writes is the resolution of an unknown outcome.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from cold_transfer.action import Action, ActionRequest, EntryPoint
from cold_transfer.causes import Resolution
from cold_transfer.ledger.ledger import SHARDS
from cold_transfer.ledger.record import Record, State, answering
from cold_transfer.ledger.view import timestamp
from cold_transfer.masking import masked


@dataclass(frozen=True, slots=True)
class Known:
    """An action's own record, and that of its answer, which differ only for a duplicate."""

    own: Record
    answering: Record

    def line(self) -> str:
        """State, cause and times in one line."""
        answer = self.answering
        parts = [str(answer.state), answer.cause]
        if self.own.duplicate_of is not None:
            parts.insert(0, f"a duplicate of {answer.action_id}:")
        parts.append(f"first seen {timestamp(self.own.first_seen)}")
        if answer.settled_at:
            parts.append(f"settled {timestamp(answer.settled_at)}")
        return " ".join(part for part in parts if part)


class Records:
    """The ledger's ``table``, through the DynamoDB client ``client``."""

    def __init__(self, client: Any, table: str) -> None:  # noqa: ANN401  boto3 types its clients so
        self._client = client
        self._table = table

    def look(self, action_id: str) -> Known | None:
        """Look up an action; None if there is no record."""
        own = self._get(action_id)
        return None if own is None else Known(own, answering(own, self._get))

    def unresolved(self) -> list[Known]:
        """Every unresolved unknown outcome, oldest first."""
        found = [self.look(action_id) for action_id in self._nominated()]
        # The index is eventually consistent.
        waiting = [
            known
            for known in found
            if known and known.own.state is State.UNKNOWN and known.own.resolution is None
        ]
        return sorted(waiting, key=lambda known: known.own.settled_at)

    def resolve(
        self, action_id: str, resolution: Resolution, by: str, at: int, note: str = ""
    ) -> Known | None:
        """Record the resolution of an unknown outcome, unless it has one.

        It leaves the list of unresolved outcomes; the outcome itself stays unknown.

        Parameters
        ----------
        at
            Epoch milliseconds.

        Returns
        -------
        Known | None
            The action as it is now; None if there is none. It is unchanged if its outcome is known
            or was resolved before.
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

    def _get(self, action_id: str) -> Record | None:
        reply = self._client.get_item(
            TableName=self._table, Key={"pk": {"S": f"K#{action_id}"}}, ConsistentRead=True
        )
        return Record.from_item(reply["Item"]) if "Item" in reply else None


def action_id(entry_point: EntryPoint, client: str, key: str) -> str:
    """The Action-Id of a client's key, which does not depend on the action's content."""
    no_content = Action(phlo_id="", node_id="", to="", trigger_source="")
    return ActionRequest(no_content, entry_point, client, key).action_id()


def described(known: Known) -> str:
    """Everything that may help a person, one line each."""
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
        ("reference", own.reference),
        ("attempts", own.attempt),
        ("first seen", timestamp(own.first_seen)),
        ("requested at", timestamp(own.requested_at or 0)),
        ("settled at", timestamp(answer.settled_at)),
        ("lease until", timestamp(own.lease_until)),
        ("resolution", resolved(answer)),
        ("what it means", _meaning(known)),
    ]
    return "\n".join(f"{name:<16}{value}" for name, value in rows if value not in (None, "", 0))


def resolved(record: Record) -> str | None:
    """The resolution of an unknown outcome, by whom and when; None if it has none."""
    if record.resolution is None:
        return None
    found = record.resolution.replace("_", " ")
    noted = f": {record.note}" if record.note else ""
    return f"{found}, according to {record.resolved_by} at {timestamp(record.resolved_at)}{noted}"


def age(milliseconds: int) -> str:
    """A duration in its two largest units."""
    minutes = max(milliseconds, 0) // 60_000
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"


def _meaning(known: Known) -> str | None:
    if known.answering.resolution:
        return "the outcome stays unknown and the key is never sent again; use a new key"
    return MEANING.get(known.answering.state) if known.answering.state else None


MEANING = {
    State.CLAIMED: "an attempt is in progress and has sent nothing yet",
    State.SENDING: "an attempt is sending; it becomes unknown when its lease ends",
    State.ACCEPTED: "Plivo acknowledged it; look for the api_id in Plivo's logs",
    State.REJECTED: "Plivo refused it: nothing happened to the call",
    State.NOT_SENT: "provably nothing happened to the call",
    State.UNKNOWN: "it may have happened: check the call, then use cold-transfer resolve",
}
