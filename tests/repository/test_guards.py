"""`make mutation` finds each guard where it looks for it, and the tests that have to notice."""

import pytest

from tests.mutation.guards import GUARDS, LAYER, ROOT, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_once_in_its_file(guard: Guard) -> None:
    source = (LAYER / "cold_transfer" / guard.file).read_text()

    assert source.count(guard.before) == 1
    tests = {*guard.tests(explorer=False), *guard.tests(explorer=True)}
    assert [test for test in tests if not (ROOT / test).is_file()] == []
