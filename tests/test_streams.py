"""Random streams."""

from hypothesis import given
from hypothesis import strategies as st

from autoft.streams import stream, stream_seed

KEYS = st.lists(st.one_of(st.integers(), st.text(max_size=5)), max_size=4)


@given(st.integers(0), KEYS)
def test_the_same_key_gives_the_same_numbers(seed, key):
    assert stream(seed, *key).integers(2**60, size=3).tolist() == stream(seed, *key).integers(2**60, size=3).tolist()


@given(st.integers(0), KEYS, KEYS)
def test_another_key_gives_another_seed(seed, one, other):
    assert (stream_seed(seed, *one) == stream_seed(seed, *other)) == (one == other)
