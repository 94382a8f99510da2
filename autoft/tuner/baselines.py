"""The baselines: what every search tries first."""

from autoft.recipe import Recipe
from autoft.record import ModelCard


def baselines(base: Recipe, card: ModelCard) -> tuple[tuple[str, Recipe], ...]:
    """``head_only``, ``standard`` and ``full``, cheapest first."""
    raise NotImplementedError
