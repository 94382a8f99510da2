"""Getting a model with its weights: from timm, or the caller's own module."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from autoft.errors import ModelError, WeightsError
from autoft.model import hub
from autoft.model.build import build, pretrained_cfg, size_arguments
from autoft.model.cards import IMAGENET_MEAN, IMAGENET_STD, Origin
from autoft.model.head import drawn_from, head_names
from autoft.model.inputs import ModelInput
from autoft.model.packages import WeightsPackage, package_for, package_named
from autoft.model.weights import SUFFIXES, load_state, read_state
from autoft.recipe import ModelConfig


@dataclass(frozen=True, slots=True)
class _Found:
    """Weights that are known to be there; they are loaded once the model is built."""

    origin: Origin
    where: str = ""
    state: Mapping[str, Tensor] | None = None
    """None: nothing is loaded, or it comes from the hub."""
    package: WeightsPackage | None = None
    download: bool = False


def timm_model(config: ModelConfig, *, num_outputs: int, seed: int, image_size: int | None) -> tuple[nn.Module, Origin]:
    """A timm model with the weights asked for, the head's if they have ``num_outputs``.

    Random weights are drawn from (seed, "weights").

    Raises:
        UnknownNameError: no such model.
        WeightsError: the weights cannot be had, or do not fit.
        ModelError: the image size or a drop rate does not suit the model.
    """
    cfg = pretrained_cfg(config.name)
    found = _find(config, cfg)
    with drawn_from(seed, "weights"):
        model = build(config, image_size=image_size, num_outputs=num_outputs)
        state = _read(found, config, cfg, model, image_size)
    if state is None:
        return model, found.origin
    loaded = load_state(model, state, head_names(model), where=found.where)
    return model, replace(found.origin, head_loaded=loaded)


def timm_state(config: ModelConfig, model: nn.Module, *, image_size: int | None) -> Mapping[str, Tensor] | None:
    """The tensors of a timm model's weights, head included, by the names in the file; None for random weights.

    Raises:
        WeightsError: the weights cannot be had.
    """
    cfg = pretrained_cfg(config.name)
    return _read(_find(config, cfg), config, cfg, model, image_size)


def _read(
    found: _Found, config: ModelConfig, cfg: Any, model: nn.Module, image_size: int | None
) -> Mapping[str, Tensor] | None:
    state = _download(config, cfg, image_size) if found.download else found.state
    return state if state is None or found.package is None else found.package.renamed(state, model)


def _find(config: ModelConfig, cfg: Any) -> _Found:
    kind, _, name = config.weights.partition(":")
    match kind:
        case "random":
            return _Found(Origin.of_cfg(cfg, "random"))
        case "package":
            return _in_package(package_named(name, config.name))
        case "pretrained" if (package := package_for(config.name)) is not None and package.installed:
            return _in_package(package)
        case "pretrained" | "hub":
            return _on_hub(config, cfg)
        case _:
            path = _checked_path(config.weights)
            return _Found(Origin.of_cfg(cfg, config.weights), str(path), read_state(path))


def _checked_path(weights: str) -> Path:
    if Path(weights).suffix not in SUFFIXES:
        raise WeightsError(
            f"model.weights: must be pretrained, hub, random, package:NAME or the path of a "
            f"{' / '.join(SUFFIXES)} file, got {weights!r}"
        )
    return Path(weights)


def _in_package(package: WeightsPackage) -> _Found:
    where = f"the package {package.distribution}"
    name = f"package:{package.distribution}"
    origin = Origin(name, package.image_size, package.mean, package.std, (f"weights: {where}",))
    return _Found(origin, where, read_state(package.path()), package)


def _on_hub(config: ModelConfig, cfg: Any) -> _Found:
    origin = Origin.of_cfg(cfg, "hub")
    if cfg is not None and not cfg.custom_load and (path := hub.cached_file(cfg)) is not None:
        note = f"weights: {config.name} from the hub's cache on this machine ({path}); the hub was not asked"
        return _Found(replace(origin, notes=(note,)), str(path), read_state(path))
    hub.require_network(cfg, config.name)
    note = f"weights: {config.name} from the hub"
    return _Found(replace(origin, notes=(note,)), f"hub:{config.name}", download=True)


def _download(config: ModelConfig, cfg: Any, image_size: int | None) -> dict[str, Tensor]:
    try:
        fetched = timm.create_model(config.name, pretrained=True, **size_arguments(cfg, image_size))
    except (OSError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise WeightsError(f"model.weights: {config.name} could not be fetched from the hub: {text}") from error
    return dict(fetched.state_dict())


def own_model(config: ModelConfig, module: nn.Module, x: ModelInput | None) -> tuple[nn.Module, Origin]:
    """A copy of the caller's module, with weights from a file if one is named.

    Raises:
        WeightsError: the weights do not fit, or are of a kind that only timm's models have.
        ModelError: the module cannot be copied, or a drop path rate is asked for.
    """
    if config.drop_path_rate:
        raise ModelError(
            f"model.drop_path_rate: cannot be set on a module of your own, got {config.drop_path_rate}; set it to 0"
        )
    try:
        model = copy.deepcopy(module)
    except (TypeError, RuntimeError) as error:
        raise ModelError(f"{config.name}: the module cannot be copied: {error}; make it copy.deepcopy-able") from error
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ModelError(f"{config.name}: has lazy layers without parameters yet; call it once on a batch of your data")
    model.requires_grad_(requires_grad=True)
    origin = _own_origin(model, x)
    match config.weights:
        case "pretrained":
            return model, replace(origin, head_loaded=True)
        case "hub" | "random":
            pass
        case path if Path(path).suffix in SUFFIXES:
            loaded = load_state(model, read_state(Path(path)), head_names(model), where=path)
            return model, replace(origin, weights=path, head_loaded=loaded)
    raise WeightsError(
        f"model.weights: a module of your own comes with its weights, got {config.weights!r}; "
        "leave it at pretrained, or give the path of a weights file"
    )


def _own_origin(model: nn.Module, x: ModelInput | None) -> Origin:
    cfg = getattr(model, "pretrained_cfg", None)
    cfg = cfg if isinstance(cfg, dict) else {}
    image = isinstance(x, Tensor) and x.dim() == 4 and x.shape[1] == 3 and x.shape[-1] >= 8
    size = int(x.shape[-1]) if image and isinstance(x, Tensor) else 0
    mean, std = cfg.get("mean", IMAGENET_MEAN), cfg.get("std", IMAGENET_STD)
    return Origin("the module's own", size, tuple(mean), tuple(std))
