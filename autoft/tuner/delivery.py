"""Which weights are delivered: those of the winner's own trial, unless validation says that they were bad luck.

Confirmation judges recipes, by runs with fresh seeds; the weights that are there are those of one seed. Where a
baseline or another finalist came to better ones, the winner's recipe is trained again, and where that does not help the
next recipe is delivered.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from autoft.cache import ActivationCache, Reuse
from autoft.errors import SearchFailedError
from autoft.model import named_tensors
from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, TrialRecord, best_first
from autoft.training import Judge, Scorer, StagedTrainer, as_run, best_weights
from autoft.training.gains import Tried, Weights
from autoft.tuner.closing import OUT_OF_TIME, Allowance
from autoft.tuner.confirmation.plan import again_s, fresh_seed
from autoft.tuner.prepare import Ground, scorer_of
from autoft.tuner.retention import Retention
from autoft.tuner.run_folder import RunFolder
from autoft.tuner.tables import chosen

_OWN, _AGAIN, _OTHER = "own", "trained again", "another recipe"
_ERRORS, _ERRORS_OF_THE_BEST = 1.0, 2.0
"""Standard errors that weights may be behind a baseline's, and behind those of a trial that is among the best of many
on these items: such a one looks better than it is."""


@dataclass(frozen=True)
class Delivery:
    """What the model file and the recipe are made of."""

    winner: TrialRecord
    """Where it was trained again, with the recipe (so the seed) and the curve of that."""
    weights: Weights | None = None
    """Of that training; None: the trial's checkpoint holds them."""
    told: Mapping[str, Any] | None = None
    """As summary.json has it; None where there was nothing to choose."""
    notes: tuple[str, ...] = ()

    def read(self, folder: RunFolder) -> Weights | None:
        """The weights; None where they are gone."""
        return self.weights or best_weights(folder.checkpoint(self.winner.number))


