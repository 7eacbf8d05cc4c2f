"""The fuzz targets without a coverage-guided fuzzer: random requests, and changes of good ones."""

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
def test_every_input_ends_as_it_may(name: str, data: st.DataObject) -> None:
    target, seeds = targets.TARGETS[name]
    target(data.draw(st.one_of(st.binary(max_size=400), *map(changed, seeds))))


@pytest.mark.parametrize(("name", "good"), [("webhook", 12), ("event", 4)])
def test_of_the_requests_that_it_starts_from_the_good_ones_are_sent(name: str, good: int) -> None:
    """Else a fuzzer would try the locked entry point alone."""
    target, seeds = targets.TARGETS[name]
    sent = 0
    for seed in seeds:
        target(seed)
        sent += targets.posts()

    assert sent == good
