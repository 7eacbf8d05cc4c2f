"""Processes that a test runs step by step.

An actor runs ordinary code in a greenlet, and stops wherever that code needs something from
outside: a call of DynamoDB, a connection, a POST. The test decides in which order the actors
continue, and may kill one at any of these points. A switch takes less than a microsecond.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from greenlet import greenlet  # type: ignore[import-untyped]  # it comes without types


class Killed(BaseException):
    """The process was killed: no handler of the code under test runs, as none would."""


@dataclass(slots=True)
class Call:
    """One call of DynamoDB, not made yet."""

    operation: str
    arguments: dict[str, Any] = field(repr=False)

    @property
    def is_write(self) -> bool:
        return self.operation in ("update_item", "put_item")

    @property
    def pk(self) -> str:
        """The key of the item that is read or written; empty for a query."""
        item = self.arguments.get("Key") or self.arguments.get("Item")
        return str(item["pk"]["S"]) if item else ""

    @property
    def writes(self) -> str:
        """The state that a write gives a record; ``lock`` for a content's, empty for a read."""
        if not self.is_write:
            return ""
        if self.pk.startswith("C#"):
            return "lock"
        if self.operation == "put_item":
            return str(self.arguments["Item"]["state"]["S"])
        name = _state_of(self.arguments["UpdateExpression"])
        return str(self.arguments["ExpressionAttributeValues"][name]["S"])


class Connect:
    """A connection to Plivo is wanted."""


@dataclass(slots=True)
class Post:
    """The POST was sent; Plivo has not answered yet."""

    number: int


class Refresh:
    """The Plivo secret is fetched once more."""


#: What an actor waits for.
type Wish = Call | Connect | Post | Refresh


class Actor:
    """Runs ``work``, up to its first wish when it is made.

    wish
        What it waits for; None once it has ended.
    result
        What ``work`` returned or raised; None while it runs, or if it was killed.
    heard
        A hash of all replies so far, if ``World.remembers``.
    """

    def __init__(self, work: Callable[["Actor"], object]) -> None:
        self.wish: Wish | None = None
        self.result: object = None
        self.killed = False
        self.heard = 0
        self._work = work
        self._greenlet = greenlet(self._run)
        self._greenlet.switch()

    @property
    def alive(self) -> bool:
        return self.wish is not None

    def ask(self, wish: Wish) -> Any:
        """Called by the code under test, in the actor's greenlet."""
        if self.killed:
            raise Killed
        self.wish = wish
        reply = self._greenlet.parent.switch()
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def answer(self, reply: object) -> None:
        """Return ``reply`` for the wish, or raise it if it is an exception; runs up to the next."""
        self.wish = None
        self._greenlet.switch(reply)

    def kill(self) -> None:
        if self.alive:
            self.killed = True
            self.answer(Killed())

    def _run(self) -> None:
        try:
            self.result = self._work(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  kept as the result
            self.result = error
        self.wish = None


class SteppedClient:
    """A DynamoDB client whose calls are wishes of ``actor``."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor

    def update_item(self, **arguments: Any) -> Any:
        return self._actor.ask(Call("update_item", arguments))

    def put_item(self, **arguments: Any) -> Any:
        return self._actor.ask(Call("put_item", arguments))

    def get_item(self, **arguments: Any) -> Any:
        return self._actor.ask(Call("get_item", arguments))

    def query(self, **arguments: Any) -> Any:
        return self._actor.ask(Call("query", arguments))


@functools.cache
def _state_of(expression: str) -> str:
    found = re.search(r"#state = (:\w+)", expression)
    assert found is not None, expression
    return found[1]
