"""Weights of a trained model: put into it, and written whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from autoft.errors import WeightsError
from autoft.files import replacing, translated
from autoft.model import LoadedModel, named_tensors, set_eval
from autoft.training.snapshot import put_back

ABOUT = "autoft"
"""In the metadata of a model file. One key, for several would be written in no particular order."""


def load_weights(loaded: LoadedModel, weights: Mapping[str, Tensor]) -> None:
    """Give the model, in place, its base state and on top of it what a trial changed; in eval mode.

    Args:
        loaded: the model, in any state.
        weights: `TrialResult.weights`, or what `best_weights` reads from a checkpoint.
    """
    base = named_tensors(loaded.reset().module)
    put_back(loaded.module, {**base, **weights})
    set_eval(loaded)


def full_state(module: nn.Module) -> dict[str, Tensor]:
    """The whole ``state_dict`` on the CPU, each tensor with memory of its own, as safetensors wants it."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}


def save_model(module: nn.Module, path: Path, about: Mapping[str, Any]) -> None:
    """Write the whole ``state_dict`` as safetensors, atomically.

    Args:
        module: whose weights.
        path: of the file.
        about: plain data that its header keeps as JSON under ``autoft``: what one must know to use the weights.

    Raises:
        StorageError: the disk refuses.
    """
    content = safetensors.torch.save(full_state(module), {ABOUT: json.dumps(about)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_model(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `save_model` has written: what one must know to use the weights, and the weights.

    Raises:
        WeightsError: no such file, damaged, or not written by autoft.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such run or file; give a run, or a model file that autoft has written")
    try:
        with translated(path), safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, KeyError, ValueError):
        raise WeightsError(
            f"{path}: is damaged, or no model file that autoft has written; give best_model.safetensors of a run"
        ) from None
