"""The constant answer: what the same answer for every item reaches, beside which every other number is read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoft.data import DataHandle
from autoft.record import Objective
from autoft.statistics import wilson_interval


def constant(data: DataHandle, objective: Objective) -> dict[str, Any]:
    """The best constant answer of the training split, and what it reaches: summary.json's ``constant``."""
    outputs = data.task.constant_outputs(data.targets[data.splits.train], objective.metric)

    def metrics(items: NDArray[np.int64]) -> dict[str, float]:
        return data.task.metrics(outputs.expand(len(items), -1), data.targets[items])

    test = data.splits.test
    answer = data.task.predict(outputs[None])[0]
    match data.task.kind:
        case "single_label":
            told = repr(data.task.classes[int(answer.argmax())])
        case "multi_label":
            told = "each label's share of the items"
        case "regression":
            told = f"{float(answer):.4g}"
    return {
        "answer": told,
        "value": metrics(data.splits.val)[objective.metric],
        "test": metrics(test) if len(test) else None,
    }


def constant_notes(
    plain: Mapping[str, Any],
    data: DataHandle,
    objective: Objective,
    *,
    reached: tuple[float, Mapping[str, float] | None],
    interval: Sequence[float] | None = None,
) -> list[str]:
    """A sentence where nothing shows that the model has learned more than the constant answer.

    Args:
        plain: what `constant` gave.
        data: that the model was trained on.
        objective: what decided.
        reached: the model's value on the validation split, and its metrics on the test split, which count where there
            are any, since they chose nothing.
        interval: of its value, from confirmation.
    """
    metric, sign = objective.metric, 1 if objective.mode == "max" else -1
    split, value, base = "validation", reached[0], plain["value"]
    if interval and sign * interval[0 if sign > 0 else 1] > sign * base:
        return []
    if reached[1] and plain["test"]:
        split, value, base = "test", reached[1][metric], plain["test"][metric]
    if not math.isfinite(value) or not math.isfinite(base):
        return []
    items = data.splits.test if split == "test" else data.splits.val
    told = f"{metric} {value:.4g} on the {split} split, always answering {plain['answer']} has {base:.4g}"
    if sign * value <= sign * base:
        why = "the items may not show what the labels say, or too few of them do"
        if len(np.unique(data.targets[items], axis=0)) == 1:
            why = f"all items of {split} are alike, so that it cannot tell"
        return [f"nothing shows that the model has learned from the data: {told}; {why}"]
    count = len(items)
    if metric == "accuracy" and data.groups is None and base in wilson_interval(round(value * count), count):
        return [f"{told}: {count} items are too few to tell them apart"]
    return []
