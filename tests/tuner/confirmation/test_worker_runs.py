"""Confirmation runs in a worker: held-out items, fresh seeds, and the same outcome after an interruption."""

import numpy as np
import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.data.folds import held_out
from autoft.recipe import Recipe
from autoft.record import Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.confirmation.plan import run_proposal
from autoft.tuner.confirmation.runs import read_outcome
from autoft.tuner.prepare import lay_ground, worker_context
from autoft.tuner.worker import Confirming, Worker

ACCURACY = Objective("accuracy", "max")
RECIPE = {
    "model": "tiny.TinyNet",
    "data": {"test_fraction": 0.0},
    "stages": [{"name": "head", "epochs": 2}, {"name": "tune", "epochs": 2, "unfreeze": 1, "lr": 1e-2}],
}


@pytest.fixture
def ground():
    torch.manual_seed(0)
    return lay_ground(Recipe.parse(RECIPE, where="test"), tiny_data(), module=TinyNet(), notify=lambda _text: None)


def a_worker(ground, folder):
    context = worker_context(
        ground,
        ACCURACY,
        folder / "trials",
        threads=1,
        device="cpu",
        reuse=None,
        stages=folder / "stages",
        confirming=Confirming(folder / "confirm", seed=0),
    )
    return Worker(lambda: context)


def a_proposal(ground, run):
    record = TrialRecord(0, TrialState.COMPLETE, Proposal(ground.recipe.full(), "tpe"))
    return run_proposal(record, run, ACCURACY, seed=0).recipe


def finish(worker):
    while not (report := worker.step()).done:
        pass
    assert report.crash is None, report.crash
    return report


def test_a_run_scores_its_own_fold_with_the_weights_that_it_ended_with(ground, tmp_path):
    worker = a_worker(ground, tmp_path)
    found = []
    for run in (0, 1):
        worker.begin(run, a_proposal(ground, run), run=run)
        report = finish(worker)
        outcome = read_outcome(tmp_path / f"confirm/{run:04d}", ACCURACY)
        assert np.array_equal(outcome.items, held_out(ground.data, run, seed=0).splits.val)
        assert outcome.value == report.evaluations[-1].value == outcome.scores.mean()
        found.append(outcome.items)
    assert not set(found[0]) & set(found[1])
    assert not (tmp_path / "trials").exists()


def test_a_run_that_was_interrupted_comes_to_the_same_outcome(ground, tmp_path):
    whole, first, second = (a_worker(ground, tmp_path / name) for name in ("whole", "parts", "parts"))
    whole.begin(0, a_proposal(ground, 0), run=0)
    finish(whole)
    first.begin(0, a_proposal(ground, 0), run=0)
    known = len(first.step().evaluations)
    second.begin(0, a_proposal(ground, 0), known=known, run=0)
    finish(second)
    one, other = (read_outcome(tmp_path / name / "confirm/0000", ACCURACY) for name in ("whole", "parts"))
    assert np.array_equal(one.scores, other.scores)
    assert one.value == other.value
