"""Weights from files, and whether they fit."""

import inspect
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from autoft.errors import WeightsError
from autoft.model.sources import inside

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors or .pth file; nothing in it is executed.

    Raises:
        WeightsError: the file is missing, damaged, or holds more than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"model.weights: {path}: there is no such file; give the path of a weights file") from None
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise WeightsError(f"model.weights: {path}: {reason}; give the path of a weights file") from None
    except safetensors.SafetensorError as error:
        raise WeightsError(
            f"model.weights: {path}: not a safetensors file: {error}; export the weights again"
        ) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise WeightsError(
            f"model.weights: {path}: not a file of plain tensors: {reason}; "
            "write it with torch.save(model.state_dict(), ...)"
        ) from None
    return _unwrapped(content, path)


def _unwrapped(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    state = {str(name): value for name, value in content.items()} if isinstance(content, Mapping) else {}
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"model.weights: {path}: must hold tensors by name, as torch.save(model.state_dict(), ...) does"
        )
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def load_state(model: nn.Module, state: Mapping[str, Tensor], head: Sequence[str], *, where: str) -> bool:
    """Copy a state dict into a model; position embeddings of another size are resampled where timm knows how.

    Args:
        model: is changed in place.
        state: its tensors by name.
        head: modules whose tensors may be missing or have another width; then the head is left as it is.
        where: what the weights are called in an error.

    Returns:
        Whether the head's weights were loaded too.

    Raises:
        WeightsError: other keys are missing, unexpected, or of another shape; says which.
    """
    fitted = adapted(model, dict(state))
    own = model.state_dict()
    of_head = {name for name in {*own, *fitted} if inside(name, head)}
    whole_head = all(name in fitted and name in own and fitted[name].shape == own[name].shape for name in of_head)
    if not whole_head:
        fitted = {name: value for name, value in fitted.items() if name not in of_head}
    expected = {name: value for name, value in own.items() if whole_head or name not in of_head}
    _check_fit(expected, fitted, where)
    model.load_state_dict({**own, **fitted})
    return whole_head


def put_whole(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Give a model the whole ``state_dict`` of one that is built alike.

    Raises:
        WeightsError: keys are missing, unexpected, or of another shape; says which.
    """
    _check_fit(model.state_dict(), state, where)
    model.load_state_dict(dict(state))


def adapted(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict under the model's names: through the filter that timm keeps beside its class, if there is one."""
    if not type(model).__module__.startswith("timm."):
        return state
    adapt = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if not callable(adapt):
        return state
    takes_model = len(inspect.signature(adapt).parameters) > 1
    return dict(adapt(state, model) if takes_model else adapt(state))


def _check_fit(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
    missing = [name for name in expected if name not in given and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in given if name not in expected]
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    parts = [
        f"{what}: {_some(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if parts:
        raise WeightsError(f"model.weights: {where} does not fit the model: {'; '.join(parts)}; check model.name")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
