"""What a winner must retain: measured once per trial, kept in the study, and stronger than any value."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.errors import ConfigError, SearchFailedError
from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.study import MemoryLedger
from autoft.training.checkpoint import write_checkpoint
from autoft.tuner.closing import Allowance, Closing
from autoft.tuner.confirmation.plan import finalists
from autoft.tuner.delivery import Contest, deliver
from autoft.tuner.gains import gains_of
from autoft.tuner.prepare import lay_ground
from autoft.tuner.retention import Retention
from autoft.tuner.run_folder import RunFolder

ACCURACY = Objective("accuracy", "max")
RECIPE = {
    "model": "tiny.TinyNet",
    "data": {"test_fraction": 0.0, "batch_size": 8},
    "stages": [{"name": "head", "epochs": 2}],
    "optimisation": {"memory_format": "contiguous"},
}


@pytest.fixture(scope="module")
def ground():
    torch.manual_seed(0)
    return lay_ground(Recipe.parse(RECIPE, where="test"), tiny_data(), module=TinyNet(), notify=lambda _text: None)


@pytest.fixture
def run(ground, tmp_path):
    """A frozen baseline, a deep trial with a better value that has moved far, and one whose weights are gone."""
    folder = RunFolder(tmp_path / "run")
    start = {name: each.detach() for name, each in ground.loaded.base.module.named_parameters()}
    head = {name: each for name, each in start.items() if name.startswith("head.")}
    noise = torch.Generator().manual_seed(0)
    moved = {name: torch.randn(each.shape, generator=noise) for name, each in start.items()}
    for number, weights in ((0, head), (1, moved)):
        write_checkpoint(folder.checkpoint(number), {"trial_best": weights}, {"best": "trial_best"})
    plans = [("baseline:head_only", 0.6), ("tpe", 0.9), ("tpe", 0.95)]
    records = tuple(
        TrialRecord(
            number,
            TrialState.COMPLETE,
            Proposal(ground.recipe.full(), origin),
            (Evaluation(1, "head", 1, 6, value, 0.5, 0.5),),
        )
        for number, (origin, value) in enumerate(plans)
    )
    ledger = MemoryLedger(ACCURACY, records)
    return SimpleNamespace(folder=folder, records=records, ledger=ledger, head=head)


def retention(run, ground, least):
    return Retention(least, run.folder, ground, ACCURACY, run.ledger)


def contest(run, ground, least, said=None):
    settings = {"retention": retention(run, ground, least) if least else None}
    return Contest(run.folder, ground, run.records, ACCURACY, said or {}, Allowance(Closing(), 0.0), **settings)


def test_a_frozen_backbone_retains_all_and_what_is_gone_nothing(run, ground):
    found = retention(run, ground, 0.99)
    assert [found.of(record) for record in run.records][::2] == [1.0, None]
    assert 0.0 <= found.of(run.records[1]) < 0.99
    assert [found.keeps(record) for record in run.records] == [True, False, False]


def test_it_is_measured_once_and_kept_in_the_study(run, ground):
    first = retention(run, ground, 0.99).of(run.records[1])
    again = retention(run, None, 0.99)
    assert again.of(run.records[1]) == first, "without a model it can only have come from the study"


def test_a_trial_that_went_on_is_measured_again(run, ground):
    found = retention(run, ground, 0.99)
    assert not found.keeps(run.records[1])
    longer = (*run.records[1].curve, Evaluation(2, "head", 2, 12, 0.97, 0.5, 0.5))
    write_checkpoint(run.folder.checkpoint(1), {"trial_best": run.head}, {"best": "trial_best"})
    assert not found.keeps(run.records[1]), "its best evaluation is still the one that was measured"
    assert found.keeps(replace(run.records[1], curve=longer))


def test_the_best_that_keeps_to_it_wins_and_without_it_the_best(run, ground):
    assert deliver(contest(run, ground, None)).winner.number == 2
    assert deliver(contest(run, ground, 0.99)).winner.number == 0


def test_who_could_not_win_for_it_is_told(run, ground):
    judge = retention(run, ground, 0.9)
    assert judge.notes(run.records) == []
    deliver(contest(run, ground, 0.9))
    (note,) = judge.notes(run.records)
    assert note.startswith("what retains less than search.constraints.min_retention (0.9) cannot win: trial 1 (0.")


def test_confirmation_takes_the_best_that_keep_to_it(run, ground):
    assert [each.number for each in finalists(run.records, ACCURACY, 1)] == [2, 0]
    keeps = retention(run, ground, 0.99).keeps
    assert [each.number for each in finalists(run.records, ACCURACY, 1, keeps)] == [0]


def test_a_verdict_for_a_trial_that_breaks_it_does_not_count(run, ground):
    said = {"winner": 1, "candidates": [{"trial": 1, "mean": 0.9, "values": [0.9]}]}
    assert deliver(contest(run, ground, 0.99, said)).winner.number == 0


def test_that_no_trial_keeps_to_it_is_told(run, ground):
    deep = [record for record in run.records if record.number != 0]
    only = Contest(run.folder, ground, deep, ACCURACY, {}, Allowance(Closing(), 0.0))
    only.retention = retention(run, ground, 0.99)
    with pytest.raises(
        SearchFailedError, match=r"no trial whose weights are kept retains search\.constraints\.min_retention \(0\.99\)"
    ):
        deliver(only)


def test_a_mixture_that_breaks_it_is_not_kept(run, ground):
    of_all = contest(run, ground, 0.99)
    winner = deliver(of_all)
    free, _ = gains_of(contest(run, ground, None), winner, scored=1)
    bound, notes = gains_of(of_all, winner, scored=1)
    assert [each.value for each in bound.tried] == [each.value for each in free.tried]
    if free.weights:
        assert bound.weights is None
        assert any("retains less than" in note for note in notes)


def test_what_cannot_be_measured_is_refused_before_anything_is_trained(ground, run):
    few = lay_ground(Recipe.parse(RECIPE, where="test"), tiny_data(val=3), module=TinyNet(), notify=lambda _text: None)
    with pytest.raises(ConfigError, match=r"min_retention: is 0\.5, but .* at least 4 validation items, got 3"):
        retention(run, few, 0.5).check()
    retention(run, ground, 0.5).check()
