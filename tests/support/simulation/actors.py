"""Processes whose every step is somebody else's decision.

An actor runs ordinary code in a thread of its own, and stops wherever that code asks the world
for something: a call of DynamoDB, a connection, a POST. Only one thread ever runs, so that a test
decides on the order of everything, and may end an actor at any of these points.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Killed(BaseException):
    """The process died: no handler of the code under test runs, as none would."""


@dataclass(frozen=True)
class Call:
    """One call of DynamoDB, not made yet."""

    operation: str
    arguments: dict[str, Any] = field(repr=False)

    @property
    def is_write(self) -> bool:
        return self.operation in ("update_item", "put_item")


class Connect:
    """A connection to Plivo is wanted."""


@dataclass(frozen=True)
class Post:
    """The POST is out; what Plivo answers is open."""

    number: int


type Wish = Call | Connect | Post


class Actor:
    """Runs ``work`` up to its first wish.

    wish
        What it waits for; None once it ended.
    result
        What ``work`` returned or raised; None while it runs, or if it was killed.
    """

    def __init__(self, work: Callable[["Actor"], object]) -> None:
        self.wish: Wish | None = None
        self.result: object = None
        self._work = work
        self._reply: object = None
        self._killed = False
        self._stopped = threading.Semaphore(0)
        self._go_on = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._stopped.acquire()

    @property
    def alive(self) -> bool:
        return self.wish is not None

    def ask(self, wish: Wish) -> Any:
        """Called by the code under test, in the actor's thread."""
        if self._killed:
            raise Killed
        self.wish = wish
        self._stopped.release()
        self._go_on.acquire()
        if isinstance(self._reply, BaseException):
            raise self._reply
        return self._reply

    def answer(self, reply: object) -> None:
        """Fulfil the wish, or raise it if it is an exception; runs up to the next one."""
        self._reply = reply
        self.wish = None
        self._go_on.release()
        self._stopped.acquire()

    def kill(self) -> None:
        if self.alive:
            self._killed = True
            self.answer(Killed())
        self._thread.join()

    def _run(self) -> None:
        try:
            self.result = self._work(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  the test looks at what it was
            self.result = error
        finally:
            self.wish = None
            self._stopped.release()


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
