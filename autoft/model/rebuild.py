"""A fine-tuned model made again from what its file holds."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from autoft.errors import ModelError
from autoft.model.base import rest
from autoft.model.build import build
from autoft.model.head import drawn_from, head_width, renew_head
from autoft.model.weights import put_whole
from autoft.recipe import ModelConfig


def rebuilt(
    name: str, arguments: Mapping[str, Any], state: Mapping[str, Tensor], *, module: nn.Module | None, where: str
) -> nn.Module:
    """A module with these weights, in eval mode.

    Args:
        name: of a timm model, or what a module of one's own was called.
        arguments: of ``timm.create_model`` beside the name; none for a module of one's own.
        state: its whole ``state_dict``.
        module: one's own; it is copied, never changed, and its head may still be the old one.
        where: what the weights are called in an error.

    Raises:
        ModelError: a module of one's own was not given, or was given in the place of a timm model.
        WeightsError: the weights do not fit.
    """
    if bool(arguments) == (module is not None):
        rule = f"is {name} of timm; leave the module out" if arguments else f"holds weights of {name}; give the module"
        raise ModelError(f"{where}: {rule}, as in autoft.Predictor.load(PATH{'' if arguments else ', module=...'})")
    if module is None:
        config = ModelConfig.parse({"name": name, "weights": "random"}, where=where)
        with drawn_from(0, "weights"):
            made = build(config, image_size=arguments.get("img_size"), num_outputs=arguments["num_classes"])
    else:
        made = copy.deepcopy(module)
        _widen_head(made, state)
    put_whole(made, state, where=where)
    rest(made)
    return made


def _widen_head(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Make the head anew where the weights have one of another width: the search did so too."""
    for name, part in list(module.named_modules()):
        weight = state.get(f"{name}.weight")
        if isinstance(part, nn.Linear) and weight is not None and len(weight) != head_width(module, [name]):
            renew_head(module, [name], len(weight), seed=0)
            return
