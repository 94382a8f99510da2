"""What the search's plan says is kept, is kept, and nothing else, whatever a worker measures itself."""

import pytest
from freezing_models import base

from autoft.cache import ActivationCache, Need, Reuse

NEEDS = [Need(2, 1e6), Need(4, 1e-6)]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [(None, {2}), (frozenset({4}), {4}), (frozenset({2, 4}), {2, 4}), (frozenset(), set())],
    ids=["decided here", "the one that does not pay here", "both", "none"],
)
def test_the_plan_decides_what_is_kept(tmp_path, noise, chosen, expected):
    cache = ActivationCache(Reuse(tmp_path, 2**30, chosen=chosen), noise(), lambda _text: None)
    assert set(cache.prepare(base("hand-written").reset(), NEEDS).activations) == expected


def test_what_lies_there_is_read_even_if_the_plan_would_not_build_it(tmp_path, noise):
    built = ActivationCache(Reuse(tmp_path, 2**30, chosen=frozenset({2})), noise(), lambda _text: None)
    built.prepare(base("hand-written").reset(), NEEDS)
    cache = ActivationCache(Reuse(tmp_path, 2**30, chosen=frozenset()), noise(), lambda _text: None)
    assert set(cache.prepare(base("hand-written").reset(), NEEDS).activations) == {2}


def test_what_does_not_fit_is_not_kept_though_it_was_planned(tmp_path, noise):
    told = []
    cache = ActivationCache(Reuse(tmp_path, 100, chosen=frozenset({2})), noise(), told.append)
    assert not cache.prepare(base("hand-written").reset(), NEEDS).activations
    assert "raise reuse.max_bytes" in told[0]
