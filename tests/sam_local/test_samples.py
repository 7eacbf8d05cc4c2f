"""Each sample in events/, invoked as in docs/sam-local.md, gets the answer in events/README.md."""

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from cold_transfer.causes import Cause
from tests.sam_local.checkout import ROOT, Checkout, Page

# About sixty containers, two at a time: up to seven minutes on two idle cores.
pytestmark = pytest.mark.timeout(1_500)

EVENTS = ROOT / "events"

#: The samples of a group run one after another; groups run at the same time. An action is a 409
#: while its first request is in progress, and a replay needs an earlier answer.
IN_ORDER = (
    ("webhook-replay", "webhook-replay", "webhook-get-action"),
    ("event-replay", "event-replay"),
    ("webhook-hold", "webhook-hold"),
    ("webhook-accepted", "event-accepted"),
)

#: The cause at the end of the problem's type.
PROBLEMS = {
    "webhook-get-action-not-found": Cause.ACTION_NOT_FOUND,
    "webhook-get-with-body": Cause.BODY_MALFORMED,
    "webhook-malformed": Cause.BODY_MALFORMED,
    "webhook-unauthorized": Cause.UNAUTHORIZED,
    "webhook-key-required": Cause.KEY_REQUIRED,
    "webhook-forbidden": Cause.PHLO_NOT_ALLOWED,
    "webhook-forbidden-action": Cause.ACTION_NOT_ALLOWED,
    "webhook-too-large": Cause.BODY_TOO_LARGE,
    "webhook-media-type": Cause.MEDIA_TYPE_UNSUPPORTED,
    "webhook-compressed": Cause.MEDIA_TYPE_UNSUPPORTED,
    "webhook-fields-invalid": Cause.FIELDS_INVALID,
    "webhook-fields-not-strings": Cause.FIELDS_INVALID,
    "webhook-fields-doubled": Cause.FIELDS_INVALID,
    "webhook-form-plus": Cause.FIELDS_INVALID,
    "webhook-member-invalid": Cause.FIELDS_INVALID,
    "webhook-query-string": Cause.FIELDS_INVALID,
    "webhook-too-old": Cause.TOO_OLD,
    "webhook-plivo-rejected": Cause.REJECTED,
    "webhook-plivo-error": Cause.REJECTED,
    "webhook-plivo-credentials": Cause.PLIVO_CREDENTIALS_REFUSED,
    "webhook-plivo-throttled": Cause.PLIVO_THROTTLED,
    "webhook-plivo-unknown": Cause.OUTCOME_UNKNOWN,
    "webhook-plivo-redirect": Cause.OUTCOME_UNKNOWN,
    "webhook-plivo-closes": Cause.OUTCOME_UNKNOWN,
    "webhook-plivo-cut": Cause.OUTCOME_UNKNOWN,
    "webhook-plivo-hangs": Cause.PLIVO_TIMED_OUT,
}
ERRORS = {
    "event-fields-invalid": "ContractViolated",
    "event-not-an-object": "BodyMalformed",
    "event-unknown-type": "ContractViolated",
    "event-too-old": "ActionFailed",
    "event-plivo-rejected": "ActionFailed",
    "event-plivo-throttled": "ActionFailed",
    "event-plivo-unknown": "ActionFailed",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """The answers of every sample, in order, and what the simulator received."""

    answers: dict[str, list[dict[str, Any]]]
    received: list[dict[str, Any]]

    def problem(self, sample: str) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.answers[sample][0]["body"])
        return body


def documented(entry_point: str) -> dict[str, str]:
    """The last column of an entry point's table in events/README.md, by sample."""
    webhooks, events = (EVENTS / "README.md").read_text(encoding="utf-8").split("## Event:")
    rows = re.findall(
        r"^\| ([a-z0-9-]+) \|.*\| (.+) \|$",
        webhooks if entry_point == "webhook" else events,
        re.MULTILINE,
    )
    return {f"{entry_point}-{name}": answer for name, answer in rows if name != "file"}


