"""Bare timm models: the name looked up, the structure built, nothing loaded yet."""

import inspect
from typing import Any

import timm
from timm.models import get_pretrained_cfg, is_model, list_models, list_pretrained
from torch import nn

from autoft.errors import ModelError, UnknownNameError, near
from autoft.recipe import ModelConfig


def pretrained_cfg(name: str) -> Any:
    """The configuration that timm keeps of a model's weights.

    Raises:
        UnknownNameError: timm has no such model, or no such tag of it.
    """
    if ":" in name or "/" in name:
        raise UnknownNameError(
            f"model.name: {name!r} must be the name of a timm model; for weights of your own give model.weights a path"
        )
    architecture, _, tag = name.partition(".")
    if not is_model(architecture):
        own = "; to use a module of your own, pass the module itself" if tag else ""
        raise UnknownNameError(
            f"model.name: timm has no model {architecture!r}{near(architecture, list_models())}{own}"
        )
    tags = [entry.partition(".")[2] for entry in list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        known = f"; it has: {', '.join(tags)}" if tags else "; it has none"
        raise UnknownNameError(f"model.name: {architecture} has no weights tagged {tag!r}{near(tag, tags)}{known}")
    return get_pretrained_cfg(name)


def build(config: ModelConfig, *, image_size: int | None, num_outputs: int | None = None) -> nn.Module:
    """A timm model for images of this side, initialised from torch's global generator.

    Raises:
        UnknownNameError: as `pretrained_cfg`.
        ModelError: the image size or a drop rate does not suit the model.
    """
    cfg = pretrained_cfg(config.name)
    options: dict[str, Any] = {"drop_rate": config.drop_rate, **size_arguments(cfg, image_size)}
    if config.drop_path_rate:
        options["drop_path_rate"] = config.drop_path_rate
    try:
        model = timm.create_model(config.name, pretrained=False, num_classes=num_outputs, **options)
    except (TypeError, AssertionError, ValueError, RuntimeError) as error:
        raise ModelError(_refusal(config, image_size, error)) from error
    if not isinstance(model, nn.Module):  # pragma: no cover - timm's factory is untyped
        raise ModelError(f"{config.name}: timm built no module")
    if config.drop_path_rate and not _drops_paths(model):
        raise ModelError(
            f"model.drop_path_rate: {config.name} has no drop path, got {config.drop_path_rate}; set it to 0"
        )
    return model


def size_arguments(cfg: Any, image_size: int | None) -> dict[str, Any]:
    """What timm must be told to build a model for images of this side: nothing where it takes any."""
    return {"img_size": image_size} if image_size is not None and cfg is not None and cfg.fixed_input_size else {}


def supports_drop_path(model: nn.Module) -> bool:
    """Whether the model's class takes a drop path rate."""
    return "drop_path_rate" in inspect.signature(type(model).__init__).parameters


def _drops_paths(model: nn.Module) -> bool:
    return any(getattr(part, "drop_prob", 0.0) or getattr(part, "drop_path_rate", 0.0) for part in model.modules())


def _refusal(config: ModelConfig, image_size: int | None, error: Exception) -> str:
    text = " ".join(str(error).split())
    for setting in ("drop_path_rate", "drop_rate"):
        if f"'{setting}'" in text:
            return f"model.{setting}: {config.name} has no such setting, got {getattr(config, setting)}; set it to 0"
    size = f" for images of {image_size} px" if image_size else ""
    return f"{config.name} cannot be built{size}: {text}; choose another data.image_size or model.name"
