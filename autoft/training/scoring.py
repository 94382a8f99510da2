"""Scoring weights that trials came to: what they leave as it was is read, where its activations lie in the cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from autoft.cache import ActivationCache, Activations
from autoft.data import DataHandle
from autoft.data.metrics import Array
from autoft.model import LoadedModel, Manner, make_ready
from autoft.recipe import MemoryFormat
from autoft.training.evaluate import outputs_of, predict
from autoft.training.forward import Forward
from autoft.training.source import Cached
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
        load_weights(self.loaded, weights)
        manner = Manner(channels_last=self.memory_format == "channels_last")
        device = next(self.loaded.module.parameters()).device
        make_ready(self.loaded.module, device, channels_last=manner.channels_last)
        if kept := self._kept(self._untouched(weights), manner):
            forward = Forward(self.loaded, kept.boundary, manner)
            return outputs_of(Cached(None, self.data, kept, forward), forward, indices)
        return predict(self.loaded, self.data, indices, memory_format=self.memory_format)

    def metrics(self, weights: Mapping[str, Tensor], indices: Array) -> dict[str, float]:
        """All metrics of the data's task."""
        return self.data.task.metrics(self.outputs(weights, indices), self.data.targets[indices])

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
