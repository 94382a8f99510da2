"""The base of a loaded model: kept once in memory, never trained, and copied for every trial."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from autoft.model.build import build, pretrained_cfg, size_arguments
from autoft.model.cards import Origin
from autoft.model.freeze import named_tensors
from autoft.model.head import HeadDropout, drawn_from, head_names, renew_head
from autoft.recipe import ModelConfig


@dataclass(frozen=True)
class Base:
    """What a fresh model is made from."""

    module: nn.Module
    """With its head for the task; of one's own module without head dropout."""
    config: ModelConfig
    """As it was built."""
    own: bool
    """Whether it is the caller's module rather than timm's."""
    num_outputs: int
    seed: int
    image_size: int | None
    order: tuple[str, ...]
    """Names of the modules in call order; empty where that is not known."""
    new_head: bool
    origin: Origin

    @property
    def arguments(self) -> dict[str, Any]:
        """What ``timm.create_model`` needs beside the name to build it; nothing for the caller's own."""
        if self.own:
            return {}
        return {"num_classes": self.num_outputs, **size_arguments(pretrained_cfg(self.config.name), self.image_size)}

    def fresh(self, config: ModelConfig, seed: int) -> nn.Module:
        """A copy in eval mode, with the drop rates of ``config`` and a new head drawn from ``seed``."""
        module = copy.deepcopy(self.module) if self.own or self._same_rates(config) else self._rebuilt(config)
        if self.new_head and seed != self.seed:
            renew_head(module, head_names(module, self.order), self.num_outputs, seed)
        if self.own and config.drop_rate:
            for name in head_names(module, self.order):
                module.get_submodule(name).register_forward_pre_hook(HeadDropout(config.drop_rate))
        rest(module)
        return module

    def _same_rates(self, config: ModelConfig) -> bool:
        rates = self.config.drop_rate, self.config.drop_path_rate
        return rates == (config.drop_rate, config.drop_path_rate)

    def _rebuilt(self, config: ModelConfig) -> nn.Module:
        with drawn_from(self.seed, "rebuild"):
            module = build(config, image_size=self.image_size, num_outputs=self.num_outputs)
        if self.new_head:
            renew_head(module, head_names(module), self.num_outputs, self.seed)
        kept = named_tensors(self.module)
        with torch.no_grad():
            for name, tensor in named_tensors(module).items():
                tensor.copy_(kept[name])
        return module


def rest(module: nn.Module) -> None:
    """Put every module in eval mode."""
    for part in module.modules():
        part.training = False
