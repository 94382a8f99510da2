"""The ``prune`` section of ``search.yaml``, and the one place where it becomes a rule."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt, model_validator

from autoft.pruning.combine import after, any_of, with_consent
from autoft.pruning.rules import Diverged, Dominated, Overfit, Plateau, Rule
from autoft.recipe import Config

_RULES = ("diverged", "overfit", "dominated", "plateau")


class PruneConfig(Config):
    """Which rules prune, and how patient they are; ``off`` alone switches all of them off.

    The defaults are what `autoft.pruning.replay.mildest` chooses: on eight recorded tasks of 1,000 curves they stop
    none of the best 1% and save two thirds of the compute, at least half on each.
    """

    diverged: bool = True
    """Off: only what the trainer cannot go on from stops a trial as diverged."""
    overfit: bool = True
    dominated: bool = True
    plateau: bool = True
    patience: PositiveInt = 5
    """Evaluations that overfit, dominated and plateau look back on."""
    min_peers: PositiveInt = 5
    """Trials that must have come to the same evaluation before a trial is compared with them."""
    top_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    """Share of the best trials that overfit and plateau do not stop."""

    @model_validator(mode="before")
    @classmethod
    def _one_switch_for_all(cls, value: Any) -> Any:
        if value in ("off", False):
            return dict.fromkeys(_RULES, False)
        return {} if value in ("on", True) else value


def build_rules(config: PruneConfig, *, grace_period: int = 1, last_stage: bool = True) -> Rule:
    """The rule that the section asks for.

    Args:
        config: the section.
        grace_period: evaluations of a trial before it is compared with its peers.
        last_stage: whether the trial is in the last stage of its recipe. Before it overfit and plateau are silent:
            what the next stage unfreezes may bring, the curve so far cannot tell.
    """
    rules: list[Rule] = [Diverged(non_finite=config.diverged)]
    if config.dominated:
        rules.append(after(grace_period, Dominated(config.min_peers, config.patience)))
    for wanted, rule in ((config.overfit, Overfit(config.patience)), (config.plateau, Plateau(config.patience))):
        if wanted and last_stage:
            rules.append(with_consent(rule, min_peers=config.min_peers, top_fraction=config.top_fraction))
    return any_of(*rules)
