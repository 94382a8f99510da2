"""The ``confirm`` section of search.yaml."""

from typing import Annotated, Any

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from autoft.errors import ConfigError
from autoft.recipe import Config


class ConfirmConfig(Config):
    """How the best few are compared before one is called the winner; ``confirm: off`` takes the best by validation."""

    top: NonNegativeInt = 3
    """Recipes beside the baselines; 0 turns confirmation off."""
    seeds: PositiveInt = 2
    """Runs of each, every one with a fresh seed and, where items are few, on another held-out fold."""
    max_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.25
    """Of the time that is left of a budget when trials begin, kept free for it; without one, of all computing."""

    refit: bool = False
    """Train the winner on train and validation together at the end; the model file is then that one."""

    @model_validator(mode="before")
    @classmethod
    def _a_word_is_for_all_of_it(cls, value: Any) -> Any:
        if isinstance(value, bool):
            value = "on" if value else "off"
        if value == "on":
            return {}
        if value == "off":
            return {"top": 0}
        if isinstance(value, str):
            raise ConfigError("must be on, off or a mapping of settings")
        return value
