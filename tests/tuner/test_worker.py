"""A worker in this process: checkpoints, crashes, and what a killed driver did not hear."""

import math
import os
import signal
import time

import pytest
import torch
from rank_runs import CONTEXT
from tiny import TinyNet, tiny_data

from autoft.recipe import Recipe
from autoft.record import Objective
from autoft.training.stage import StageRun
from autoft.tuner import demise
from autoft.tuner.prepare import lay_ground, worker_context
from autoft.tuner.worker import Alone, LostRankError, Worker

RECIPE = {
    "model": "tiny.TinyNet",
    "data": {"test_fraction": 0.0},
    "stages": [{"name": "head", "epochs": 1}, {"name": "tune", "epochs": 2, "unfreeze": 1, "lr": 1e-3}],
}


def lay():
    torch.manual_seed(0)
    return lay_ground(Recipe.parse(RECIPE, where="test"), tiny_data(), module=TinyNet(), notify=lambda _text: None)


@pytest.fixture
def ground():
    return lay()


def a_worker(ground, folder, team=None, stages=None):
    objective = Objective("accuracy", "max")
    context = worker_context(ground, objective, folder, threads=1, device="cpu", reuse=None, stages=stages)
    return Worker(lambda: context, team)


def reports(worker):
    found = []
    while not found or not found[-1].done:
        found.append(worker.step())
    return [evaluation for report in found for evaluation in report.evaluations]


def plain(evaluations):
    return [{**each.plain(), "compute_s": 0} for each in evaluations]


def test_a_worker_reports_every_evaluation_and_then_is_done(ground, tmp_path):
    worker = a_worker(ground, tmp_path)
    worker.begin(0, ground.recipe.full())
    assert [each.index for each in reports(worker)] == [1, 2, 3]


def test_a_worker_serves_trial_after_trial_and_each_starts_from_the_base(ground, tmp_path):
    worker = a_worker(ground, tmp_path)
    worker.begin(0, ground.recipe.full())
    first = reports(worker)
    worker.begin(1, ground.recipe.override({"stages.tune.lr": 1e-2}).full())
    reports(worker)
    worker.begin(2, ground.recipe.full())
    assert plain(reports(worker)) == plain(first)


def test_a_trial_stops_when_its_time_is_up_and_goes_on_when_there_is_more(ground, tmp_path):
    worker = a_worker(ground, tmp_path)
    worker.begin(0, ground.recipe.full(), until=0.0)
    report = worker.step()
    assert (report.out_of_time, report.done, report.evaluations) == (True, True, ())
    worker.begin(0, ground.recipe.full())
    assert [each.index for each in reports(worker)] == [1, 2, 3]


@pytest.mark.parametrize("weight", [0.5, float("nan")], ids=["stopped", "diverged"])
def test_a_worker_that_rests_keeps_no_stage_from_others(tmp_path, weight):
    module = TinyNet()
    torch.nn.init.constant_(module.block1[0].weight, weight)
    recipe = Recipe.parse(RECIPE, where="test").override({"stages.head.epochs": 2})
    ground = lay_ground(recipe, tiny_data(), module=module, notify=lambda _text: None)
    first, second = (a_worker(ground, tmp_path, stages=tmp_path / "stages") for _ in range(2))
    first.begin(0, ground.recipe.full())
    (evaluation,) = first.step().evaluations
    assert (evaluation.stage, bool(evaluation.diverged)) == ("head", math.isnan(weight))
    first.rest()
    second.begin(1, ground.recipe.full(), until=time.time() + 10)
    assert len(second.step().evaluations) == 1


@pytest.mark.parametrize("steps", [1, 2])
def test_a_trial_goes_on_from_its_checkpoint_as_if_never_stopped(ground, tmp_path, steps):
    whole = a_worker(ground, tmp_path / "whole")
    whole.begin(0, ground.recipe.full())
    expected = reports(whole)

    first = a_worker(ground, tmp_path / "parts")
    first.begin(0, ground.recipe.full())
    before = [first.step().evaluations[0] for _ in range(steps)]
    second = a_worker(ground, tmp_path / "parts")
    second.begin(0, ground.recipe.full(), known=steps)
    assert plain([*before, *reports(second)]) == plain(expected)


def test_an_evaluation_that_the_ledger_missed_is_told_again_and_not_trained_again(ground, tmp_path):
    first = a_worker(ground, tmp_path)
    first.begin(0, ground.recipe.full())
    missed = [first.step().evaluations[0] for _ in range(2)][1]
    second = a_worker(ground, tmp_path)
    second.begin(0, ground.recipe.full(), known=1)
    told = reports(second)
    assert [each.index for each in told] == [2, 3]
    assert told[0] == missed


def test_a_finished_checkpoint_whose_last_word_was_missed_is_done_with_it(ground, tmp_path):
    first = a_worker(ground, tmp_path)
    first.begin(0, ground.recipe.full())
    last = reports(first)[-1]
    second = a_worker(ground, tmp_path)
    second.begin(0, ground.recipe.full(), known=2)
    report = second.step()
    assert (report.evaluations, report.done) == ((last,), True)


def test_a_crash_is_told_and_the_worker_goes_on_with_the_next_trial(ground, tmp_path):
    worker = a_worker(ground, tmp_path)
    worker.begin(0, {**ground.recipe.full(), "stages": []})
    report = worker.step()
    assert report.done
    assert report.crash.startswith("ConfigError: trial 0: stages")
    assert "ConfigError" in (tmp_path / "0000" / "error.txt").read_text()
    worker.begin(1, ground.recipe.full())
    assert len(reports(worker)) == 3


