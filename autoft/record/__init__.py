"""What happened: evaluations, curves, decisions, trials, and the cards of model and input."""

from autoft.record.card import Family, FieldSpec, GroupCard, InputSpec, ModelCard
from autoft.record.decision import CONTINUE, Action, Decision, pause, stop
from autoft.record.evaluation import Curve, Evaluation, Mode, Objective, best_evaluation
from autoft.record.trial import Proposal, TrialRecord, TrialState, best_first

__all__ = [
    "CONTINUE",
    "Action",
    "Curve",
    "Decision",
    "Evaluation",
    "Family",
    "FieldSpec",
    "GroupCard",
    "InputSpec",
    "Mode",
    "ModelCard",
    "Objective",
    "Proposal",
    "TrialRecord",
    "TrialState",
    "best_evaluation",
    "best_first",
    "pause",
    "stop",
]
