"""Constraints: recipes that are not wanted, however good they may be; they are never started."""

from collections.abc import Sequence
from dataclasses import dataclass

from autoft.errors import ConfigError
from autoft.model import LoadedModel
from autoft.recipe import Recipe
from autoft.record import TrialRecord
from autoft.tuner.config import ConstraintsConfig
from autoft.tuner.pareto import trained_parameters


@dataclass(frozen=True)
class Constraints:
    """What the section ``search.constraints`` asks of a recipe for one model."""

    config: ConstraintsConfig
    loaded: LoadedModel

    def allow(self, recipe: Recipe) -> bool:
        """Whether the recipe may be tried."""
        most = self.config.max_parameters
        return most is None or trained_parameters(recipe, self.loaded) <= most

    def among(self, named: Sequence[tuple[str, Recipe]]) -> tuple[tuple[str, Recipe], ...]:
        """Those of the recipes that may be tried.

        Raises:
            ConfigError: none of them.
        """
        allowed = tuple((name, recipe) for name, recipe in named if self.allow(recipe))
        if not allowed:
            least = min(trained_parameters(recipe, self.loaded) for _, recipe in named)
            raise ConfigError(
                f"search.constraints.max_parameters: must be at least {least}, of the head alone, got "
                f"{self.config.max_parameters}"
            )
        return allowed

    def check_latency(self, milliseconds: float, image_size: int | None) -> None:
        """Refuse a model that takes longer for one item (of that side in pixels) than it may.

        Raises:
            ConfigError: it does.
        """
        most = self.config.max_latency_ms
        if most is not None and milliseconds > most:
            name = self.loaded.card.name + (f" at {image_size} px" if image_size else "")
            raise ConfigError(
                f"search.constraints.max_latency_ms: is {most:g}, but {name} takes {milliseconds:.3g} ms "
                "for one item on this machine, by any recipe; raise it, or choose a smaller model or data.image_size"
            )

    def check(self, records: Sequence[TrialRecord]) -> None:
        """Refuse a run whose trials were tried under milder constraints: one of them may be its winner.

        Raises:
            ConfigError: there is such a trial.
        """
        known = [(record.number, Recipe.parse(record.proposal.recipe, where="trial")) for record in records]
        if others := [number for number, recipe in known if not self.allow(recipe)]:
            raise ConfigError(
                f"search.constraints.max_parameters: is {self.config.max_parameters}, but trial {others[0]} of this "
                "run trains more; begin another run (output.name)"
            )
