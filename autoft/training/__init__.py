"""Training: recipes run stage by stage, checkpointed at any step, with the freezing laws proved on the way."""

from autoft.model import MICRO_BATCH
from autoft.training.checkpoint import best_weights
from autoft.training.checks import check_norms
from autoft.training.evaluate import evaluate, predict
from autoft.training.fit import Fit, fit, go_on, run, thread_count
from autoft.training.forgetting import Forgetting, ForgettingMeter
from autoft.training.forward import Forward
from autoft.training.gains import Improved, Ingredient, Judge, improve
from autoft.training.lengths import as_run, fixed_length
from autoft.training.needs import needs_of
from autoft.training.ranks import ALONE, Ranks, is_lost_connection, join, leave
from autoft.training.result import TrialResult
from autoft.training.scoring import Scorer
from autoft.training.trainer import StagedTrainer
from autoft.training.tree import StageKeys, StageTree
from autoft.training.weights import full_state, load_weights, read_model, save_model

__all__ = [
    "ALONE",
    "MICRO_BATCH",
    "Fit",
    "Forgetting",
    "ForgettingMeter",
    "Forward",
    "Improved",
    "Ingredient",
    "Judge",
    "Ranks",
    "Scorer",
    "StageKeys",
    "StageTree",
    "StagedTrainer",
    "TrialResult",
    "as_run",
    "best_weights",
    "check_norms",
    "evaluate",
    "fit",
    "fixed_length",
    "full_state",
    "go_on",
    "improve",
    "is_lost_connection",
    "join",
    "leave",
    "load_weights",
    "needs_of",
    "predict",
    "read_model",
    "run",
    "save_model",
    "thread_count",
]
