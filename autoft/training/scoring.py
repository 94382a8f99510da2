"""Running weights that trials came to: what they leave as it was is read, where its activations lie in the cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autoft.cache import ActivationCache, Activations
from autoft.data import DataHandle
from autoft.data.metrics import Array
from autoft.errors import ModelError
from autoft.model import LoadedModel, Manner, make_ready, padded
from autoft.model.head import head_names
from autoft.recipe import MemoryFormat
from autoft.training.evaluate import outputs_of
from autoft.training.forward import Forward
from autoft.training.source import Cached, Pixels, Source
from autoft.training.weights import load_weights


@dataclass
class Scorer:
    """Runs one model, in full precision, with the weights that differ from the base put into it.

    On the CPU reading activations changes no bit of what it tells.

    Args:
        loaded: the model; its weights are changed in place.
        data: the data.
        memory_format: of images and convolution weights, as the recipes have it.
        cache: where activations of trials lie; None computes them from the items.
    """

    loaded: LoadedModel
    data: DataHandle
    memory_format: MemoryFormat = "contiguous"
    cache: ActivationCache | None = None
    _found: dict[int, Activations | None] = field(default_factory=dict)

    def outputs(self, weights: Mapping[str, Tensor], indices: Array) -> Tensor:
        """The raw outputs (len(indices), num_outputs), float32 on the CPU; `predict` gives the same.

        The model has the weights afterwards, in eval mode.
        """
        return outputs_of(*self._opened(weights), indices)

    def features(self, weights: Mapping[str, Tensor], indices: Array) -> Tensor:
        """What enters the head, (len(indices), ...), float64 on the CPU.

        Raises:
            ModelError: the head is not called once per pass, on one tensor.
        """
        source, forward = self._opened(weights)
        head = self.loaded.module.get_submodule(head_names(self.loaded.module, self.loaded.base.order)[0])
        seen: list[Tensor] = []

        def watch(_head: nn.Module, arguments: tuple[Any, ...]) -> None:
            seen.extend(each.detach().cpu().double() for each in arguments if isinstance(each, Tensor))

        handle = head.register_forward_pre_hook(watch)
        try:
            outputs_of(source, forward, indices)
        finally:
            handle.remove()
        if sum(map(len, seen)) != padded(len(indices)):
            raise ModelError(
                f"{self.loaded.card.name}: forgetting cannot be measured, since the head is not called once per pass "
                "on one tensor; set search.forgetting: off"
            )
        return torch.cat(seen)[: len(indices)]

    def metrics(self, weights: Mapping[str, Tensor], indices: Array) -> dict[str, float]:
        """All metrics of the data's task."""
        return self.data.task.metrics(self.outputs(weights, indices), self.data.targets[indices])

    def _opened(self, weights: Mapping[str, Tensor]) -> tuple[Source, Forward]:
        """The model with these weights, and where it gets the rows from that they leave as they were."""
        load_weights(self.loaded, weights)
        manner = Manner(channels_last=self.memory_format == "channels_last")
        device = next(self.loaded.module.parameters()).device
        make_ready(self.loaded.module, device, channels_last=manner.channels_last)
        boundary = self._untouched(weights)
        forward = Forward(self.loaded, boundary, manner)
        if kept := self._kept(boundary, manner):
            return Cached(None, self.data, kept, forward), forward
        return Pixels(None, self.data, self.loaded.card, forward), forward

    def _untouched(self, weights: Mapping[str, Tensor]) -> int:
        """How many leading groups have the base's weights."""
        groups = self.loaded.groups
        own = [weights.keys().isdisjoint((*group.parameters, *group.buffers)) for group in groups[:-1]]
        return self.loaded.chain.prefix_length([*(place for place, same in enumerate(own) if not same), len(own)])

    def _kept(self, boundary: int, manner: Manner) -> Activations | None:
        if self.cache is None:
            return None
        if boundary not in self._found:
            self._found[boundary] = self.cache.find(self.loaded, boundary, manner)
        return self._found[boundary]
