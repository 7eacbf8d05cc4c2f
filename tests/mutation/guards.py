"""Removes each guard of at-most-once in turn, and expects a test to fail.

``python -m tests.mutation.guards [WORD ...]`` applies each change below, or those whose name
begins with one of the words, to a copy of the package and runs the fast tests on the copy. Exit
status 0 if every change was noticed, 1 if one survived, 2 if a guard was not found once in its file
or the tests fail without any change.

With ``--explorer``, the short form of tests/explorer has to notice by itself, unless the guard says
why it cannot.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers" / "cold_transfer"

#: The tests for the changes outside of plivo/: without an emulator, so that a change takes seconds.
IN_MEMORY = (
    "tests/unit/ledger/test_record.py",
    "tests/unit/test_action.py",
    "tests/integration/test_ledger.py",
    "tests/unit/test_service.py",
    "tests/functions/test_actions.py",
    "tests/functions/test_event.py",
    "tests/functions/test_resolution.py",
    "tests/unit/test_rival_keys.py",
    "tests/explorer/test_findings.py",
    "tests/explorer/test_random.py",
)
EXPLORER = (
    "tests/explorer/test_findings.py",
    "tests/explorer/test_random.py",
    "tests/explorer/test_systematic.py",
)
OF_PLIVO = ("tests/integration/test_plivo_client.py", "tests/integration/test_plivo_tls.py")
NO_EMULATOR = "not dynamodb and not table_that_does_not_exist"
SECONDS = 300


@dataclass(frozen=True)
class Guard:
    """A guard is removed by replacing ``before``, which is once in ``file``, with ``after``.

    unexplored
        Why the explorer cannot notice; empty if it has to.
    """

    name: str
    file: str
    before: str
    after: str
    unexplored: str = ""

    @property
    def of_plivo(self) -> bool:
        return self.name.startswith("plivo")

    def tests(self, *, explorer: bool) -> tuple[str, ...]:
        if explorer:
            return EXPLORER
        return OF_PLIVO if self.of_plivo else IN_MEMORY


GUARDS = (
    # --- claim
    Guard(
        "claim: an existing record does not prevent a claim",
        "ledger/ledger.py",
        "        return self._table.put_if(item, _ABSENT)\n\n    def _claim_again",
        '        return self._table.put_if(item, "attribute_not_exists(nothing)")\n\n'
        "    def _claim_again",
    ),
    Guard(
        "claim: unknown may be claimed",
        "ledger/ledger.py",
        "return record.state is State.NOT_SENT and",
        "return record.state in (State.NOT_SENT, State.UNKNOWN) and",
    ),
    Guard(
        "claim: a claimed one may be claimed",
        "ledger/ledger.py",
        "return record.state is State.NOT_SENT and",
        "return record.state in (State.NOT_SENT, State.CLAIMED) and",
    ),
    Guard(
        "claim: a claim that arrives twice revives the attempt",
        "ledger/ledger.py",
        '"#owner = :before AND #state = :not_sent",\n            claimed=',
        '"#state = :not_sent",\n            claimed=',
    ),
    Guard(
        "claim: an attempt's own repeated write counts as a rival's",
        "ledger/ledger.py",
        "if done or _is_own(item, claim, State.CLAIMED):",
        "if done:",
    ),
    Guard(
        "claim: all attempts have one owner",
        "ledger/ledger.py",
        "new_owner: Callable[[], str] = lambda: secrets.token_hex(16)",
        'new_owner: Callable[[], str] = lambda: "0" * 32',
    ),
    Guard(
        "claim: attempts are not counted",
        "ledger/ledger.py",
        "attempt=before.attempt + 1,",
        "attempt=before.attempt,",
    ),
    Guard(
        "claim: first seen when the last attempt came",
        "ledger/ledger.py",
        "first_seen=min(claim.first_seen, before.first_seen),",
        "first_seen=claim.first_seen,",
    ),
    Guard(
        "claim: first seen when the first attempt came",
        "ledger/ledger.py",
        "first_seen=min(claim.first_seen, before.first_seen),",
        "first_seen=before.first_seen,",
    ),
    Guard(
        "claim: first seen when the function began",
        "ledger/ledger.py",
        "self._clock() - request.waited",
        "self._clock()",
    ),
    Guard(
        "claim: requested when the last attempt came",
        "ledger/ledger.py",
        "requested_at=_earlier(claim.requested_at, before.requested_at),",
        "requested_at=claim.requested_at,",
    ),
    Guard("claim: TTL takes open records", "ledger/ledger.py", '#error, #ttl,"', '#error,"'),
    Guard(
        "claim: requested when the first attempt came",
        "ledger/ledger.py",
        "requested_at=_earlier(claim.requested_at, before.requested_at),",
        "requested_at=before.requested_at,",
    ),
    Guard(
        "claim: one owner for every attempt of an invocation",
        "ledger/ledger.py",
        "                owner=self._new_owner(),\n                attempt",
        "                attempt",
    ),
    Guard(
        "claim: not in the sparse index",
        "ledger/ledger.py",
        '"open": claim.action_id[0],',
        '"open": "none",',
    ),
    Guard(
        "claim: taken over, and not in the sparse index",
        "ledger/ledger.py",
        "open=claim.action_id[0],",
        'open="none",',
    ),
    Guard(
        "claim: any reply confirms a write",
        "ledger/table.py",
        'if not reply.get("ResponseMetadata", {}).get("RequestId"):',
        "if False:",
    ),
    # --- answers to replays
    Guard(
        "answer: other content gets the answer",
        "ledger/ledger.py",
        "and found.fingerprint != claim.fingerprint",
        "and False",
    ),
    Guard(
        "answer: abandoned ones are not settled by a retry",
        "ledger/ledger.py",
        "raise KeyReused(found.action_id)\n        return self._settled_if_over(found)",
        "raise KeyReused(found.action_id)\n        return found",
    ),
    Guard(
        "answer: a duplicate of an action not sent stays in progress",
        "action.py",
        "return None if self.duplicate_of else self.verdict.retry_after",
        "return self.verdict.retry_after",
    ),
    Guard(
        "answer: only the first link of a chain is followed",
        "ledger/record.py",
        "for _ in range(LONGEST_CHAIN):",
        "for _ in range(2):",
    ),
    Guard(
        "answer: a chain is followed endlessly",
        "ledger/record.py",
        "for _ in range(LONGEST_CHAIN):",
        "while True:",
        unexplored="it takes a loop of duplicates, which no attempt can write",
    ),
    Guard(
        "answer: an unknown state is in progress forever",
        "ledger/ledger.py",
        "record.state is None and record.lease_until < now",
        "False",
    ),
    Guard(
        "answer: an unknown state does not keep its lease",
        "ledger/ledger.py",
        "record.state is None and record.lease_until < now",
        "record.state is None",
    ),
    Guard(
        "answer: every retry is a second delivery",
        "ledger/ledger.py",
        "and end.delivery == claim.delivery,",
        "and True,",
    ),
    Guard(
        "answer: a second delivery is not recognised",
        "ledger/ledger.py",
        "same_delivery=alive",
        "same_delivery=False and alive",
    ),
    Guard(
        "answer: two requests without a delivery are one delivery",
        "ledger/ledger.py",
        "                and bool(claim.delivery)\n",
        "",
    ),
    Guard(
        "answer: another version's fingerprint may be claimed again",
        "ledger/ledger.py",
        " and record.fingerprint_version == FINGERPRINT_VERSION",
        "",
    ),
    # --- deduplicate
    Guard(
        "deduplicate: a content lock is overwritten",
        "ledger/ledger.py",
        "if seen is None:\n            return self._table.put_if(item, _ABSENT)",
        "if seen is None:\n"
        '            return self._table.put_if(item, "attribute_not_exists(nothing)")',
    ),
    Guard(
        "deduplicate: the lock is taken from its present owner",
        "ledger/ledger.py",
        'put_if(item, "#owner = :before", before=',
        'put_if(item, "#owner = :before OR attribute_not_exists(nothing)", before=',
    ),
    Guard(
        "deduplicate: the other is not fenced first",
        "ledger/ledger.py",
        "            found = self.look(action_id)\n            # for",
        "            found = (r := self._get(action_id)) and (r, r)\n            # for",
    ),
    Guard(
        "deduplicate: an attempt's own repeated write counts as a rival's",
        "ledger/ledger.py",
        'if done or (seen is not None and seen["owner"]["S"] == claim.owner):',
        "if done:",
        unexplored="the next round takes the lock from itself: one more call, the same end",
    ),
    Guard(
        "deduplicate: an action that was accepted does not count",
        "ledger/ledger.py",
        "return first_seen - other.settled_at > self._policy.duplicate_window",
        "return True",
    ),
    Guard(
        "deduplicate: the window is a millisecond short",
        "ledger/ledger.py",
        "first_seen - other.settled_at > self._policy.duplicate_window",
        "first_seen - other.settled_at >= self._policy.duplicate_window",
    ),
    Guard(
        "deduplicate: an unknown one does not count",
        "ledger/ledger.py",
        "return first_seen - other.settled_at > self._policy.unknown_window",
        "return True",
    ),
    Guard(
        "deduplicate: an unknown one counts as an accepted one",
        "ledger/ledger.py",
        "return first_seen - other.settled_at > self._policy.unknown_window",
        "return first_seen - other.settled_at > self._policy.duplicate_window",
    ),
    Guard(
        "deduplicate: the window from now on",
        "ledger/ledger.py",
        "self._is_past(other, claim.first_seen)",
        "self._is_past(other, self._clock())",
    ),
    Guard(
        "deduplicate: an open one does not count",
        "ledger/ledger.py",
        "if other.nothing_happened():",
        "if other.nothing_happened() or other.state in OPEN:",
    ),
    Guard(
        "deduplicate: one that is being sent does not count",
        "ledger/ledger.py",
        "if other.nothing_happened():",
        "if other.nothing_happened() or other.state is State.SENDING:",
    ),
    Guard(
        "deduplicate: a duplicate counts as nothing",
        "ledger/ledger.py",
        "            other = found[1]\n",
        "            other = found[0]\n",
    ),
    Guard(
        "deduplicate: a failed action hides one sent before it",
        "ledger/ledger.py",
        "known = (str(lock",
        'known = (str(lock["action"]["S"]),) or (str(lock',
    ),
    Guard(
        "deduplicate: an earlier attempt of the same key hides an action sent before it",
        "ledger/ledger.py",
        "            if found is None or found[1].action_id == claim.action_id:\n"
        "                continue\n",
        "            if found is None:\n"
        "                continue\n"
        "            if found[1].action_id == claim.action_id:\n"
        "                return None, ()\n",
    ),
    Guard(
        "deduplicate: an action sent earlier is not remembered",
        "ledger/ledger.py",
        "return None, (other.action_id, *before)[:REMEMBERED]",
        "return None, ()",
    ),
    Guard(
        "deduplicate: an unknown action hides one sent before it",
        "ledger/ledger.py",
        "before = known[place:] if other.state is State.UNKNOWN else ()",
        "before: tuple[str, ...] = ()",
    ),
    Guard(
        "deduplicate: stepping aside keeps the claim",
        "ledger/ledger.py",
        "        self.settle(claim, Verdict(Cause.DUPLICATE_IN_PROGRESS))\n",
        "",
    ),
    Guard(
        "duplicate: a fenced claim becomes one",
        "ledger/ledger.py",
        '"#owner = :owner AND #state = :claimed",\n            duplicate=',
        '"#owner = :owner",\n            duplicate=',
    ),
    # --- mark sending
    Guard(
        "mark sending: what is not confirmed is good enough",
        "ledger/ledger.py",
        "if not done and not _is_own(item, claim, State.SENDING):",
        "if not done and item is None:",
    ),
    Guard(
        "mark sending: without the owner",
        "ledger/ledger.py",
        '"#owner = :owner AND #state = :claimed",\n            sending=',
        '"#state = :claimed",\n            sending=',
    ),
    Guard(
        "mark sending: without the state",
        "ledger/ledger.py",
        '"#owner = :owner AND #state = :claimed",\n            sending=',
        '"#owner = :owner",\n            sending=',
    ),
    Guard(
        "mark sending: an own repeated write is a rival's",
        "ledger/ledger.py",
        "if not done and not _is_own(item, claim, State.SENDING):",
        "if not done:",
    ),
    Guard(
        "own: the state is not checked",
        "ledger/ledger.py",
        "return found.owner == claim.owner and found.state is state",
        "return found.owner == claim.owner",
    ),
    Guard(
        "own: the owner is not checked",
        "ledger/ledger.py",
        "return found.owner == claim.owner and found.state is state",
        "return found.state is state",
    ),
    # --- settle
    Guard(
        "settle: without the owner",
        "ledger/ledger.py",
        'f"#owner = :owner AND {states}"',
        "states",
    ),
    Guard(
        "settle: without the state",
        "ledger/ledger.py",
        'f"#owner = :owner AND {states}"',
        '"#owner = :owner"',
    ),
    Guard(
        "settle: an action never marked as sending is accepted",
        "ledger/ledger.py",
        'states = "#state IN (:sending, :unknown)"',
        'states = "#state IN (:sending, :unknown, :claimed)"',
        unexplored="nothing is sent that is not marked: a second guard behind the first",
    ),
    Guard(
        "settle: the owner does not correct an unknown",
        "ledger/ledger.py",
        'states = "#state IN (:sending, :unknown)"',
        'states = "#state IN (:sending)"',
    ),
    Guard(
        "settle: unknown releases the key",
        "ledger/ledger.py",
        "outcome = State(verdict.outcome)\n        #",
        "outcome = State(verdict.outcome.replace('unknown', 'not_sent'))\n        #",
    ),
    Guard(
        "settle: stays in the sparse index",
        "ledger/ledger.py",
        "['#open', '#lease_until', *absent]",
        "['#lease_until', *absent]",
    ),
    # --- abandoned attempts
    Guard(
        "abandoned: sending becomes not_sent",
        "ledger/ledger.py",
        "sending = record.state is State.SENDING",
        "sending = False",
    ),
    Guard(
        "abandoned: a record that changed meanwhile is settled",
        "ledger/ledger.py",
        '"#owner = :owner AND #state = :seen"',
        '"#owner = :owner"',
    ),
    Guard(
        "abandoned: a later attempt is settled",
        "ledger/ledger.py",
        '"#owner = :owner AND #state = :seen"',
        '"#state = :seen"',
    ),
    Guard(
        "abandoned: settled before the lease has expired",
        "ledger/record.py",
        "return self.state in OPEN and self.lease_until < now",
        "return self.state in OPEN",
    ),
    Guard(
        "abandoned: at the last millisecond",
        "ledger/record.py",
        "self.state in OPEN and self.lease_until < now",
        "self.state in OPEN and self.lease_until <= now",
    ),
    Guard(
        "abandoned: only the first shard is read",
        "ledger/ledger.py",
        'SHARDS = tuple("0123456789abcdef")',
        'SHARDS = tuple("0")',
    ),
    Guard(
        "abandoned: only the first page is read",
        "ledger/table.py",
        'if "LastEvaluatedKey" not in page:',
        "if True:",
    ),
    Guard(
        "abandoned: not counted",
        "ledger/ledger.py",
        "            self._abandoned(settled)\n",
        "",
    ),
    Guard(
        "read: eventually consistent",
        "ledger/table.py",
        "ConsistentRead=True",
        "ConsistentRead=False",
    ),
    Guard(
        "ttl: a day",
        "ledger/ledger.py",
        "return now // 1000 + self._policy.record_seconds",
        "return now // 1000 + 86_400",
    ),
    Guard(
        "errors: an exception not of botocore ends the invocation",
        "ledger/table.py",
        "        except Exception as error:  # noqa: BLE001  see _unavailable\n            if",
        "        except ClientError as error:\n            if",
    ),
    Guard(
        "errors: an exception not of botocore ends a read",
        "ledger/table.py",
        "        except Exception as error:  # noqa: BLE001  see _unavailable\n            raise",
        "        except ClientError as error:\n            raise",
    ),
    Guard(
        "fingerprint: + counts",
        "action.py",
        'return address.removeprefix("+")',
        "return address",
    ),
    Guard(
        "fingerprint: the action is not part of it",
        "action.py",
        "            self.name,\n            self.phlo_id.lower(),",
        "            self.phlo_id.lower(),",
    ),
    # --- resolutions
    Guard(
        "resolution: a resolved outcome needs a person again",
        "ledger/ledger.py",
        '            states += " AND attribute_not_exists(#resolution)"',
        '            states += ""',
    ),
    Guard(
        "resolution: it outlives its attempt",
        "ledger/ledger.py",
        '            " #resolution, #resolved_by, #resolved_at, #note",',
        '            " #note",',
    ),
    Guard(
        "resolution: an action that did not happen blocks its content",
        "ledger/record.py",
        "            return self.resolution is Resolution.DID_NOT_HAPPEN",
        "            return False",
    ),
    Guard(
        "resolution: an action that happened does not block its content",
        "ledger/record.py",
        "            return self.resolution is Resolution.DID_NOT_HAPPEN",
        "            return self.resolution is not None",
    ),
    # --- the order of things
    Guard(
        "service: an action that dials skips its content lock",
        "service.py",
        "        if request.action.name.dials:",
        "        if not request.action.name.dials:",
    ),
    Guard(
        "mark sending: a refusal is not heeded",
        "ledger/ledger.py",
        "if not done and not _is_own(item, claim, State.SENDING):",
        "if False:",
    ),
    Guard(
        "service: nothing is deduplicated",
        "service.py",
        "self._ledger.deduplicate(claim)",
        "pass",
    ),
    Guard(
        "service: the lease of mark sending ends with the invocation",
        "service.py",
        "self._lease(deadline) + LEASE_MARGIN_MS",
        "self._lease(deadline)",
    ),
    Guard(
        "service: the time left after mark sending is not checked",
        "service.py",
        "                self._check_time(deadline)\n            except NotSent",
        "            except NotSent",
    ),
    Guard(
        "service: the time left before the claim is not checked",
        "service.py",
        "        self._check_time(deadline)\n        try:",
        "        try:",
    ),
    Guard(
        "service: the age is not checked",
        "service.py",
        "if request.from_archive or age > self._max_age:",
        "if request.from_archive:",
    ),
    Guard(
        "service: an archive's replay is sent",
        "service.py",
        "if request.from_archive or age > self._max_age:",
        "if age > self._max_age:",
    ),
    Guard(
        "service: the age is not looked at after connecting",
        "service.py",
        "                self._check_age(claim, request)\n                with",
        "                with",
    ),
    Guard(
        "service: requested_at is not checked",
        "service.py",
        "age = self._timing.clock() - min(claim.first_seen, requested_at)",
        "age = self._timing.clock() - claim.first_seen",
    ),
    Guard(
        "service: the arrival is not checked",
        "service.py",
        "age = self._timing.clock() - min(claim.first_seen, requested_at)",
        "age = self._timing.clock() - requested_at",
    ),
    Guard(
        "service: a second POST for every answer",
        "service.py",
        "if (verdict.cause, verdict.plivo_status) != _REFRESHABLE:",
        "if False:",
    ),
    Guard(
        "service: a second POST without time for it",
        "service.py",
        "if fresh == credentials or patience.remaining() < enough:",
        "if fresh == credentials:",
    ),
    Guard(
        "service: a second POST with the same credentials",
        "service.py",
        "if fresh == credentials or patience",
        "if patience",
    ),
    Guard(
        "service: a ledger that fails after the POST hides the verdict",
        "settling.py",
        "except LedgerUnavailable as error:",
        "except ZeroDivisionError as error:",
    ),
    Guard(
        "service: a settle is tried once",
        "settling.py",
        "enumerate(PAUSES)",
        "enumerate(PAUSES[:1])",
    ),
    Guard(
        "service: a settle is tried until the invocation dies",
        "settling.py",
        "if deadline.remaining() < pause + ATTEMPT_SECONDS + ANSWER_SECONDS:",
        "if False:",
    ),
    Guard(
        "service: a settle is waited for as long as it takes",
        "settling.py",
        "if not number and deadline.remaining() >= CALL_SECONDS + SETTLE_SECONDS:",
        "if not number:",
    ),
    Guard(
        "settle: an attempt that was taken over gets no answer",
        "ledger/ledger.py",
        "        if outcome is State.NOT_SENT:\n            raise self._overtaken(item, claim)\n",
        "",
    ),
    Guard(
        "settle: an attempt that was sent gets what another recorded",
        "ledger/ledger.py",
        "        if outcome is State.NOT_SENT:\n            raise self._overtaken(item, claim)\n",
        "        raise self._overtaken(item, claim)\n",
    ),
    Guard(
        "service: another token is read with no time left",
        "service.py",
        "if deadline.remaining() < SETTLE_SECONDS + CALL_SECONDS:",
        "if False:",
    ),
    # --- Plivo
    Guard(
        "plivo: a connection is kept after an unclear end",
        "plivo/client.py",
        "            if exchange.may_go_on():",
        "            if True:",
    ),
    Guard(
        "plivo: an idle connection is used",
        "plivo/client.py",
        "return 0 <= idle < self._idle_seconds and _is_quiet(self._connection.sock)",
        "return True",
    ),
    Guard(
        "plivo: a request leaves after its deadline",
        "plivo/exchange.py",
        "if remaining <= 0:\n            return None",
        "remaining = max(remaining, 1)",
    ),
    Guard(
        "plivo: an interim answer is the answer",
        "plivo/exchange.py",
        "if line[1] // 100 != 1 or",
        "if line[1] != 100 or",
    ),
    Guard(
        "plivo: a copy of an earlier answer counts",
        "plivo/exchange.py",
        "if self._more or api_id in answered:",
        "if self._more:",
    ),
    Guard(
        "plivo: an answer counts whatever follows it",
        "plivo/exchange.py",
        "if self._more or api_id in answered:",
        "if api_id in answered:",
    ),
    Guard(
        "plivo: an answer is not remembered",
        "plivo/exchange.py",
        "            answered.add(api_id)\n",
        "            answered |= {self._retry_after}\n",
    ),
    Guard(
        "plivo: an answer without an api_id keeps the connection",
        "plivo/exchange.py",
        "if api_id and status in EXPECTED",
        "if status in EXPECTED",
    ),
    Guard(
        "plivo: a connection is used forever",
        "plivo/exchange.py",
        "len(answered) < MOST_ANSWERS",
        "True",
    ),
    Guard(
        "plivo: an answer may end where this reader thinks",
        "plivo/exchange.py",
        "if not clear:",
        "if False:",
    ),
    Guard(
        "plivo: an api_id may hold a number",
        "plivo/response.py",
        "api_id=masked(api_id, *private),",
        "api_id=api_id,",
    ),
    Guard(
        "plivo: 5xx is rejected",
        "plivo/response.py",
        "if self.status // 100 in (3, 5):\n            return Cause.OUTCOME_UNKNOWN",
        "if self.status // 100 in (3, 5):\n            return Cause.REJECTED",
    ),
    Guard(
        "plivo: an answer that was not read is throttling",
        "plivo/response.py",
        "not_understood = Cause.PLIVO_TIMED_OUT if self.timed_out else Cause.OUTCOME_UNKNOWN",
        "not_understood = Cause.PLIVO_THROTTLED",
    ),
    Guard(
        "plivo: an unexpected status proves something",
        "plivo/response.py",
        "_FIXED.get(self.status, Cause.UNEXPECTED_STATUS)",
        "_FIXED.get(self.status, Cause.PLIVO_THROTTLED)",
    ),
    Guard(
        "plivo: a 408 is rejected",
        "causes.py",
        "frozenset({400, 404, 405, 409, 422})",
        "frozenset({400, 404, 405, 408, 409, 422})",
    ),
    Guard(
        "plivo: a 2xx with an error is accepted",
        "plivo/response.py",
        "if isinstance(error, str) and error:",
        "if False:",
    ),
)


def run(layer: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Whether the tests pass on the package in ``layer``, and the end of their output."""
    command = [
        sys.executable,
        *("-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"),
        *("-o", f"pythonpath={layer} .", "-k", NO_EMULATOR, "--hypothesis-seed=1"),
        *tests,
    ]
    try:
        done = subprocess.run(  # noqa: S603  made of constants
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return False, "it did not end"
    return done.returncode == 0, done.stdout[-2000:]


def survives(guard: Guard, tests: tuple[str, ...]) -> bool:
    """Whether the tests still pass on a copy of the package without the guard."""
    with tempfile.TemporaryDirectory() as folder:
        layer = Path(folder)
        package = layer / "cold_transfer"
        shutil.copytree(
            LAYER / "cold_transfer", package, ignore=shutil.ignore_patterns("__pycache__")
        )
        (package / guard.file).write_text(_source(guard).replace(guard.before, guard.after))
        return run(layer, tests)[0]


def _source(guard: Guard) -> str:
    return (LAYER / "cold_transfer" / guard.file).read_text()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.guards")
    parser.add_argument("words", nargs="*", metavar="WORD", help="the guards that begin so")
    parser.add_argument("--explorer", action="store_true", help="the explorer has to notice alone")
    options = parser.parse_args(arguments)
    words, explorer = tuple(options.words), options.explorer
    chosen = [guard for guard in GUARDS if not words or guard.name.startswith(words)]
    if explorer:
        chosen = [guard for guard in chosen if not guard.of_plivo]
    missing = [guard for guard in chosen if _source(guard).count(guard.before) != 1]
    if missing:
        sys.stdout.write("".join(f"Not once in {g.file}: {g.name}\n" for g in missing))
        return 2
    if explorer:
        for guard in chosen:
            if guard.unexplored:
                sys.stdout.write(f"unseen    {guard.file:18} {guard.name}: {guard.unexplored}\n")
        chosen = [guard for guard in chosen if not guard.unexplored]
    sets = [guard.tests(explorer=explorer) for guard in chosen]
    for tests in set(sets):
        passed, output = run(LAYER, tests)
        if not passed:
            sys.stdout.write(f"{output}\nThe tests fail without any change.\n")
            return 2
    begun, survivors = time.monotonic(), 0
    with ThreadPoolExecutor(2) as pool:
        for guard, survived in zip(chosen, pool.map(survives, chosen, sets), strict=True):
            word = "SURVIVED" if survived else "noticed"
            sys.stdout.write(f"{word:8}  {guard.file:18} {guard.name}\n")
            sys.stdout.flush()
            survivors += survived
    seconds = time.monotonic() - begun
    noticed = len(chosen) - survivors
    sys.stdout.write(f"{noticed} of {len(chosen)} changes noticed, in {seconds:.0f} s\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
