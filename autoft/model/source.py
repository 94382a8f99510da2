"""Getting a model with its weights: from timm, or the caller's own module."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from autoft.errors import ModelError, WeightsError
from autoft.model import hub
from autoft.model.build import build, pretrained_cfg
from autoft.model.cards import IMAGENET_MEAN, IMAGENET_STD, Origin
from autoft.model.head import drawn_from, head_names
from autoft.model.inputs import ModelInput
from autoft.model.packages import WeightsPackage, package_for, package_named
from autoft.model.weights import SUFFIXES, load_state, read_state
from autoft.recipe import ModelConfig


def timm_model(config: ModelConfig, *, seed: int, image_size: int | None) -> tuple[nn.Module, Origin]:
    """A timm model with the weights asked for; random ones are drawn from (seed, "weights").

    Raises:
        UnknownNameError: no such model.
        WeightsError: the weights cannot be had, or do not fit.
        ModelError: the image size or a drop rate does not suit the model.
    """
    cfg = pretrained_cfg(config.name)
    if config.weights not in {"pretrained", "hub", "random"} and not config.weights.startswith("package:"):
        _check_path(config.weights)
    with drawn_from(seed, "weights"):
        model = build(config, image_size=image_size)
        origin = _load(model, config, cfg, image_size)
    return model, origin


def _load(model: nn.Module, config: ModelConfig, cfg: Any, image_size: int | None) -> Origin:
    kind, _, name = config.weights.partition(":")
    match kind:
        case "random":
            return Origin.of_cfg(cfg, "random")
        case "package":
            return _from_package(model, package_named(name, config.name))
        case "pretrained" if (package := package_for(config.name)) is not None and package.installed:
            return _from_package(model, package)
        case "pretrained" | "hub":
            return _from_hub(model, config, cfg, image_size)
        case _:
            return _from_file(model, Path(config.weights), Origin.of_cfg(cfg, config.weights))


def _check_path(weights: str) -> None:
    if Path(weights).suffix not in SUFFIXES:
        raise WeightsError(
            f"model.weights: must be pretrained, hub, random, package:NAME or the path of a "
            f"{' / '.join(SUFFIXES)} file, got {weights!r}"
        )


def _from_package(model: nn.Module, package: WeightsPackage) -> Origin:
    state = package.renamed(read_state(package.path()), model)
    where = f"the package {package.distribution}"
    loaded = load_state(model, state, head_names(model), where=where)
    name = f"package:{package.distribution}"
    return Origin(name, package.image_size, package.mean, package.std, (f"weights: {where}",), loaded)


def _from_file(model: nn.Module, path: Path, origin: Origin) -> Origin:
    loaded = load_state(model, read_state(path), head_names(model), where=str(path))
    return replace(origin, head_loaded=loaded)


def _from_hub(model: nn.Module, config: ModelConfig, cfg: Any, image_size: int | None) -> Origin:
    origin = Origin.of_cfg(cfg, "hub")
    if cfg is not None and not cfg.custom_load and (path := hub.cached_file(cfg)) is not None:
        note = f"weights: {config.name} from the hub's cache on this machine ({path}); the hub was not asked"
        return replace(_from_file(model, path, origin), notes=(note,))
    hub.require_network(cfg, config.name)
    try:
        options: dict[str, Any] = {"img_size": image_size} if image_size is not None and cfg.fixed_input_size else {}
        fetched = timm.create_model(config.name, pretrained=True, **options)
    except (OSError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise WeightsError(f"model.weights: {config.name} could not be fetched from the hub: {text}") from error
    model.load_state_dict(fetched.state_dict())
    return replace(origin, head_loaded=True, notes=(f"weights: {config.name} from the hub",))


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
    model.requires_grad_(requires_grad=True)
    origin = _own_origin(model, x)
    match config.weights:
        case "pretrained":
            return model, replace(origin, head_loaded=True)
        case "hub" | "random":
            pass
        case path if Path(path).suffix in SUFFIXES:
            return model, _from_file(model, Path(path), replace(origin, weights=path))
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
