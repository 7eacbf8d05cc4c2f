"""A running stack in a checkout of its own."""

import shutil
from collections.abc import Iterator

import pytest

from tests.sam_local.checkout import ROOT, Checkout, Page, docker, engine_missing

#: What a fresh clone does not have. `.venv` is linked: making one is not what is tested here.
NOT_CLONED = shutil.ignore_patterns(
    ".git", ".venv*", ".aws-sam", ".local", ".*_cache", ".hypothesis", "mutants", "__pycache__"
)


@pytest.fixture(scope="session")
def page() -> Page:
    return Page.read()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The project after `make build` alone, in a folder that nothing else uses."""
    missing = engine_missing()
    if missing:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("sam-local") / "checkout"
    shutil.copytree(ROOT, folder, ignore=NOT_CLONED)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    checkout = Checkout(folder)
    made = checkout.type("make build")
    assert made.returncode == 0, made.stderr
    try:
        yield checkout
    finally:
        left = checkout.containers()
        if left:  # of a `sam local` that was killed
            docker("rm", "--force", *left)


@pytest.fixture(scope="session")
def prepared(built: Checkout, page: Page) -> Iterator[Checkout]:
    """The same with a running stack that containers reach."""
    try:
        made = built.type(*page.preparation)
        assert made.returncode == 0, made.stdout + made.stderr
        yield built
    finally:
        built.type("make down")
