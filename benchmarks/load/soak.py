"""Many invocations of one worker: its memory along the way, and the time of each."""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Self

from benchmarks.load.audit import Answer, Sent
from benchmarks.load.plan import Order
from benchmarks.load.senders import answer_of, event_of, goes_on, returned, webhook_request
from cold_transfer.action import EntryPoint
from cold_transfer_cli.records import action_id
from local.build import BUILD
from local.sender import NODE_ID, PHLO_ID
from local.stack import Stack

WORKER = Path(__file__).with_name("worker.py")

#: Of the samples, from the start: what fills caches and pools once.
WARM_UP = 0.2


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker's resident memory, in KiB, after so many invocations."""

    invocations: int
    kib: int


def slope(samples: Sequence[Sample]) -> float:
    """KiB per 1,000 invocations, after the warm-up: the median of the slopes of all pairs.

    That is the Theil-Sen estimator: a few samples that are far off hardly move it, and growth that
    begins late still does.

    Raises
    ------
    ValueError
        There are fewer than two samples after the warm-up.
    """
    warm = samples[int(len(samples) * WARM_UP) :]
    pairs = [
        (b.kib - a.kib) / (b.invocations - a.invocations) * 1000 for a, b in combinations(warm, 2)
    ]
    if not pairs:
        raise ValueError("too few samples for a slope")
    return statistics.median(pairs)


class Worker:
    """A process that runs a built function as Lambda runs it, one invocation at a time."""

    def __init__(self, function: str, environment: Mapping[str, str]) -> None:
        near, far = os.pipe()
        task = BUILD / function
        paths = [str(task), str(BUILD / "ColdTransferLayer" / "python")]
        self._process = subprocess.Popen(  # noqa: S603  our own program
            [_interpreter(), "-s", "-B", str(WORKER), str(far)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(far,),
            env={
                **environment,
                "PYTHONPATH": os.pathsep.join(paths),
                "LAMBDA_TASK_ROOT": str(task),
                "AWS_LAMBDA_FUNCTION_NAME": function,
            },
            text=True,
        )
        os.close(far)
        self._answers = os.fdopen(near, encoding="utf-8")
        self._lock = threading.Lock()
        self.invocations = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        self._process.stdin.close()
        self._process.wait()
        self._answers.close()

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What the handler returned (``result``), or why it raised (``cause``, ``action_id``).

        In both cases ``seconds`` is how long it took.
        """
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        with self._lock:
            self._process.stdin.write(json.dumps(event) + "\n")
            self._process.stdin.flush()
            line = self._answers.readline()
            self.invocations += 1
        if not line:
            raise RuntimeError(f"the worker ended with status {self._process.wait()}")
        said: dict[str, Any] = json.loads(line)
        return said

    def sample(self) -> Sample:
        return Sample(self.invocations, resident_kib(self._process.pid))


class Direct:
    """Asks a worker itself, with no gateway and no bus in between."""

    def __init__(self, worker: Worker, source: str) -> None:
        self._worker = worker
        self._source = source

    def send(self, order: Order, entry_point: EntryPoint, key: str, *, again: bool) -> Sent:  # noqa: ARG002  the protocol's
        tries, begun = 0, time.perf_counter()
        while True:
            if entry_point is EntryPoint.WEBHOOK:
                request = webhook_request(order, key)
                mine, event = request.action_id, _proxy_event(request.headers, request.body)
            else:
                event = event_of(order, key, self._source)
                mine = action_id(entry_point, self._source, key)
            said = self._worker.invoke(event)
            answer = _answer(entry_point, said)
            tries += 1
            if not goes_on(order, answer, tries):
                took = said["seconds"] if tries == 1 else time.perf_counter() - begun
                return Sent(entry_point, mine, answer, took, tries)
            time.sleep(max(answer.retry_after, 1))


def environment_of(stack: Stack, entry_point: EntryPoint) -> dict[str, str]:
    """The deployed function's variables, and those that Lambda adds."""
    client = stack.aws("lambda")
    described = client.get_function_configuration(
        FunctionName=stack.description["functions"][entry_point]
    )
    return {
        **described["Environment"]["Variables"],
        "PATH": os.defpath,
        "AWS_REGION": stack.description["aws_region"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": stack.endpoint_url,
        "AWS_XRAY_DAEMON_ADDRESS": stack.trace_address,
    }


def resident_kib(pid: int) -> int:
    statm = Path(f"/proc/{pid}/statm")
    if statm.is_file():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    shown = subprocess.run(  # noqa: S603  where there is no /proc: macOS
        ["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True
    )
    return int(shown.stdout)


def _answer(entry_point: EntryPoint, said: Mapping[str, Any]) -> Answer:
    if "cause" in said:
        return Answer(None, said["cause"], action_id=said["action_id"], replayed=None)
    result = said["result"]
    if entry_point is EntryPoint.EVENT:
        return returned(result)
    lower = {name.lower(): value for name, value in result["headers"].items()}
    return answer_of(result["statusCode"], lower, result["body"])


def _proxy_event(headers: Mapping[str, str], body: str) -> dict[str, Any]:
    """As API Gateway's REST proxy integration hands it over."""
    return {
        "resource": "/v1/phlo/{phlo_id}/multi_party_call/{node_id}",
        "httpMethod": "POST",
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "pathParameters": {"phlo_id": PHLO_ID, "node_id": NODE_ID},
        "requestContext": {"requestId": "5b2b7a1e-7d4b-4f6a-8a34-0d3f1a1c9e55"},
        "body": body,
        "isBase64Encoded": False,
    }


def _interpreter() -> str:
    """Python without the virtual environment, whose packages the artifact must not see."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
