"""Gradients of a batch: in parts that fit into memory, and on all ranks that train together.

The loss is the mean over the whole batch, however it is cut: learning rate and batch size mean the same for any number
of ranks and any size of the parts. Only norms in training mode see the difference: their statistics are of a part.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from autoft.model import synchronise
from autoft.training.engine import Ground
from autoft.training.feed import Batch
from autoft.training.forward import Forward, Inputs, seeded
from autoft.training.stage import StageRun


class Gradients:
    """Takes the gradients of a stage's batches.

    Args:
        ground: the stage.
        run: of it; holds the optimizer.
    """

    def __init__(self, ground: Ground, run: StageRun) -> None:
        self._ground, self._run = ground, run
        self._trained = [each for group in run.optimizer.param_groups for each in group["params"]]
        self._tail = _Tail(ground.forward, self._trained)
        self._together: DistributedDataParallel | None = None
        shared = ground.stage.norm == "sync" and not ground.ranks.alone
        self._undo = synchronise(ground.loaded, ground.plan.trainable) if shared else None

    def close(self) -> None:
        """Give the model back as it was."""
        if self._undo:
            self._undo()
        self._undo = self._together = None

    def fewest_rows(self, batch: Batch) -> int:
        """Rows in the smallest part of any rank: what batch statistics may have to do with."""
        size, most = batch.share.whole if self._undo else batch.share.smallest, self._ground.micro_batch
        return size if most is None or size <= most else size % most or most

    def take(self, batch: Batch) -> float:
        """Leave the batch's gradients in the parameters, the same on all ranks.

        Returns:
            the plain mean loss of the whole batch: without smoothing, mixing and class weights.
        """
        ground = self._ground
        rows, targets = ground.train_source.rows(batch.found, batch.targets, batch.moment)
        self._run.optimizer.zero_grad(set_to_none=True)
        plain = 0.0
        with seeded(batch.forward_seed, ground.device):
            model = self._model(rows)
            parts = list(_parts(rows, targets, ground.micro_batch))
            for place, (part, wanted) in enumerate(parts):
                last = place + 1 == len(parts)
                with nullcontext() if last or self._together is None else self._together.no_sync():
                    loss, own = self._loss(model(part).float(), wanted, batch)
                    loss.backward()  # type: ignore[no-untyped-call]
                plain += own
        return ground.ranks.total(plain) / batch.share.whole

    def _loss(self, outputs: Tensor, targets: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """This part's share of the mean loss, and the sum of its plain ones; a stand-in for no items has none."""
        ground, size, whole = self._ground, batch.size, batch.share.whole
        task, smoothing = ground.data.task, ground.recipe.optimisation.label_smoothing
        losses = task.loss(outputs, targets, label_smoothing=smoothing, class_weights=ground.class_weights)
        plain = task.loss(outputs.detach(), targets)
        if size == 0:
            return losses[:0].sum(), 0.0
        if ground.ranks.alone and len(losses) == whole:
            return losses.mean(), float(plain.sum())
        return losses.sum() * (ground.ranks.world / whole), float(plain.sum())  # DDP takes the mean over ranks

    def _model(self, rows: Tensor | Inputs) -> Any:
        """The tail, wrapped if there are other ranks; the first batch tells which parameters no output depends on."""
        if self._ground.ranks.alone:
            return self._tail
        if self._together is None:
            unused = self._has_unused(rows)
            self._together = DistributedDataParallel(self._tail, init_sync=False, find_unused_parameters=unused)
        return self._together

    def _has_unused(self, rows: Tensor | Inputs) -> bool:
        """Whether a parameter that trains has no part in the outputs; DDP must know."""
        modules = list(self._ground.loaded.module.modules())
        modes = [module.training for module in modules]
        self._run.enter_evaluation()
        part, _ = next(_parts(rows, None, 1))
        copied = part.clone() if isinstance(part, Tensor) else {name: field.clone() for name, field in part.items()}
        self._tail(copied).float().sum().backward()  # it may change them in place
        for module, training in zip(modules, modes, strict=True):
            module.training = training
        unused = any(parameter.grad is None for parameter in self._trained)
        self._run.optimizer.zero_grad(set_to_none=True)
        return unused


class _Tail(nn.Module):
    """The tail as DDP takes it: it knows of the parameters that train, and of no buffers."""

    def __init__(self, forward: Forward, trained: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.trained = nn.ParameterList(trained)
        self._run = forward.tail

    def forward(self, rows: Tensor | Inputs) -> Tensor:
        """Outputs from the activation at the boundary."""
        return self._run(rows)


def _parts(rows: Tensor | Inputs, targets: Any, most: int | None) -> Iterator[tuple[Tensor | Inputs, Any]]:
    """Rows and targets in parts of at most ``most``."""
    count = len(rows) if isinstance(rows, Tensor) else len(next(iter(rows.values())))
    size = count if most is None else min(most, count)
    for first in range(0, count, size):
        chosen = slice(first, first + size)
        part = rows[chosen] if isinstance(rows, Tensor) else {name: field[chosen] for name, field in rows.items()}
        yield part, None if targets is None else targets[chosen]
