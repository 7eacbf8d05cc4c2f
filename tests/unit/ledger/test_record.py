"""The stored form of a record must not change: records outlive the version that wrote them."""

from typing import Any

import pytest

from cold_transfer.action import Verdict
from cold_transfer.causes import Cause, Outcome, Resolution
from cold_transfer.ledger.ledger import Claim
from cold_transfer.ledger.record import Record, State
from tests.support.fake_dynamodb import FakeDynamoDB
from tests.support.ledgers import LEASE_MS, NOW_MS, Clock, answer_of, ledger_on, request_of

#: Action-Id and fingerprint of ``request_of("key-1")``: tests/unit/test_action.py fixes hashes.
ID = request_of("key-1").action_id()
CONTENT = request_of("key-1").action.fingerprint()
TTL = "1774796966"  # 15 days after NOW_MS, in seconds

CLAIMED = {
    "pk": {"S": f"K#{ID}"},
    "state": {"S": "claimed"},
    "owner": {"S": "owner-1"},
    "attempt": {"N": "1"},
    "lease_until": {"N": "1773500991535"},
    "open": {"S": ID[0]},
    "first_seen": {"N": "1773500966535"},
    "requested_at": {"N": "1773500966000"},
    "fp": {"S": CONTENT},
    "fp_version": {"N": "1"},
    "client": {"S": "crm"},
    "entry_point": {"S": "webhook"},
    "action_id": {"S": ID},
    "action": {"S": "cold_transfer"},
}
CONTENT_LOCK = {
    "pk": {"S": f"C#{CONTENT}"},
    "action": {"S": ID},
    "owner": {"S": "owner-1"},
    "ttl": {"N": TTL},
}
SENDING = CLAIMED | {"state": {"S": "sending"}, "lease_until": {"N": "1773501001535"}}
_CLOSED = {name: value for name, value in CLAIMED.items() if name not in ("open", "lease_until")}
_SETTLED = _CLOSED | {"settled_at": {"N": "1773500966535"}, "ttl": {"N": TTL}}
ACCEPTED = _SETTLED | {
    "state": {"S": "accepted"},
    "cause": {"S": "accepted"},
    "plivo_status": {"N": "201"},
    "api_id": {"S": "api-1"},
    "error": {"S": ""},
}
NOT_SENT = _SETTLED | {
    "state": {"S": "not_sent"},
    "cause": {"S": "plivo-throttled"},
    "plivo_status": {"N": "429"},
    "plivo_retry_after": {"N": "5"},
    "api_id": {"S": ""},
    "error": {"S": "too many"},
}
DUPLICATE = _SETTLED | {"state": {"S": "duplicate"}, "duplicate_of": {"S": "f" * 64}}


@pytest.fixture
def table() -> FakeDynamoDB:
    return FakeDynamoDB()


@pytest.fixture
def ledger(table: FakeDynamoDB) -> Any:
    ledger = ledger_on(table, "ledger", Clock())
    ledger._new_owner = lambda: "owner-1"  # noqa: SLF001  an owner is random, and these tests compare it
    return ledger


@pytest.fixture
def claim(ledger: Any) -> Claim:
    found: Claim = ledger.claim(
        request_of("key-1", requested_at=1_773_500_966_000), NOW_MS + LEASE_MS
    )
    return found


def test_the_item_of_a_claim(table: FakeDynamoDB, claim: Claim) -> None:
    assert table.items == {f"K#{claim.action_id}": CLAIMED}


def test_the_item_of_a_content_lock(table: FakeDynamoDB, ledger: Any, claim: Claim) -> None:
    ledger.deduplicate(claim)

    assert table.items[f"C#{CONTENT}"] == CONTENT_LOCK


