"""What is good to have at the end of a search, when there is a winner: done as far as the time budget goes."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from autoft.cache import Reuse
from autoft.errors import ModelError, WeightsError
from autoft.model import MICRO_BATCH, original_head
from autoft.training import ForgettingMeter, Scorer, evaluate
from autoft.training.forgetting import MOST_ITEMS
from autoft.training.gains import Weights
from autoft.tuner.config import FORGETTING, SearchConfig
from autoft.tuner.prepare import Ground
from autoft.tuner.reserve import micro_batches
from autoft.tuner.retention import Retention

WRITING_S = 1.0
"""From the end of all that is measured to the written result."""
Read: TypeAlias = Callable[[], Weights | None]
"""Gives what differs from the base; None where it is gone."""
OUT_OF_TIME = "the time budget ended first; give a larger --time-budget"


@dataclass(frozen=True)
class Closing:
    """What is wanted at the end, and until when."""

    gains: bool = True
    forgetting: bool = True
    refit: bool = False
    all_kept: bool = False
    """Whether forgetting is measured for all trials whose weights are kept."""
    retention: Retention | None = None
    """What the winner must retain; None where it need not."""
    reuse: Reuse | None = None
    """Where a refit finds activations."""
    until: float | None = None
    """Seconds since the epoch at which the result is to be written; None: there is no hurry."""
    now: Callable[[], float] = time.time

    @classmethod
    def of(
        cls,
        config: SearchConfig,
        started_at: float,
        reuse: Reuse | None = None,
        retention: Retention | None = None,
    ) -> "Closing":
        """As the configuration has it."""
        budget = config.search.time_budget_s
        until = None if budget is None else started_at + budget - WRITING_S
        search = config.search
        return cls(
            search.gains == "on",
            search.forgetting == "on",
            config.confirm.refit,
            FORGETTING in (search.objectives or ()),
            retention,
            reuse,
            until,
        )


@dataclass(frozen=True)
class Allowance:
    """Passes over items that there is time for.

    Args:
        closing: until when.
        pass_s: measured seconds of one micro-batch.
    """

    closing: Closing
    pass_s: float

    @classmethod
    def of(cls, closing: Closing, ground: Ground) -> "Allowance":
        """Measured now, where there is a budget at all."""
        return cls(closing, 0.0 if closing.until is None else seconds_of_a_pass(ground))

    def affords(self, *passes: int, seconds: float = 0.0) -> bool:
        """Whether there is time to run the model on so many items, for each of the passes, and for so many seconds."""
        if self.closing.until is None:
            return True
        return self.closing.now() + seconds + micro_batches(*passes) * self.pass_s <= self.closing.until


def forgetting_of(
    scorer: Scorer, finalists: Mapping[str, Read], allowance: Allowance
) -> tuple[dict[str, Any], list[str]]:
    """What the finalists have kept of the pretrained model, as plain data by trial, and sentences on what is missing.

    Args:
        scorer: of model and data.
        finalists: by trial number how to read its weights, the most important first.
        allowance: the time there is.
    """
    notes: list[str] = []
    found: dict[str, Any] = {}
    try:
        head = original_head(scorer.loaded)
    except WeightsError as error:
        head = None
        notes.append(f"forgetting: measured by features alone, the original classifier is gone: {error}")
    items = min(MOST_ITEMS, len(scorer.data.splits.val))
    try:
        meter = ForgettingMeter(scorer, head=head)
        for number, read in finalists.items():
            if (weights := read()) is None:
                continue
            if not allowance.affords(*([items] if found else [items, items])):
                notes.append(f"forgetting: not measured for {_called(number)}: {OUT_OF_TIME}")
                continue
            found[number] = meter.measure(weights).plain()
    except ModelError as error:
        notes.append(str(error))
    return found, notes


def _called(finalist: str) -> str:
    return f"trial {finalist}" if finalist.isdigit() else f"the {finalist}"


def seconds_of_a_pass(ground: Ground) -> float:
    """Of one micro-batch; the model's weights do not matter."""
    few, memory_format = ground.data.splits.val[:MICRO_BATCH], ground.recipe.optimisation.memory_format

    def once() -> float:
        began = time.perf_counter()
        evaluate(ground.loaded, ground.data, few, memory_format=memory_format)
        return time.perf_counter() - began

    return min(once() for _ in range(3))
