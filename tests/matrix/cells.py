"""Plays each row at each entry point in each situation, and checks the result."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Self

from cold_transfer.action import ActionName
from cold_transfer.causes import Cause
from tests.matrix.rows import ACTIONS, RECORDED, RIVAL_ROWS, ROWS, Content, Row, rows_of
from tests.support.fault_server import FaultServer
from tests.support.ledgers import create_table, items
from tests.support.processes.environment import (
    AFTER_THE_LEASE_MS,
    CALM,
    ENTRY_POINTS,
    EVENT,
    WEBHOOK,
    Conditions,
    Environment,
    Place,
    Reply,
)
from tests.support.processes.workers import Job, run_killed
from tests.support.tls import Authority

RIVALS = 50
LATER = Conditions(clock_offset_ms=AFTER_THE_LEASE_MS)

IN_FLIGHT = {WEBHOOK: "409 in-progress", EVENT: "returns in flight"}
DUPLICATE_IN_PROGRESS = {
    WEBHOOK: "409 duplicate-in-progress of another",
    EVENT: "raises duplicate-in-progress",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: the result, and every difference from what was expected.

    shown
        POSTs, recorded state and answer, without what varies between runs.
    """

    action: str
    row: str
    entry_point: str
    situation: str
    shown: str
    wrong: tuple[str, ...]


class Scene:
    """What one cell runs on: a table, a server in place of Plivo, and environments."""

    def __init__(self, plan: "Plan", dynamodb: Any, url: str, authority: Authority) -> None:
        self.row = row = plan.row
        self.entry_point = plan.entry_point
        self.content = Content(plan.entry_point, plan.action)
        self.wrong: list[str] = []
        self._dynamodb = dynamodb
        self._authority = authority
        tls = authority.server if row.tls else None
        self.plivo = FaultServer(*row.faults, tls=tls)
        ca_file = authority.ca_file if row.tls else ""
        self.place = Place(url, create_table(dynamodb), self.plivo.url, ca_file)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self.plivo)
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def event(self, number: int) -> dict[str, Any]:
        return self.row.event_of(self.content, number)

    def environment(self, entry_point: str, conditions: Conditions) -> Environment:
        environment = Environment(
            self.place,
            entry_point,
            conditions,
            client=self._dynamodb,
            context=self._authority.client if self.row.tls else None,
        )
        self._open.callback(environment.close)
        return environment

    def invoke(self, number: int, conditions: Conditions) -> Reply:
        event = self.event(number)
        return self.environment(entry_point_of(event), conditions).invoke(event)

    def records(self) -> list[dict[str, Any]]:
        """The K items."""
        found = items(self._dynamodb, self.place.table)
        return [item for item in found if item["pk"]["S"].startswith("K#")]

    def states(self) -> list[str]:
        return sorted(record["state"]["S"] for record in self.records())

    def attempts(self) -> int:
        return sum(int(record["attempt"]["N"]) for record in self.records())

    def expect(self, what: str, found: object, *wanted: object) -> None:
        if found not in wanted:
            self.wrong.append(f"{what}: {found!r}, not {' or '.join(map(repr, wanted))}")

    def settled(self, posts: int, *states: str) -> str:
        """Check the POSTs and the recorded states; returns both as the page shows them."""
        self.expect("POSTs", self.plivo.posts, posts)
        self.expect("records", self.states(), sorted(filter(None, states)))
        return f"{self.plivo.posts} · {', '.join(self.states()) or 'no record'}"


def entry_point_of(event: Mapping[str, Any]) -> str:
    return EVENT if "detail-type" in event else WEBHOOK


def answer(
    entry_point: str, cause: Cause, status: int, *, raised: bool = False, **how: bool
) -> str:
    """The answer of an entry point; ``raised`` if the attempt ended without a verdict."""
    marks = "".join(f" {mark}" for mark in _MARKS if how.get(mark))
    marks = marks.replace("another", "of another")
    if entry_point == WEBHOOK:
        return f"{status}{'' if cause is Cause.ACCEPTED else f' {cause}'}{marks}"
    if cause is Cause.ACCEPTED:
        return f"returns accepted{marks}"
    return f"raises {cause}" if raised else f"raises {RECORDED[cause][0]}: {cause}"