def test_a_content_lock_keeps_the_actions_sent_before(
    table: FakeDynamoDB, ledger: Any, claim: Claim
) -> None:
    stored = CONTENT_LOCK | {"action": {"S": "f" * 64}, "owner": {"S": "owner-0"}}
    before = _SETTLED | {"state": {"S": "unknown"}, "settled_at": {"N": "1"}}
    for action_id in ("e" * 64, "d" * 64):
        table.items[f"K#{action_id}"] = before | {"pk": {"S": f"K#{action_id}"}}
    table.items[f"C#{CONTENT}"] = stored | {"last": {"S": f"{'e' * 64} {'d' * 64}"}}

    ledger.deduplicate(claim)

    assert table.items[f"C#{CONTENT}"] == CONTENT_LOCK | {"last": {"S": f"{'e' * 64} {'d' * 64}"}}


def test_the_item_of_a_sending_record(table: FakeDynamoDB, ledger: Any, claim: Claim) -> None:
    ledger.mark_sending(claim, NOW_MS + LEASE_MS + 10_000)

    assert table.items[f"K#{ID}"] == SENDING


@pytest.mark.parametrize(
    ("verdict", "item"),
    [
        (Verdict(Cause.ACCEPTED, api_id="api-1", plivo_status=201), ACCEPTED),
        (
            Verdict(Cause.PLIVO_THROTTLED, error="too many", plivo_status=429, plivo_retry_after=5),
            NOT_SENT,
        ),
    ],
    ids=["accepted", "not sent"],
)
def test_the_item_of_a_settled_record(
    table: FakeDynamoDB, ledger: Any, claim: Claim, verdict: Verdict, item: dict[str, Any]
) -> None:
    ledger.mark_sending(claim, NOW_MS + LEASE_MS + 10_000)

    ledger.settle(claim, verdict)

    assert table.items[f"K#{ID}"] == item


def test_the_item_of_a_duplicate(table: FakeDynamoDB, ledger: Any) -> None:
    first = ledger.claim(request_of("first"), NOW_MS + LEASE_MS)
    ledger.deduplicate(first)
    ledger.mark_sending(first, NOW_MS + LEASE_MS)
    ledger.settle(first, Verdict(Cause.ACCEPTED))
    ledger._new_owner = lambda: "owner-2"  # noqa: SLF001  another attempt's
    duplicate = ledger.claim(request_of("key-1", requested_at=1_773_500_966_000), NOW_MS + LEASE_MS)

    answer_of(ledger.deduplicate, duplicate)

    assert table.items[f"K#{ID}"] == DUPLICATE | {
        "duplicate_of": {"S": first.action_id},
        "owner": {"S": "owner-2"},
    }


def test_every_attribute_is_read() -> None:
    record = Record.from_item(NOT_SENT)

    assert record == Record(
        action_id=ID,
        action="cold_transfer",
        state=State.NOT_SENT,
        owner="owner-1",
        attempt=1,
        fingerprint=CONTENT,
        fingerprint_version=1,
        first_seen=1_773_500_966_535,
        lease_until=0,
        settled_at=1_773_500_966_535,
        requested_at=1_773_500_966_000,
        delivery="",
        reference="",
        client="crm",
        entry_point="webhook",
        duplicate_of=None,
        cause="plivo-throttled",
        plivo_status=429,
        plivo_retry_after=5,
        api_id="",
        error="too many",
        resolution=None,
        resolved_by="",
        resolved_at=0,
        note="",
    )
    assert record.verdict() == Verdict(
        Cause.PLIVO_THROTTLED, error="too many", plivo_status=429, plivo_retry_after=5
    )


RESOLVED = _SETTLED | {
    "state": {"S": "unknown"},
    "resolution": {"S": "did_not_happen"},
    "resolved_by": {"S": "ann"},
    "resolved_at": {"N": "1773500970000"},
    "note": {"S": "the agent is still on the call"},
}


