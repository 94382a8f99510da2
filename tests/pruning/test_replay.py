"""Rules judged on recorded curves."""

from pathlib import Path

import numpy as np
import pytest

from autoft.errors import DataError
from autoft.pruning import Dominated, Nothing, PruneConfig
from autoft.pruning.replay import (
    TOPS,
    Judged,
    RecordedTask,
    candidates,
    load_task,
    mildest,
    recorded_curve,
    replay,
    rule_of,
    save_task,
)
from autoft.record import CONTINUE, Objective, pause, stop

ACCURACY = Objective("accuracy", "max")
RECORDED = sorted((Path(__file__).parents[3] / "shared" / "curves").glob("*.npz"))
needs_recordings = pytest.mark.skipif(
    not RECORDED, reason="the recorded curves of TaskSet are not beside the repository"
)


def task_of(*losses):
    curves = tuple(recorded_curve(row, row) for row in losses)
    return RecordedTask("made", ("lr",), np.zeros((len(curves), 1)), curves)


def late_starter(trials=100, length=10):
    """Trial 0 is the best of all, and the worst until its last evaluation; the others are flat."""
    return task_of([9.0] * (length - 1) + [0.0], *([1 + place / trials] * length for place in range(1, trials)))


def stop_from(evaluation, rule="late"):
    return lambda curve, _peers, _objective: stop(rule, "x") if len(curve) >= evaluation else CONTINUE


class TestReplay:
    def test_nothing_saves_nothing_and_loses_nothing(self):
        judged = replay(Nothing(), late_starter())
        assert judged == Judged(dict.fromkeys(TOPS, 0.0), regret=0.0, saved=0.0, stopped={})

    @pytest.mark.parametrize("evaluation", [1, 4, 9, 10])
    def test_what_stops_every_trial_at_one_evaluation_saves_the_rest(self, evaluation):
        judged = replay(stop_from(evaluation), late_starter())
        assert judged.saved == pytest.approx(1 - evaluation / 10)
        assert judged.stopped == {"late": 100}
        lost = evaluation < 10
        assert judged.false_prunes == {0.01: float(lost), 0.05: lost / 5, 0.1: lost / 10}
        assert judged.regret == pytest.approx(1.01 if lost else 0.0)

    def test_a_pause_can_be_taken_back_and_stops_nothing(self):
        assert replay(lambda *_: pause("a", "b"), late_starter()).saved == 0.0

    def test_peers_are_the_trials_before_as_far_as_they_ran(self):
        seen = []

        def spy(_curve, peers, _objective):
            seen.append([len(peer) for peer in peers])
            return stop("x", "y") if len(seen) % 2 == 0 else CONTINUE

        replay(spy, task_of([1.0] * 5, [1.0] * 5, [1.0] * 5), [2, 0, 1])
        assert seen == [[], [], [2], [2], [2, 2], [2, 2]]

    def test_patience_saves_late_starters(self):
        impatient, patient = (replay(Dominated(5, n), late_starter(), range(99, -1, -1)) for n in (1, 10))
        assert impatient.false_prunes[0.01] == 1.0
        assert patient.false_prunes[0.01] == 0.0
        assert patient.saved < impatient.saved

    def test_it_turns_with_the_direction(self):
        up = task_of([0.1, 0.9], [0.5, 0.5])
        up = RecordedTask("up", ("lr",), up.points, up.curves, Objective("accuracy", "max"))
        assert replay(stop_from(1), up).regret == pytest.approx(0.4)
        assert list(up.best_scores()) == [0.9, 0.5]

    def test_needs_trials(self):
        with pytest.raises(ValueError, match="at least one trial"):
            replay(Nothing(), late_starter(), [])


class TestMildest:
    @staticmethod
    def judged(first, fifth, saved):
        return [Judged({0.01: first, 0.05: fifth, 0.1: 0.0}, 0.0, saved, {})]

    def test_chooses_the_fewest_false_prunes_among_those_that_save_enough(self):
        judged = {
            "greedy": self.judged(0.1, 0.0, 0.9),
            "fair": self.judged(0.0, 0.1, 0.8),
            "mild": self.judged(0.0, 0.05, 0.65),
            "timid": self.judged(0.0, 0.0, 0.3),
        }
        assert mildest(judged) == "mild"
        assert mildest(judged, min_saved=0.2) == "timid"
        assert mildest(judged, min_saved=0.95) == "greedy"