@dataclass
class Contest:
    """Finalists of one search, compared by their weights on the validation split.

    Args:
        folder: the run.
        ground: model and data; the model's weights are changed.
        records: all trials.
        objective: what decides.
        said: what confirmation said.
        allowance: the time there is.
        scored: models that are to be scored on the test split afterwards.
        device: where to train.
        reuse: where activations are kept.
        retention: what trials must retain; None where they need not.
    """

    folder: RunFolder
    ground: Ground
    records: Sequence[TrialRecord]
    objective: Objective
    said: Mapping[str, Any]
    allowance: Allowance
    scored: int = 1
    device: str = "cpu"
    reuse: Reuse | None = None
    retention: Retention | None = None
    compared: list[dict[str, Any]] = field(default_factory=list)
    """As summary.json has it."""
    notes: list[str] = field(default_factory=list)

    @cached_property
    def scorer(self) -> Scorer:
        """Of weights, with the activations that trials have left."""
        return scorer_of(self.ground, self.reuse)

    def settle(self, winner: TrialRecord) -> Delivery:
        """The winner with weights that no finalist's are better than, else the next recipe of which there are such."""
        own = best_weights(self.folder.checkpoint(winner.number))
        if own is None:
            return Delivery(winner)
        lost = self._lost(winner, own)
        if lost is None:
            text = (
                f"these are the weights of trial {winner.number} itself: no finalist's are better by more than chance"
            )
            return self._delivered(winner, None, _OWN, text)
        why = self._why(winner, lost)
        tried = []
        for seed in self._seeds(winner):
            again = self._again(winner, seed)
            tried.append(seed)
            if again and self._lost(*again) is None:
                value = _best(again[0], self.objective).value
                text = f"{why}; trained again with seed {seed} its recipe came to {value:.4g}: these are delivered"
                return self._delivered(*again, _AGAIN, text)
        helped = "trained again it was no better" if tried else "there was no time to train it again"
        for other in self._others(winner):
            weights = best_weights(self.folder.checkpoint(other.number))
            if weights and self._lost(other, weights) is None:
                text = f"{why}; {helped}, so trial {other.number} is delivered{_named(other)}, the next in line"
                return self._delivered(other, None, _OTHER, text)
        text = f"{why}; {helped}, and no other finalist has weights that hold"
        self.notes.append(text)
        return self._delivered(winner, None, _OWN, text)

    def best(self) -> TrialRecord | None:
        """The best by validation of those that may win; None where no trial was evaluated.

        Raises:
            SearchFailedError: none of the trials whose weights are kept retains enough.
        """
        if self.retention is None:
            return chosen(self.records, self.objective, None)
        retention, ranked = self.retention, self.ranked()
        found = next(filter(retention.keeps, ranked), None)
        if found is None and ranked:
            most = max((kept for record in ranked if (kept := retention.of(record)) is not None), default=0.0)
            raise SearchFailedError(
                f"{self.folder.place}: no trial whose weights are kept retains search.constraints.min_retention "
                f"({retention.least:g}) of the pretrained model, {most:.3g} at most; lower it, or search recipes that "
                "train less"
            )
        return found

    def ranked(self) -> list[TrialRecord]:
        """All trials with a value, the best first."""
        return best_first(self.records, self.objective)

    def allows(self, record: TrialRecord) -> bool:
        """Whether the trial may win."""
        return self.retention is None or self.retention.keeps(record)

    def accepts(self, weights: Weights) -> bool:
        """Whether the weights may be delivered."""
        return self.retention is None or self.retention.measured(weights) >= self.retention.least

    def _delivered(self, winner: TrialRecord, weights: Weights | None, kind: str, text: str) -> Delivery:
        told = {
            "trial": winner.number,
            "seed": winner.proposal.recipe["seed"],
            "weights": kind,
            "text": text,
            "compared": self.compared,
        }
        return Delivery(winner, weights, told, tuple(self.notes))

    def _lost(self, record: TrialRecord, weights: Weights) -> Tried | None:
        """The rival that is furthest ahead of the weights, if one is by more than chance."""
        ahead = [rival for rival in self._finalists() if self._ahead(rival, record)]
        items, test = len(self.ground.data.splits.val), len(self.ground.data.splits.test)
        if not ahead:
            return None
        if not self.allowance.affords(*[items] * (len(ahead) + 1), *[test] * self.scored):
            self.notes.append(
                f"weights of trial {record.number}: not compared with the other finalists': {OUT_OF_TIME}"
            )
            return None
        judge = Judge(self.scorer, self.objective, winner=weights)
        losses = []
        for rival in ahead:
            theirs = best_weights(self.folder.checkpoint(rival.number))
            if theirs is not None:
                found = judge.compare(f"trial {rival.number}{_named(rival)}", theirs)
                worse = really_ahead(rival, found)
                self.compared.append(_plain(record, found, worse=worse))
                losses += [found] if worse else []
        return max(losses, key=lambda found: found.gain, default=None)

    def _ahead(self, rival: TrialRecord, record: TrialRecord) -> bool:
        """Whether the rival's weights have the better value: only then is there something to compare."""
        theirs, own = _best(rival, self.objective), _best(record, self.objective)
        return self.objective.better(theirs.value, own.value)

    def _finalists(self) -> list[TrialRecord]:
        """What confirmation ran again and came through, and the baselines, the best of confirmation first."""
        means = {each["trial"]: self.objective.score(each["mean"]) for each in self.said["candidates"]}
        found = [record for record in self.ranked() if record.number in means or record.baseline]
        found = [record for record in found if self.allows(record)]
        return sorted(found, key=lambda record: -means.get(record.number, float("-inf")))

    def _others(self, winner: TrialRecord) -> list[TrialRecord]:
        return [record for record in self._finalists() if record.number != winner.number]

    def _seeds(self, winner: TrialRecord) -> Iterator[int]:
        """Fresh seeds to train the winner again with, that of its best run first, as long as there is time."""
        candidate = next(each for each in self.said["candidates"] if each["trial"] == winner.number)
        scores = [self.objective.score(value) for value in candidate["values"]]
        needed_s = again_s(winner, self.records, self.objective)
        for run in sorted(range(len(scores)), key=lambda run: -scores[run]):
            if not self.allowance.affords(*self._after(), seconds=needed_s):
                return
            yield fresh_seed(self.ground.recipe.seed, run)

    def _after(self) -> list[int]:
        """Passes that are to come when a training has ended."""
        splits = self.ground.data.splits
        return [len(splits.val)] * 2 + [len(splits.test)] * self.scored

    def _again(self, winner: TrialRecord, seed: int) -> tuple[TrialRecord, Weights] | None:
        """The winner's recipe as run with another seed; None where it diverged, retains too little or time was up."""
        run = Recipe.parse(winner.proposal.recipe, where=f"trial {winner.number}")
        recipe = as_run(run, winner.curve, self.objective).model_copy(update={"seed": seed})
        trained = train_again(
            recipe,
            self.ground,
            self.objective,
            should_stop=lambda: not self.allowance.affords(*self._after()),
            device=self.device,
            reuse=self.reuse,
        )
        if trained is None:
            return None
        curve, weights = trained
        if not self.accepts(weights):
            return None
        return replace(winner, proposal=replace(winner.proposal, recipe=recipe.full()), curve=curve), weights

    def _why(self, winner: TrialRecord, lost: Tried) -> str:
        own = _best(winner, self.objective).value
        return (
            f"trial {winner.number} won, but {self.objective.metric} of its own weights is {own:.4g} on the validation "
            f"split, that of {lost.kind} {lost.value:.4g} (standard error of the difference {lost.standard_error:.2g})"
        )


