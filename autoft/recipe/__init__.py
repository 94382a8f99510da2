"""What to do: recipes, their stages, and the one way to read, write and change them."""

from autoft.recipe.config import Config
from autoft.recipe.overrides import apply_overrides, look_up, parse_assignment
from autoft.recipe.schema import (
    DataConfig,
    MemoryFormat,
    ModelConfig,
    Optimisation,
    Provenance,
    Recipe,
    Stage,
    fingerprint,
)
from autoft.recipe.unfreeze import CostFraction, Everything, LastLayers, Names, TopGroups, Unfreeze, parse_unfreeze

__all__ = [
    "Config",
    "CostFraction",
    "DataConfig",
    "Everything",
    "LastLayers",
    "MemoryFormat",
    "ModelConfig",
    "Names",
    "Optimisation",
    "Provenance",
    "Recipe",
    "Stage",
    "TopGroups",
    "Unfreeze",
    "apply_overrides",
    "fingerprint",
    "look_up",
    "parse_assignment",
    "parse_unfreeze",
]
