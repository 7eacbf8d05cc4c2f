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
    # Tests send bursts of fifty.
    "StageRateLimit": "1000",
    "StageBurstLimit": "1000",
    "DuplicateWindowSeconds": "300",
    "UnknownWindowSeconds": "300",
    "PlivoDeadlineSeconds": "5",
    "SecretsCacheSeconds": "1",
    "LedgerDeletionProtection": "true",
}

#: Files that do not use the fixture ``deployment``.
OWN_STACK = {
    "test_console",
    "test_deploy_command",
    "test_documents",
    "test_infrastructure_as_code",
    "test_local_run",
}

#: Files whose traffic the tests with ``after_all_others`` need.
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
            # Popen warns when it is garbage-collected before its process has ended. The stack
            # stops its processes by their lock files instead.
            warnings.simplefilter("ignore", ResourceWarning)
            stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def after_all_others(request: pytest.FixtureRequest, deployment: Deployment) -> Deployment:
    """For tests that examine what the whole session left behind: they run last.

    Skips if not all of ``TRAFFIC`` was selected.
    """
    if not {item.path.stem for item in request.session.items}.issuperset(TRAFFIC):
        pytest.skip("needs the traffic of all system tests")
    return deployment


@pytest.fixture
def crowd() -> Crowd:
    """Tests that use it run late, because each call starts an execution environment."""

    def call_all[T](calls: Sequence[Callable[[], T]]) -> list[T]:
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(call) for call in calls]]

    return call_all


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    last = ("crowd", "after_all_others")

    def position(item: pytest.Item) -> int:
        fixtures = getattr(item, "fixturenames", ())
        return max((last.index(name) + 1 for name in last if name in fixtures), default=0)

    items.sort(key=position)


class _StackScheduling(LoadScopeScheduling):  # type: ignore[misc]  # the base class is untyped
    """One worker runs everything on the shared stack; each file of OWN_STACK is a scope."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        return file.stem if file.stem in OWN_STACK else "deployment"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _StackScheduling(config, log)