def invoke(checkout: Checkout, page: Page, sample: str) -> dict[str, Any]:
    done = checkout.run(*page.exports, page.samples()[sample])
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def seen(prepared: Checkout, page: Page) -> Seen:
    stack = json.loads((prepared.folder / ".local" / "stack.json").read_text())
    grouped = {sample for group in IN_ORDER for sample in group}
    groups = [*IN_ORDER, *((name,) for name in page.samples() if name not in grouped)]

    def run(group: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
        return [(sample, invoke(prepared, page, sample)) for sample in group]

    answers: dict[str, list[dict[str, Any]]] = {}
    first = run(groups[0])  # alone: it builds the image that all the others use
    with ThreadPoolExecutor(2) as pool:
        for each in [first, *pool.map(run, groups[1:])]:
            for sample, answer in each:
                answers.setdefault(sample, []).append(answer)
    with urllib.request.urlopen(f"{stack['plivo_base_url']}/_received", timeout=10) as listed:  # noqa: S310 -- our own http address
        return Seen(answers, json.load(listed))


def test_the_page_has_a_command_for_every_sample(page: Page) -> None:
    samples = page.samples()
    assert set(samples) == {path.stem for path in EVENTS.glob("*.json")}
    for sample, command in samples.items():
        function = "WebhookFunction" if sample.startswith("webhook-") else "EventFunction"
        assert command.split()[:4] == [".venv/bin/sam", "local", "invoke", function]


@pytest.mark.parametrize("sample", documented("webhook"))
def test_a_webhook_sample_is_answered_as_documented(seen: Seen, sample: str) -> None:
    status = re.search(r"\b[2-5][0-9]{2}\b", documented("webhook")[sample])
    assert status is not None
    answers = seen.answers[sample]
    assert [answer["statusCode"] for answer in answers] == [int(status[0])] * len(answers)
    if sample in PROBLEMS:
        assert seen.problem(sample)["type"].rpartition(":")[2] == PROBLEMS[sample]
    else:
        assert int(status[0]) < 400


@pytest.mark.parametrize("sample", documented("event"))
def test_an_event_sample_ends_as_documented(seen: Seen, sample: str) -> None:
    raises = documented("event")[sample] == "raises"
    assert raises is (sample in ERRORS)
    for answer in seen.answers[sample]:
        assert answer.get("errorType") == ERRORS.get(sample)
        assert raises or answer["outcome"] == "accepted"


def test_a_retry_is_replayed(seen: Seen) -> None:
    first, second = seen.answers["webhook-replay"]
    assert "Idempotency-Replayed" not in first["headers"]
    assert second["headers"]["Idempotency-Replayed"] == "true"
    assert second["body"] == first["body"]
    first, second = seen.answers["event-replay"]
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert second["api_id"] == first["api_id"]


def test_an_answer_says_that_there_was_no_key_and_a_required_key_is_enforced(
    seen: Seen,
) -> None:
    assert seen.answers["webhook-accepted"][0]["headers"]["Idempotency-Key"] == "none"
    assert "X-Idempotency-Key is not read" in seen.problem("webhook-key-required")["detail"]
    held = [answer["headers"] for answer in seen.answers["webhook-hold"]]
    assert all("Idempotency-Replayed" not in headers for headers in held)
    assert {headers["Idempotency-Key"] for headers in held} == {"none"}


def test_a_read_is_answered_with_plivos_object(seen: Seen) -> None:
    for case, known in (("phlo", {"phlo_id"}), ("node", {"phlo_id", "node_id", "node_type"})):
        (answer,) = seen.answers[f"webhook-get-{case}"]
        assert known <= json.loads(answer["body"]).keys()


def test_the_lookup_finds_the_replayed_action(seen: Seen) -> None:
    (lookup,) = seen.answers["webhook-get-action"]
    replayed = seen.answers["webhook-replay"][0]
    assert json.loads(lookup["body"])["action_id"] == replayed["headers"]["Action-Id"]
    assert json.loads(lookup["body"])["outcome"] == "accepted"


def test_a_sample_with_several_faults_names_each(seen: Seen) -> None:
    fields = [fault["field"] for fault in seen.problem("webhook-fields-invalid")["errors"]]
    assert fields == ["to", "trigger_source", "role", "caller_id"]
    assert "%2B" in seen.answers["webhook-form-plus"][0]["body"]


def test_each_action_that_may_be_sent_reaches_plivo_once(seen: Seen) -> None:
    bodies = [json.loads(one["body"]) for one in seen.received if one["method"] == "POST"]
    of_member = Counter(body["action"] for body in bodies if "to" not in body)
    others = ("abort_transfer", "resume_call", "voicemail_drop", "hangup", "unhold")
    # twice without a key, and once as an event
    assert of_member == Counter({"hold": 3, **dict.fromkeys(others, 1)})
    sent = Counter(body["to"] for body in bodies if "to" in body)
    # Sent at both entry points: within the window, the second is a duplicate.
    assert 1 <= sent.pop("+14152225555") <= 2
    both_entry_points = {"+15550100400", "+15550100429", "+15550100500"}
    sip = "sip:agent123456789012345@phone.plivo.com"
    fails = {f"+15550100{code}" for code in ("000", "001", "002", "003", "301", "401")}
    accepted = {f"+14152225{number}" for number in range(556, 566)}
    assert sent == Counter(
        dict.fromkeys(both_entry_points | {sip}, 2) | dict.fromkeys(fails | accepted, 1)
    )


def test_no_container_is_left(seen: Seen, prepared: Checkout) -> None:
    assert seen.answers
    assert prepared.containers() == []


def test_a_refused_sample_needs_no_stack(built: Checkout, page: Page) -> None:
    (command,) = page.with_words("invoke", "--skip-pull-image")
    done = built.run(command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCode"] == 413