class TestRecordedTasks:
    @pytest.fixture
    def arrays(self):
        losses = np.linspace(1, 0, 8).reshape(2, 4)
        return {"hp": np.ones((2, 1)), "hp_names": np.array(["lr"]), "train": losses, "valid": losses + 1}

    def test_the_column_before_training_is_no_evaluation(self, arrays, tmp_path):
        np.savez(tmp_path / "made.npz", **arrays)
        task = load_task(tmp_path / "made.npz")
        assert (task.name, task.hyperparameters, task.points.shape) == ("made", ("lr",), (2, 1))
        assert [[e.value for e in curve] for curve in task.curves] == arrays["valid"][:, 1:].tolist()
        assert [e.index for e in task.curves[0]] == [1, 2, 3]
        assert task.curves[1][2].train_loss == arrays["train"][1, 3]

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            pytest.param({"hp": np.ones((3, 1))}, r"hp \(3, 1\)", id="recipes"),
            pytest.param({"hp_names": np.array(["a", "b"])}, r"hp_names \(2,\)", id="names"),
            pytest.param({"valid": np.ones((2, 3))}, r"valid \(2, 3\)", id="evaluations"),
            pytest.param({"train": None}, "no recorded curves", id="a column that is missing"),
        ],
    )
    def test_arrays_that_do_not_fit_are_told(self, change, says, arrays, tmp_path):
        changed = {name: value for name, value in (arrays | change).items() if value is not None}
        np.savez(tmp_path / "made.npz", **changed)
        with pytest.raises(DataError, match=says):
            load_task(tmp_path / "made.npz")

    def test_curves_of_any_length_and_metric_read_back_as_they_were_written(self, tmp_path):
        curves = recorded_curve([2.0, 1.0], [2.5, 1.5], [0.5, 0.8]), recorded_curve([3.0], [3.5], [0.25])
        task = RecordedTask("mine", ("lr", "depth"), np.array([[1e-3, 2], [1e-4, np.nan]]), curves, ACCURACY)
        save_task(tmp_path / "mine.npz", task)
        again = load_task(tmp_path / "mine.npz")
        assert (again.name, again.hyperparameters, again.objective) == (task.name, task.hyperparameters, ACCURACY)
        assert again.curves == task.curves
        np.testing.assert_array_equal(again.points, task.points)
        assert replay(Nothing(), again).regret == 0.0

    def test_no_curves_at_all_can_be_written(self, tmp_path):
        save_task(tmp_path / "none.npz", RecordedTask("none", (), np.zeros((0, 0)), ()))
        assert load_task(tmp_path / "none.npz").curves == ()

    def test_a_mode_that_is_none_is_told(self, arrays, tmp_path):
        np.savez(tmp_path / "made.npz", **arrays, metric=np.array("accuracy"), mode=np.array("up"))
        with pytest.raises(DataError, match="mode is 'up'"):
            load_task(tmp_path / "made.npz")

    def test_what_is_no_such_file_is_told(self, tmp_path):
        (tmp_path / "x.npz").write_text("no")
        with pytest.raises(DataError, match=r"x\.npz: no recorded curves"):
            load_task(tmp_path / "x.npz")


def test_the_defaults_are_among_the_candidates():
    assert PruneConfig() in candidates().values()


@needs_recordings
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_default_rules_stop_none_of_the_best_and_save_half(path):
    """400 of the 1,000 trials; tests/benchmarks/pruning_replay.py has all of them."""
    judged = replay(rule_of(PruneConfig()), load_task(path), np.random.default_rng(0).permutation(1000)[:400])
    assert judged.false_prunes[0.01] == 0.0
    assert judged.regret == 0.0
    assert judged.saved > 0.45
