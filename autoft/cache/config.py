"""The ``reuse`` section of search.yaml."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import PositiveInt, model_validator

from autoft.recipe import Config


class ReuseConfig(Config):
    """What is computed once and used again. Changes no result on the CPU; ``reuse: off`` turns all of it off."""

    activations: Literal["auto", "on", "off"] = "auto"
    """Of frozen prefixes: kept where that pays, wherever they fit, or never."""
    stages: Literal["on", "off"] = "on"
    """Whether a stage that several trials begin with is run once, together with head stages that are likely to be
    asked for."""
    max_bytes: PositiveInt | None = None
    """Budget for activations on disk; default: half of the free space. Beyond it they are computed each time."""

    @model_validator(mode="before")
    @classmethod
    def _a_word_is_for_all_of_it(cls, value: Any) -> Any:
        if isinstance(value, bool):
            value = "on" if value else "off"
        if value in ("on", "auto"):  # reuse: on is what there is without the section
            return {}
        return value if isinstance(value, Mapping) or value != "off" else {"activations": "off", "stages": "off"}
