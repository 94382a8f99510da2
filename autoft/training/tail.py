"""A stage that trains the tail of the model: the layer groups it unfreezes, and the head."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from autoft.data.metrics import Array
from autoft.record import Evaluation
from autoft.training.checkpoint import average_of
from autoft.training.engine import Batches, Ground, ShouldStop
from autoft.training.evaluate import outputs_of
from autoft.training.gradients import Gradients
from autoft.training.ranks import Word, part_of
from autoft.training.snapshot import Snapshot, copy_of, put_back
from autoft.training.stage import StageRun


class TailStage:
    """An `autoft.training.engine.Engine` over torch's autograd, on one rank or many.

    Rank 0 drives it by `advance`, the others follow by `obey`. What they compute together is what one process would:
    each takes its part of every batch and of the validation split.

    Args:
        ground: the model holds the weights that the stage starts from.
        carried: optimizer state of the stage before, for those parameters that train on.
    """

    def __init__(self, ground: Ground, carried: Mapping[str, Tensor]) -> None:
        self._ground, self._ranks = ground, ground.ranks
        self._run = StageRun(
            ground.stage,
            plan=ground.plan,
            touched=ground.touched,
            loaded=ground.loaded,
            optimisation=ground.recipe.optimisation,
            length=ground.length,
            carried=carried,
            followed=ground.index + 1 < len(ground.recipe.stages),
            beside=ground.beside,
        )
        self._batches = Batches(ground, ground.ranks)
        self._gradients: Gradients | None = None
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
        with self._ranks.listening():
            if self._gradients is None:
                self._ranks.tell(Word.OPEN, self._ground.index, self._run.step)
                self._ranks.send(self._run.weights())
                self._ranks.send(self._run.optimizer_state())
            while not should_stop():
                if told := self._train_step() or self._blown_up():
                    return self._evaluation({}, diverged=told)
                if self._is_due():
                    return self._evaluate()
        return None

    def obey(self, word: Word, step: int) -> None:
        """Do what rank 0 tells; ``step`` is the stage's, and counts when it opens."""
        match word:
            case Word.OPEN:
                self._run.step = step
            case Word.STEP:
                self._take_gradients()
            case Word.UPDATE:
                self._run.update()
            case _:
                self._share_statistics()
                averaged = self._ranks.receive()
                before = copy_of({name: self._run.weights()[name] for name in averaged})
                put_back(self._ground.loaded.module, averaged)
                self._outputs(self._ground.data.splits.val)
                put_back(self._ground.loaded.module, before)

    def close(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """End the stage."""
        self.let_go()
        carried = self._run.close()
        return copy_of(self._run.weights()), carried

    def let_go(self) -> None:
        """Stop reading ahead, and part from the other ranks."""
        self._batches.close()
        if self._gradients:
            self._gradients.close()

    def sections(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of a checkpoint."""
        run = self._run
        return {
            "now": run.weights(),
            "average": run.average.values if run.average else {},
            "optimizer": run.optimizer_state(),
            "stage_best": run.best.weights if run.best else {},
            "stage_best_optimizer": run.best.optimizer if run.best else {},
            "beside": run.beside.values if run.beside else {},
            average_of("stage_best"): run.best.average if run.best else {},
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
        if run.beside and sections.get("beside"):
            run.beside.load(sections["beside"])
        else:  # a checkpoint without: what began without it has none
            run.beside = None
        run.best = best
        self._told = facts["told"]
        self._loss_sum, self._loss_count, self._saved_s = facts["since"]

    def _train_step(self) -> str | None:
        """One optimizer step, or the sentence that tells why there was none."""
        run, watch = self._run, self._ground.watch
        self._ranks.tell(Word.STEP)
        loss, norm = self._take_gradients()
        if told := watch.loss(loss, warming_up=run.warming_up) or watch.gradient(norm):
            return told
        self._ranks.tell(Word.UPDATE)
        run.update()
        return None

    def _take_gradients(self) -> tuple[float, float]:
        """Gradients of the next batch, clipped; gives its plain mean loss, and their norm before."""
        if self._gradients is None:
            self._gradients = Gradients(self._ground, self._run)
        batch = self._batches.next(self._run.step)
        self._run.enter_training(self._gradients.fewest_rows(batch))
        loss = self._gradients.take(batch)
        self._saved_s += self._ground.train_source.saved_s(batch.share.whole)
        self._loss_sum += loss * batch.share.whole
        self._loss_count += batch.share.whole
        return loss, self._run.clip()

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
        self._ranks.tell(Word.EVALUATE)
        self._share_statistics()
        self._ranks.send(run.average.values if run.average else {})
        with run.evaluated():
            outputs = self._outputs(indices)
            self._saved_s += ground.val_source.saved_s(len(indices))
            metrics = ground.data.task.metrics(outputs, ground.data.targets[indices])
            told = ground.watch.validation(metrics["loss"])
            evaluation = self._evaluation(metrics, diverged=told)
            if told is None:
                run.take(evaluation, ground.objective)
        return evaluation

    def _share_statistics(self) -> None:
        """Each rank's norms have seen its own rows only."""
        self._ranks.average(self._run.statistics())

    def _outputs(self, indices: Array) -> Tensor:
        """Outputs for ``indices``, each computed by one rank; whole on rank 0."""
        self._run.enter_evaluation()
        share = self._ranks.share(len(indices))
        rows = outputs_of(self._ground.val_source, self._ground.forward, part_of(indices, share))
        return self._ranks.gathered(rows[: share.size], len(indices))

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
        return replace(evaluation, micro_batch=self._ground.micro_batch, workers=self._ranks.world)