def test_a_context_that_cannot_be_opened_is_told_as_a_crash():
    def broken():
        raise ModuleNotFoundError("No module named 'mine'")

    worker = Worker(broken)
    worker.begin(0, {})
    assert worker.step().crash == "ModuleNotFoundError: No module named 'mine'"


def test_a_storage_that_refuses_is_told_as_such_and_not_as_a_crash(ground, tmp_path):
    (tmp_path / "trials").write_text("")
    worker = a_worker(ground, tmp_path / "trials")
    worker.begin(0, ground.recipe.full())
    report = worker.step()
    assert (report.crash, report.done) == (None, True)
    assert report.refused.startswith(str(tmp_path / "trials"))


@pytest.mark.parametrize("most", [5, 16])
def test_what_does_not_fit_into_memory_is_taken_in_parts_that_do_from_then_on(tmp_path, most):
    """Batches of 32 in halves: 16, 8, 4; the same losses, and the recipe as run says so."""
    settings = Recipe.parse(RECIPE, where="test").override({"optimisation.opt": "sgd"})
    torch.manual_seed(0)
    whole = lay_ground(settings, tiny_data(), module=TinyNet(), notify=lambda _text: None)
    torch.manual_seed(0)
    scarce = lay_ground(settings, tiny_data(), module=TinyNet(most_rows=most), notify=lambda _text: None)
    worker = a_worker(whole, tmp_path / "whole/trials")
    worker.begin(0, settings_of(whole))
    expected = reports(worker)
    worker = a_worker(scarce, tmp_path / "scarce/trials")
    worker.begin(0, settings_of(scarce))
    found = []
    while not found or not found[-1].done:
        found.append(worker.step())
    evaluations = [each for report in found for each in report.evaluations]
    assert [each.train_loss for each in evaluations] == pytest.approx([each.train_loss for each in expected], rel=1e-5)
    fits = 16 if most == 16 else 4
    assert [each.micro_batch for each in evaluations] == [fits] * 3
    notes = [note for report in found for note in report.notes]
    assert len(notes) == {16: 1, 5: 3}[most]
    assert "ran out of memory with 32 items at once where it trains 1 layer group;" in notes[0]
    worker.begin(1, settings_of(scarce))
    assert [each.micro_batch for each in reports(worker)] == [fits] * 3


def test_a_trial_that_does_not_fit_with_a_single_item_crashes_with_the_cause(tmp_path):
    torch.manual_seed(0)
    recipe = Recipe.parse({**RECIPE, "optimisation": {"micro_batch": 1}}, where="test")
    net = TinyNet(most_rows=0.5)
    ground = lay_ground(recipe, tiny_data(), module=net, notify=lambda _text: None)
    worker = a_worker(ground, tmp_path / "trials")
    worker.begin(0, settings_of(ground))
    found = [worker.step()]
    while not found[-1].done:
        found.append(worker.step())
    assert "memory" in found[-1].crash


class Losing(Alone):
    """A team whose first failure is said to be a lost rank."""

    def __init__(self):
        self.lost = 0

    def cause(self, error):
        self.lost += 1
        return LostRankError("gone") if self.lost == 1 else error


def test_a_trial_that_fails_by_itself_after_a_rank_was_lost_is_not_tried_for_ever(tmp_path):
    recipe = Recipe.parse(RECIPE, where="test")
    net = TinyNet(fail_in_training=True)
    ground = lay_ground(recipe, tiny_data(), module=net, notify=lambda _text: None)
    team = Losing()
    worker = a_worker(ground, tmp_path / "trials", team)
    worker.begin(0, settings_of(ground))
    assert worker.step().crash == "RuntimeError: this network never trains"
    assert team.lost == 2


class Starving(Alone):
    """A team that loses a rank for lack of memory."""

    def cause(self, error):
        return LostRankError("gone", starved=True)


def test_a_rank_ended_for_lack_of_memory_halves_what_all_take_at_once(tmp_path):
    torch.manual_seed(0)
    ground = lay_ground(
        Recipe.parse(RECIPE, where="test"), tiny_data(), module=TinyNet(most_rows=5), notify=lambda _text: None
    )
    worker = a_worker(ground, tmp_path / "trials", Starving())
    worker.begin(0, settings_of(ground))
    assert [each.micro_batch for each in reports(worker)] == [4] * 3


def killed_in_training(folder):
    """A process that dies while it trains."""
    ground = lay()
    worker = a_worker(ground, folder)
    worker.begin(0, settings_of(ground))
    worker.step()
    StageRun.update = lambda _self: os.kill(os.getpid(), signal.SIGKILL)
    worker.step()


def test_a_trial_whose_process_the_kernel_ended_goes_on_with_half_as_many_items(ground, tmp_path, monkeypatch):
    """The death is real; that the kernel did it for memory is told by its count, which is not to be had here."""
    process = CONTEXT.Process(target=killed_in_training, args=(tmp_path / "trials",))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    before = demise.kernel_kills()
    monkeypatch.setattr(demise, "kernel_kills", lambda: before + 1)
    worker = a_worker(ground, tmp_path / "trials")
    worker.begin(0, settings_of(ground), known=1)
    found = [worker.step(), worker.step()]
    assert [each.micro_batch for report in found for each in report.evaluations] == [16] * 2
    assert len([note for report in found for note in report.notes]) == 1
    assert list((tmp_path / "trials/0000").glob("in_training*")) == []


def settings_of(ground):
    return ground.recipe.full()
