"""How long an item takes: measured once per study, and a model that is too slow is refused with a sentence."""

import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.errors import ConfigError
from autoft.recipe import Recipe
from autoft.record import Objective
from autoft.study import MemoryLedger
from autoft.tuner.config import ConstraintsConfig
from autoft.tuner.constraints import Constraints
from autoft.tuner.latency import kept_latency, latency_ms
from autoft.tuner.prepare import lay_ground

RECIPE = {
    "model": "tiny.TinyNet",
    "data": {"test_fraction": 0.0},
    "stages": [{"name": "head", "epochs": 1}],
    "optimisation": {"memory_format": "contiguous"},
}


@pytest.fixture(scope="module")
def ground():
    return lay_ground(Recipe.parse(RECIPE, where="test"), tiny_data(), module=TinyNet(), notify=lambda _text: None)


def test_it_is_the_fastest_of_some_passes_of_one_item(ground, monkeypatch):
    rows = []
    monkeypatch.setattr(TinyNet, "forward", lambda self, x: rows.append(len(x)) or x)
    seconds = [0.5, 0.4, *[0.003, 0.002, 0.004] * 6]
    times = [0.0]
    for each in seconds:
        times += [0.0, each, 0.0]
    assert latency_ms(ground, "cpu", now=iter(times).__next__) == pytest.approx(2.0)
    assert rows == [1] * 20


def test_a_slow_model_is_not_waited_for_longer_than_needed(ground):
    clock = iter(range(1000))
    assert latency_ms(ground, "cpu", now=lambda: float(next(clock))) == pytest.approx(1000.0)
    assert next(clock) < 20


def test_the_model_stays_as_it_was(ground):
    before = {name: each.clone() for name, each in ground.loaded.module.state_dict().items()}
    assert latency_ms(ground, "cpu") > 0.0
    assert all(torch.equal(before[name], each) for name, each in ground.loaded.module.state_dict().items())


def test_a_study_keeps_what_was_measured_when_it_began(ground):
    ledger = MemoryLedger(Objective("accuracy", "max"))
    found = kept_latency(ledger, ground, "cpu")
    assert kept_latency(ledger, None, "cpu") == found == ledger.meta()["latency_ms"]


def test_a_model_that_takes_longer_is_refused(ground):
    constraints = Constraints(ConstraintsConfig(max_latency_ms=2.0), ground.loaded)
    constraints.check_latency(2.0, None)
    with pytest.raises(
        ConfigError, match=r"max_latency_ms: is 2, but tiny\.TinyNet at 32 px takes 2\.5 ms for one item"
    ):
        constraints.check_latency(2.5, 32)
    Constraints(ConstraintsConfig(), ground.loaded).check_latency(1e9, None)
