"""How the console correlates requests, traces, logs, records and what Plivo received."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from local.console.model import REQUESTS_KEPT, Request
from local.console.store import ACTIONS_KEPT, HALF_SECONDS, REQUESTS_SHOWN, Store
from tests.support import console
from tests.support.console import FIELDS, Invoked, accepted, answer

A, B = "a" * 64, "b" * 64
OTHER = {**FIELDS, "to": "+14152226666"}


class Seen:
    """A store whose clock the test sets."""

    def __init__(self, *, simulator: bool = True) -> None:
        self.now = 1_000.0
        self.wanted: list[str] = []
        access = console.access(simulator=simulator)
        self.store = Store(access, self.wanted.append, clock=lambda: self.now)

    def request(
        self, key: str = "", fields: Mapping[str, str] = FIELDS, client: str = "phlo"
    ) -> Request:
        return self.store.requested("webhook", client, fields, key)

    def invoked(self, *invocations: Invoked) -> None:
        """Traces come first, as in a running stack: the logs are polled."""
        for one in invocations:
            self.store.segment(one.segment)
        for one in invocations:
            self.store.lines(one.entry_point, [one.line])

    def actions(self, **filters: str) -> list[dict[str, Any]]:
        return self.store.listing(filters, 100)[0]

    def only(self) -> dict[str, Any]:
        (action,) = self.actions()
        found = self.store.detail(action["number"])
        assert found is not None
        return found

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.only()["requests"]]


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_a_request_is_shown_before_it_is_answered(seen: Seen) -> None:
    seen.request()

    action = seen.only()
    assert (action["outcome"], action["name"]) == ("open", "cold_transfer")
    assert (action["request_count"], action["sent"]) == (1, 0)
    assert seen.kinds() == ["open"]


def test_the_record_of_a_request_in_progress_is_polled(seen: Seen) -> None:
    request = seen.request("key-1")
    assert seen.wanted == [request.action_id]
    seen.store.record(request.action_id, console.item(request.action_id, "claimed"))
    seen.store.tick()
    assert seen.wanted == [request.action_id] * 2

    seen.store.record(request.action_id, console.item(request.action_id, "sending"))

    assert seen.only()["record"]["state"] == "sending"
    assert seen.only()["outcome"] == "open"


def test_an_answered_request_has_the_steps_and_log_lines_of_its_invocation(seen: Seen) -> None:
    request = seen.request()
    invocation = accepted(seen.now + 0.1, A)
    seen.now += 0.3
    seen.store.answered(request, answer(A))
    seen.invoked(invocation)

    action = seen.only()
    assert (action["outcome"], action["request_count"], action["sent"]) == ("accepted", 1, 1)
    steps = [(step["name"], step["at_ms"], step["ms"]) for step in action["steps"]]
    assert steps == [("claim", 0.0, 10.0), ("mark sending", 20.0, 10.0), ("POST", 40.0, 20.0)]
    (shown,) = action["requests"]
    assert shown["kind"] == "first"
    assert shown["answer"]["body"] == '{"api_id": "a", "error": ""}'
    assert (shown["trace_id"], shown["lines"]) == (invocation.trace_id, [invocation.line])


@pytest.mark.parametrize("log_first", [False, True])
def test_trace_and_log_may_arrive_before_the_answer_and_in_any_order(
    seen: Seen, *, log_first: bool
) -> None:
    request = seen.request()
    invocation = accepted(seen.now + 0.1, A)
    if log_first:
        seen.store.lines("webhook", [invocation.line])
        seen.store.segment(invocation.segment)
    else:
        seen.invoked(invocation)
    seen.now += 0.3
    seen.store.answered(request, answer(A))

    assert seen.kinds() == ["first"]
    assert seen.only()["steps"]


def test_replays_and_duplicates_are_joined_to_the_first(seen: Seen) -> None:
    first = seen.request()
    seen.now += 0.3
    seen.store.answered(first, answer(A))
    for request, result in (
        (seen.request(), answer(A, replayed=True)),
        (seen.request(), answer(B, replayed=True, duplicate_of=A)),
    ):
        seen.now += 0.3
        seen.store.answered(request, result)

    action = seen.only()
    assert seen.kinds() == ["first", "replay", "duplicate"]
    assert (action["request_count"], action["replays"], action["duplicates"]) == (3, 1, 1)
    assert action["action_id"] == A


def test_a_duplicate_that_only_the_ledger_shows_is_joined_too(seen: Seen) -> None:
    first, second = seen.request("key-1"), seen.request("key-2")
    assert len(seen.actions()) == 2
    version = seen.store.version

    record = console.item(second.action_id, "duplicate", duplicate_of=first.action_id)
    seen.store.record(second.action_id, record)

    assert seen.only()["request_count"] == 2
    joined = seen.store.changed_since(version, 10)["joined"]
    assert len(joined) == 1
    assert joined != [seen.only()["number"]]


def test_a_second_attempt_is_distinguished_from_a_replay(seen: Seen) -> None:
    for result in (
        answer(A, status=503, outcome="not_sent", cause="plivo-throttled"),
        answer(A),
        answer(A, replayed=True),
    ):
        request = seen.request()
        seen.now += 0.3
        seen.store.answered(request, result)

    assert seen.kinds() == ["first", "attempt 2", "replay"]
    assert seen.only()["outcome"] == "accepted"


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        ({"status": 409, "cause": "in-progress"}, "in progress"),
        ({"status": 409, "cause": "duplicate-in-progress", "duplicate_of": A}, "duplicate"),
        ({"status": 422, "cause": "key-reused"}, "refused"),
    ],
)
def test_a_request_that_was_held_back_is_joined_to_the_first(
    seen: Seen, result: dict[str, Any], kind: str
) -> None:
    first = seen.request()
    seen.store.answered(first, answer(A))
    second = seen.request()
    action_id = B if "duplicate_of" in result else A
    seen.store.answered(second, answer(action_id, outcome="", **result))

    assert seen.kinds() == ["first", kind]
    assert seen.only()["outcome"] == "accepted"


def test_a_refused_request_is_a_separate_action(seen: Seen) -> None:
    request = seen.request()
    refused = Invoked(seen.now + 0.1, cause="fields-invalid", correlation_id="r-1")
    seen.now += 0.3
    result = answer("", status=422, outcome="", cause="fields-invalid", correlation_id="r-1")
    seen.store.answered(request, result)
    seen.invoked(refused)

    assert (seen.only()["outcome"], seen.only()["cause"]) == ("refused", "fields-invalid")
    assert seen.only()["requests"][0]["trace_id"] == refused.trace_id


def test_each_of_thirty_simultaneous_requests_gets_its_own_invocation(seen: Seen) -> None:
    requests = [seen.request("key-1") for _ in range(30)]
    action_id = requests[0].action_id
    invocations = [
        accepted(seen.now + number / 100, action_id, replayed=number > 0) for number in range(30)
    ]
    seen.invoked(*invocations)
    for number, request in enumerate(requests):
        seen.now = 1_000.2 + number / 100
        seen.store.answered(request, answer(action_id, replayed=number > 0))

    action = seen.only()
    assert (action["request_count"], action["sent"]) == (30, 1)
    traces = {one.invocation.trace_id for one in requests if one.invocation}
    assert traces == {one.trace_id for one in invocations}
    assert seen.store.figures()["requests"] == 30


def test_an_answered_request_gets_its_invocation_once_the_whole_burst_is_answered(
    seen: Seen,
) -> None:
    quick, slow = seen.request("key-1"), seen.request("key-1")
    invocations = [accepted(seen.now, quick.action_id), accepted(seen.now + 1, quick.action_id)]
    seen.now += 2
    seen.store.answered(quick, answer(quick.action_id))
    seen.invoked(*invocations)
    seen.now += 90
    seen.store.tick()
    seen.store.answered(slow, answer(slow.action_id))

    assert seen.only()["request_count"] == 2
    assert {one["trace_id"] for one in seen.only()["requests"]} == {
        one.trace_id for one in invocations
    }


def test_requests_of_another_program_are_shown_too(seen: Seen) -> None:
    seen.invoked(accepted(seen.now, A, client="crm", action="hold"))
    seen.invoked(accepted(seen.now + 1, A, client="crm", action="hold", replayed=True))

    action = seen.only()
    assert action["name"] == "hold"
    assert seen.kinds() == ["first", "replay"]
    assert (action["clients"], action["own"], action["request_count"]) == (["crm"], False, 2)
    assert action["requests"][0]["status"] == 201


def test_another_programs_request_does_not_wait_for_one_of_another_action(seen: Seen) -> None:
    seen.request("key-1")

    seen.invoked(accepted(seen.now + 1, A))

    assert [one["outcome"] for one in seen.actions()] == ["accepted", "open"]


def test_an_invocation_whose_log_is_missing_is_shown_after_a_while(seen: Seen) -> None:
    invocation = accepted(seen.now, A)
    seen.store.segment(invocation.segment)
    assert seen.actions() == []

    seen.now += HALF_SECONDS
    seen.store.tick()
    assert [one["outcome"] for one in seen.actions()] == ["accepted"]

    seen.store.lines("webhook", [invocation.line])  # arrives late
    assert seen.only()["action_id"] == A
    assert seen.store.figures() == {"requests": 1, "sent": 0, "from_traces": False}


def test_an_invocation_whose_trace_is_late_gets_its_steps_afterwards(seen: Seen) -> None:
    invocation = accepted(seen.now, A)
    seen.store.lines("webhook", [invocation.line])
    seen.now += HALF_SECONDS
    seen.store.tick()
    assert seen.only()["steps"] == []

    seen.store.segment(invocation.segment)

    assert seen.only()["steps"]
    assert seen.only()["request_count"] == 1


@pytest.mark.parametrize(
    "cause", ["", "action-not-found", "unauthorized", "phlo-not-allowed", "read-failed"]
)
def test_a_read_is_not_a_request_whatever_its_result(seen: Seen, cause: str) -> None:
    read = Invoked(seen.now, method="GET", cause=cause)
    read.segment["subsegments"] = []
    seen.invoked(read)
    half = Invoked(seen.now, method="GET", cause=cause)  # its trace was lost
    seen.store.lines("webhook", [half.line])
    seen.store.lines("webhook", ["START RequestId: 1", '{"_aws": {}}', "[]"])
    seen.now += HALF_SECONDS
    seen.store.tick()

    assert seen.actions() == []
    assert seen.store.figures()["requests"] == 0


def test_a_refused_action_is_a_request(seen: Seen) -> None:
    refused = Invoked(seen.now, cause="phlo-not-allowed")
    refused.segment["subsegments"] = []
    seen.invoked(refused)

    assert seen.only()["outcome"] == "refused"


def test_an_event_is_matched_to_its_invocation_by_the_id_from_the_bus(seen: Seen) -> None:
    request = seen.store.requested("event", console.SOURCE, FIELDS, "key-1")
    seen.store.on_the_bus(request, {"event_id": "e-1", "body": ""})
    assert not request.done.is_set()

    failed = accepted(
        seen.now + 1,
        request.action_id,
        entry_point="event",
        client=console.SOURCE,
        correlation_id="e-1",
        outcome="unknown",
        cause="outcome-unknown",
        status=502,
    )
    seen.invoked(failed)

    assert request.done.is_set()
    assert (seen.only()["outcome"], request.status) == ("unknown", 502)
    assert seen.only()["entry_points"] == ["event"]


def test_an_event_without_an_invocation_is_not_in_progress_for_ever(seen: Seen) -> None:
    request = seen.store.requested("event", console.SOURCE, FIELDS, "")
    seen.store.on_the_bus(request, {"event_id": "e-1", "body": ""})

    seen.store.lost(request, "no-invocation-seen")

    assert (seen.only()["outcome"], seen.only()["cause"]) == ("refused", "no-invocation-seen")


def test_a_dead_letter_is_shown_with_its_event_while_it_is_in_the_queue(seen: Seen) -> None:
    request = seen.store.requested("event", console.SOURCE, FIELDS, "")
    seen.store.on_the_bus(request, {"event_id": "e-1", "body": ""})
    letter = {"message_id": "m-1", "event_id": "e-1", "reason": "unknown", "event": {}}
    version = seen.store.version

    seen.store.letters({"m-1": letter, "m-2": {**letter, "event_id": "e-2"}})

    assert seen.only()["letters"] == [letter]
    assert [one["number"] for one in seen.store.changed_since(version, 9)["actions"]] == [
        seen.only()["number"]
    ]
    seen.store.letters({})
    assert seen.only()["letters"] == []


def test_an_outcome_event_is_shown_with_its_action_and_its_record_is_read(
    seen: Seen,
) -> None:
    request = seen.request()
    seen.store.answered(request, answer(A))
    seen.wanted.clear()

    event = console.outcome_event(A)
    seen.store.outcome_event(event)

    assert seen.only()["events"] == [event]
    assert seen.wanted == [A]


def test_an_outcome_event_may_arrive_before_its_request(seen: Seen) -> None:
    seen.store.outcome_event(console.outcome_event(A, "hold"))
    assert seen.only()["name"] == "hold"
    seen.store.record(A, console.item(A, "not_sent"))
    assert seen.only()["outcome"] == "not_sent"

    seen.invoked(accepted(seen.now, A))

    assert seen.only()["request_count"] == 1


def test_an_action_that_is_settled_later_has_the_outcome_of_its_record(seen: Seen) -> None:
    request = seen.request("key-1")
    seen.store.answered(request, answer("", status=502, outcome="", cause=""))
    seen.store.record(request.action_id, console.item(request.action_id, "sending"))
    assert seen.only()["outcome"] == "open"

    seen.store.record(request.action_id, console.item(request.action_id, "unknown"))

    assert seen.only()["outcome"] == "unknown"


def test_a_post_is_shown_with_its_action(seen: Seen) -> None:
    first, other = seen.request(), seen.request(fields=OTHER)
    seen.now += 0.2
    for request, action_id in ((first, A), (other, B)):
        seen.store.answered(request, answer(action_id))
    seen.invoked(accepted(1_000.0, A), accepted(1_000.0, B))

    seen.store.received([console.received(1_000.05), console.received(1_000.05, OTHER)])

    for action in seen.actions():
        found = seen.store.detail(action["number"])
        assert found is not None
        (post,) = found["received"]
        wanted = FIELDS if found["action_id"] == A else OTHER
        assert wanted["to"] in post["body"]
    assert seen.store.figures()["sent"] == 2


def test_a_post_without_an_answer_yet_is_shown_with_its_request(seen: Seen) -> None:
    seen.request(fields=OTHER)
    seen.request()
    seen.store.received([console.received(seen.now + 0.1)])

    assert [one["sent"] for one in seen.actions()] == [1, 0]


def test_the_post_of_another_program_is_matched_by_its_time(seen: Seen) -> None:
    seen.invoked(accepted(seen.now, A), accepted(seen.now + 10, B))
    seen.store.received([console.received(seen.now + 10.05)])

    assert [one["sent"] for one in seen.actions()] == [1, 1]
    details = [seen.store.detail(one["number"]) for one in seen.actions()]
    assert [len(one["received"]) for one in details if one] == [1, 0]
    assert seen.actions()[0]["name"] == "cold_transfer"


def test_a_post_that_matches_no_request_is_counted_but_shown_with_none(seen: Seen) -> None:
    seen.request(fields=OTHER)
    seen.store.received([console.received(seen.now)])

    assert seen.only()["received"] == []
    assert seen.store.figures()["sent"] == 1
    assert len(seen.store.received_shown()) == 1


def test_gets_are_not_counted_as_sent(seen: Seen) -> None:
    seen.store.received([console.received(seen.now, method="GET")])

    assert seen.store.figures()["sent"] == 0


def test_without_a_simulator_posts_are_counted_from_traces() -> None:
    seen = Seen(simulator=False)
    seen.invoked(accepted(seen.now, A), accepted(seen.now + 1, A, replayed=True))

    assert seen.store.figures() == {"requests": 2, "sent": 1, "from_traces": True}


def test_the_figures_can_be_reset_to_zero(seen: Seen) -> None:
    seen.request()
    seen.store.received([console.received(seen.now)])
    seen.store.count_from_here()
    assert seen.store.figures() == {"requests": 0, "sent": 0, "from_traces": False}

    seen.request()

    assert seen.store.figures()["requests"] == 1


def test_actions_are_filtered_by_outcome_entry_point_and_client(seen: Seen) -> None:
    seen.store.answered(seen.request(client="crm"), answer(A))
    seen.store.answered(seen.request(), answer(B, outcome="unknown"))
    seen.store.requested("event", console.SOURCE, FIELDS, "")

    def numbers(**filters: str) -> list[int]:
        return [one["number"] for one in seen.actions(**filters)]

    event, unknown, crm = numbers()
    assert numbers(outcome="unknown") == [unknown]
    assert numbers(outcome="open") == [event]
    assert numbers(entry_point="event") == [event]
    assert numbers(client="crm") == [crm]
    assert numbers(client="crm", outcome="unknown") == []


def test_the_calls_show_who_is_on_them_and_who_left(seen: Seen) -> None:
    customer = {"address": "+1", "role": "customer", "on_hold": False}
    agent = {"address": "+2", "role": "agent", "on_hold": False}
    call = {"call_id": 1, "state": "live", "members": [customer, agent]}
    seen.store.calls({"calls": [call], "changes": []})
    left = {"call_id": 1, "change": "left", "address": "+2", "action": "cold_transfer", "at": "t"}
    seen.store.calls({"calls": [{**call, "members": [customer]}], "changes": [left]})

    (shown,) = seen.store.calls_shown()
    assert shown["members"] == [customer]
    assert shown["left"] == [
        {"address": "+2", "role": "agent", "action": "cold_transfer", "at": "t"}
    ]


def test_a_limited_number_of_actions_is_kept_but_all_are_counted(seen: Seen) -> None:
    for number in range(ACTIONS_KEPT + 10):
        seen.invoked(accepted(seen.now + number, f"{number:064x}"))

    actions, more = seen.store.listing({}, 100)
    assert (len(actions), more) == (100, True)
    assert len(seen.store.listing({}, 10 * ACTIONS_KEPT)[0]) == ACTIONS_KEPT
    assert seen.store.figures()["requests"] == ACTIONS_KEPT + 10
    assert seen.store.changed_since(0, 50) == {"too_many": True}


def test_a_limited_number_of_an_actions_requests_is_kept_but_all_are_counted(seen: Seen) -> None:
    for number in range(REQUESTS_KEPT + 10):
        seen.invoked(accepted(seen.now + number, A, replayed=number > 0))

    action = seen.only()
    assert (action["request_count"], action["sent"]) == (REQUESTS_KEPT + 10, 1)
    assert len(action["requests"]) == 1 + REQUESTS_SHOWN
    assert action["requests"][0]["kind"] == "first"
    whole = seen.store.detail(action["number"], whole=True)
    assert whole is not None
    assert (len(whole["requests"]), whole["more"]) == (REQUESTS_KEPT, 0)


def test_a_wait_for_a_change_ends_when_something_changes(seen: Seen) -> None:
    async def wait() -> bool:
        waiting = asyncio.create_task(seen.store.next_change(seen.store.version, 5.0))
        await asyncio.sleep(0)
        seen.request()
        await asyncio.wait_for(waiting, 1.0)
        version = seen.store.version
        await seen.store.next_change(version, 0.01)
        return seen.store.version == version

    assert asyncio.run(wait())
