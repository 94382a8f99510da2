"""The staged trainer: trains a recipe from one evaluation to the next, and can be stopped and resumed at any step."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from autoft.cache import ActivationCache, Prepared
from autoft.data import DataHandle
from autoft.data.metrics import Array
from autoft.errors import FreezeError, RunError
from autoft.model import LoadedModel, Manner, make_ready, plan_stage, set_eval
from autoft.recipe import Recipe
from autoft.record import Curve, Evaluation, Objective, best_evaluation
from autoft.training.checkpoint import average_of, read_checkpoint, write_checkpoint
from autoft.training.checks import check_base, check_norms, check_rates, check_settings, class_weights, constant_loss
from autoft.training.divergence import DivergenceWatch
from autoft.training.engine import Engine, Ground
from autoft.training.evaluate import outputs_of
from autoft.training.feed import Feed
from autoft.training.forward import Forward
from autoft.training.heads import Companion, HeadStage, batches_of
from autoft.training.lengths import as_run
from autoft.training.needs import needs_of
from autoft.training.ranks import ALONE, Ranks, Word
from autoft.training.result import TrialResult
from autoft.training.snapshot import Snapshot, live_tensors, put_back
from autoft.training.solve import SolveStage
from autoft.training.source import Cached, Pixels, Source, can_train_from_cache
from autoft.training.tail import TailStage
from autoft.training.tree import Claim, StageKeys, StageResult, StageTree
from autoft.training.weights import load_weights


def never() -> bool:
    """Do not stop."""
    return False


def unknown(_depth: int) -> None:
    """Nothing is known of what fits into memory."""


class StagedTrainer:
    """Trains ``recipe`` on a freshly loaded model, stage by stage.

    Args:
        recipe: complete (`autoft.model.complete`): image size and rates are known.
        loaded: the model in its base state; it is trained in place, unless there is ``fresh``.
        data: what to train on.
        objective: which metric decides what is kept.
        device: where to train.
        should_stop: asked before every training step.
        cache: where activations of frozen prefixes are kept; without one they are computed in every epoch. On the
            CPU it changes no bit of the result.
        tree: where results of stages are shared between trials; without one every stage is run. It changes no bit.
        fresh: gives a copy of the model to train, with the recipe's drop rates; ``loaded`` is then only read, and
            stages that train the head alone need no copy.
        ranks: this process's place among those that train the trial together.
        fits: for a number of layer groups that are trained, most items of a rank that may go through the model at once
            in training, or None where nothing is known; the recipe may say less.
        beside: decay of an average that the last stage keeps beside its weights on rank 0, if it does not train the
            head alone; it changes no bit of the result. None: none is kept.

    Raises:
        ConfigError: a setting has no meaning for the data or the model.
    """

    def __init__(  # noqa: PLR0913 - what a trial stands on
        self,
        recipe: Recipe,
        loaded: LoadedModel,
        data: DataHandle,
        objective: Objective,
        *,
        device: str | torch.device = "cpu",
        should_stop: Callable[[], bool] = never,
        cache: ActivationCache | None = None,
        tree: StageTree | None = None,
        fresh: Callable[[], LoadedModel] | None = None,
        ranks: Ranks = ALONE,
        fits: Callable[[int], int | None] = unknown,
        beside: float | None = None,
    ) -> None:
        check_settings(recipe, data)
        check_norms(recipe, torch.device(device).type)
        self.recipe = recipe
        self.curve: Curve = ()
        self._loaded, self._data, self._objective, self._should_stop = loaded, data, objective, should_stop
        self._device, self._ranks = torch.device(device), ranks
        self._fits, self._beside = fits, beside if ranks.rank == 0 else None
        if fresh is None:
            check_base(loaded)
        self._fresh, self._own = fresh, None if fresh else loaded
        self._plans = [plan_stage(stage, loaded) for stage in recipe.stages]
        check_rates(recipe, self._plans, loaded)
        self._manner = Manner.of(recipe.optimisation, self._device)
        make_ready(loaded.module, self._device, channels_last=self._manner.channels_last)
        self._feed = Feed(recipe, data, self._device)
        first = self._feed.order(recipe.stages[0].name, 0)
        self.steps_per_epoch = len(first)
        self._constant_loss = constant_loss(data, first)
        self._watch = self._new_watch()
        self._class_weights = class_weights(recipe, data, self._device)
        self._tree, self._keys = tree, StageKeys(loaded, data, objective) if tree else None
        self._kept = self._prepare(cache) if cache else Prepared()
        self._compute_s = self._kept.seconds
        self._best: Snapshot | None = None
        self._index = 0
        self._engine: Engine | None = None
        self._claim: Claim | None = None
        self._changed: Mapping[str, Tensor] = {}
        """Weights and buffers that the stages before the one that runs have changed."""
        self._carried: Mapping[str, Tensor] = {}
        self._offset = 0
        """Evaluations before the stage that runs."""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train: all stages have ended, or the training diverged."""
        return self._index >= len(self.recipe.stages) or bool(self.curve and self.curve[-1].diverged)

    def advance(self) -> Curve:
        """Train to the next evaluation, or fork from the result of a stage that another trial has run.

        Returns:
            the new evaluations: one, also when the training diverged on the way, or all of a stage. None of them when
            ``should_stop`` said so, or when all is done.

        Raises:
            FreezeError: a freezing law was broken.
        """
        if self.done:
            return ()
        started = perf_counter()
        if self._engine is None and (forked := self._enter()):
            return forked
        evaluation = self._engine.advance(self._should_stop) if self._engine else None
        self._compute_s += perf_counter() - started
        if evaluation is None:
            return ()
        evaluation = replace(evaluation, index=len(self.curve) + 1, compute_s=self._compute_s)
        self.curve, self._compute_s = (*self.curve, evaluation), 0.0
        if self._engine and self._engine.over and not evaluation.diverged:
            self._end_stage(self._engine)
        return (evaluation,)

    def follow(self) -> None:
        """On a rank other than 0: do what rank 0 tells, until it rests."""
        while (heard := self._ranks.hear())[0] is not Word.REST:
            word, (index, step, _) = heard
            if word is Word.OPEN:
                if self._engine:
                    self._engine.let_go()
                self._index, self._changed, self._carried = index, self._ranks.receive(), self._ranks.receive()
                self._engine = TailStage(self._ground(self._trained_model()), self._carried)
            assert isinstance(self._engine, TailStage)
            self._engine.obey(word, step)

    def close(self) -> None:
        """Let go of what others may wait for; no training can follow."""
        if self._engine:
            self._engine.let_go()
        self._release()
        self._index = len(self.recipe.stages)

    def result(self) -> TrialResult:
        """What the trial has come to so far.

        Raises:
            RunError: it has no evaluation yet.
        """
        if not self.curve:
            raise RunError(f"{self._loaded.card.name}: the training was stopped before its first evaluation")
        best = self._best_so_far()
        recipe = as_run(self.recipe, self.curve, self._objective)
        kept, weights = (best.evaluation, best.weights) if best else (self.curve[-1], {})
        return TrialResult(kept, recipe, weights, self.curve)

    def load_best(self) -> None:
        """Give the model the weights of the best evaluation, in eval mode; no training can follow.

        Not for a trainer with ``fresh``: its model is only read.
        """
        assert self._fresh is None
        best = self._best_so_far()
        load_weights(self._loaded, best.weights if best else {})
        self.close()

    @property
    def changed(self) -> Mapping[str, Tensor]:
        """Weights and buffers that the stages which have ended have changed, as the last of them left them."""
        return self._changed

    @property
    def demand(self) -> tuple[int, int]:
        """What the running stage needs memory for: the groups it trains, and the items that it takes at once."""
        touched = self._touched(min(self._index, len(self.recipe.stages) - 1))
        share = self._ranks.share(self.recipe.data.batch_size)
        return len(touched), self._rows_at_once(touched) or share.size

    def outputs(self, indices: Array) -> Tensor:
        """The raw outputs (len(indices), num_outputs) of the weights as they are between two stages or after the last.

        After the last stage these are its own, also where an earlier stage was evaluated better.
        """
        assert self._engine is None
        own = self._own or (self._fresh() if self._fresh else self._loaded)
        loaded = self._made_ready(own)
        set_eval(loaded)
        touched = self._touched(self._index - 1) if self._index else frozenset({len(loaded.groups) - 1})
        forward = Forward(loaded, loaded.chain.prefix_length(touched), self._manner)
        _, source = self._sources(forward)
        return outputs_of(source, forward, indices)

    def _enter(self) -> Curve:
        """Open the next stage on the weights as they are, or fork from its result, which gives its evaluations."""
        if self._tree and self._keys and self._is_shared():
            key = self._keys.key(self.recipe, self._index)
            if forked := self._fork(key):
                return forked
            self._claim = self._tree.claim(key, self._should_stop)
            if self._claim is None:
                return ()
            if forked := self._fork(key):  # while this trial waited
                self._release()
                return forked
        self._engine = self._open(companions=True)
        return ()

    def _is_shared(self) -> bool:
        """Whether another trial may begin with this stage: another one follows it here, or the head trains alone."""
        return self._index + 1 < len(self.recipe.stages) or self._trains_head_alone(self._index)

    def _trains_head_alone(self, index: int) -> bool:
        return self._loaded.head is not None and self._touched(index) == {len(self._loaded.groups) - 1}

    def _fork(self, key: str) -> Curve:
        """Take over the result of a stage; empty where there is none."""
        assert self._tree is not None
        found = self._tree.find(key)
        if found is None or found.weights.keys() != self._names(self._index):
            return ()
        self._changed = found.weights
        seen = len(self.curve)
        own = tuple(_forked(evaluation, seen + evaluation.index) for evaluation in found.curve)
        self.curve = (*self.curve, *own)
        self._watch.load(found.watch)
        if (best := best_evaluation(own, self._objective)) is not None:
            self._best = self._better(Snapshot(best, found.weights, {}))
        self._carried, self._index = found.optimizer, self._index + 1
        return own

    def _open(self, *, companions: bool) -> Engine:
        """Open the stage on what the stages before it have changed."""
        self._watch.new_stage()
        self._offset = len(self.curve)
        head = self._loaded.head
        if head is None or not self._trains_head_alone(self._index):
            return TailStage(self._ground(self._trained_model()), self._carried)
        ground = self._ground(self._loaded)
        weights = self._changed or live_tensors(self._loaded.module, self._loaded.groups[-1:])
        if ground.stage.fit == "solve":
            return SolveStage(ground, head, weights)
        return HeadStage(ground, head, weights, self._carried, self._companions(ground) if companions else [])

    def _trained_model(self) -> LoadedModel:
        """The model to train in this stage; a stage of the head may have a drop rate of its own."""
        rate = self.recipe.stages[self._index].drop_rate
        if rate is not None and rate != self.recipe.model.drop_rate:
            return self._made_ready(self._loaded.reset(drop_rate=rate))
        if self._own is None:
            assert self._fresh is not None
            self._own = self._fresh()
        return self._made_ready(self._own)

    def _made_ready(self, loaded: LoadedModel) -> LoadedModel:
        make_ready(loaded.module, self._device, channels_last=self._manner.channels_last)
        put_back(loaded.module, self._changed)
        return loaded

    def _ground(self, loaded: LoadedModel) -> Ground:
        index = self._index
        touched = self._touched(index)
        forward = Forward(loaded, loaded.chain.prefix_length(touched), self._manner)
        train_source, val_source = self._sources(forward)
        return Ground(
            recipe=self.recipe,
            index=index,
            plan=self._plans[index],
            touched=touched,
            deeper=index > 0 and bool(self._plans[index].trainable - self._plans[index - 1].trainable),
            loaded=loaded,
            data=self._data,
            objective=self._objective,
            device=self._device,
            feed=self._feed,
            steps_per_epoch=self.steps_per_epoch,
            class_weights=self._class_weights,
            watch=self._watch,
            forward=forward,
            train_source=train_source,
            val_source=val_source,
            ranks=self._ranks,
            micro_batch=self._rows_at_once(touched),
            beside=self._beside if index + 1 == len(self.recipe.stages) else None,
        )

    def _rows_at_once(self, touched: frozenset[int]) -> int | None:
        """Of a rank in training; None for its whole part of a batch."""
        limits = [rows for rows in (self._fits(len(touched)), self.recipe.optimisation.micro_batch) if rows]
        most = min(limits, default=None)
        return most if most and most < self._ranks.share(self.recipe.data.batch_size).size else None

    def _companions(self, ground: Ground) -> list[Companion]:
        """Head stages that other trials will ask for and nobody has run, where features cost nothing."""
        if not self._tree or not self._keys or ground.index > 0 or not ground.train_source.name:
            return []
        found: dict[str, Companion] = {}
        own = self._keys.key(self.recipe, 0)
        for recipe in self._tree.companions:
            if batches_of(recipe, recipe.stages[0]) != batches_of(self.recipe, ground.stage):
                continue
            key = self._keys.key(recipe, 0)
            if key == own or key in found or self._tree.find(key) or not (claim := self._tree.try_claim(key)):
                continue
            found[key] = Companion(recipe, self._new_watch(), partial(self._share, key, claim), claim.release)
        return list(found.values())

    def _share(self, key: str, claim: Claim, result: StageResult) -> None:
        assert self._tree is not None
        self._tree.put(key, result)
        claim.release()

    def _new_watch(self) -> DivergenceWatch:
        return DivergenceWatch(self._constant_loss, squared=self._data.task.kind == "regression")

    def _touched(self, index: int) -> frozenset[int]:
        """The groups that stages up to ``index`` train: all others are the base's."""
        return frozenset().union(*(plan.trainable for plan in self._plans[: index + 1]))

    def _names(self, index: int) -> set[str]:
        """What stages up to ``index`` can change."""
        groups = [self._loaded.groups[place] for place in self._touched(index)]
        return {name for group in groups for name in (*group.parameters, *group.buffers)}

    def _prepare(self, cache: ActivationCache) -> Prepared:
        """Open the activations that the stages will read; what is missing is built now."""
        needs = needs_of(self.recipe, self._loaded, self._data, steps_per_epoch=self.steps_per_epoch)
        return cache.prepare(self._loaded, needs, manner=self._manner, should_stop=self._should_stop)

    def _sources(self, forward: Forward) -> tuple[Source, Source]:
        """Where training and evaluation get their rows from."""
        kept = self._kept.activations.get(forward.boundary)
        pixels = Pixels(self.recipe, self._data, self._loaded.card, forward)
        if kept is None:
            return pixels, pixels
        cached = Cached(self.recipe, self._data, kept, forward)
        return cached if can_train_from_cache(self.recipe) else pixels, cached

    def _end_stage(self, engine: Engine) -> None:
        """Restore the stage's best, prove the freezing laws, and share the result."""
        self._best = self._best_so_far()
        self._changed, self._carried = engine.close()
        if self._claim and self._keys:
            curve = tuple(replace(each, index=place) for place, each in enumerate(self.curve[self._offset :], 1))
            result = StageResult(curve, self._changed, self._carried, self._watch.state())
            self._share(self._keys.key(self.recipe, self._index), self._claim, result)
        self._claim, self._engine, self._index = None, None, self._index + 1

    def _release(self) -> None:
        if self._claim:
            self._claim.release()
            self._claim = None

    def _best_so_far(self) -> Snapshot | None:
        """The trial's best, the running stage's included."""
        if self._engine is None or (own := self._engine.best) is None:
            return self._best
        return self._better(Snapshot(self.curve[self._offset + own.evaluation.index - 1], own.weights, {}, own.average))

    def _better(self, own: Snapshot) -> Snapshot:
        earlier = self._best
        return own if earlier is None or self._objective.prefers(own.evaluation, earlier.evaluation) else earlier

    def save(self, folder: Path) -> None:
        """Write a checkpoint of this moment into ``folder``; the one before it stays until the next.

        Raises:
            StorageError: the disk refuses.
        """
        engine = self._engine
        sections: dict[str, Mapping[str, Tensor]] = {"now": self._changed, "optimizer": self._carried}
        sections |= engine.sections() if engine else {}
        sections["trial_best"] = self._best.weights if self._best else {}
        sections[average_of("trial_best")] = self._best.average if self._best else {}
        facts = {
            "of": self._identity(),
            "stage": self._index,
            "engine": engine.facts() if engine else None,
            "offset": self._offset,
            "best": "trial_best" if self._best and self._best_so_far() is self._best else "stage_best",
            "stage_best": engine.best.evaluation.index if engine and engine.best else None,
            "trial_best": self._best.evaluation.index if self._best else None,
            "curve": [evaluation.plain() for evaluation in self.curve],
            "compute_s": self._compute_s,
            "watch": self._watch.state(),
        }
        # A power failure may cost the evaluations of a trial that runs: its digest tells, and they are run again.
        write_checkpoint(folder, {"stage_best": {}, **sections}, facts, durable=self.done)

    def restore(self, folder: Path) -> bool:
        """Continue from the newest whole checkpoint in ``folder``; to be called before any training.

        Returns:
            whether there was one.

        Raises:
            RunError: it is of another recipe, base, data or objective.
            FreezeError: it holds something that no stage so far trains.
        """
        found = read_checkpoint(folder)
        if found is None:
            return False
        sections, facts = found
        self._refuse_foreign(folder, facts["of"])
        self._index, running = facts["stage"], facts["engine"] is not None
        if frozen := sorted(sections["now"].keys() - self._names(self._index - (not running))):
            raise FreezeError(f"{folder}: would change {', '.join(frozen[:5])}, which no stage so far trains")
        self._changed = sections["now"]
        self.curve = tuple(Evaluation.from_plain(plain) for plain in facts["curve"])
        self._carried, self._compute_s = sections["optimizer"], facts["compute_s"]
        if facts["trial_best"]:
            average = sections.get(average_of("trial_best"), {})
            self._best = Snapshot(self.curve[facts["trial_best"] - 1], sections["trial_best"], {}, average)
        if running:
            self._reopen(sections, facts)
        self._watch.load(facts["watch"])
        return True

    def _reopen(self, sections: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> None:
        """Go on in the middle of a stage."""
        if self._tree and self._keys and self._is_shared():
            self._claim = self._tree.try_claim(self._keys.key(self.recipe, self._index))
        self._engine, self._offset = self._open(companions=False), facts["offset"]
        best = None
        if place := facts["stage_best"]:
            evaluation = replace(self.curve[self._offset + place - 1], index=place)
            average = sections.get(average_of("stage_best"), {})
            best = Snapshot(evaluation, sections["stage_best"], sections["stage_best_optimizer"], average)
        self._engine.load(sections, facts["engine"], best)

    def _identity(self) -> dict[str, str]:
        """What a checkpoint must agree with."""
        return {
            "recipe": self.recipe.fingerprint(),
            "base": self._loaded.digest,
            "data": self._data.fingerprint,
            "objective": self._objective.metric,
        }

    def _refuse_foreign(self, folder: Path, found: Mapping[str, Any]) -> None:
        for part, own in self._identity().items():
            if found.get(part) != own:
                raise RunError(
                    f"{folder}: holds the checkpoint of another {part} ({found.get(part)}, this one is {own}); "
                    "give another folder, or remove this one"
                )


def _forked(evaluation: Evaluation, index: int) -> Evaluation:
    """An evaluation of a stage that another trial has run: nothing was computed for it."""
    saved_s = evaluation.saved_s + evaluation.compute_s
    return replace(evaluation, index=index, compute_s=0.0, saved_s=saved_s, reused=f"stage:{evaluation.stage}")
