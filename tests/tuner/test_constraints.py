"""Constraints: what breaks them is neither drawn nor started, and never wins."""

import pytest
import torch
from tiny import TinyNet

from autoft.errors import ConfigError
from autoft.model import complete, load_model
from autoft.recipe import ModelConfig, Recipe
from autoft.record import Objective, Proposal, TrialRecord, TrialState
from autoft.space import build_space
from autoft.tuner.baselines import baselines
from autoft.tuner.config import ConstraintsConfig
from autoft.tuner.constraints import Constraints
from autoft.tuner.pareto import trained_parameters
from autoft.tuner.sampler import build_sampler
from autoft.tuner.sampler_kinds import KINDS

HEAD, BLOCK2 = 3 * 16 + 3, 16 * 16 + 16
SPACE = {
    "depth": {"path": "stages.tune.unfreeze", "type": "int", "low": 0, "high": "all"},
    "dropout": {"path": "model.drop_rate", "type": "float", "low": 0.0, "high": 0.3},
}


@pytest.fixture(scope="module")
def loaded():
    return load_model(
        ModelConfig(name="tiny.TinyNet"), num_outputs=3, module=TinyNet(), example={"input": torch.zeros(2, 8)}, seed=0
    )


@pytest.fixture(scope="module")
def base(loaded):
    stages = [{"name": "head", "unfreeze": 0, "epochs": 1}, {"name": "tune", "unfreeze": 2, "epochs": 3}]
    return complete(Recipe.parse({"model": "tiny.TinyNet", "stages": stages}, where="test"), loaded.card)


def constraints(loaded, most=None):
    return Constraints(ConstraintsConfig(max_parameters=most), loaded)


@pytest.mark.parametrize("name", KINDS)
def test_only_recipes_that_keep_to_them_are_drawn(name, loaded, base):
    sampler = build_sampler(
        name,
        space=build_space(SPACE, base.full(), loaded.card),
        base=base,
        objective=Objective("accuracy", "max"),
        seed=0,
        allow=constraints(loaded, HEAD + BLOCK2).allow,
    )
    records = []
    for number in range(6):
        proposal = sampler.propose(records, number)
        assert trained_parameters(Recipe.parse(proposal.recipe, where="drawn"), loaded) <= HEAD + BLOCK2
        records.append(TrialRecord(number, TrialState.COMPLETE, proposal))


@pytest.mark.parametrize(
    ("most", "left"),
    [(None, ["head_only", "standard", "full"]), (HEAD + BLOCK2, ["head_only", "standard"]), (HEAD, ["head_only"])],
)
def test_baselines_that_break_them_are_left_out(most, left, loaded, base):
    assert [name for name, _ in constraints(loaded, most).among(baselines(base, loaded.card))] == left


def test_what_not_even_the_head_keeps_to_is_told(loaded, base):
    with pytest.raises(ConfigError, match="must be at least 51, of the head alone, got 50"):
        constraints(loaded, HEAD - 1).among(baselines(base, loaded.card))


def test_a_run_with_trials_that_break_them_is_refused(loaded, base):
    records = [TrialRecord(0, TrialState.COMPLETE, Proposal(base.full(), "tpe"))]
    constraints(loaded).check(records)
    with pytest.raises(ConfigError, match="trial 0 of this run trains more; begin another run"):
        constraints(loaded, HEAD).check(records)
