"""A stage that trains the tail of the model: the layer groups it unfreezes, and the head."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from autoft.record import Evaluation
from autoft.training.engine import Batches, Ground, ShouldStop
from autoft.training.evaluate import outputs_of
from autoft.training.feed import Batch
from autoft.training.forward import seeded
from autoft.training.snapshot import Snapshot, copy_of
from autoft.training.stage import StageRun


class TailStage:
    """An `autoft.training.engine.Engine` over torch's autograd.

    Args:
        ground: the model holds the weights that the stage starts from.
        carried: optimizer state of the stage before, for those parameters that train on.
    """

    def __init__(self, ground: Ground, carried: Mapping[str, Tensor]) -> None:
        self._ground = ground
        self._run = StageRun(
            ground.stage,
            plan=ground.plan,
            touched=ground.touched,
            loaded=ground.loaded,
            optimisation=ground.recipe.optimisation,
            length=ground.length,
            carried=carried,
            followed=ground.index + 1 < len(ground.recipe.stages),
        )
        self._batches = Batches(ground)
        self._loss_sum, self._loss_count, self._saved_s, self._told = 0.0, 0, 0.0, 0

    @property
    def over(self) -> bool:
        """Whether the stage has reached its length or lost its patience."""
        return self._run.over

    @property
    def best(self) -> Snapshot | None:
        """The stage's best evaluation so far."""
        return self._run.best

    def advance(self, should_stop: ShouldStop) -> Evaluation | None:
        """Train to the next evaluation."""
        while not should_stop():
            if told := self._train_step() or self._blown_up():
                return self._evaluation({}, diverged=told)
            if self._is_due():
                return self._evaluate()
        return None

    def close(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """End the stage."""
        self.let_go()
        carried = self._run.close()
        return copy_of(self._run.weights()), carried

    def let_go(self) -> None:
        """Stop reading ahead."""
        self._batches.close()

    def sections(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of a checkpoint."""
        run = self._run
        return {
            "now": run.weights(),
            "average": run.average.values if run.average else {},
            "optimizer": run.optimizer_state(),
            "stage_best": run.best.weights if run.best else {},
            "stage_best_optimizer": run.best.optimizer if run.best else {},
        }

    def facts(self) -> dict[str, Any]:
        """The rest of a checkpoint."""
        run = self._run
        return {
            "step": run.step,
            "stale": run.stale,
            "norms_at_start": run.norms_at_start,
            "told": self._told,
            "since": [self._loss_sum, self._loss_count, self._saved_s],
        }

    def load(
        self, sections: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any], best: Snapshot | None
    ) -> None:
        """Continue from a checkpoint."""
        run = self._run
        run.step, run.stale, run.norms_at_start = facts["step"], facts["stale"], facts["norms_at_start"]
        if run.average:
            run.average.load(sections["average"])
        run.best = best
        self._told = facts["told"]
        self._loss_sum, self._loss_count, self._saved_s = facts["since"]

    def _train_step(self) -> str | None:
        """One optimizer step, or the sentence that tells why there was none."""
        ground, run = self._ground, self._run
        batch = self._batches.next(run.step)
        run.enter_training(batch.size)
        hidden, targets = ground.train_source.rows(batch.found, batch.targets, batch.moment)
        self._saved_s += ground.train_source.saved_s(batch.size)
        with seeded(batch.forward_seed, ground.device):
            losses, plain = self._losses(ground.forward.tail(hidden).float(), targets)
            self._count(plain, batch)
            if told := ground.watch.loss(plain, warming_up=run.warming_up):
                return told
            norm = run.backward(losses.mean())
        if told := ground.watch.gradient(norm):
            return told
        run.update()
        return None

    def _losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, float]:
        """The training loss per item, and the plain mean."""
        task, smoothing = self._ground.data.task, self._ground.recipe.optimisation.label_smoothing
        losses = task.loss(outputs, targets, label_smoothing=smoothing, class_weights=self._ground.class_weights)
        return losses, float(task.loss(outputs.detach(), targets).mean())

    def _count(self, plain: float, batch: Batch) -> None:
        self._loss_sum += plain * batch.size
        self._loss_count += batch.size

    def _blown_up(self) -> str | None:
        """At the end of an epoch, and before an evaluation, the sentence that tells that the weights have."""
        if self._run.step % self._ground.steps_per_epoch and not self._is_due():
            return None
        head, backbone = self._run.growth()
        mean = self._loss_sum / self._loss_count
        return self._ground.watch.weights(head=head, backbone=backbone, mean_loss=mean)

    def _is_due(self) -> bool:
        return self._run.step % self._ground.evaluates_every == 0 or self._run.step >= self._run.length

    def _evaluate(self) -> Evaluation:
        """Evaluate on the validation split, and keep the weights if they are the stage's best."""
        ground, run, indices = self._ground, self._run, self._ground.data.splits.val
        with run.evaluated():
            run.enter_evaluation()
            outputs = outputs_of(ground.val_source, ground.forward, indices)
            self._saved_s += ground.val_source.saved_s(len(indices))
            metrics = ground.data.task.metrics(outputs, ground.data.targets[indices])
            told = ground.watch.validation(metrics["loss"])
            evaluation = self._evaluation(metrics, diverged=told)
            if told is None:
                run.take(evaluation, ground.objective)
        return evaluation

    def _evaluation(self, metrics: Mapping[str, float], *, diverged: str | None) -> Evaluation:
        self._told += 1
        evaluation = self._ground.evaluation(
            stage=self._ground.stage,
            index=self._told,
            step=self._run.step,
            metrics=metrics,
            train_loss=self._loss_sum / max(1, self._loss_count),
            saved_s=self._saved_s,
            diverged=diverged,
        )
        self._loss_sum, self._loss_count, self._saved_s = 0.0, 0, 0.0
        return evaluation
