"""Model families, and the rates to start from in each."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from autoft.recipe import Recipe, Stage
from autoft.record import Family, ModelCard


@dataclass(frozen=True, slots=True)
class FamilyDefaults:
    """Rates to start from (AdamW, batches of 32 to 256)."""

    lr: float
    """Of the top backbone group."""
    head_lr: float


FAMILY_DEFAULTS: Mapping[Family, FamilyDefaults] = {
    "cnn": FamilyDefaults(lr=3e-4, head_lr=3e-3),
    "vit": FamilyDefaults(lr=5e-5, head_lr=3e-3),
    "convnext": FamilyDefaults(lr=1e-4, head_lr=3e-3),
    "swin": FamilyDefaults(lr=5e-5, head_lr=3e-3),
    "other": FamilyDefaults(lr=1e-4, head_lr=3e-3),
}

_BY_CLASS: tuple[tuple[str, Family], ...] = (
    ("ConvNeXt", "convnext"),
    ("Swin", "swin"),
    ("VisionTransformer", "vit"),
    ("Eva", "vit"),
    ("Beit", "vit"),
    ("ViT", "vit"),
)


def family_of(module: nn.Module) -> Family:
    """The family of a model: by its class, else a convolutional network if it mostly convolves and attends nowhere."""
    name = type(module).__name__
    for word, family in _BY_CLASS:
        if name.startswith(word):
            return family
    parts = list(module.modules())
    attends = any(isinstance(part, nn.MultiheadAttention) or hasattr(part, "num_heads") for part in parts)
    convolutions = sum(isinstance(part, nn.modules.conv._ConvNd) for part in parts)
    linears = sum(isinstance(part, nn.Linear) for part in parts)
    return "cnn" if convolutions >= max(1, linears) and not attends else "other"


def complete(recipe: Recipe, card: ModelCard) -> Recipe:
    """The recipe with what it leaves open filled in: the model's image size and its family's rates.

    A stage that trains the head only gets no backbone rate, one that solves for the head none at all.
    """
    defaults = FAMILY_DEFAULTS[card.family]
    data = recipe.data.model_copy(update={"image_size": recipe.data.image_size or card.image_size or None})
    stages = tuple(_complete_stage(stage, defaults) for stage in recipe.stages)
    return recipe.model_copy(update={"data": data, "stages": stages})


def _complete_stage(stage: Stage, defaults: FamilyDefaults) -> Stage:
    if stage.fit == "solve":
        return stage
    update = {"head_lr": stage.head_lr or defaults.head_lr}
    if not stage.head_only:
        update["lr"] = stage.lr or defaults.lr
    return stage.model_copy(update=update)
