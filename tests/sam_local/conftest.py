"""A running stack in a separate checkout."""

from collections.abc import Iterator

import pytest

from tests.sam_local.checkout import Checkout, Page, docker, engine_missing


@pytest.fixture(scope="session")
def page() -> Page:
    return Page.read()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout after `make build`."""
    missing = engine_missing()
    if missing:
        pytest.skip(missing)
    checkout = Checkout.made_in(tmp_path_factory.mktemp("sam-local") / "checkout")
    made = checkout.run("make build")
    assert made.returncode == 0, made.stderr
    try:
        yield checkout
    finally:
        left = checkout.containers()
        if left:  # by a `sam local` that was killed
            docker("rm", "--force", *left)


@pytest.fixture(scope="session")
def prepared(built: Checkout, page: Page) -> Iterator[Checkout]:
    """The checkout with a running stack that containers can reach."""
    try:
        made = built.run(*page.preparation)
        assert made.returncode == 0, made.stdout + made.stderr
        yield built
    finally:
        built.run("make down")