_MARKS = ("replayed", "another")


def own(row: Row, entry_point: str, **how: bool) -> str:
    """The answer for the row's cause."""
    unrecorded = row.state in ("", "claimed")
    return answer(entry_point, row.cause, row.status, raised=unrecorded, **how)


def accepted(entry_point: str, **how: bool) -> str:
    return answer(entry_point, Cause.ACCEPTED, 201, **how)


def died(entry_point: str, **how: bool) -> str:
    return answer(entry_point, Cause.ABANDONED, 504, replayed=True, **how)


# --- rows of one request -------------------------------------------------------------------------


def first(scene: Scene) -> str:
    row, entry_point = scene.row, scene.entry_point
    reply = scene.invoke(0, row.conditions(0))
    scene.expect("answer", reply.text, own(row, entry_point))
    if row.metric:
        scene.expect(row.metric, reply.metrics[row.metric], 1)
    return f"{scene.settled(row.posts, row.state)} · {reply.text}"


def again(scene: Scene) -> str:
    """The same request again, in another environment, after the first was answered."""
    row, entry_point = scene.row, scene.entry_point
    scene.invoke(0, row.conditions(0))
    reply = scene.invoke(0, row.conditions(1))
    posts, state, wanted = row.posts, row.state, own(row, entry_point)
    if row.state in ("claimed", "sending"):
        wanted = IN_FLIGHT[entry_point]
    elif row.recovers:
        posts, state, wanted = 1, "accepted", accepted(entry_point)
    elif row.resends:
        posts = 2 * row.posts
    elif row.state:
        wanted = own(row, entry_point, replayed=True)
        scene.expect("ActionReplayed", reply.metrics["ActionReplayed"], 1)
    scene.expect("answer", reply.text, wanted)
    return f"{scene.settled(posts, state)} · {reply.text}"


def concurrent(scene: Scene) -> str:
    """50 environments get the same request at the same moment."""
    row, entry_point = scene.row, scene.entry_point
    replies = together(scene, row.conditions(0))
    mine, busy, replayed = (
        own(row, entry_point),
        IN_FLIGHT[entry_point],
        own(row, entry_point, replayed=True),
    )
    allowed = {mine, busy, replayed} if row.state else {mine}
    if row.state == "not_sent" and entry_point == EVENT:
        allowed.add("raises in-progress")  # lost the race for the claim in every round
    scene.expect("other answers", sorted(set(replies) - allowed), [])
    if not row.state:
        return f"{scene.settled(row.posts)} · 50 x {mine}"
    attempts = scene.attempts()
    if not row.resends:
        scene.expect("attempts", attempts, 1)
    # at the event entry point a replayed failure reads like the first one
    if mine != replayed:
        scene.expect("answers that are not replayed", replies[mine], attempts)
    recorded = scene.settled(row.posts * attempts, row.state).partition(" · ")[2]
    per_attempt = f"{row.posts} per attempt" if row.resends else f"{row.posts}"
    return f"{per_attempt} · {recorded} · {mine}, else in flight or replayed"


def killed(scene: Scene) -> str:
    """The invocation is killed; the request comes again, at once and when its lease is over."""
    row, entry_point = scene.row, scene.entry_point
    if not row.kill:
        return "-"
    run_killed(Job(scene.place, entry_point, [scene.event(0)], row.conditions(0), kill=row.kill))
    # after a rotation there are two POSTs; the kill is after the first one
    sent = 1 if row.kill in ("after send", "failed settle") else 0
    scene.settled(sent, row.left)
    at_once = scene.invoke(0, row.conditions(1)).text
    later = replace(row.conditions(1), clock_offset_ms=AFTER_THE_LEASE_MS)
    open_still = row.left in ("claimed", "sending")
    if entry_point == EVENT and open_still:  # a repeated webhook settles the record itself
        found = scene.environment(entry_point, later).reconcile()
        scene.expect("reconciled", found, ["unknown" if row.left == "sending" else "not_sent"])
    reply = scene.invoke(0, later)
    if row.left == "sending":
        wanted, state = died(entry_point), "unknown"
    elif row.left == "claimed" and not row.recovers:
        wanted, state, sent = own(row, entry_point), row.state, row.posts
    else:
        wanted, state, sent = accepted(entry_point, replayed=row.left != "claimed"), "accepted", 1
    if open_still:
        scene.expect("answer at once", at_once, IN_FLIGHT[entry_point])
    else:
        scene.expect("answer at once", at_once, accepted(entry_point, replayed=bool(row.left)))
    scene.expect("answer after the lease", reply.text, wanted)
    return f"{scene.settled(sent, state)} · {at_once}, later {reply.text}"


