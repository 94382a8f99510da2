"""How far a search is, read from what its progress writes into a job's log."""

from dataclasses import replace

import pytest

from autoft.cli.progress import LineProgress
from autoft.errors import ClusterError
from autoft.jobs.job import Job, JobState
from autoft.jobs.standing import Standing, standing_in, standing_of
from autoft.record import Evaluation, ModelCard, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.observer import SearchPlan


def trial(number, state=TrialState.RUNNING, **params):
    return TrialRecord(number, state, Proposal({}, "tpe", params))


def evaluated(value):
    return Evaluation(index=1, stage="tune", epoch=1.0, step=8, value=value, train_loss=1.0, val_loss=1.0)


PLAN = SearchPlan(
    place="runs/photos",
    model=ModelCard("resnet18", "cnn", (), "timm", 224, (0.5,), (0.5,)),
    data="photos",
    items={"train": 60},
    objective=Objective("log_loss", "min"),
    num_samples=12,
    slots=2,
    time_left_s=None,
    finished_trials=3,
)
"""Of a search that goes on where three of twelve trials had ended."""


@pytest.fixture
def progress(capsys):
    """Lines of it, and what they tell."""
    lines = LineProgress()
    lines.started(PLAN)
    return lines, lambda: standing_in(capsys.readouterr().err)


def test_the_best_of_an_earlier_start_is_told(capsys):
    best = replace(trial(2, TrialState.COMPLETE), curve=(evaluated(0.5),))
    LineProgress().started(replace(PLAN, best=best))
    assert standing_in(capsys.readouterr().err) == Standing(metric="log_loss", best=0.5)


def test_before_the_first_value_nothing_is_known(progress):
    lines, told = progress
    lines.trial_started(trial(3, aug="a [1/2]"))
    assert told() == Standing()


def test_the_last_value_and_the_last_count_are_told(progress):
    lines, told = progress
    for number, value in ((3, 0.75), (4, 3.25e-05)):
        lines.trial_started(trial(number))
        lines.evaluated(trial(number), evaluated(value), value)
        lines.trial_ended(trial(number, TrialState.COMPLETE))
    lines.trial_ended(trial(5, TrialState.WAITING))
    assert told() == Standing(trials_ended=5, trials_in_all=12, metric="log_loss", best=3.25e-05)


@pytest.mark.parametrize(
    "line", ["trial 1 best so far: accuracy very (tune)", "x trial 1 complete [1/2]", "trial 1 [a/2]"]
)
def test_what_is_not_as_it_should_be_is_not_known(line):
    assert (standing_in(line).best, standing_in(line).trials_ended) == (None, None)


class Logs:
    def __init__(self, text):
        self.text = text

    def log(self, _job):
        if self.text is None:
            raise ClusterError("the node is gone")
        return self.text


@pytest.mark.parametrize(
    ("job", "log", "failure"),
    [
        (
            Job("a", JobState.FAILED, exit_code=2),
            "x\nerror: versions differ: torch is 1\n",
            "versions differ: torch is 1",
        ),
        (Job("a", JobState.FAILED, "the node died"), None, "the node died"),
        (Job("a", JobState.STOPPED), "x\nerror: interrupted\n", ""),
    ],
)
def test_of_a_failed_job_the_sentence_is_told_and_of_no_other(job, log, failure):
    assert standing_of(Logs(log), job).failure == failure
