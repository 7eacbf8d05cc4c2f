"""When two runs have come to the same point: whatever happens from there on is the same for both.

What counts is all that the future depends on: the table, what is on its way to it, the clock, what
each invocation was answered, and what the rules remember. Owners are random, and differ from run to
run; here they have the names of the invocations that made them.
"""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tests.explorer.processes import Attempt, Process

if TYPE_CHECKING:
    from tests.explorer.world import World


def state_of(world: "World") -> Hashable:
    """Equal for two worlds in which the same steps lead to the same."""
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
    """What was said or is stored, with the owners by their names."""
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
