"""The staged trainer: trains a recipe from one evaluation to the next, and can be stopped and resumed at any step."""

import math
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoft.cache import ActivationCache, Prepared
from autoft.data import DataHandle
from autoft.data.metrics import Array
from autoft.errors import ConfigError, ModelError, RunError
from autoft.model import FreezeGuard, FreezePlan, LoadedModel, plan_stage, state_digest
from autoft.recipe import Recipe
from autoft.record import Curve, Evaluation, Objective
from autoft.training.checkpoint import read_checkpoint, write_checkpoint
from autoft.training.divergence import DivergenceWatch
from autoft.training.evaluate import outputs_of
from autoft.training.feed import Batch, Feed
from autoft.training.forward import Forward, seeded
from autoft.training.lengths import as_run, length_in_steps
from autoft.training.needs import needs_of
from autoft.training.result import TrialResult
from autoft.training.snapshot import Snapshot, put_back
from autoft.training.source import Cached, Pixels, Source, can_train_from_cache
from autoft.training.stage import StageRun
from autoft.training.weights import load_weights


def never() -> bool:
    """Do not stop."""
    return False


class StagedTrainer:
    """Trains ``recipe`` on a freshly loaded model, stage by stage.

    Args:
        recipe: complete (`autoft.model.complete`): image size and rates are known.
        loaded: the model in its base state; it is trained in place.
        data: what to train on.
        objective: which metric decides what is kept.
        device: where to train.
        should_stop: asked before every training step.
        cache: where activations of frozen prefixes are kept; without one they are computed in every epoch. On the
            CPU it changes no bit of the result.

    Raises:
        ConfigError: a setting has no meaning for the data or the model.
    """

    def __init__(
        self,
        recipe: Recipe,
        loaded: LoadedModel,
        data: DataHandle,
        objective: Objective,
        *,
        device: str | torch.device = "cpu",
        should_stop: Callable[[], bool] = never,
        cache: ActivationCache | None = None,
    ) -> None:
        _check_settings(recipe, data)
        self.recipe = recipe
        self.curve: Curve = ()
        self._loaded, self._data, self._objective, self._should_stop = loaded, data, objective, should_stop
        self._device = torch.device(device)
        _check_base(loaded)
        loaded.module.to(self._device)
        self._plans = [plan_stage(stage, loaded) for stage in recipe.stages]
        self._mixed = self._device.type == "cuda" and recipe.optimisation.amp == "auto"
        self._feed = Feed(recipe, data, self._device)
        first = self._feed.order(recipe.stages[0].name, 0)
        self.steps_per_epoch = len(first)
        self._watch = _watch(data, first)
        self._class_weights = _class_weights(recipe, data, self._device)
        self._batches: Generator[Batch, None, None] | None = None
        self._kept = self._prepare(cache) if cache else Prepared()
        self._loss_sum, self._loss_count, self._compute_s, self._saved_s = 0.0, 0, self._kept.seconds, 0.0
        self._best: Snapshot | None = None
        self._finished = False
        self._run = self._open(0, {})

    @property
    def done(self) -> bool:
        """Whether there is nothing left to train: all stages have ended, or the training diverged."""
        return self._finished or bool(self.curve and self.curve[-1].diverged)

    def advance(self) -> Evaluation | None:
        """Train to the next evaluation.

        Returns:
            it, also when the training diverged on the way; None when ``should_stop`` said so, or when all is done.

        Raises:
            FreezeError: a freezing law was broken.
        """
        if self.done:
            return None
        started = perf_counter()
        while True:
            if self._should_stop():
                self._compute_s += perf_counter() - started
                return None
            if told := self._train_step(self._next_batch()) or self._blown_up():
                return self._record(self._evaluation({}, started, diverged=told))
            if self._is_due():
                break
        evaluation = self._record(self._evaluate(started))
        if self._run.over and not evaluation.diverged:
            self._end_stage()
        return evaluation

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
        """Give the model the weights of the best evaluation, in eval mode; no training can follow."""
        best = self._best_so_far()
        load_weights(self._loaded, best.weights if best else {})
        self._finished = True

    def _open(self, index: int, carried: Mapping[str, Tensor]) -> StageRun:
        """Open a stage on the weights as they are."""
        stage, touched = self.recipe.stages[index], self._touched(index)
        forward = Forward(self._loaded, self._boundary(index), mixed_precision=self._mixed)
        self._train_source, self._val_source = self._sources(forward)
        self._watch.new_stage()
        return StageRun(
            stage,
            index=index,
            plan=self._plans[index],
            touched=touched,
            loaded=self._loaded,
            optimisation=self.recipe.optimisation,
            length=length_in_steps(stage, self.steps_per_epoch),
            forward=forward,
            carried=carried,
        )

    def _touched(self, index: int) -> frozenset[int]:
        """The groups that stages up to ``index`` train: all others are the base's."""
        return frozenset().union(*(plan.trainable for plan in self._plans[: index + 1]))

    def _boundary(self, index: int) -> int:
        """How many leading groups no stage up to ``index`` trains."""
        return self._loaded.chain.prefix_length(self._touched(index))

    def _prepare(self, cache: ActivationCache) -> Prepared:
        """Open the activations that the stages will read; what is missing is built now."""
        needs = needs_of(self.recipe, self._loaded, self._data, steps_per_epoch=self.steps_per_epoch)
        return cache.prepare(self._loaded, needs, mixed=self._mixed, should_stop=self._should_stop)

    def _sources(self, forward: Forward) -> tuple[Source, Source]:
        """Where training and evaluation get their rows from."""
        kept = self._kept.activations.get(forward.boundary)
        pixels = Pixels(self.recipe, self._data, self._loaded.card, forward)
        if kept is None:
            return pixels, pixels
        cached = Cached(self.recipe, kept, forward)
        return cached if can_train_from_cache(self.recipe) else pixels, cached

    def _next_batch(self) -> Batch:
        epoch, step = divmod(self._run.step, self.steps_per_epoch)
        if self._batches is None or step == 0:
            self._close_batches()
            self._batches = self._feed.batches(self._train_source, self._run.stage.name, epoch, start=step)
        return next(self._batches)

    def _close_batches(self) -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def _train_step(self, batch: Batch) -> str | None:
        """One optimizer step, or the sentence that tells why there was none."""
        run, task, optimisation = self._run, self._data.task, self.recipe.optimisation
        run.enter_training(batch.size)
        hidden, targets = self._train_source.rows(batch.found, batch.targets, batch.moment)
        self._saved_s += self._train_source.saved_s(batch.size)
        with seeded(batch.forward_seed, self._device):
            outputs = run.forward.tail(hidden).float()
            losses = task.loss(
                outputs,
                targets,
                label_smoothing=optimisation.label_smoothing,
                class_weights=self._class_weights,
            )
            plain = float(task.loss(outputs.detach(), targets).mean())
            self._loss_sum += plain * batch.size
            self._loss_count += batch.size
            if told := self._watch.loss(plain, warming_up=run.warming_up):
                return told
            norm = run.backward(losses.mean())
        if told := self._watch.gradient(norm):
            return told
        run.update()
        return None

    def _blown_up(self) -> str | None:
        """At the end of an epoch, and before an evaluation, the sentence that tells that the weights have."""
        if self._run.step % self.steps_per_epoch and not self._is_due():
            return None
        head, backbone = self._run.growth()
        return self._watch.weights(head=head, backbone=backbone, mean_loss=self._loss_sum / self._loss_count)

    def _is_due(self) -> bool:
        every = self.recipe.optimisation.eval_every_steps or self.steps_per_epoch
        return self._run.step % every == 0 or self._run.step >= self._run.length

    def _evaluate(self, started: float) -> Evaluation:
        """Evaluate on the validation split, and keep the weights if they are the stage's best."""
        run, indices = self._run, self._data.splits.val
        with run.evaluated():
            run.enter_evaluation()
            outputs = outputs_of(self._val_source, run.forward, indices)
            self._saved_s += self._val_source.saved_s(len(indices))
            metrics = self._data.task.metrics(outputs, self._data.targets[indices])
            told = self._watch.validation(metrics["loss"])
            evaluation = self._evaluation(metrics, started, diverged=told)
            if told is None:
                run.take(evaluation, self._objective)
        return evaluation

    def _evaluation(self, metrics: Mapping[str, float], started: float, *, diverged: str | None) -> Evaluation:
        run = self._run
        return Evaluation(
            index=len(self.curve) + 1,
            stage=run.stage.name,
            epoch=run.step / self.steps_per_epoch,
            step=run.step,
            value=math.nan if diverged else metrics[self._objective.metric],
            train_loss=self._loss_sum / max(1, self._loss_count),
            val_loss=metrics.get("loss", math.nan),
            metrics=metrics,
            compute_s=self._compute_s + perf_counter() - started,
            saved_s=self._saved_s,
            reused=self._reused(),
            warming_up=run.step <= run.stage.warmup_steps or self._first_after_unfreeze(),
            diverged=diverged,
        )

    def _first_after_unfreeze(self) -> bool:
        index = self._run.index
        deeper = index > 0 and bool(self._plans[index].trainable - self._plans[index - 1].trainable)
        return deeper and all(evaluation.stage != self._run.stage.name for evaluation in self.curve)

    def _record(self, evaluation: Evaluation) -> Evaluation:
        self.curve = (*self.curve, evaluation)
        self._loss_sum, self._loss_count, self._compute_s, self._saved_s = 0.0, 0, 0.0, 0.0
        return evaluation

    def _reused(self) -> str:
        """The group after which activations were read; empty where they were computed."""
        kept = self._kept.activations.get(self._run.forward.boundary)
        return kept.name if kept else ""

    def _end_stage(self) -> None:
        """Restore the stage's best, prove the freezing laws, and open the next stage, if there is one."""
        self._close_batches()
        self._best = self._best_so_far()
        carried = self._run.close()
        following = self._run.index + 1
        if following < len(self.recipe.stages):
            self._run = self._open(following, carried)
        else:
            self._finished = True

    def _best_so_far(self) -> Snapshot | None:
        earlier, own = self._best, self._run.best
        if own is None:
            return earlier
        value = own.evaluation.value
        if earlier is None or self._objective.better(value, earlier.evaluation.value):
            return Snapshot(own.evaluation, own.weights, {})
        return earlier

    def save(self, folder: Path) -> None:
        """Write a checkpoint of this moment into ``folder``; the one before it stays until the next.

        Raises:
            StorageError: the disk refuses.
        """
        run = self._run
        sections = {
            "now": run.weights(),
            "average": run.average.values if run.average else {},
            "stage_best": run.best.weights if run.best else {},
            "trial_best": self._best.weights if self._best else {},
            "optimizer": run.optimizer_state(),
            "stage_best_optimizer": run.best.optimizer if run.best else {},
        }
        facts = {
            "of": self._identity(),
            "stage": run.index,
            "step": run.step,
            "stale": run.stale,
            "finished": self._finished,
            "norms_at_start": run.norms_at_start,
            "best": "trial_best" if self._best and self._best_so_far() is self._best else "stage_best",
            "stage_best": run.best.evaluation.index if run.best else None,
            "trial_best": self._best.evaluation.index if self._best else None,
            "curve": [evaluation.plain() for evaluation in self.curve],
            "since": [self._loss_sum, self._loss_count, self._compute_s],
            "saved_s": self._saved_s,
            "watch": self._watch.state(),
        }
        write_checkpoint(folder, sections, facts)

    def restore(self, folder: Path) -> bool:
        """Continue from the newest whole checkpoint in ``folder``; to be called before any training.

        Returns:
            whether there was one.

        Raises:
            RunError: it is of another recipe, base, data or objective.
            FreezeError: loading it changed something that no stage so far has trained.
        """
        found = read_checkpoint(folder)
        if found is None:
            return False
        sections, facts = found
        self._refuse_foreign(folder, facts["of"])
        untouched = FreezeGuard(FreezePlan(self._touched(facts["stage"]), "train"), self._loaded)
        put_back(self._loaded.module, sections["now"])
        untouched.check()
        self.curve = tuple(Evaluation.from_plain(plain) for plain in facts["curve"])
        self._run = run = self._open(facts["stage"], sections["optimizer"])
        run.step, run.stale, run.norms_at_start = facts["step"], facts["stale"], facts["norms_at_start"]
        if run.average:
            run.average.load(sections["average"])
        run.best = self._snapshot(facts["stage_best"], sections["stage_best"], sections["stage_best_optimizer"])
        self._best = self._snapshot(facts["trial_best"], sections["trial_best"], {})
        self._finished = facts["finished"]
        self._loss_sum, self._loss_count, self._compute_s = facts["since"]
        self._saved_s = facts.get("saved_s", 0.0)
        self._watch.load(facts["watch"])
        return True

    def _snapshot(
        self, index: int | None, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]
    ) -> Snapshot | None:
        return None if index is None else Snapshot(self.curve[index - 1], weights, optimizer)

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


def _check_settings(recipe: Recipe, data: DataHandle) -> None:
    data.task.check(recipe.data, recipe.optimisation)
    if recipe.data.augment != "none" and not data.spec.image:
        raise ConfigError(f"data.augment: needs images, got {recipe.data.augment!r} for tensors; use none")


def _check_base(loaded: LoadedModel) -> None:
    if state_digest(loaded.module, loaded.groups[:-1]) != loaded.digest:
        raise ModelError(f"{loaded.card.name}: has been trained already; take a fresh one with loaded.reset()")


def _watch(data: DataHandle, batches: list[Array]) -> DivergenceWatch:
    """A watch that knows the best constant predictor of what the sampler draws."""
    drawn = data.targets[np.concatenate(batches)]
    return DivergenceWatch(data.task.constant_loss(drawn, drawn), squared=data.task.kind == "regression")


def _class_weights(recipe: Recipe, data: DataHandle, device: torch.device) -> Tensor | None:
    if recipe.data.class_weights == "none":
        return None
    return data.task.class_weights(data.targets[data.splits.train]).to(device)
