"""The invocations of the world, and what the rules need to know of each."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from cold_transfer.action import Action, ActionRequest, Verdict
from cold_transfer.causes import Outcome
from cold_transfer.settling import CALL_SECONDS
from tests.explorer.versions import OTHER_HASH


@dataclass(eq=False)
class Process:
    """An invocation.

    ordinal
        Its number, in the order in which the invocations began.
    clock
        Milliseconds by which its wall clock is off.
    version
        The version of its code: see ``versions``.
    deadline
        When it ends, in the world's time.
    patience_ms
        How long it waits for a call of DynamoDB that hangs.
    unheard
        Whether its last call of DynamoDB failed, as far as it can know.
    fenced
        The attempts that it settled as abandoned: Action-Id and number.
    told
        Those of them that it reported.
    """

    ordinal: int = 0
    clock: int = 0
    version: int = 1
    deadline: int = 0
    patience_ms: int = int(CALL_SECONDS * 1000)
    unheard: bool = False
    counted: list[str] = field(default_factory=list)
    fenced: list[tuple[str, int]] = field(default_factory=list)
    told: list[tuple[str, int]] = field(default_factory=list)


@dataclass(eq=False)
class Lookup(Process):
    """A lookup; ``existed`` if the request had a record when it began."""

    action_id: str = ""
    existed: bool = False


@dataclass(eq=False, kw_only=True)
class Attempt(Process):
    """An invocation for one request, which arrived at the time ``at``.

    max_age
        The age in milliseconds from which on the request is not sent.
    calm
        Whether nothing runs at the same time and nothing fails.
    key, content
        What makes it the same request as another, and the same content.
    owners, number
        The owners that its claims wrote, and the number of its attempt.
    sent
        Its POSTs.
    cleared
        Numbers of POSTs with this content that did not block it at one of its calls.
    reasons
        Action-Ids of settled actions that could block it at one of its calls.
    busy
        Whether its request or its content was in progress elsewhere at one of its calls.
    met, meets
        Whether another attempt of the same delivery was in progress at any call, and at the last.
    refused, settles
        How many of its writes failed their condition, and how many were settles.
    age
        The age of its request in milliseconds when it was about to mark it as sending.
    left_ms, waited_ms
        The time left when Plivo's last verdict came, and the time spent waiting since.
    """

    request: ActionRequest
    at: int
    max_age: int
    calm: bool = False
    action_id: str = ""
    key: Hashable = None
    content: tuple[Hashable, bool] = (None, False)
    owners: set[str] = field(default_factory=set)
    number: int = 0
    sent: list["Sent"] = field(default_factory=list)
    cleared: set[int] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    busy: bool = False
    met: bool = False
    meets: bool = False
    refused: int = 0
    settles: int = 0
    age: int = 0
    left_ms: int = 0
    waited_ms: int = 0

    def __post_init__(self) -> None:
        request = self.request
        self.action_id = request.action_id()
        self.key = request.entry_point, request.client, request.key
        # two versions of the fingerprint cannot recognise the same content
        self.content = canonical(request.action), self.version == OTHER_HASH

    @property
    def dials(self) -> bool:
        """Whether its content has a window; otherwise only its key counts."""
        return self.request.action.name in ("cold_transfer", "warm_transfer", "call")

    @property
    def executed(self) -> bool:
        """Whether Plivo executed one of its POSTs, or may have."""
        return not all(sent.proven_not_executed for sent in self.sent)


@dataclass(eq=False)
class Sent:
    """One POST that Plivo received."""

    number: int
    attempt: Attempt
    at: int
    token: str
    verdict: Verdict | None = None

    @property
    def proven_not_executed(self) -> bool:
        return self.verdict is not None and self.verdict.outcome is Outcome.NOT_SENT


def canonical(action: Action) -> Hashable:
    """Equal for actions that are the same to Plivo."""
    ids = action.phlo_id.lower(), action.node_id.lower()
    addresses = action.to, action.trigger_source, action.member_address
    plain = (address.lower().removeprefix("+") for address in addresses)
    return action.name, *ids, *plain, action.role