def test_a_resolution_is_read_and_the_outcome_stays_unknown() -> None:
    record = Record.from_item(RESOLVED)

    assert record.outcome() is Outcome.UNKNOWN
    assert record.resolution is Resolution.DID_NOT_HAPPEN
    assert (record.resolved_by, record.resolved_at) == ("ann", 1_773_500_970_000)
    assert record.note == "the agent is still on the call"
    assert Record.from_item(RESOLVED | {"resolution": {"S": "a later word"}}).resolution is None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (RESOLVED, True),
        (RESOLVED | {"resolution": {"S": "happened"}}, False),
        ({name: value for name, value in RESOLVED.items() if name != "resolution"}, False),
        (RESOLVED | {"state": {"S": "accepted"}}, False),
        (ACCEPTED, False),
        (NOT_SENT, True),
        (_SETTLED | {"state": {"S": "rejected"}}, True),
        (SENDING, False),
    ],
)
def test_which_records_prove_that_nothing_happened(item: dict[str, Any], *, expected: bool) -> None:
    assert Record.from_item(item).nothing_happened() is expected


@pytest.mark.parametrize("item", [CLAIMED, SENDING], ids=["claimed", "sending"])
def test_a_lease_is_over_one_millisecond_after_its_end(item: dict[str, Any]) -> None:
    record = Record.from_item(item)

    assert not record.lease_is_over(record.lease_until)
    assert record.lease_is_over(record.lease_until + 1)


@pytest.mark.parametrize(
    "item", [ACCEPTED, NOT_SENT, DUPLICATE, ACCEPTED | {"state": {"S": "new"}}]
)
def test_the_lease_of_a_record_that_is_not_open_is_never_over(item: dict[str, Any]) -> None:
    assert not Record.from_item(item).lease_is_over(NOW_MS * 2)


def test_an_unknown_state_has_neither_outcome_nor_verdict() -> None:
    record = Record.from_item(ACCEPTED | {"state": {"S": "paused"}})

    assert record.state is None
    assert record.outcome() is None
    with pytest.raises(AssertionError):
        record.verdict()


@pytest.mark.parametrize(
    "item", [CLAIMED, SENDING, DUPLICATE], ids=["claimed", "sending", "duplicate"]
)
def test_a_record_that_is_open_or_a_duplicate_has_no_outcome(item: dict[str, Any]) -> None:
    assert Record.from_item(item).outcome() is None


@pytest.mark.parametrize(
    ("state", "cause", "status"),
    [
        ("accepted", Cause.ACCEPTED, 200),
        ("rejected", Cause.REJECTED, 422),
        ("unknown", Cause.OUTCOME_UNKNOWN, 502),
        ("not_sent", Cause.DEPENDENCY_UNAVAILABLE, 503),
    ],
)
def test_a_record_with_an_unknown_cause_keeps_its_outcome(
    state: str, cause: Cause, status: int
) -> None:
    newer = _CLOSED | {"state": {"S": state}, "cause": {"S": "struck-by-lightning"}}

    record = Record.from_item(newer)

    assert record.verdict() == Verdict(cause)
    assert record.verdict().status == status
    assert record.verdict().outcome is record.outcome() is Outcome(state)


def test_an_unknown_outcome_has_no_retry_after() -> None:
    throttled = Record.from_item(NOT_SENT)._replace(plivo_retry_after=7)

    assert throttled.verdict().retry_after == 7
    assert throttled.as_unknown().verdict().retry_after is None


def test_a_record_that_another_version_changed_is_not_claimed_again(
    table: FakeDynamoDB, ledger: Any
) -> None:
    claim = ledger.claim(request_of("key-1"), NOW_MS + LEASE_MS)
    ledger.settle(claim, Verdict(Cause.PLIVO_THROTTLED))
    seen = Record.from_item(table.items[f"K#{claim.action_id}"])
    table.items[f"K#{claim.action_id}"]["state"] = {"S": "unknown"}

    again = claim._replace(owner="owner-2")
    done, _ = ledger._claim_again(again, seen, request_of("key-1"), NOW_MS + LEASE_MS)  # noqa: SLF001  the race of two versions

    assert not done
