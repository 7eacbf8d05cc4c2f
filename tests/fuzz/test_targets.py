"""The fuzz targets on random inputs and on changed seeds, without a coverage-guided fuzzer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import targets


@st.composite
def changed(draw: st.DrawFn, seed: bytes) -> bytes:
    """``seed`` with up to four of its parts replaced."""
    data = seed
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        until = draw(st.integers(at, min(len(data), at + 8)))
        data = data[:at] + draw(st.binary(max_size=8)) + data[until:]
    return data


@pytest.mark.parametrize("name", targets.TARGETS)
@given(data=st.data())
def test_every_input_ends_as_allowed(name: str, data: st.DataObject) -> None:
    target, seeds = targets.TARGETS[name]
    target(data.draw(st.one_of(st.binary(max_size=400), *map(changed, seeds))))


@pytest.mark.parametrize(("name", "valid"), [("webhook", 12), ("event", 4)])
def test_the_valid_seeds_are_sent(name: str, valid: int) -> None:
    """Otherwise a fuzzer would only ever try what is refused."""
    target, seeds = targets.TARGETS[name]
    sent = 0
    for seed in seeds:
        target(seed)
        sent += targets.posts()

    assert sent == valid
