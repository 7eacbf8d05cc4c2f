"""DynamoDB in memory: the calls and the expressions that the ledger uses, and no others.

A call takes microseconds. ``tests/integration/test_fake_dynamodb.py`` compares it with a DynamoDB
API; it refuses expressions that it does not know.

An eventually consistent read always misses the last write, which DynamoDB allows.
"""

import functools
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

#: The table's indexes, and the two keys of each.
INDEXES = {
    "open-index": ("open", "lease_until"),
    "unresolved-index": ("unresolved", "settled_at"),
}

#: The part of a reply that proves that it is DynamoDB's.
OWN: dict[str, Any] = {"ResponseMetadata": {"RequestId": "of a fake"}}

type Item = dict[str, dict[str, str]]
type Values = Mapping[str, dict[str, str]]
type Condition = Callable[[Item, Values], bool]
type Change = Callable[[Item, Item, Values], None]
type Operand = Callable[[Item, Values], dict[str, str] | None]

_TOKEN = re.compile(r"\s*([#:]?\w+|<=|>=|<>|[<>=(),+])")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


class FakeDynamoDB:
    """One table, whatever its name; keys are strings in ``pk``.

    page_size
        How many items one page of a query has at most.
    """

    def __init__(self, page_size: int = 1000) -> None:
        self.items: dict[str, Item] = {}
        self._before: dict[str, Item | None] = {}
        self._page_size = page_size
        self._lock = threading.Lock()

    def update_item(self, **call: Any) -> dict[str, Any]:
        pk = call["Key"]["pk"]["S"]
        changes = _update(call["UpdateExpression"], _names(call))

        def changed(old: Item) -> Item:
            new = {**old, "pk": {"S": pk}}
            for change in changes:
                change(old, new, call["ExpressionAttributeValues"])
            return new

        new = self._write(pk, call, changed)
        return OWN | ({"Attributes": dict(new)} if call.get("ReturnValues") == "ALL_NEW" else {})

    def put_item(self, **call: Any) -> dict[str, Any]:
        self._write(call["Item"]["pk"]["S"], call, lambda _: dict(call["Item"]))
        return dict(OWN)

    def get_item(self, **call: Any) -> dict[str, Any]:
        pk = call["Key"]["pk"]["S"]
        with self._lock:
            consistent = call.get("ConsistentRead", False)
            found = self.items.get(pk) if consistent else self._before.get(pk)
        return OWN | ({"Item": dict(found)} if found is not None else {})

    def delete_item(self, **call: Any) -> dict[str, Any]:
        pk = call["Key"]["pk"]["S"]
        with self._lock:
            self._before[pk] = self.items.pop(pk, None)
        return {}

    def query(self, **call: Any) -> dict[str, Any]:
        """A sparse index: items that have both of its keys, in the order of the second."""
        holds = _condition(call["KeyConditionExpression"], _names(call))
        keys = INDEXES[call["IndexName"]]
        with self._lock:
            found = [
                {name: item[name] for name in ("pk", *keys)}
                for item in self.items.values()
                if item.keys() >= set(keys) and holds(item, call["ExpressionAttributeValues"])
            ]

        def order(item: Item) -> tuple[int, str]:
            return int(item[keys[1]]["N"]), item["pk"]["S"]

        found.sort(key=order)
        if "ExclusiveStartKey" in call:
            after = order(call["ExclusiveStartKey"])
            found = [item for item in found if order(item) > after]
        page = found[: self._page_size]
        return {**OWN, "Items": page} | (
            {"LastEvaluatedKey": page[-1]} if len(found) > self._page_size else {}
        )

    def scan(self, **_call: Any) -> dict[str, Any]:
        with self._lock:
            return {"Items": [dict(item) for item in self.items.values()]}

    def _write(self, pk: str, call: Mapping[str, Any], changed: Callable[[Item], Item]) -> Item:
        holds = _condition(call["ConditionExpression"], _names(call))
        with self._lock:
            old = self.items.get(pk)
            if not holds(old or {}, call.get("ExpressionAttributeValues", {})):
                raise _refusal(old, call)
            self._before[pk] = old
            new = self.items[pk] = changed(old or {})
            return new


def _refusal(old: Item | None, call: Mapping[str, Any]) -> ClientError:
    response: dict[str, Any] = {
        "Error": {
            "Code": "ConditionalCheckFailedException",
            "Message": "The conditional request failed",
        }
    }
    if old is not None and call.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
        response["Item"] = dict(old)
    return ClientError(response, "Write")  # type: ignore[arg-type]  # its type has more than a test needs


