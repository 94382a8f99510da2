"""Running a trainer to its end."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch

from autoft.cache import ActivationCache
from autoft.data import DataHandle
from autoft.model import LoadedModel
from autoft.recipe import Recipe
from autoft.record import CONTINUE, Action, Decision, Evaluation, Objective
from autoft.training.result import TrialResult
from autoft.training.scoring import Scorer
from autoft.training.trainer import StagedTrainer

Report: TypeAlias = Callable[[Evaluation], Decision]


@dataclass(frozen=True, slots=True)
class Fit:
    """A recipe that was run to its end."""

    trial: TrialResult
    test: Mapping[str, float] | None
    """All metrics on the test split, where there is one and it was asked for."""
    threads: int
    """Threads of torch that it was run with; results depend on them bit by bit."""


def go_on(_evaluation: Evaluation) -> Decision:
    """Continue, whatever the evaluation says."""
    return CONTINUE


def run(trainer: StagedTrainer, report: Report = go_on) -> TrialResult:
    """Train until all stages have ended, ``report`` or ``should_stop`` says so, or the training diverges.

    The model then holds the weights of the best evaluation, in eval mode.

    Raises:
        RunError: it was stopped before the first evaluation.
    """
    while evaluations := trainer.advance():
        decisions = [report(evaluation) for evaluation in evaluations]
        if any(decision.action is not Action.CONTINUE for decision in decisions):
            break
    result = trainer.result()
    trainer.load_best()
    return result


def fit(  # noqa: PLR0913 - the options of a run
    recipe: Recipe,
    loaded: LoadedModel,
    data: DataHandle,
    objective: Objective,
    *,
    device: str = "cpu",
    report: Report = go_on,
    test: bool = False,
    cache: ActivationCache | None = None,
) -> Fit:
    """Run a recipe on a freshly loaded model, with the threads that its provenance names.

    Args:
        recipe: complete.
        loaded: in its base state; holds the best weights afterwards, in eval mode.
        data: the data.
        objective: what the best evaluation is chosen by.
        device: where to train.
        report: called with every evaluation; a decision that does not continue ends the run.
        test: whether to score the test split, if there is one.
        cache: where activations are kept; None computes them each time.
    """
    with thread_count(recipe.provenance.threads if recipe.provenance else torch.get_num_threads()) as threads:
        trial = run(StagedTrainer(recipe, loaded, data, objective, device=device, cache=cache), report)
        scorer = Scorer(loaded, data, recipe.optimisation.memory_format, cache)
        asked = test and len(data.splits.test) > 0
        return Fit(trial, scorer.metrics(trial.weights, data.splits.test) if asked else None, threads)


@contextmanager
def thread_count(count: int) -> Iterator[int]:
    """Let torch use so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)