def deliver(contest: Contest) -> Delivery | None:
    """What a search delivers; None where no trial was evaluated.

    Where nothing was confirmed, the winner is the best by validation, and its weights lose to no others.

    Raises:
        SearchFailedError: no trial keeps to the constraints.
    """
    number = contest.said["winner"] if contest.said else None
    if number is not None and contest.allows(contest.records[number]):
        return contest.settle(contest.records[number])
    winner = contest.best()
    return Delivery(winner) if winner else None


def really_ahead(rival: TrialRecord, found: Tried) -> bool:
    """Whether the rival's weights are better by more than chance, or the luck of being chosen on the same items."""
    errors = _ERRORS if rival.baseline else _ERRORS_OF_THE_BEST
    return found.gain > errors * found.standard_error * (1 + 1e-9)


def train_again(
    recipe: Recipe,
    ground: Ground,
    objective: Objective,
    *,
    should_stop: Callable[[], bool],
    device: str = "cpu",
    reuse: Reuse | None = None,
) -> tuple[tuple[Evaluation, ...], Weights] | None:
    """Train a recipe as `autoft.fine_tune` would: its curve and best weights; None where it was stopped or diverged.

    Args:
        recipe: complete; its seed draws the head too.
        ground: model and data.
        objective: what the best evaluation is chosen by.
        should_stop: asked before every training step.
        device: where to train.
        reuse: where activations are kept.
    """
    rates = {"drop_rate": recipe.model.drop_rate, "drop_path_rate": recipe.model.drop_path_rate}
    loaded = ground.loaded.reset(**rates, seed=recipe.seed)
    cache = ActivationCache(reuse, ground.data, lambda _text: None) if reuse else None
    trainer = StagedTrainer(recipe, loaded, ground.data, objective, device=device, should_stop=should_stop, cache=cache)
    while trainer.advance():
        pass
    if not trainer.done or trainer.curve[-1].diverged:
        trainer.close()
        return None
    kept, base = trainer.result(), named_tensors(ground.loaded.base.module)
    drawn = {
        name: each for name, each in named_tensors(loaded.base.module).items() if not torch.equal(each, base[name])
    }
    weights = {name: each.detach().cpu() for name, each in {**drawn, **kept.weights}.items()}
    return (kept.curve, weights) if kept.weights else None


def _best(record: TrialRecord, objective: Objective) -> Evaluation:
    best = record.best(objective)
    assert best is not None
    return best


def _named(record: TrialRecord) -> str:
    return f" (the baseline {record.baseline})" if record.baseline else ""


def _plain(record: TrialRecord, found: Tried, *, worse: bool) -> dict[str, Any]:
    return {
        "trial": record.number,
        "seed": record.proposal.recipe["seed"],
        "against": found.kind,
        "behind": found.gain,
        "standard_error": found.standard_error,
        "worse": worse,
    }