def _names(call: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(call.get("ExpressionAttributeNames", {}).items())


@functools.cache
def _condition(text: str, names: tuple[tuple[str, str], ...]) -> Condition:
    parser = _Parser(text, dict(names))
    condition = parser.either()
    parser.end()
    return condition


@functools.cache
def _update(text: str, names: tuple[tuple[str, str], ...]) -> list[Change]:
    parser = _Parser(text, dict(names))
    changes = parser.changes()
    parser.end()
    return changes


class _Parser:
    """Recursive descent over the part of DynamoDB's grammar that the ledger speaks."""

    def __init__(self, text: str, names: dict[str, str]) -> None:
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s", "", text):
            raise NotImplementedError(text)
        self._names = names
        self._at = 0

    def either(self) -> Condition:
        left = self._both()
        while self._taken("OR"):
            left = self._or(left, self._both())
        return left

    def changes(self) -> list[Change]:
        found: list[Change] = []
        while self._at < len(self._tokens):
            clause = self._take()
            if clause not in ("SET", "REMOVE"):
                raise NotImplementedError(clause)
            found.append(self._set() if clause == "SET" else self._remove())
            while self._taken(","):
                found.append(self._set() if clause == "SET" else self._remove())
        return found

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise NotImplementedError(self._tokens[self._at :])

    def _both(self) -> Condition:
        left = self._simple()
        while self._taken("AND"):
            left = self._and(left, self._simple())
        return left

    def _simple(self) -> Condition:
        if self._taken("("):
            inner = self.either()
            self._expect(")")
            return inner
        if self._taken("attribute_not_exists"):
            self._expect("(")
            name = self._name()
            self._expect(")")
            return lambda item, _: name not in item
        left = self._operand()
        if self._taken("IN"):
            return self._in(left)
        return self._compare(left, _COMPARE[self._take()], self._operand())

    def _in(self, left: Operand) -> Condition:
        self._expect("(")
        options = [self._operand()]
        while self._taken(","):
            options.append(self._operand())
        self._expect(")")

        def holds(item: Item, values: Values) -> bool:
            found = left(item, values)
            return found is not None and any(found == option(item, values) for option in options)

        return holds

    @staticmethod
    def _compare(left: Operand, operator: Callable[[Any, Any], bool], right: Operand) -> Condition:
        def holds(item: Item, values: Values) -> bool:
            a, b = left(item, values), right(item, values)
            # an absent attribute, or one of another type, compares as false
            if a is None or b is None or a.keys() != b.keys():
                return False
            return operator(_plain(a), _plain(b))

        return holds

    @staticmethod
    def _or(left: Condition, right: Condition) -> Condition:
        return lambda item, values: left(item, values) or right(item, values)

    @staticmethod
    def _and(left: Condition, right: Condition) -> Condition:
        return lambda item, values: left(item, values) and right(item, values)

    def _set(self) -> Change:
        name = self._name()
        self._expect("=")
        value = self._operand()
        if self._taken("+"):
            value = self._sum(value, self._operand())

        def change(old: Item, new: Item, values: Values) -> None:
            result = value(old, values)
            if result is None:
                raise NotImplementedError(f"{name} is set to nothing")
            new[name] = result

        return change

    def _remove(self) -> Change:
        name = self._name()

        def change(_old: Item, new: Item, _values: Values) -> None:
            new.pop(name, None)

        return change

    @staticmethod
    def _sum(left: Operand, right: Operand) -> Operand:
        def value(item: Item, values: Values) -> dict[str, str]:
            a, b = left(item, values), right(item, values)
            assert a is not None
            assert b is not None
            return {"N": str(int(a["N"]) + int(b["N"]))}

        return value

    def _operand(self) -> Operand:
        if self._taken("if_not_exists"):
            self._expect("(")
            name = self._name()
            self._expect(",")
            other = self._operand()
            self._expect(")")
            return lambda item, values: item[name] if name in item else other(item, values)
        if self._tokens[self._at].startswith(":"):
            placeholder = self._take()
            return lambda _, values: values[placeholder]
        name = self._name()
        return lambda item, _: item.get(name)

    def _name(self) -> str:
        token = self._take()
        return self._names[token] if token.startswith("#") else token

    def _take(self) -> str:
        token: str = self._tokens[self._at]
        self._at += 1
        return token

    def _taken(self, token: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == token:
            self._at += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._taken(token):
            raise NotImplementedError(f"{token} in {self._tokens}")


def _plain(value: dict[str, str]) -> int | str:
    return int(value["N"]) if "N" in value else value["S"]
