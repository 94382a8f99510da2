"""A whole search with confirmation on real Ray, interrupted in the middle of it and resumed."""

import os
import signal
import threading
import time
from dataclasses import dataclass

import optuna
import pytest
import torch
from tiny import TinyNet, tiny_data

import autoft
from autoft.cli.outcome import outcome
from autoft.errors import SearchInterruptedError
from autoft.study import sqlite_url
from autoft.tuner.confirmation.plan import pair_of
from autoft.tuner.observer import Silent
from autoft.tuner.result import open_confirmation
from autoft.tuner.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_ray")]
SETTINGS = {
    "stages": [{"name": "head", "epochs": 1}, {"name": "tune", "epochs": 3, "unfreeze": 1, "lr": 1e-3}],
    "confirm": {"top": 1, "max_share": 0.95, "refit": True},
    "resources.max_concurrent_trials": 1,
}


class InterruptWhen(Silent):
    """Interrupts the search, from the side, as soon as a file is there."""

    def __init__(self, path):
        self._path = path

    def note(self, text):
        if text.startswith("confirming"):
            threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        while not self._path.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)


@dataclass(frozen=True)
class Run:
    """What was there after the interruption, and the search that went on to its end."""

    between: dict
    result: autoft.SearchResult


def search(path, observer):
    torch.manual_seed(0)
    more = {"num_samples": 5, "name": "tiny", "storage_path": path, "overrides": SETTINGS, "observer": observer}
    return autoft.search(TinyNet(), tiny_data(test=24), **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory, shared_ray):
    path = tmp_path_factory.mktemp("runs")
    kept = path / "tiny/confirm"
    with pytest.raises(SearchInterruptedError):
        search(path, InterruptWhen(kept / "0001/outcomes.npz"))
    between = {found: found.stat().st_mtime_ns for found in kept.glob("*/outcomes.npz")}
    return Run(between, search(path, Silent()))


def test_what_was_run_before_the_interruption_is_not_run_again(run):
    assert 2 <= len(run.between) < len(list((run.result.path / "confirm").glob("*/outcomes.npz")))
    assert {found: found.stat().st_mtime_ns for found in run.between} == run.between


def test_every_candidate_ran_as_often_and_the_winner_is_one_of_them(run):
    said = run.result.confirmation
    assert said["runs"] == 2
    assert said["folds"] == 3
    assert said["held_out_items"] == 48
    assert {one["origin"] for one in said["candidates"]} >= {f"baseline:{name}" for name in ("head_only", "standard")}
    assert run.result.summary["winner"] == said["winner"] in {one["trial"] for one in said["candidates"]}
    assert run.result.best_recipe.provenance.trial == said["winner"]
    assert set(said["unfreezing"]) == {"over_frozen", "over_standard"}
    low, high = said["test_interval"]
    assert low <= run.result.test["accuracy"] <= high


def test_the_study_and_the_table_hold_only_the_recipes_that_were_tried(run):
    assert len(run.result.trials_dataframe()) == len(run.result.study.trials) == 5
    folder = RunFolder(run.result.path)
    names = optuna.get_all_study_names(sqlite_url(folder.database.resolve()))
    assert sorted(names) == ["tiny", "tiny (confirmation)"]
    with open_confirmation(folder, run.result.ledger.objective, None) as ledger:
        records = ledger.trials()
    pairs = [pair_of(record) for record in records]
    assert len(set(pairs)) == len(pairs)
    assert all(record.state == "COMPLETE" for record in records)
    seeds = {(run, record.proposal.recipe["seed"]) for (_, run), record in zip(pairs, records, strict=True)}
    assert len(seeds) == 2, "one fresh seed per run, the same for all candidates"


def test_the_outcome_says_why_and_what_unfreezing_bought(run):
    told = [str(part) for part in outcome(run.result.summary)]
    assert any(line.startswith("confirm trial ") for line in told)
    assert any("against head_only" in line for line in told)


def test_a_refit_says_whose_numbers_are_told(run):
    summary, recipe = run.result.summary, run.result.best_recipe
    assert summary["refit"]["kept"]
    assert summary["refit"]["items"] == 72
    assert recipe.provenance.weights == "refit on train and validation"
    assert "gains" not in summary
    winner = next(each for each in run.result.records if each.number == summary["winner"])
    assert summary["best_value"] == winner.best(run.result.ledger.objective).value
    assert summary["test_plain"].keys() == summary["test"].keys()
    assert any("was trained on 72 items, validation included" in str(part) for part in outcome(summary))
