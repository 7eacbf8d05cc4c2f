"""The parts of a load run: mixed traffic, a soak of one worker, a crowd over Plivo's limit."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from itertools import islice

from benchmarks.load import plan
from benchmarks.load.audit import Found, Played, faults
from benchmarks.load.plan import Order, Resend
from benchmarks.load.senders import Deployed, EntryPoints, found, play
from benchmarks.load.soak import Direct, Sample, Worker, environment_of
from cold_transfer.action import EntryPoint
from cold_transfer.ledger.record import State
from local.progress import Progress
from local.simulator import Simulator
from local.stack import Stack

#: Windows that no slow machine outlives, a deadline that does not hold the run up, and a throttle
#: of the gateway's that is not what is looked at.
PARAMETERS = {
    "DuplicateWindowSeconds": "3600",
    "UnknownWindowSeconds": "3600",
    "PlivoDeadlineSeconds": "2",
    "StageRateLimit": "1000",
    "StageBurstLimit": "1000",
}

SENDERS = 6
SAMPLES = 100
#: The crowd: so many senders and actions, and what its Plivo takes: requests, seconds.
CROWD = 100
CROWD_SENDERS = 16
CROWD_RATE = (5, 1.0)
#: No limit: the soak is about the worker.
BOUNDLESS = (1_000_000_000, 1.0)
REPORT_SECONDS = 15.0

_ENTRY_POINTS = {EntryPoint.WEBHOOK: "WebhookFunction", EntryPoint.EVENT: "EventFunction"}


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the run did, and how long it took."""

    played: Sequence[Played]
    seconds: float

    @property
    def requests(self) -> int:
        return sum(one.tries for played in self.played for one in played.requests)


@dataclass(frozen=True, slots=True)
class Soak:
    """One worker's part, with its memory along the way."""

    entry_point: EntryPoint
    part: Part
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker works: with the stack's ledger and secrets, and a Plivo of its own.

    given_up
        Set when the run ends before its time.
    """

    stack: Stack
    entry_point: EntryPoint
    simulator: Simulator
    given_up: threading.Event

    def worker(self) -> Worker:
        environment = environment_of(self.stack, self.entry_point)
        environment["PLIVO_BASE_URL"] = self.simulator.base_url
        return Worker(_ENTRY_POINTS[self.entry_point], environment)


@dataclass(slots=True)
class Run:
    """Everything that was played, and what it left behind."""

    traffic: Part
    soaks: list[Soak] = field(default_factory=list)
    crowd: Part | None = None
    found: Found | None = None

    @property
    def played(self) -> list[Played]:
        parts = [self.traffic, *(soak.part for soak in self.soaks)]
        parts += [self.crowd] if self.crowd else []
        return [played for part in parts for played in part.played]

    def faults(self) -> list[str]:
        if self.found is None:
            raise ValueError("the run is not over")
        return list(faults(self.played, self.found))


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done.

    orders
        Of the mixed traffic.
    invocations
        Of each entry point's worker.
    seconds
        The longest time for each part; what is not begun by then is left out.
    seed
        Of the mixture, from 0 to 6.
    """

    orders: int
    invocations: int
    seconds: float
    seed: int


def run(stack: Stack, size: Size, progress: Progress) -> Run:
    """Play all parts on a stack that nobody else uses."""
    source = str(stack.description["event_source"])
    entry_points = Deployed(stack)
    progress.say(
        f"mixed traffic: {size.orders} orders through both entry points, {SENDERS} at a time"
    )
    try:
        planned = plan.orders(size.orders, seed=size.seed)
        done = Run(_part(entry_points, planned, SENDERS, _until(size.seconds), progress))
    finally:
        entry_points.close()
    received = stack.plivo_received()
    given_up = threading.Event()
    with Simulator(rate=BOUNDLESS) as simulator, ThreadPoolExecutor(len(_ENTRY_POINTS)) as pool:
        progress.say(f"a worker of each entry point: {size.invocations} invocations")
        _rest(stack)
        begun = [
            pool.submit(
                _soak,
                Place(stack, entry_point, simulator, given_up),
                replace(size, seed=seed),
                progress,
            )
            for seed, entry_point in enumerate(_ENTRY_POINTS, size.seed + 1)
        ]
        try:
            done.soaks += [each.result() for each in begun]
        except BaseException:
            given_up.set()
            raise
        received += map(asdict, simulator.received())
    with Simulator(rate=CROWD_RATE) as simulator:
        progress.say(f"a crowd of {CROWD} actions where Plivo takes {CROWD_RATE[0]} a second")
        with Place(stack, EntryPoint.WEBHOOK, simulator, given_up).worker() as worker:
            direct, planned = Direct(worker, source), _crowd(size.seed + 3)
            done.crowd = _part(direct, planned, CROWD_SENDERS, _until(size.seconds), progress)
        received += map(asdict, simulator.received())
    progress.say("comparing answers, ledger, Plivo and dead letters")
    letters = sum(one.dead_letter for played in done.played for one in played.requests)
    done.found = found(stack, received, letters)
    progress.say("done; stopping")
    return done


def _rest(stack: Stack) -> None:
    """Let the outcomes' publisher rest: in the emulator it takes half of the machine."""
    client = stack.aws("lambda")
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


def _soak(place: Place, size: Size, progress: Progress) -> Soak:
    entry_point, invocations = place.entry_point, size.invocations
    source = place.stack.description["event_source"]
    planned = plan.orders(
        invocations,
        seed=size.seed,
        entry_points=(entry_point,),
        without=("no answer in time",),  # it takes the whole deadline
        resends=(Resend.NONE, Resend.LATER, Resend.OTHER_KEY),
    )
    samples: list[Sample] = []
    over = _until(size.seconds)
    with place.worker() as worker:

        def enough() -> bool:
            if worker.invocations >= (len(samples) + 1) * invocations / SAMPLES:
                samples.append(worker.sample())
            return worker.invocations >= invocations or over() or place.given_up.is_set()

        direct = Direct(worker, source)
        part = _part(direct, planned, 1, enough, progress)
    return Soak(entry_point, part, samples)


def _crowd(seed: int) -> Iterator[Order]:
    """Actions that an ordinary Plivo accepts."""
    names = tuple(each.name for each in plan.MANNERS if each.state is not State.ACCEPTED)
    return plan.orders(
        CROWD, seed=seed, entry_points=(EntryPoint.WEBHOOK,), without=names, resends=(Resend.NONE,)
    )


def _part(
    entry_points: EntryPoints,
    orders: Iterator[Order],
    senders: int,
    enough: Callable[[], bool],
    progress: Progress,
) -> Part:
    begun = said = time.monotonic()
    played: list[Played] = []
    with ThreadPoolExecutor(senders) as pool:
        pending: set[Future[Played]] = set()
        while True:
            if not enough():
                pending |= {
                    pool.submit(play, entry_points, each)
                    for each in islice(orders, senders - len(pending))
                }
            if not pending:
                break
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            played += [each.result() for each in done]
            if time.monotonic() - said > REPORT_SECONDS:
                said = time.monotonic()
                progress.say(f"  {len(played)} orders")
    return Part(played, time.monotonic() - begun)


def _until(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end
