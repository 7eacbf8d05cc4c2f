"""Whether two runs have reached the same state, so that only one of them has to go on.

The state is everything that later steps depend on: the table, the calls still on their way to it,
the clock, the replies that each invocation got, and the memory of the rules. Owners are random;
here they are named after the invocations that made them.
"""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tests.explorer.processes import Attempt, Process

if TYPE_CHECKING:
    from tests.explorer.world import World


def state_of(world: "World") -> Hashable:
    """Equal for two worlds in which the same steps have the same results."""
    owners = world.invariants.owners
    return (
        world.now,
        tuple(sorted(written(item, owners) for item in world.items())),
        tuple(
            (call.operation, written(call.arguments, owners), _memory(process))
            for call, process in world.late
        ),
        tuple((sent.attempt.ordinal, sent.at, sent.token, sent.verdict) for sent in world.sent),
        frozenset(
            (actor.heard, type(actor.wish), _memory(process)) for actor, process in world.at_work()
        ),
        world.invariants.memory(),
    )


def written(value: Any, owners: Mapping[str, str]) -> str:
    """A reply or an item as text, with owners replaced by their names."""
    if isinstance(value, ClientError):
        value = value.response
    if isinstance(value, dict):
        value = sorted(value.items())
    text = repr(value)
    for owner, name in owners.items():
        text = text.replace(owner, name)
    return text


def _memory(process: Process) -> Hashable:
    """What the rules remember of an invocation."""
    common = (
        process.ordinal,
        process.unheard,
        tuple(process.counted),
        tuple(process.fenced),
        tuple(process.told),
    )
    if not isinstance(process, Attempt):
        return common
    return (
        *common,
        process.number,
        len(process.owners),
        frozenset(process.cleared),
        frozenset(process.reasons),
        process.busy,
        process.met,
        process.meets,
        process.refused,
        process.settles,
        process.age,
        process.left_ms,
        process.waited_ms,
    )
