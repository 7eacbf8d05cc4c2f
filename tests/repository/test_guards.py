"""Each guard of `make mutation` is in its file, and the tests that must notice it exist."""

import pytest

from tests.mutation.guards import GUARDS, LAYER, ROOT, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_is_in_its_file_once(guard: Guard) -> None:
    source = (LAYER / "cold_transfer" / guard.file).read_text()

    assert source.count(guard.before) == 1
    tests = {*guard.tests(explorer=False), *guard.tests(explorer=True)}
    assert [test for test in tests if not (ROOT / test).is_file()] == []
