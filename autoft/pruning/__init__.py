"""When to stop a trial: rules over curves, and what composes them."""

from autoft.pruning.combine import after, any_of, patient, with_consent
from autoft.pruning.config import PruneConfig, build_rules
from autoft.pruning.peers import CurveTable, Peers, best_score, ordinal, peer_scores, rank, shown
from autoft.pruning.rules import Diverged, Dominated, Nothing, Overfit, Plateau, Rule

__all__ = [
    "CurveTable",
    "Diverged",
    "Dominated",
    "Nothing",
    "Overfit",
    "Peers",
    "Plateau",
    "PruneConfig",
    "Rule",
    "after",
    "any_of",
    "best_score",
    "build_rules",
    "ordinal",
    "patient",
    "peer_scores",
    "rank",
    "shown",
    "with_consent",
]
