"""Fused heads: many linear heads on the same features, trained by the same few operations.

A head's bits do not depend on its companions (on one CPU thread): matrix products are batched over the heads, and
everything else works on rows of one padded table, so that a head always lies at the same place of a vector register.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from autoft.data import Task

_PADDING = 64
"""A head's row is filled up to a multiple of so many numbers."""
_BETAS, _EPS = (0.9, 0.999), 1e-8
"""As `torch.optim.AdamW` has them (Loshchilov and Hutter 2019, arXiv 1711.05101)."""


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """What is a head's own."""

    weight_decay: float
    drop_rate: float
    label_smoothing: float
    clip: float
    """Largest gradient norm; inf does not clip."""
    ema_decay: float | None
    rate: float
    """The full learning rate."""


@dataclass(frozen=True, slots=True)
class HeadState:
    """The numbers of one head, on the CPU."""

    weight: Tensor
    """(C, F)."""
    bias: Tensor | None
    """(C,)."""
    moments: Mapping[str, tuple[Tensor, Tensor | None]]
    """The optimizer's, of weight and bias: ``exp_avg`` and ``exp_avg_sq``, or ``momentum_buffer``; may be empty."""
    steps: int
    """That the optimizer has taken."""


class FusedHeads:
    """K heads of one shape.

    Args:
        task: what they learn.
        settings: per head.
        states: per head, what it starts from.
        opt: one optimizer for all; SGD is Nesterov's where it has momentum, as timm's is.
        momentum: of SGD.
        class_weights: as `Task.loss` takes them.
        device: where to.
    """

    def __init__(
        self,
        task: Task,
        settings: Sequence[HeadSettings],
        states: Sequence[HeadState],
        *,
        opt: Literal["adamw", "sgd"],
        momentum: float,
        class_weights: Tensor | None,
        device: torch.device,
    ) -> None:
        self._task, self._class_weights, self._device = task, class_weights, device
        self._outputs, self._features = states[0].weight.shape
        self._with_bias = states[0].bias is not None
        self._settings = list(settings)
        self._opt, self._momentum = opt, momentum
        self._values = self._table([(state.weight, state.bias) for state in states])
        self._average = self._values.clone() if any(each.ema_decay for each in settings) else None
        kinds = ("exp_avg", "exp_avg_sq") if opt == "adamw" else ("momentum_buffer",) if momentum else ()
        empty = (torch.zeros_like(states[0].weight), None if states[0].bias is None else torch.zeros(self._outputs))
        self._moments = {kind: self._table([state.moments.get(kind, empty) for state in states]) for kind in kinds}
        self._steps = [state.steps for state in states]
        self._own_steps = 0
        self._gradient = torch.zeros_like(self._values)
        self._set_columns()

    def __len__(self) -> int:
        return len(self._settings)

    def gradients(
        self, features: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[list[float], list[float]]:
        """Take the gradients of a batch; nothing changes until `update`.

        Args:
            features: (B, F), float32.
            targets: as `Task.loss` takes them; the same for all heads.
            generator: draws dropout: one number per feature, below which a head's rate drops it.

        Returns:
            per head the plain loss (no smoothing, no class weights), and the gradient's norm before clipping.
        """
        groups = self._dropped(features, generator)
        outputs = torch.cat([self._apply(self._values, rows, chosen) for chosen, rows in groups])
        outputs.requires_grad_()
        with torch.enable_grad():
            plain, losses = self._losses(outputs, targets)
            (slopes,) = torch.autograd.grad(losses.sum(), outputs)
        weights, biases = self._parts(self._gradient)
        for chosen, rows in groups:
            weights[chosen] = torch.bmm(slopes[chosen].transpose(1, 2), rows.expand(len(slopes[chosen]), *rows.shape))
        if self._with_bias:
            biases.copy_(slopes.sum(dim=1))
        norms = torch.linalg.vector_norm(self._gradient, dim=1)
        if self._clips:
            self._gradient.mul_((self._clip / (norms + 1e-6)).clamp(max=1.0)[:, None])
        return plain.tolist(), norms.tolist()

    def update(self, factors: Sequence[float]) -> None:
        """Take the optimizer's step, at each head's rate times its factor."""
        rates = self._column([each.rate * factor for each, factor in zip(self._settings, factors, strict=True)])
        self._own_steps += 1
        self._steps = [steps + 1 for steps in self._steps]
        if self._opt == "adamw":
            self._adamw(rates)
        else:
            self._sgd(rates)
        if self._average is not None:
            self._average.lerp_(self._values, self._shares())

    def outputs(self, features: Tensor) -> Tensor:
        """Outputs (K, B, C) for features (B, F), of what is evaluated: the averages, where there are any."""
        return self._apply(self._evaluated, features, slice(None))

    def growth(self, before: Sequence[float]) -> list[float]:
        """How many times the norms ``before`` the heads have now."""
        return [now / then for now, then in zip(self.norms(), before, strict=True)]

    def norms(self) -> list[float]:
        """Norm of each head, at least that of values of 0.01."""
        numel = self._outputs * (self._features + self._with_bias)
        squares: list[float] = self._values.double().square().sum(dim=1).clamp(min=1e-4 * numel).sqrt().tolist()
        return squares

    def state(self, place: int, *, evaluated: bool = False) -> HeadState:
        """A copy of a head as it trains, or as it is evaluated."""
        weight, bias = self._row(self._evaluated if evaluated else self._values, place)
        moments = {kind: self._row(table, place) for kind, table in self._moments.items()}
        return HeadState(weight, bias, moments, self._steps[place])

    def set_average(self, place: int, weight: Tensor, bias: Tensor | None, *, steps: int) -> None:
        """Continue the average of a head after so many steps of the stage."""
        if self._average is not None:
            self._average[place] = self._table([(weight, bias)])[0]
        self._own_steps = steps

    def keep(self, places: Sequence[int]) -> None:
        """Let go of all heads but these; the others' bits stay as they are."""
        index = torch.tensor(places, dtype=torch.long, device=self._device)
        self._values, self._gradient = self._values[index], self._gradient[index]
        self._moments = {kind: table[index] for kind, table in self._moments.items()}
        self._average = None if self._average is None else self._average[index]
        self._settings = [self._settings[place] for place in places]
        self._steps = [self._steps[place] for place in places]
        self._set_columns()

    @property
    def _evaluated(self) -> Tensor:
        return self._values if self._average is None else self._average

    def _set_columns(self) -> None:
        """What depends on the settings alone: columns (K, 1), and the heads of each dropout rate."""
        decays = [each.weight_decay for each in self._settings]
        self._decays = self._column(decays) if any(decays) else None
        self._spare = torch.empty_like(self._values)
        self._clips = any(each.clip < math.inf for each in self._settings)
        self._clip = torch.tensor([each.clip for each in self._settings], device=self._device)
        self._smoothing = self._column([each.label_smoothing for each in self._settings])[:, :, None]
        self._smooths = any(each.label_smoothing for each in self._settings)
        rates = [each.drop_rate for each in self._settings]
        starts = [place for place in range(len(rates)) if place == 0 or rates[place] != rates[place - 1]]
        ends = [*starts[1:], len(rates)]
        self._by_drop_rate = [(rates[start], slice(start, end)) for start, end in zip(starts, ends, strict=True)]

    def _dropped(self, features: Tensor, generator: torch.Generator) -> list[tuple[slice, Tensor]]:
        """The features as the heads of each dropout rate see them."""
        draws = torch.rand(features.shape, generator=generator, device=self._device)
        return [
            (chosen, features if rate == 0.0 else torch.where(draws >= rate, features / (1.0 - rate), 0.0))
            for rate, chosen in self._by_drop_rate
        ]

    def _apply(self, table: Tensor, features: Tensor, chosen: slice) -> Tensor:
        weights, biases = self._parts(table)
        rows = features.t().expand(len(weights[chosen]), self._features, len(features))
        outputs = torch.bmm(weights[chosen], rows).transpose(1, 2)
        return (outputs + biases[chosen, None, :] if self._with_bias else outputs).contiguous()

    def _losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Plain and training loss per head, means over the batch, as `Task.loss` has them per item."""
        task, weights = self._task, self._class_weights
        if task.kind == "regression":
            standard = (targets.float() - task.target_mean) / task.target_std
            losses = (outputs.squeeze(2) - standard).square().mean(dim=1)
            return losses.detach(), losses
        truth = task.distribution(targets)
        if task.kind == "multi_label":
            smooth = truth * (1.0 - self._smoothing) + 0.5 * self._smoothing
            return self._binary(outputs, truth).detach(), self._binary(outputs, smooth, weights)
        logs = outputs.log_softmax(dim=2)
        plain = -(logs * truth).sum(dim=2).mean(dim=1)
        if not self._smooths and weights is None:
            return plain.detach(), plain
        shares = truth * (1.0 - self._smoothing) + self._smoothing / outputs.shape[2]
        shares = shares if weights is None else shares * weights
        return plain.detach(), -(logs * shares).sum(dim=2).mean(dim=1)

    def _binary(self, outputs: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean binary cross entropy per head; labels are filled up, for exponentials differ at the end of a vector."""
        labels = outputs.shape[2]
        missing = -labels % _PADDING
        truth, wide = functional.pad(truth.expand_as(outputs), (0, missing)), functional.pad(outputs, (0, missing))
        weights = None if weights is None else functional.pad(weights, (0, missing))
        losses = functional.binary_cross_entropy_with_logits(wide, truth, pos_weight=weights, reduction="none")
        return losses[:, :, :labels].sum(dim=2).mean(dim=1) / labels

    def _adamw(self, rates: Tensor) -> None:
        if self._decays is not None:
            self._weights(self._values).mul_(1.0 - rates * self._decays)
        first, second = self._moments["exp_avg"], self._moments["exp_avg_sq"]
        first.lerp_(self._gradient, 1.0 - _BETAS[0])
        second.mul_(_BETAS[1]).addcmul_(self._gradient, self._gradient, value=1.0 - _BETAS[1])
        sizes = rates / self._column([1.0 - _BETAS[0] ** steps for steps in self._steps])
        roots = self._column([(1.0 - _BETAS[1] ** steps) ** 0.5 for steps in self._steps])
        # m / (sqrt(v) / root + eps), both sides of the fraction times the root: fewer passes over the table.
        torch.sqrt(second, out=self._spare).add_(roots * _EPS)
        self._values.sub_(torch.div(first, self._spare, out=self._spare).mul_(sizes * roots))

    def _sgd(self, rates: Tensor) -> None:
        slopes = self._spare.copy_(self._gradient)
        if self._decays is not None:
            self._weights(slopes).add_(self._weights(self._values) * self._decays)
        if self._momentum:
            buffer = self._moments["momentum_buffer"]
            buffer.mul_(self._momentum).add_(slopes)
            slopes = slopes + buffer * self._momentum
        self._values.sub_(slopes * rates)

    def _shares(self) -> Tensor:
        """What an average takes of the newest values, as `WeightAverage` has it."""
        step = self._own_steps
        decays = [
            0.0 if each.ema_decay is None else min(each.ema_decay, (1 + step) / (10 + step)) for each in self._settings
        ]
        return self._column([1.0 - decay for decay in decays])

    def _column(self, numbers: Sequence[float]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float32, device=self._device)[:, None]

    def _table(self, rows: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
        """One padded row per head."""
        width = self._outputs * (self._features + self._with_bias)
        table = torch.zeros(len(rows), -(-width // _PADDING) * _PADDING)
        for row, (weight, bias) in zip(table, rows, strict=True):
            row[: weight.numel()] = weight.detach().reshape(-1)
            if bias is not None:
                row[weight.numel() : width] = bias.detach()
        return table.to(self._device)

    def _parts(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (K, C, F) and biases (K, C) as views of a table."""
        width = self._outputs * self._features
        return table[:, :width].view(len(table), self._outputs, self._features), table[:, width : width + self._outputs]

    def _weights(self, table: Tensor) -> Tensor:
        """Of a table the part that decays, (K, C * F): biases do not."""
        return table[:, : self._outputs * self._features]

    def _row(self, table: Tensor, place: int) -> tuple[Tensor, Tensor | None]:
        weights, biases = self._parts(table[place : place + 1])
        return weights[0].cpu().clone(), biases[0].cpu().clone() if self._with_bias else None
