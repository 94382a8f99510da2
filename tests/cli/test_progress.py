import io
import sys

import pytest
from rich.console import Console

from autoft.cli.progress import LineProgress, LiveProgress, ending, planned, progress, title
from autoft.record import Evaluation, GroupCard, ModelCard, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.forecast import Forecast, Kept
from autoft.tuner.layout import Layout, Slots
from autoft.tuner.observer import SearchPlan, Silent

CARD = ModelCard("resnet18", "cnn", (GroupCard("head", 10, 1, 1.0),), "timm", 224, (0.5,), (0.5,))


def plan(**changes):
    fields = {
        "place": "runs/photos",
        "model": CARD,
        "data": "photos",
        "items": {"train": 60, "val": 20, "test": 20},
        "objective": Objective("accuracy", "max"),
        "num_samples": 12,
        "slots": 2,
        "time_left_s": 600.0,
        "finished_trials": 0,
    }
    return SearchPlan(**{**fields, **changes})


def trial(number, state=TrialState.RUNNING, origin="tpe", params=None, **fields):
    return TrialRecord(number, state, Proposal({}, origin, params or {}), **fields)


def evaluation(value, **fields):
    return Evaluation(
        **{
            "index": 1,
            "stage": "tune",
            "epoch": 2.0,
            "step": 8,
            "value": value,
            "train_loss": 1.0,
            "val_loss": 1.0,
            **fields,
        }
    )


class Time:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Time()


@pytest.fixture
def view(clock):
    return LiveProgress(clock=clock)


def drawn(view, width=120):
    console = Console(file=io.StringIO(), width=width)
    console.print(view.render())
    return console.file.getvalue()


def a_search(observer):
    observer.note("class balance is 1:20; balanced_accuracy tells more")
    observer.started(plan(finished_trials=2))
    first = trial(2, origin="baseline:head_only")
    second = trial(3, params={"depth": 2, "lr": 0.000312345})
    observer.trial_started(first)
    observer.trial_started(second)
    observer.evaluated(first, evaluation(0.8125), 0.8125)
    observer.evaluated(second, evaluation(0.5), 0.8125)
    observer.trial_ended(
        trial(
            3,
            TrialState.PRUNED,
            reason="dominated",
            reason_text="behind [all] of its 4 peers",
            params=second.proposal.params,
        )
    )
    observer.trial_started(trial(4, params={"depth": 1}))


def test_the_view_shows_trials_budget_best_running_and_reasons(view, clock):
    a_search(view)
    clock.now += 150
    text = drawn(view)
    assert "runs/photos  resnet18 on photos" in text
    assert "3 of 12" in text
    assert "7m30s left" in text
    assert "accuracy 0.8125  trial 2: head_only" in text
    assert "1 dominated" in text
    assert "#3 pruned (dominated: behind [all] of its 4 peers)" in text
    assert "running #2 tune epoch 2 value 0.8125  head_only" in text
    assert "running #4 starting  depth=1" in text
    assert "running #3" not in text
    assert "class balance is 1:20" in text


def test_a_search_that_goes_on_names_the_trial_that_was_the_best(view, capsys):
    before = trial(1, TrialState.COMPLETE, params={"depth": 2}, curve=(evaluation(0.75),))
    other = trial(2, params={"depth": 1})
    lines = LineProgress()
    for each in (view, lines):
        each.started(plan(finished_trials=1, best=before))
        each.evaluated(other, evaluation(0.5), 0.75)
    assert "accuracy 0.75  trial 1: depth=2" in drawn(view)
    told = capsys.readouterr().err
    assert "trial 1 best so far: accuracy 0.75 (tune epoch 2)" in told
    assert "trial 2" not in told
    lines.evaluated(other, evaluation(0.875), 0.875)
    assert "trial 2 best so far: accuracy 0.875" in capsys.readouterr().err


def test_before_the_first_trial_the_view_says_how_long_it_prepares(view, clock):
    clock.now += 4
    assert "preparing 4.0s" in drawn(view)


def test_without_a_budget_the_view_shows_the_time_spent(view, clock):
    view.started(plan(time_left_s=None))
    clock.now += 61
    assert "1m01s, no time budget" in drawn(view)


def test_a_budget_that_is_spent_is_not_negative(view, clock):
    view.started(plan(time_left_s=5.0))
    clock.now += 60
    assert "0.0s left" in drawn(view)


