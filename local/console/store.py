"""Collects what the watchers find, and joins it to actions.

Everything here runs in the event loop's thread, so nothing is locked. Memory is bounded: the oldest
actions are dropped first.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice, takewhile
from typing import Any

from local.console import stack_access
from local.console.model import REQUESTS_KEPT, Action, Received, Request
from local.console.stack_access import Invocation, StackAccess

ACTIONS_KEPT = 5_000
REQUESTS_SHOWN = 5
RECEIVED_SHOWN = 20
PER_ACTION_KEPT = 20  # of outcome events, and of what Plivo received
CALLS_SHOWN = 12
LEFT_SHOWN = 6

#: The most requests in progress whose record is polled.
RECORDS_WATCHED = 20

#: How many of the latest changed actions are searched for the one that a POST belongs to.
RECENT = 200

#: How long an invocation's trace waits for its log, and its log for its trace.
HALF_SECONDS = 3.0
#: Allows for the difference between two clocks on this machine, and for times in milliseconds.
SLACK_SECONDS = 0.005
#: An invocation that ended at most this long before an answer led to that answer.
NEAR_SECONDS = 0.5
#: How long after its answer a request is still matched with invocations that appear late.
ANSWERED_SECONDS = 120.0
#: A POST that matches no request after this time was sent by another program.
UNEXPLAINED_SECONDS = 60.0

#: What a request takes from its answer, or from its invocation.
_RESULT = ("status", "outcome", "cause", "replayed", "correlation_id")


class Store:
    """Everything that the page shows.

    want_record
        Called with the Action-Id of a record that may have changed. Its caller passes that record
        to ``record`` later.
    clock
        Epoch seconds.
    version
        Increases with every change.
    """

    def __init__(
        self,
        access: StackAccess,
        want_record: Callable[[str], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._want_record = want_record
        self._clock = clock
        self._numbers = 0
        self._actions: OrderedDict[int, Action] = OrderedDict()  # the latest changed comes last
        self._by_id: dict[str, Action] = {}
        self._by_event: dict[str, Request] = {}  # by the event's id
        self._joined: deque[tuple[int, int]] = deque(maxlen=1_000)  # version, number
        # the console's own requests that have no invocation yet
        self._open: dict[int, Request] = {}
        self._halves: dict[str, tuple[float, Invocation]] = {}
        self._seen: dict[str, Request] = {}  # by the trace's id
        self._unexplained: list[Received] = []
        self._received: deque[Received] = deque(maxlen=RECEIVED_SHOWN)
        self._calls: dict[int, dict[str, Any]] = {}
        self._letters: dict[str, Mapping[str, Any]] = {}
        self._requests = self._posts = self._sent = 0
        self._counted_from = (0, 0)
        self.version = 0
        self._changed = asyncio.Event()

    # --- what is seen ----------------------------------------------------------------------------

    def requested(
        self, entry_point: str, client: str, fields: Mapping[str, str], key: str
    ) -> Request:
        """Add a request that the console is about to send."""
        request = self._new_request(self._clock(), entry_point, client, fields, key)
        self._open[request.number] = request
        if key:
            self._place(request, self._access.action_id(entry_point, client, key))
        return request

    def answered(self, request: Request, answer: Mapping[str, Any]) -> None:
        """Add the webhook's answer to a request, as ``request_form.Sender.post`` returned it."""
        request.answer = answer
        request.answered_at = self._clock()
        self._set_result(request, answer)
        self._place(request, answer["action_id"], answer["duplicate_of"])
        self._match()

    def on_the_bus(self, request: Request, answer: Mapping[str, Any]) -> None:
        """Add the bus's answer to a request, as ``request_form.Sender.put`` returned it.

        Its outcome will be that of the event's invocation.
        """
        request.answer = answer
        request.correlation_id = event_id = answer["event_id"]
        _remember(self._by_event, event_id, request)
        if not request.key:
            self._place(request, self._access.action_id("event", request.client, event_id))
        self._match()

    def lost(self, request: Request, cause: str) -> None:
        """Give up waiting for a request's answer."""
        request.answered_at = self._clock()
        self._set_result(request, {"cause": cause})
        self._touch(request.action)

    def segment(self, segment: Mapping[str, Any]) -> None:
        """Add one segment from the trace sink."""
        traced = stack_access.read_segment(segment)
        if traced is None or not traced.requests_action:
            return
        request = self._seen.get(traced.trace_id)
        since, logged = self._halves.get(traced.trace_id, (self._clock(), None))
        known = request.invocation if request else logged
        for line in known.lines if known else ():
            traced.take(line)
        if request is not None:
            self._serve(request, traced)
            return
        self._halves[traced.trace_id] = (since, traced)
        self._match()

    def lines(self, entry_point: str, lines: Iterable[str]) -> None:
        """Add new lines of an entry point's log."""
        for line in lines:
            trace_id = stack_access.trace_of(line)
            if trace_id in self._seen:
                request = self._seen[trace_id]
                if request.invocation is not None:
                    request.invocation.take(line)
                    self._learn(request, request.invocation)
            elif trace_id:
                half = (self._clock(), Invocation(trace_id, entry_point))
                self._halves.setdefault(trace_id, half)[1].take(line)
        self._match()

    def record(self, action_id: str, item: Mapping[str, Any] | None) -> None:
        """Add the ledger's item of an action as it is now; None if there is none."""
        action = self._by_id.get(action_id)
        if action is None or item is None:
            return
        record = stack_access.read_record(item)
        if action.records.get(action_id) == record:
            return
        action.records[action_id] = record
        first = stack_access.duplicate_of(record)
        if first and first not in action.action_ids:
            action = self._join(action, first)
            self._want_record(first)
        self._touch(action)

    def received(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add requests that the simulator received, oldest first."""
        posts = [post for entry in entries if (post := Received.of(entry)) is not None]
        self._sent += len(posts)
        self._received += posts
        self._unexplained += posts
        self._explain_posts()
        self._bump()

    def calls(self, seen: Mapping[str, Any]) -> None:
        """Add an answer of the simulator's feed of calls (``simulator_calls.Calls.seen``)."""
        for call in seen["calls"]:
            known = self._calls.setdefault(call["call_id"], {"left": [], "roles": {}})
            known |= call
            known["roles"] |= {one["address"]: one["role"] for one in call["members"]}
        for change in seen["changes"]:
            known = self._calls.get(change["call_id"], {})
            if known and change["change"] == "left":
                left = {name: change[name] for name in ("address", "action", "at")}
                left["role"] = known["roles"].get(change["address"], "")
                known["left"] = [*known["left"], left][-LEFT_SHOWN:]
        while len(self._calls) > CALLS_SHOWN:
            del self._calls[next(iter(self._calls))]
        self._bump()

    def outcome_event(self, event: Mapping[str, Any]) -> None:
        """Add an outcome event from the bus."""
        action_id, name = stack_access.read_outcome(event)
        action = self._by_id.get(action_id) or self._join(self._new_action(), action_id)
        action.name = action.name or name
        action.events = [*action.events, event][-PER_ACTION_KEPT:]
        self._want_record(action_id)
        self._touch(action)

    def letters(self, letters: Mapping[str, Mapping[str, Any]]) -> None:
        """Replace the dead letters, by message id."""
        changed = letters.keys() ^ self._letters.keys()
        known = {**self._letters, **letters}
        self._letters = dict(letters)
        for message_id in changed:
            request = self._by_event.get(known[message_id]["event_id"])
            if request is not None:
                self._touch(request.action)
        self._bump()

    def tick(self) -> None:
        """Re-examine what is in progress; called periodically."""
        self._match()
        for request in list(self._open.values()):
            if request.answered_at and self._clock() - request.answered_at > ANSWERED_SECONDS:
                del self._open[request.number]
        waiting = (one for one in self._open.values() if one.action_id and not one.answered_at)
        for request in islice(waiting, RECORDS_WATCHED):
            self._want_record(request.action_id)

    def count_from_here(self) -> None:
        """Reset the counters."""
        self._counted_from = (self._requests, self._all_sent)
        self._bump()

    # --- what is shown ---------------------------------------------------------------------------

    def figures(self) -> dict[str, Any]:
        """The counters: requests and POSTs since the last reset."""
        requests, sent = self._counted_from
        return {
            "requests": self._requests - requests,
            "sent": self._all_sent - sent,
            "from_traces": not self._access.simulator,
        }

    def calls_shown(self) -> list[dict[str, Any]]:
        """The latest call first."""
        return [
            {name: value for name, value in call.items() if name != "roles"}
            for call in reversed(self._calls.values())
        ]

    def received_shown(self) -> list[dict[str, Any]]:
        """The latest first."""
        return [one.shown() for one in reversed(self._received)]

    def listing(self, filters: Mapping[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
        """The latest actions first, and whether there are more than ``limit``."""
        latest = (self._actions[number] for number in sorted(self._actions, reverse=True))
        chosen = (action for action in latest if action.is_one_of(filters))
        found = list(islice(chosen, limit + 1))
        return [action.summary() for action in found[:limit]], len(found) > limit

    def changed_since(self, version: int, limit: int) -> dict[str, Any]:
        """The ``actions`` that changed, and the numbers of those ``joined`` into another one.

        If there are more than ``limit``, only ``too_many``.
        """
        latest = reversed(self._actions.values())
        changed = list(islice(takewhile(lambda one: one.version > version, latest), limit + 1))
        joined = [number for at, number in self._joined if at > version]
        if len(changed) > limit or len(joined) > limit:
            return {"too_many": True}
        return {"actions": [action.summary() for action in changed], "joined": joined}

    def detail(self, number: int, *, whole: bool = False) -> dict[str, Any] | None:
        """One action in full, with its latest requests, or all if ``whole``; None if not kept."""
        action = self._actions.get(number)
        if action is None:
            return None
        events = {one.correlation_id for one in action.requests if one.entry_point == "event"}
        letters = [one for one in self._letters.values() if one["event_id"] in events]
        return {
            **action.detail(REQUESTS_KEPT if whole else REQUESTS_SHOWN),
            "letters": letters,
        }

    async def next_change(self, version: int, seconds: float) -> None:
        """Return once something has changed since ``version``, or after ``seconds``."""
        if self.version == version:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), seconds)

    # --- how it is joined ------------------------------------------------------------------------

    def _new_request(
        self, at: float, entry_point: str, client: str, fields: Mapping[str, str], key: str
    ) -> Request:
        self._requests += 1
        action = self._new_action()
        action.name = fields.get("action", "")
        request = Request(action.number, at, entry_point, client, action, fields, key)
        action.add(request)
        self._touch(action)
        return request

    def _new_action(self) -> Action:
        self._numbers += 1
        action = self._actions[self._numbers] = Action(self._numbers)
        if len(self._actions) > ACTIONS_KEPT:
            oldest = self._actions.pop(min(self._actions))
            for action_id in oldest.action_ids:
                self._by_id.pop(action_id, None)
        return action

    def _place(self, request: Request, action_id: str, duplicate_of: str = "") -> None:
        """Join a request's action with those of its Action-Id and of the one it duplicates."""
        request.action_id = action_id or request.action_id
        request.duplicate_of = duplicate_of or request.duplicate_of
        for one in filter(None, (request.action_id, request.duplicate_of)):
            self._join(request.action, one)
            self._want_record(one)
        self._touch(request.action)

    def _join(self, action: Action, action_id: str) -> Action:
        """Join ``action`` and the one with ``action_id`` into the older of the two; returns it."""
        other = self._by_id.setdefault(action_id, action)
        kept, joined = sorted((action, other), key=lambda each: each.number)
        if kept is not joined:
            del self._actions[joined.number]
            self._joined.append((self.version + 1, joined.number))
            kept.join(joined)
        if action_id not in kept.action_ids:
            kept.action_ids.append(action_id)
        self._by_id |= dict.fromkeys(kept.action_ids, kept)
        return kept

    def _match(self) -> None:
        """Find the request that each new invocation served, or add one for it."""
        for trace_id, (since, invocation) in list(self._halves.items()):
            whole = invocation.ended and invocation.lines
            if not whole and self._clock() - since < HALF_SECONDS:
                continue
            if not invocation.requests_action:
                del self._halves[trace_id]
                continue
            request = self._served_by(invocation)
            if request is not None:
                del self._halves[trace_id]
                self._serve(request, invocation)
        self._explain_posts()

    def _served_by(self, invocation: Invocation) -> Request | None:
        """The request that an invocation served: one of the console's, or a new one.

        None if it may be one of several, until another answer shows which.
        """
        fitting = [one for one in self._open.values() if _fits(one, invocation)]
        answered = [one for one in fitting if _is_answered(one)]
        answered.sort(key=lambda one: one.answered_at - invocation.ended)
        certain = answered and (
            len(answered) == len(fitting)
            or answered[0].correlation_id == invocation.correlation_id
            or answered[0].answered_at - invocation.ended < NEAR_SECONDS
        )
        if certain:
            return answered[0]
        if fitting:
            return None
        at = invocation.started or self._clock()
        return self._new_request(at, invocation.entry_point, invocation.client, {}, "")

    def _serve(self, request: Request, invocation: Invocation) -> None:
        request.invocation = invocation
        self._posts += len(invocation.posts())
        _remember(self._seen, invocation.trace_id, request)
        if request.entry_point == "event" or not request.fields:
            request.answered_at = invocation.ended or self._clock()
        self._learn(request, invocation)

    def _learn(self, request: Request, invocation: Invocation) -> None:
        """Take over what an invocation shows, except for an answer that the console received."""
        if request.entry_point == "event" or not request.fields:
            result = {name: getattr(invocation, name) for name in _RESULT}
            self._set_result(request, {**result, "replayed": bool(invocation.replayed)})
            if request.entry_point == "event":
                _remember(self._by_event, request.correlation_id, request)
        request.action.name = request.action.name or invocation.action
        self._place(request, invocation.action_id, invocation.duplicate_of)

    def _set_result(self, request: Request, result: Mapping[str, Any]) -> None:
        for name in _RESULT:
            setattr(request, name, result.get(name, getattr(request, name)))
        request.done.set()

    def _explain_posts(self) -> None:
        """Find out which action each POST was for."""
        left = []
        for post in self._unexplained:
            action = self._action_of(post)
            if action is not None:
                action.received = [*action.received, post][-PER_ACTION_KEPT:]
                action.name = action.name or post.content.get("action", "")
                self._touch(action)
            elif self._clock() - post.at < UNEXPLAINED_SECONDS:
                left.append(post)
        self._unexplained = left

    def _action_of(self, post: Received) -> Action | None:
        """The action that a POST was for.

        A request of the console must have the same content; one of another program, whose content
        is not known, must have posted at that time.
        """
        in_progress: Action | None = None
        of_others: Action | None = None
        for action in islice(reversed(self._actions.values()), RECENT):
            for request in action.requests:
                invocation = request.invocation
                posting = invocation is not None and any(
                    begun - SLACK_SECONDS <= post.at <= ended + SLACK_SECONDS
                    for begun, ended in invocation.posts()
                )
                if request.fields and post.is_of(request.fields):
                    if posting:
                        return action
                    if not request.answered_at and request.at <= post.at:
                        in_progress = in_progress or action
                elif posting and not request.fields:
                    of_others = of_others or action
        return in_progress or of_others

    @property
    def _all_sent(self) -> int:
        return self._sent if self._access.simulator else self._posts

    def _touch(self, action: Action) -> None:
        self._bump()
        if self._actions.get(action.number) is action:
            action.version = self.version
            self._actions.move_to_end(action.number)

    def _bump(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def _remember(requests: dict[str, Request], name: str, request: Request) -> None:
    """Keep a request under a name; the oldest one is dropped if there are too many."""
    requests[name] = request
    if len(requests) > ACTIONS_KEPT:
        del requests[next(iter(requests))]


def _is_answered(request: Request) -> bool:
    """Whether enough is known about a request to recognise its invocation."""
    return bool(request.correlation_id if request.entry_point == "event" else request.answered_at)


def _fits(request: Request, invocation: Invocation) -> bool:
    """Whether an invocation may have served a request of the console, as far as is known."""

    def agree(name: str) -> bool:
        ours, theirs = getattr(request, name), getattr(invocation, name)
        return ours in ("", None) or theirs in ("", None) or ours == theirs

    if request.invocation is not None or not (agree("entry_point") and agree("correlation_id")):
        return False
    if request.entry_point == "event":
        return True
    if not all(map(agree, ("client", "action_id", "cause"))):
        return False
    if request.answered_at and not agree("replayed"):
        return False
    until = (request.answered_at or invocation.ended) + SLACK_SECONDS
    return not invocation.ended or request.at - SLACK_SECONDS <= invocation.ended <= until
