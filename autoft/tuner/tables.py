"""The tables and figures of a run, made from records alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from autoft.record import Evaluation, Objective, TrialRecord, best_first
from autoft.tuner.forecast import Forecast
from autoft.tuner.predict import predicted_in_all, predicted_s, surprise_at

TRIAL_COLUMNS = (
    "trial",
    "state",
    "reason",
    "reason_text",
    "value",
    "stage",
    "epochs",
    "compute_s",
    "saved_s",
    "reused",
    "predicted_s",
    "workers",
)
HISTORY_COLUMNS = ("wall_s", "trial", "stage", "epoch", "value", "best_value", "train_loss", "val_loss")


def trials_table(records: Sequence[TrialRecord], objective: Objective) -> pd.DataFrame:
    """One row per trial: `TRIAL_COLUMNS`, then a ``params.NAME`` column per dimension.

    ``value`` is the best evaluation's, ``stage`` the last one reached, ``epochs`` all that were trained; ``saved_s``
    are predicted seconds of computing that were not spent, since activations were read after the groups ``reused``;
    ``predicted_s`` are seconds predicted for the epochs that were trained; ``workers`` are the processes that trained
    it together.
    """
    names = list(dict.fromkeys(name for record in records for name in record.proposal.params))
    rows = [
        {**_trial_row(record, objective), **{f"params.{name}": record.proposal.params.get(name) for name in names}}
        for record in records
    ]
    return pd.DataFrame(rows, columns=[*TRIAL_COLUMNS, *(f"params.{name}" for name in names)])


def history_table(records: Sequence[TrialRecord], objective: Objective) -> pd.DataFrame:
    """One row per evaluation in the order of time: the value, the best one of the search so far, and the losses."""
    evaluations = sorted(
        ((evaluation, record.number) for record in records for evaluation in record.curve),
        key=lambda pair: (pair[0].wall_s, pair[1], pair[0].index),
    )
    rows: list[dict[str, Any]] = []
    best: float | None = None
    for evaluation, number in evaluations:
        if evaluation.value == evaluation.value and (best is None or objective.better(evaluation.value, best)):
            best = evaluation.value
        rows.append(_history_row(evaluation, number, best))
    return pd.DataFrame(rows, columns=list(HISTORY_COLUMNS))


def winner_of(records: Sequence[TrialRecord], objective: Objective) -> TrialRecord | None:
    """The trial with the best evaluation. Crashed trials cannot win."""
    return next(iter(best_first(records, objective)), None)


def chosen(
    records: Sequence[TrialRecord], objective: Objective, confirmation: Mapping[str, Any] | None
) -> TrialRecord | None:
    """The winner that confirmation names, else that of validation."""
    number = confirmation["winner"] if confirmation else None
    return winner_of(records, objective) if number is None else records[number]


def summarise(  # noqa: PLR0913 - all that a summary tells
    records: Sequence[TrialRecord],
    objective: Objective,
    *,
    winner: TrialRecord,
    test: Mapping[int, Mapping[str, float]],
    wall_s: float,
    notes: Sequence[str],
    forecast: Forecast | None = None,
    confirmation: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of summary.json.

    Args:
        records: all trials.
        objective: what decided.
        winner: whose recipe is delivered.
        test: metrics on the test split per trial number; empty without a test split.
        wall_s: seconds from the start of the search to the written recipe.
        notes: sentences that belong to the result.
        forecast: what was planned.
        confirmation: what it said; None where there was none.
    """
    predicted = predicted_in_all(records, forecast.building_s if forecast else 0.0)
    compute_s = sum(record.compute_s for record in records)
    surprise = surprise_at(compute_s, predicted)
    best = winner.best(objective)
    return {
        "metric": objective.metric,
        "mode": objective.mode,
        "best_value": best.value if best else None,
        "winner": winner.number,
        "test": dict(test[winner.number]) if winner.number in test else None,
        "baselines": {
            record.baseline: _baseline(record, objective, test) for record in records if record.baseline is not None
        },
        "confirmation": dict(confirmation) if confirmation else None,
        "portfolio": {
            name: _baseline(record, objective, test)
            for record in records
            if (name := record.proposal.origin.removeprefix("portfolio:")) != record.proposal.origin
        },
        "trials": dict(Counter(str(record.state) for record in records)),
        "reasons": dict(Counter(record.reason for record in records if record.reason)),
        "wall_s": round(wall_s, 3),
        "compute_s": round(compute_s, 3),
        "predicted_s": None if predicted is None else round(predicted, 3),
        "saved_s": round(sum(record.saved_s for record in records), 3),
        "plan": forecast.plain() if forecast else None,
        "notes": [*notes, *surprise],
    }


def _baseline(record: TrialRecord, objective: Objective, test: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    best = record.best(objective)
    return {
        "trial": record.number,
        "value": best.value if best else None,
        "test": dict(test[record.number]) if record.number in test else None,
    }


def _trial_row(record: TrialRecord, objective: Objective) -> dict[str, Any]:
    best = record.best(objective)
    predicted = predicted_s(record)
    last_of_stage = {evaluation.stage: evaluation.epoch for evaluation in record.curve}
    return {
        "trial": record.number,
        "state": str(record.state),
        "reason": record.reason,
        "reason_text": record.reason_text,
        "value": best.value if best else None,
        "stage": record.curve[-1].stage if record.curve else None,
        "epochs": round(sum(last_of_stage.values()), 4),
        "compute_s": round(record.compute_s, 3),
        "saved_s": round(record.saved_s, 3),
        "reused": " ".join(record.reused),
        "predicted_s": None if predicted is None else round(predicted, 3),
        "workers": record.workers,
    }


def _history_row(evaluation: Evaluation, number: int, best: float | None) -> dict[str, Any]:
    return {
        "wall_s": evaluation.wall_s,
        "trial": number,
        "stage": evaluation.stage,
        "epoch": evaluation.epoch,
        "value": evaluation.value,
        "best_value": best,
        "train_loss": evaluation.train_loss,
        "val_loss": evaluation.val_loss,
    }
