"""One deployed stack for all system tests, with IAM enforced."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]  # ships no types
from xdist.scheduler import (  # type: ignore[import-untyped]  # ships no types
    LoadScopeScheduling,
)

from local.stack import Stack
from tests.system.deployment import Crowd, Deployment, Plivo

PARAMETERS = {
    # Bursts of fifty come from here, and each worker that they start takes its time.
    "StageRateLimit": "1000",
    "StageBurstLimit": "1000",
    "DuplicateWindowSeconds": "300",
    "UnknownWindowSeconds": "300",
    "PlivoDeadlineSeconds": "5",
    "SecretsCacheSeconds": "1",
    "LedgerDeletionProtection": "true",
}

#: These do not use the fixture ``deployment``.
OWN_STACK = {
    "test_console",
    "test_deploy_command",
    "test_documents",
    "test_infrastructure_as_code",
    "test_local_run",
}

#: Whoever looks at a whole session needs what these make happen.
TRAFFIC = {
    "test_at_most_once",
    "test_event",
    "test_least_privilege",
    "test_outcome_events",
    "test_secrets",
    "test_webhook",
}


@pytest.fixture(scope="session")
def deployment() -> Iterator[Deployment]:
    with Plivo() as plivo, _stack(plivo.base_url) as stack:
        deployed = Deployment(stack, plivo)
        try:
            yield deployed
        finally:
            deployed.close()


@contextmanager
def _stack(plivo_base_url: str) -> Iterator[Stack]:
    stack = Stack(plivo_base_url=plivo_base_url, parameters=PARAMETERS)
    try:
        with warnings.catch_warnings():
            # Popen warns when it is dropped before its process ended; the stack finds its
            # processes by their lock files.
            warnings.simplefilter("ignore", ResourceWarning)
            stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def after_all_others(request: pytest.FixtureRequest, deployment: Deployment) -> Deployment:
    """For tests that look at all that the session left behind: they run last.

    Skips where the session is not a whole one.
    """
    if not {item.path.stem for item in request.session.items}.issuperset(TRAFFIC):
        pytest.skip("looks at what all system tests together left behind")
    return deployment


@pytest.fixture
def crowd() -> Crowd:
    """Each asker starts an execution environment of its own: tests with a crowd run late."""

    def ask_all[T](asks: Sequence[Callable[[], T]]) -> list[T]:
        with ThreadPoolExecutor(len(asks)) as pool:
            return [future.result() for future in [pool.submit(ask) for ask in asks]]

    return ask_all


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    late = ("crowd", "after_all_others")

    def lateness(item: pytest.Item) -> int:
        fixtures = getattr(item, "fixturenames", ())
        return max((late.index(name) + 1 for name in late if name in fixtures), default=0)

    items.sort(key=lateness)


class _StackScheduling(LoadScopeScheduling):  # type: ignore[misc]  # of no known type
    """One process has the shared stack; the others share the files that start their own."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        return file.stem if file.stem in OWN_STACK else "deployment"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _StackScheduling(config, log)
