"""Search spaces in Ray Tune's words: its domains become Optuna's distributions."""

from collections.abc import Mapping
from typing import Any

from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain, LogUniform, Quantized

from autoft.errors import ConfigError

_KNOWN = "uniform, quniform, loguniform, randint, qrandint, lograndint or choice"


def with_distributions(space: Mapping[str, Any]) -> dict[str, Any]:
    """The same space with an Optuna distribution, as Ray Tune's own OptunaSearch has it, for each domain.

    Args:
        space: dotted recipe paths to ``tune.loguniform(1e-5, 1e-2)`` and the like; anything else stays.

    Raises:
        ConfigError: one line per domain that no distribution stands for.
    """
    found, errors = dict(space), []
    for path, given in space.items():
        if isinstance(given, Domain):
            if _has_logarithmic_steps(given):
                errors.append(f"space.{path}: steps on a logarithmic scale cannot be drawn; give tune.{_KNOWN}")
                continue
            try:
                found |= OptunaSearch.convert_search_space({path: given})
            except ValueError as error:
                errors.append(f"space.{path}: {error}; give tune.{_KNOWN}")
    if errors:
        raise ConfigError("\n".join(errors))
    return found


def _has_logarithmic_steps(domain: Any) -> bool:
    """Ray's OptunaSearch would leave the steps out."""
    sampler = domain.get_sampler()
    return isinstance(sampler, Quantized) and isinstance(sampler.sampler, LogUniform)
