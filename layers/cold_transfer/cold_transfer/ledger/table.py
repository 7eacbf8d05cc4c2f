"""The ledger's table: DynamoDB's calls and how they fail."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cold_transfer.aws.errors import reason
from cold_transfer.errors import LedgerUnavailable
from cold_transfer.ledger.record import Attribute, Item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

type Value = str | int

_CONDITION_FAILED = "ConditionalCheckFailedException"


class Table:
    """The table ``name``, through one boto3 client.

    In an expression, ``#attribute`` is an attribute's name, and ``:value`` the argument of that
    name. Arguments that no expression uses are left out.

    Every method raises ``LedgerUnavailable`` if a call fails in spite of the client's retries.
    """

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def get(self, pk: str) -> Item | None:
        """The item, by a consistent read; None if there is none."""
        reply = self._call(
            self._client.get_item,
            TableName=self._name,
            Key={"pk": {"S": pk}},
            ConsistentRead=True,
        )
        item: Item | None = reply.get("Item")
        return item

    def query(self, index: str, condition: str, **values: Value) -> Iterator[str]:
        """The keys of the items in one partition of an index, which is eventually consistent."""
        query: dict[str, Any] = {
            "TableName": self._name,
            "IndexName": index,
            "KeyConditionExpression": condition,
            **_used(condition, values),
        }
        while True:
            page = self._call(self._client.query, **query)
            for item in page["Items"]:
                yield str(item["pk"]["S"])
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def put_if(
        self, item: Mapping[str, Value], condition: str, **values: Value
    ) -> tuple[bool, Item | None]:
        """Put the item if ``condition`` holds.

        Returns
        -------
        tuple[bool, Item | None]
            Whether it was put; if not, the item that was found.
        """
        return self._conditional(
            self._client.put_item,
            TableName=self._name,
            Item={name: _attribute(value) for name, value in item.items()},
            ConditionExpression=condition,
            **_used(condition, values),
        )

    def update_if(
        self,
        pk: str,
        update: str,
        condition: str,
        returned: str = "NONE",
        /,
        **values: Value | None,
    ) -> tuple[bool, Item | None]:
        """Update the item if ``condition`` holds.

        Returns
        -------
        tuple[bool, Item | None]
            Whether it was updated; if so, the attributes that ``returned`` (ReturnValues) selects,
            and if not, the item that was found.
        """
        return self._conditional(
            self._client.update_item,
            TableName=self._name,
            Key={"pk": {"S": pk}},
            UpdateExpression=update,
            ConditionExpression=condition,
            ReturnValues=returned,
            **_used(f"{update} {condition}", values),
        )

    def _conditional(
        self,
        call: Callable[..., Any],
        **arguments: Any,  # noqa: ANN401  boto3's own arguments
    ) -> tuple[bool, Item | None]:
        try:
            reply = call(**arguments, ReturnValuesOnConditionCheckFailure="ALL_OLD")
        except Exception as error:  # noqa: BLE001  see _unavailable
            if isinstance(error, ClientError) and reason(error) == _CONDITION_FAILED:
                item: Item | None = error.response.get("Item")  # type: ignore[assignment]  # the stub does not know Item
                return False, item
            raise _unavailable(error) from None
        return True, _its_own(reply).get("Attributes")

    @staticmethod
    def _call(
        call: Callable[..., Any],
        **arguments: Any,  # noqa: ANN401  boto3's own arguments
    ) -> Mapping[str, Any]:
        try:
            reply: Mapping[str, Any] = call(**arguments)
        except Exception as error:  # noqa: BLE001  see _unavailable
            raise _unavailable(error) from None
        return _its_own(reply)


def _used(expressions: str, values: Mapping[str, Value | None]) -> dict[str, Any]:
    """The names and values that the expressions use: DynamoDB rejects any others."""
    names, used = _placeholders(expressions)
    arguments: dict[str, Any] = {}
    if names:
        arguments["ExpressionAttributeNames"] = dict(names)
    if used:
        arguments["ExpressionAttributeValues"] = {f":{it}": _attribute(values[it]) for it in used}
    return arguments


@functools.cache  # there are few expressions, the same for every action
def _placeholders(expressions: str) -> tuple[Mapping[str, str], tuple[str, ...]]:
    names = {found: found[1:] for found in re.findall(r"#\w+", expressions)}
    return names, tuple(dict.fromkeys(re.findall(r":(\w+)", expressions)))


def _attribute(value: Value | None) -> Attribute:
    return {"N": str(value)} if isinstance(value, int) else {"S": str(value)}


def _its_own(reply: Mapping[str, Any]) -> Mapping[str, Any]:
    """``reply``, if it has DynamoDB's request id: botocore takes any 200 for a successful write."""
    if not reply.get("ResponseMetadata", {}).get("RequestId"):
        raise LedgerUnavailable("DynamoDB: a reply without a request id")
    return reply


def _unavailable(error: Exception) -> LedgerUnavailable:
    # For any exception of a boto3 call: expired credentials and garbled replies raise other types
    # than its own, and after the POST an exception not handled here would lose Plivo's verdict.
    return LedgerUnavailable(f"DynamoDB: {reason(error)}")