FORECAST = Forecast(
    Layout("channels_last", 1, Slots(2, 1, 0.0)),
    (Kept(3, "blocks.2", 2_500_000), Kept(8, "blocks.6", 640_000)),
    building_s=2.0,
    trials_s=100.0,
    trials_without_reuse_s=190.0,
)
PLANNED = (
    "2 at a time, 1 thread each, channels_last; keeps 3.14 MB after blocks.2, blocks.6, built in 2.0s; "
    "1m40s of computing predicted (3m10s without reuse)"
)


def test_the_plan_and_what_reuse_has_saved_are_shown(view):
    view.started(plan(forecast=FORECAST, saved_s=4.0))
    view.trial_started(trial(0))
    view.evaluated(trial(0), evaluation(0.5, saved_s=8.0), 0.5)
    text = drawn(view, width=200)
    assert PLANNED in text
    assert "12s of computing by reuse so far" in text


def test_the_plan_is_a_line_before_the_first_trial(capsys):
    LineProgress().started(plan(forecast=FORECAST))
    assert capsys.readouterr().err.splitlines()[1] == f"plan: {PLANNED}"


def test_a_plan_without_predictions_tells_the_layout_alone():
    assert planned(Forecast(Layout("contiguous", 4, Slots(1, 4, 0.0)))) == "1 at a time, 4 threads each, contiguous"


def test_the_view_fits_a_narrow_terminal(view):
    a_search(view)
    assert max(len(line) for line in drawn(view, width=60).splitlines()) <= 60


def test_an_interrupted_trial_is_not_counted_as_ended(view):
    view.started(plan())
    view.trial_started(trial(0))
    view.trial_ended(trial(0, TrialState.WAITING, reason="interrupted"))
    assert view.ended == 0
    assert "running" not in drawn(view)


def test_a_paused_trial_is_told_and_counted_until_it_is_thawed(view, capsys):
    paused = trial(0, TrialState.WAITING, reason="not_promoted", reason_text="it is 2nd of 2")
    for shown in (view, LineProgress()):
        shown.started(plan())
        shown.trial_started(trial(0))
        shown.trial_ended(paused)
    assert "0 of 12, 1 paused" in drawn(view)
    assert "#0 paused (not_promoted: it is 2nd of 2)" in drawn(view)
    assert capsys.readouterr().err.splitlines()[-1] == "trial 0 paused (not_promoted: it is 2nd of 2)"
    view.trial_started(trial(0))
    assert "0 of 12 " in drawn(view)
    view.trial_ended(paused)
    view.trial_ended(trial(0, TrialState.PRUNED, reason="not_promoted"))
    assert view.ended == 1
    assert "1 of 12 " in drawn(view)


def test_lines_tell_the_same_without_a_terminal(capsys):
    a_search(LineProgress())
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "class balance is 1:20; balanced_accuracy tells more",
        "runs/photos: resnet18 on photos (60 train, 20 val, 20 test), 12 trials, 10m00s left",
        "trial 2 started: head_only",
        "trial 3 started: depth=2 lr=0.0003123",
        "trial 2 best so far: accuracy 0.8125 (tune epoch 2)",
        "trial 3 pruned (dominated: behind [all] of its 4 peers) [3/12]",
        "trial 4 started: depth=1",
    ]


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (trial(0, origin="baseline:everything"), "everything"),
        (trial(1, origin="random"), "random"),
        (trial(1, params={"norm": "eval", "lr": 1e-4}), "norm=eval lr=0.0001"),
    ],
    ids=["baseline", "outside the space", "drawn"],
)
def test_a_trial_is_named_by_baseline_or_by_what_was_drawn(record, text):
    assert title(record) == text


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (trial(0, TrialState.COMPLETE), "complete"),
        (trial(0, TrialState.FAIL, reason="crashed"), "fail (crashed)"),
        (trial(0, TrialState.PRUNED, reason="diverged", reason_text="loss is nan"), "pruned (diverged: loss is nan)"),
    ],
    ids=["complete", "no sentence", "pruned"],
)
def test_an_ending_has_its_reason(record, text):
    assert ending(record) == text


def test_quiet_shows_nothing(capsys):
    with progress(quiet=True) as observer:
        assert isinstance(observer, Silent)
        a_search(observer)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_the_live_view_and_its_last_picture_stays(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress(quiet=False) as observer:
        assert isinstance(observer, LiveProgress)
        a_search(observer)
    assert "dominated" in sys.stderr.getvalue()
