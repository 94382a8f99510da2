"""The task: one object that decides head width, loss, metrics, constant predictor and strata."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoft.data.metrics import DEFAULT_METRIC, METRICS, SCORES, Array, TaskKind, metric_names
from autoft.data.other_metrics import GivenMetric, OtherMetric, name_of, other_metrics, unknown_metric
from autoft.errors import ConfigError
from autoft.recipe import DataConfig, Optimisation
from autoft.record import Objective

_REGRESSION_STRATA = 10


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learnt.

    Targets: class numbers, int64 (n,), for ``single_label``; 0/1, float32 (n, classes), for ``multi_label``; numbers in
    their own unit, float32 (n,), for ``regression``, whose outputs and loss are in units of ``target_std``.
    """

    kind: TaskKind
    classes: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    others: tuple[OtherMetric, ...] = field(default=(), compare=False)
    """Metrics beside the kind's own."""

    def judged_by(self, metrics: Iterable[GivenMetric]) -> Self:
        """The same, measured by these metrics too.

        Raises:
            UnknownNameError: no such metric, or one of another kind of task.
            ConfigError: a function without a name of its own.
        """
        asked = {one.name: one for one in (*self.others, *other_metrics(self.kind, metrics))}
        return replace(self, others=tuple(asked.values()))

    @property
    def num_outputs(self) -> int:
        """The width of the head."""
        return 1 if self.kind == "regression" else len(self.classes)

    def loss(
        self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, class_weights: Tensor | None = None
    ) -> Tensor:
        """Loss per item (B,): cross entropy, mean binary cross entropy, or squared error in standard deviations.

        Args:
            outputs: (B, num_outputs), raw.
            targets: as the class says, or as `distribution` gives them (mixed up or not).
            label_smoothing: share of the target that is spread evenly; not for regression.
            class_weights: (classes,), as `class_weights` gives them; not for regression.
        """
        outputs = outputs.float()
        match self.kind:
            case "single_label":
                return functional.cross_entropy(
                    outputs, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="none"
                )
            case "multi_label":
                smooth = targets * (1.0 - label_smoothing) + 0.5 * label_smoothing
                each = functional.binary_cross_entropy_with_logits(
                    outputs, smooth, pos_weight=class_weights, reduction="none"
                )
                return each.mean(dim=1)
            case "regression":
                standard = (targets.float() - self.target_mean) / self.target_std
                return (outputs.squeeze(1) - standard).square()

    def distribution(self, targets: Tensor) -> Tensor:
        """Targets that can be mixed, float32: one-hot (B, classes) for ``single_label``, else as they are."""
        if self.kind == "single_label" and targets.dim() == 1:
            return functional.one_hot(targets, len(self.classes)).float()
        return targets.float()

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities (B, classes), or numbers in the target's own unit (B,); float64."""
        outputs = outputs.double()
        match self.kind:
            case "single_label":
                return outputs.softmax(dim=1)
            case "multi_label":
                return outputs.sigmoid()
            case "regression":
                return outputs.squeeze(1) * self.target_std + self.target_mean

    def metrics(self, outputs: Tensor, targets: Tensor | Array) -> dict[str, float]:
        """All metrics of the kind, by name, in float64; NaN throughout when an output is not finite.

        Args:
            outputs: (B, num_outputs), raw, B >= 1.
            targets: as the class says.
        """
        return self.metrics_of_each(outputs[None], targets)[0]

    def metrics_of_each(self, outputs: Tensor, targets: Tensor | Array) -> list[dict[str, float]]:
        """`metrics` of K models at once, (K, B, num_outputs), each with the bits that it has alone."""
        outputs, truth = outputs.detach().cpu(), torch.as_tensor(targets).cpu()
        fine = outputs.isfinite().flatten(1).all(dim=1)
        kept, values = outputs[fine], {}
        if len(kept):
            predicted, actual = [self.predict(own).numpy() for own in kept], truth.numpy()
            scores = SCORES[self.kind](np.stack(predicted), actual)
            losses = [self._exact_loss(own, truth) for own in kept]
            others = [{one.name: one.value(self.kind, own, actual) for one in self.others} for own in predicted]
            known = [
                {**own, "log_loss": loss, "loss": loss, **more}
                for own, loss, more in zip(scores, losses, others, strict=True)
            ]
            values = dict(zip(fine.nonzero().flatten().tolist(), known, strict=True))
        names = (*metric_names(self.kind), *(one.name for one in self.others))
        return [
            {name: values[place][name] if place in values else math.nan for name in names}
            for place in range(len(outputs))
        ]

    def objective(self, metric: GivenMetric | None = None) -> Objective:
        """The metric that decides, of those that are measured; by default accuracy, average precision or MAE.

        Raises:
            UnknownNameError: no such metric, or one of another kind of task.
        """
        name = DEFAULT_METRIC[self.kind] if metric is None else name_of(metric)
        if name in metric_names(self.kind):
            return Objective(name, METRICS[name].mode)
        if name not in {one.name for one in self.others}:
            raise unknown_metric(self.kind, name)
        return Objective(name, "max")

    def constant_loss(self, train_targets: Array, targets: Array) -> float:
        """Mean loss on ``targets`` of the best constant predictor of ``train_targets``, as `_constant` gives it."""
        constant = self._constant(train_targets)
        match self.kind:
            case "single_label":
                return float(-np.log(constant)[targets].mean())
            case "multi_label":
                truth = np.asarray(targets, dtype=np.float64)
                return float(-(truth * np.log(constant) + (1.0 - truth) * np.log1p(-constant)).mean())
            case "regression":
                return float(np.mean(((np.asarray(targets, dtype=np.float64) - constant) / self.target_std) ** 2))

    def constant_outputs(self, train_targets: Array, metric: str) -> Tensor:
        """What a model would put out (num_outputs,), float64, that gives every item the best constant answer.

        The one of `constant_loss`; the median for ``mae``, of which no constant has a lower one.
        """
        constant = np.median(train_targets) if metric == "mae" else self._constant(train_targets)
        match self.kind:
            case "single_label":
                return torch.from_numpy(np.log(constant))
            case "multi_label":
                return torch.from_numpy(np.log(constant) - np.log1p(-constant))
            case "regression":
                return torch.tensor([(float(constant) - self.target_mean) / self.target_std], dtype=torch.float64)

    def _constant(self, train_targets: Array) -> Array:
        """Class priors (classes,), base rates per label (classes,), or the mean (), float64.

        Where one of the probabilities would be 0, all of them are smoothed by one more item per outcome.
        """
        match self.kind:
            case "single_label":
                counts = np.bincount(train_targets, minlength=len(self.classes)).astype(np.float64)
                counts += 0.0 if counts.all() else 1.0
                return np.asarray(counts / counts.sum())
            case "multi_label":
                positives = np.asarray(train_targets, dtype=np.float64).sum(axis=0)
                size = np.full_like(positives, len(train_targets))
                extreme = (positives == 0.0) | (positives == size)
                return np.asarray(np.where(extreme, (positives + 1.0) / (size + 2.0), positives / size))
            case "regression":
                return np.asarray(np.mean(train_targets, dtype=np.float64))

    def class_weights(self, train_targets: Array) -> Tensor:
        """Balanced weights (classes,), float32: n / (classes seen * count), or negatives / positives per label.

        A class that was not seen weighs 1.

        Raises:
            ConfigError: regression has no classes.
        """
        match self.kind:
            case "single_label":
                counts = np.bincount(train_targets, minlength=len(self.classes)).astype(np.float64)
                weights = counts.sum() / (max(np.count_nonzero(counts), 1) * np.maximum(counts, 1.0))
                weights[counts == 0] = 1.0
            case "multi_label":
                positives = np.asarray(train_targets, dtype=np.float64).sum(axis=0)
                negatives = len(train_targets) - positives
                usable = (positives > 0.0) & (negatives > 0.0)
                weights = np.where(usable, negatives / np.maximum(positives, 1.0), 1.0)
            case "regression":
                raise ConfigError("data.class_weights: balanced needs classes, got a regression task; use none")
        return torch.from_numpy(weights.astype(np.float32))

    def check(self, data: DataConfig, optimisation: Optimisation) -> None:
        """Refuse settings that have no meaning for this kind of task.

        Raises:
            ConfigError: one line per setting.
        """
        lines: list[str] = []
        if data.sampler == "balanced" and self.kind != "single_label":
            lines.append(f"data.sampler: balanced needs one class per item, got a {self.kind} task; use shuffle")
        if data.class_weights == "balanced" and self.kind == "regression":
            lines.append("data.class_weights: balanced needs classes, got a regression task; use none")
        if optimisation.label_smoothing and self.kind == "regression":
            lines.append("optimisation.label_smoothing: needs classes, got a regression task; use 0")
        if lines:
            raise ConfigError("\n".join(lines))

    def strata(self, targets: Array) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The stratum of each item (n,), for splits: its class, its rarest label, or its tenth of the range."""
        match self.kind:
            case "single_label":
                return np.asarray(targets, dtype=np.int64)
            case "multi_label":
                truth = np.asarray(targets) > 0.5
                rarity = np.where(truth, truth.sum(axis=0)[None, :], len(truth) + 1)
                rarest = np.where(truth.any(axis=1), rarity.argmin(axis=1), truth.shape[1])
                return np.asarray(rarest, dtype=np.int64)
            case "regression":
                edges = np.quantile(targets, np.linspace(0.0, 1.0, _REGRESSION_STRATA + 1)[1:-1])
                return np.asarray(np.searchsorted(edges, targets, side="right"), dtype=np.int64)

    def _exact_loss(self, outputs: Tensor, targets: Tensor) -> float:
        """The mean loss in float64."""
        outputs = outputs.double()
        match self.kind:
            case "single_label":
                return float(functional.cross_entropy(outputs, targets))
            case "multi_label":
                return float(functional.binary_cross_entropy_with_logits(outputs, targets.double()))
            case "regression":
                standard = (targets.double() - self.target_mean) / self.target_std
                return float((outputs.squeeze(1) - standard).square().mean())


def regression_task(train_targets: Array) -> Task:
    """A regression whose outputs are standardised by the mean and the standard deviation of ``train_targets``."""
    values = np.asarray(train_targets, dtype=np.float64)
    std = float(values.std())
    return Task("regression", target_mean=float(values.mean()), target_std=std if std > 0.0 else 1.0)
