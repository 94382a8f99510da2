"""When to stop a trial: rules over curves, and what composes them."""

from autoft.pruning.combine import after, any_of, patient, with_consent
from autoft.pruning.config import PruneConfig, build_rules
from autoft.pruning.rules import Diverged, Dominated, Nothing, Overfit, Plateau, Rule

__all__ = [
    "Diverged",
    "Dominated",
    "Nothing",
    "Overfit",
    "Plateau",
    "PruneConfig",
    "Rule",
    "after",
    "any_of",
    "build_rules",
    "patient",
    "with_consent",
]