def together(scene: Scene, conditions: Conditions) -> Counter[str]:
    """Requests 0 to 49 at the same moment, each in its own environment."""
    events = [scene.event(number) for number in range(RIVALS)]
    ready = [scene.environment(entry_point_of(event), conditions) for event in events]
    start = threading.Barrier(RIVALS)

    def invoke(environment: Environment, event: dict[str, Any]) -> str:
        start.wait(30)
        return environment.invoke(event).text

    with ThreadPoolExecutor(RIVALS) as pool:
        return Counter(pool.map(invoke, ready, events))


# --- rows of two requests that conflict ----------------------------------------------------------


def _second(scene: Scene, *, cause: Cause = Cause.ACCEPTED) -> str:
    """The answer to the second request, after the first ended with ``cause``."""
    if scene.row.cause is Cause.KEY_REUSED:
        return answer(scene.entry_point, Cause.KEY_REUSED, 422, raised=True)
    if cause is Cause.ACCEPTED:
        return accepted(scene.entry_point, replayed=True, another=True)
    return died(scene.entry_point, another=True)


def _states(scene: Scene, state: str = "accepted") -> list[str]:
    return [state] if scene.row.cause is Cause.KEY_REUSED else [state, "duplicate"]


def rival_first(scene: Scene) -> str:
    scene.invoke(0, CALM)
    reply = scene.invoke(1, CALM)
    scene.expect("answer", reply.text, _second(scene))
    return f"{scene.settled(1, *_states(scene))} · {reply.text}"


def rival_again(scene: Scene) -> str:
    scene.invoke(0, CALM)
    scene.invoke(1, CALM)
    reply = scene.invoke(1, CALM)
    scene.expect("answer", reply.text, _second(scene))
    return f"{scene.settled(1, *_states(scene))} · {reply.text}"


def rival_concurrent(scene: Scene) -> str:
    replies = together(scene, CALM)
    firsts = {accepted(entry_point) for entry_point in ENTRY_POINTS}
    scene.expect("accepted, not replayed", sum(replies[text] for text in firsts), 1)
    allowed = set(firsts)
    if scene.row.cause is Cause.KEY_REUSED:
        allowed.add(_second(scene))
        shown = f"one accepted, 49 x {_second(scene)}"
    else:
        for entry_point in ENTRY_POINTS:
            allowed |= {
                IN_FLIGHT[entry_point],
                DUPLICATE_IN_PROGRESS[entry_point],
                accepted(entry_point, replayed=True),
            }
            allowed.add(accepted(entry_point, replayed=True, another=True))
        shown = "one accepted, else 409 or replayed"
    scene.expect("other answers", sorted(set(replies) - allowed), [])
    states = scene.states()
    scene.expect("accepted records", states.count("accepted"), 1)
    scene.expect("other states", sorted(set(states) - {"accepted", "duplicate", "not_sent"}), [])
    scene.expect("POSTs", scene.plivo.posts, 1)
    return f"{scene.plivo.posts} · accepted · {shown}"


def rival_killed(scene: Scene) -> str:
    event = scene.event(0)
    run_killed(Job(scene.place, entry_point_of(event), [event], CALM, kill=scene.row.kill))
    at_once = scene.invoke(1, CALM).text
    reused = scene.row.cause is Cause.KEY_REUSED
    scene.expect(
        "answer at once",
        at_once,
        _second(scene) if reused else DUPLICATE_IN_PROGRESS[scene.entry_point],
    )
    if scene.entry_point == EVENT or reused:
        found = scene.environment(scene.entry_point, LATER).reconcile()
        scene.expect("reconciled", found, ["unknown"])
    reply = scene.invoke(1, LATER)
    scene.expect("answer after the lease", reply.text, _second(scene, cause=Cause.ABANDONED))
    return f"{scene.settled(1, *_states(scene, 'unknown'))} · {at_once}, later {reply.text}"


