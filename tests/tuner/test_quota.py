import os
import shutil

import pytest
import torch

from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.training.checkpoint import best_weights, read_checkpoint, slim_checkpoint, write_checkpoint
from autoft.tuner.quota import CheckpointKeeper, default_quota, size_of
from autoft.tuner.run_folder import RunFolder

OBJECTIVE = Objective("accuracy", "max")
BEST = torch.arange(100.0)


def record(number, value, *, baseline="", state=TrialState.COMPLETE):
    curve = (Evaluation(1, "tune", 1.0, 4, value=value, train_loss=1.0, val_loss=1.0),)
    return TrialRecord(number, state, Proposal({}, f"baseline:{baseline}" if baseline else "tpe"), curve)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


@pytest.fixture
def keeper(folder):
    def keeper(max_bytes=10**9):
        return CheckpointKeeper(folder, OBJECTIVE, max_bytes)

    return keeper


def write(folder, *numbers):
    for number in numbers:
        sections = {"now": {"w": torch.randn(100)}, "trial_best": {"w": BEST}, "optimizer": {"w": torch.randn(500)}}
        for _ in range(2):
            write_checkpoint(folder.trial(number) / "checkpoint", sections, {"best": "trial_best"})


def stage(folder, key):
    write_checkpoint(folder.stages / key, {"weights": {"w": torch.randn(500)}}, {})


def size_of_slim(folder):
    """Bytes of a trial's checkpoint when only its best weights are left."""
    write(folder, 99)
    slim_checkpoint(folder.trial(99) / "checkpoint")
    size = size_of(folder.trial(99) / "checkpoint")
    shutil.rmtree(folder.trial(99))
    return size


def there(folder):
    return {int(path.parent.name) for path in folder.trials.glob("*/checkpoint")}


def test_a_finished_trial_that_is_neither_best_nor_baseline_is_dropped_at_once(folder, keeper):
    write(folder, 0, 1, 2, 3)
    records = [record(0, 0.5, baseline="head_only"), record(1, 0.6), record(2, 0.4)]
    keep = keeper()
    keep([*records, record(3, 0.1, state=TrialState.RUNNING)])
    assert there(folder) == {0, 1, 3}
    keep([*records, record(3, 0.7)])
    assert there(folder) == {0, 3}


def test_of_two_equal_trials_the_earlier_one_is_kept_whichever_ended_first(folder, keeper):
    write(folder, 0, 1)
    keep = keeper()
    keep([record(0, 0.1, state=TrialState.RUNNING), record(1, 0.6)])
    keep([record(0, 0.6), record(1, 0.6)])
    assert there(folder) == {0}


def test_a_crashed_trial_cannot_be_the_best(folder, keeper):
    write(folder, 0, 1)
    keeper()([record(0, 0.9, state=TrialState.FAIL), record(1, 0.5)])
    assert there(folder) == {1}


def test_each_trial_is_looked_at_once(folder, keeper, monkeypatch):
    write(folder, 0, 1, 2)
    taken = []
    keep = keeper()
    monkeypatch.setattr(CheckpointKeeper, "_take", lambda _self, found: taken.append(found.number))
    for count in (1, 2, 3):
        keep([record(number, 0.5) for number in range(count)])
    assert taken == [0, 1, 2]


def test_slimming_leaves_the_best_weights_alone(folder, keeper):
    write(folder, 0)
    path = folder.trial(0) / "checkpoint"
    keeper(1500)([record(0, 0.5, baseline="head_only")])
    assert torch.equal(best_weights(path)["w"], BEST)
    sections, facts = read_checkpoint(path)
    assert (set(sections), facts["best"]) == ({"trial_best"}, "trial_best")
    assert size_of(path) <= 1500


def test_stages_go_before_baselines_and_what_nobody_asked_for_goes_first(folder, keeper):
    write(folder, 0)
    for age, key in enumerate(("new", "old")):
        stage(folder, key)
        os.utime(folder.stages / key, (1000 - age, 1000 - age))
    slim_and_a_stage = 1500 + size_of(folder.stages / "new")
    keep = keeper(slim_and_a_stage)
    keep([record(0, 0.5, baseline="head_only")])
    assert [path.name for path in folder.stages.iterdir()] == ["new"]
    assert there(folder) == {0}
    assert keep.notes == []


def test_baselines_go_last_the_worst_first_and_that_is_told(folder, keeper):
    write(folder, 0, 1, 2)
    stage(folder, "shared")
    keep = keeper(3 * size_of_slim(folder) - 1)
    keep([record(0, 0.5, baseline="head_only"), record(1, 0.3, baseline="standard"), record(2, 0.6)])
    assert there(folder) == {0, 2}
    assert list(folder.stages.iterdir()) == []
    (note,) = keep.notes
    assert "baseline standard were dropped" in note
    assert "no test score" in note


def test_the_baseline_that_alone_may_be_allowed_to_win_is_spared(folder):
    write(folder, 0, 1, 2)
    keep = CheckpointKeeper(folder, OBJECTIVE, 10, spared="head_only")
    keep([record(0, 0.3, baseline="head_only"), record(1, 0.5, baseline="standard"), record(2, 0.6)])
    assert there(folder) == {0, 2}


def test_what_is_needed_is_kept_beyond_the_quota_and_that_is_told_once(folder, keeper):
    write(folder, 0, 1)
    keep = keeper(10)
    records = [record(0, 0.5), record(1, 0.3, state=TrialState.WAITING)]
    keep(records)
    keep(records)
    assert there(folder) == {0, 1}
    (note,) = keep.notes
    assert "raise the quota, or lower resources.max_concurrent_trials" in note
    assert len(list((folder.trial(1) / "checkpoint").glob("*.json"))) == 2, "what is needed to resume is not slimmed"


def test_by_default_half_of_the_free_disk_is_used(tmp_path):
    assert default_quota(tmp_path) > 0
