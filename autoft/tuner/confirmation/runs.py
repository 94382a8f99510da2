"""A confirmation run: its number, and what it leaves in its folder, a score per held-out item. Workers import this."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoft.data import DataHandle
from autoft.data.outcomes import item_scores
from autoft.files import replacing, translated
from autoft.record import Objective
from autoft.training import StagedTrainer

FILE = "outcomes.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A run that came to its end."""

    items: NDArray[np.int64]
    """(n,) that were held out."""
    scores: NDArray[np.float64]
    """(n,) per item, higher is better (`autoft.data.outcomes.item_scores`)."""
    value: float
    """The metric."""


def ticket(number: int) -> int:
    """A confirmation run's number beside those of trials: -1, -2, ...; its own inverse."""
    return -1 - number


def keep_outcome(trainer: StagedTrainer, data: DataHandle, objective: Objective, folder: Path) -> None:
    """Score what was held out with the weights that the last stage ended with; nothing where the training diverged.

    As the length is that of the trial and no evaluation is chosen, nothing is fitted to these items.
    """
    path = folder / FILE
    if trainer.curve[-1].diverged or path.is_file():
        return
    items, metric = data.splits.val, objective.metric
    outputs = trainer.outputs(items)
    scores = item_scores(data.task, metric, outputs, data.targets[items])
    value = data.task.metrics(outputs, data.targets[items])[metric]
    with translated(path), replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, items=items, scores=scores, value=np.float64(value))


def read_outcome(folder: Path, objective: Objective) -> Outcome | None:
    """What a run came to; None where it left nothing, or nothing whole."""
    try:
        with (folder / FILE).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            outcome = Outcome(stored["items"], stored["scores"], float(stored["value"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    finite = bool(np.isfinite(outcome.scores).all()) and objective.score(outcome.value) > -np.inf
    return outcome if finite and len(outcome.items) else None