# --- rows of two requests that do not conflict: another key is another request -------------------


def apart_first(scene: Scene) -> str:
    scene.invoke(0, CALM)
    reply = scene.invoke(1, CALM)
    scene.expect("answer", reply.text, accepted(scene.entry_point))
    return f"{scene.settled(2, 'accepted', 'accepted')} · {reply.text}"


def apart_again(scene: Scene) -> str:
    scene.invoke(0, CALM)
    scene.invoke(1, CALM)
    reply = scene.invoke(1, CALM)
    scene.expect("answer", reply.text, accepted(scene.entry_point, replayed=True))
    return f"{scene.settled(2, 'accepted', 'accepted')} · {reply.text}"


def apart_concurrent(scene: Scene) -> str:
    events = [scene.event(number) for number in range(RIVALS)]
    posts = len({(entry_point_of(event), _key_of(event)) for event in events})
    replies = together(scene, CALM)
    firsts = {accepted(entry_point) for entry_point in ENTRY_POINTS}
    scene.expect("accepted, not replayed", sum(replies[text] for text in firsts), posts)
    allowed = set(firsts)
    for entry_point in ENTRY_POINTS:
        allowed |= {IN_FLIGHT[entry_point], accepted(entry_point, replayed=True)}
    scene.expect("other answers", sorted(set(replies) - allowed), [])
    scene.settled(posts, *["accepted"] * posts)
    return f"{posts} · accepted · one accepted per key, else in flight or replayed"


def _key_of(event: Mapping[str, Any]) -> str:
    return str(event["id"] if "id" in event else event["headers"]["Idempotency-Key"])


def apart_killed(scene: Scene) -> str:
    event = scene.event(0)
    run_killed(Job(scene.place, entry_point_of(event), [event], CALM, kill=scene.row.kill))
    at_once = scene.invoke(1, CALM).text
    scene.expect("answer at once", at_once, accepted(scene.entry_point))
    found = scene.environment(scene.entry_point, LATER).reconcile()
    scene.expect("reconciled", found, ["unknown"])
    reply = scene.invoke(1, LATER)
    scene.expect("answer after the lease", reply.text, accepted(scene.entry_point, replayed=True))
    return f"{scene.settled(2, 'accepted', 'unknown')} · {at_once}, later {reply.text}"


type Play = Callable[[Scene], str]

#: How each is played: one request, two that conflict, two that do not.
SITUATIONS: Mapping[str, tuple[Play, Play, Play]] = MappingProxyType(
    {
        "first": (first, rival_first, apart_first),
        "again": (again, rival_again, apart_again),
        "50 at once": (concurrent, rival_concurrent, apart_concurrent),
        "again after a kill": (killed, rival_killed, apart_killed),
    }
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One cell to be played."""

    action: ActionName
    row: Row
    entry_point: str
    situation: str

    @property
    def name(self) -> str:
        return f"{self.action} | {self.row.name} | {self.entry_point} | {self.situation}"

    def play(self, dynamodb: Any, url: str, authority: Authority) -> Cell:
        alone, rival, apart = SITUATIONS[self.situation]
        play = rival if self.row in RIVAL_ROWS else alone
        if self.row in RIVAL_ROWS and self.row.cause is Cause.ACCEPTED and not self.action.dials:
            play = apart  # no content window
        with Scene(self, dynamodb, url, authority) as scene:
            shown = play(scene)
        return Cell(
            self.action,
            self.row.name,
            self.entry_point,
            self.situation,
            shown,
            tuple(scene.wrong),
        )


def plans(
    actions: Iterable[ActionName] = ACTIONS, rows: Iterable[Row] = (*ROWS, *RIVAL_ROWS)
) -> Iterator[Plan]:
    rows = tuple(rows)
    for action in actions:
        for row in rows_of(action, rows):
            for entry_point in row.entry_points:
                for situation in SITUATIONS:
                    yield Plan(action, row, entry_point, situation)
