"""Models on the same labelled items: which is the best, and whether that is more than chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoft.data import Task
from autoft.data.other_metrics import GivenMetric
from autoft.data.outcomes import score_name
from autoft.errors import ConfigError, DataError, ModelError
from autoft.statistics import Comparison
from autoft.statistics import compare as paired
from autoft.tuner.evaluated import Evaluated
from autoft.tuner.predictor import Predictor

Models: TypeAlias = Sequence[str | Path] | Mapping[str, "str | Path | Predictor"]
_FEWEST = 2
"""Models, and items, that can be compared."""


@dataclass(frozen=True)
class Row:
    """One model."""

    name: str
    metrics: Mapping[str, float]
    interval: tuple[float, float] | None
    """Of ``accuracy``, 95%; None where `Evaluated` has none."""
    behind: Comparison | None
    """What the best model is better by on the same items; None for that one."""

    @property
    def is_behind(self) -> bool:
        """Whether the best model is better by more than chance."""
        return self.behind is not None and self.behind.real and self.behind.difference > 0


@dataclass(frozen=True)
class Compared:
    """Models on the same items."""

    metric: str
    """By which they are ordered."""
    scored_by: str
    """Of what a difference is the mean over items, higher is better: the metric, or ``loss`` where that is none."""
    items: int
    rows: tuple[Row, ...]
    """Best first."""
    notes: tuple[str, ...] = ()
    """What should be known of the data."""

    @property
    def verdict(self) -> str:
        """Which models can be told from the best, in a sentence."""
        best, *others = self.rows
        near = [row.name for row in others if not row.is_behind]
        if not near:
            rest = "all others" if len(others) > 1 else others[0].name
            return f"{best.name} is better than {rest} by more than chance"
        far = f", and is better than {len(others) - len(near)} by more than chance" if len(near) < len(others) else ""
        return f"{best.name} is ahead, but on {self.items} items cannot be told from {', '.join(near)}{far}"


def compare(
    models: Models,
    data: Any = None,
    *,
    split: str | None = None,
    metric: GivenMetric | None = None,
    device: str | None = None,
) -> Compared:
    """Measure models on the same labelled items, and pair their answers item by item.

    Args:
        models: at least two: paths as `Predictor.load` takes them, or names with paths or `Predictor` objects.
        data: as `Predictor.evaluate` takes them; default: what the first run was searched on.
        split: only the items that are in it: train, val or test; default: all, and without ``data`` those in test.
        metric: that orders them, as for `autoft.search`; default: the first run's, else the task's own.
        device: default: cuda where there is one.

    Raises:
        UnknownNameError: no such metric, or one of the caller's own that only the first run was given.
        ConfigError: fewer than two models, one twice, no data, or models of different tasks.
        DataError: as `Predictor.evaluate`, or the models do not mean the same items by the split.
        AutoftError: as `Predictor.load` and `Predictor.evaluate`.
    """
    named = _named(models)
    loaded = {name: _loaded(model, device) for name, model in named.items()}
    first = next((model.run for model in loaded.values() if model.run), None)
    config, notes = first.read_config() if first else None, list[str]()
    given = data is not None
    if not given:
        data, split = config and config.data.source, split or "test"
        notes = [f"{name}: is of no run; whether it has seen these items is not known" for name in _strays(loaded)]
    if data is None:
        raise ConfigError("data: is required where no model is a run of data on disk; give labelled items (--data)")
    kinds = {name: model.task.kind for name, model in loaded.items()}
    if len(set(kinds.values())) > 1:
        raise ConfigError(f"models: must have one task, got {', '.join(f'{kinds[name]} ({name})' for name in kinds)}")
    decides = metric or (config.search.metric if config else None)
    tasks = {name: model.task.judged_by([decides] if decides else []) for name, model in loaded.items()}
    loaded = {name: replace(model, task=tasks[name]) for name, model in loaded.items()}
    for name in _strays(loaded):
        loaded[name] = replace(loaded[name], run=first)  # it is measured on the items of that run's split
    try:
        found = {name: model.evaluate(data, split=split) for name, model in loaded.items()}
    except DataError as error:
        if given:
            raise
        raise DataError(f"{error}; or give items that no model has seen (--data)") from error
    told = compared(found, tasks, decides)
    return replace(told, notes=(*told.notes, *notes))


def compared(found: Mapping[str, Evaluated], tasks: Mapping[str, Task], metric: GivenMetric | None = None) -> Compared:
    """The models in order, given what each came to.

    Args:
        found: by model.
        tasks: by model, of one kind.
        metric: that orders them; default: the task's own.

    Raises:
        ConfigError: a metric that the task has not.
        DataError: what they came to is not of the same items, or of one item or group alone.
        ModelError: answers that are no numbers.
    """
    first, *others = found
    for name in others:
        _check_same(first, found[first], name, found[name])
    if found[first].items < _FEWEST:
        raise DataError(f"{found[first].items} item: is too few to compare models on; give at least {_FEWEST}")
    objective = tasks[first].objective(metric)
    scores = {name: each.scores(tasks[name], objective.metric) for name, each in found.items()}
    if broken := [name for name in scores if not np.isfinite(scores[name]).all()]:
        raise ModelError(f"{broken[0]}: answers some items with what is no number; leave it out")
    ordered = sorted(found, key=lambda name: -objective.score(found[name].metrics[objective.metric]))
    groups = None if (known := found[first].groups) is None else list(known)
    if groups and len(set(groups)) < _FEWEST:
        raise DataError(
            f"all items are of the group {groups[0]}: nothing can be said of others; give at least {_FEWEST}"
        )
    rows = tuple(
        Row(
            name,
            found[name].metrics,
            found[name].interval,
            None if name == ordered[0] else paired(scores[ordered[0]], scores[name], groups=groups),
        )
        for name in ordered
    )
    notes = tuple(dict.fromkeys(note for each in found.values() for note in each.notes))
    return Compared(objective.metric, score_name(objective.metric), found[first].items, rows, notes)


def _named(models: Models) -> Mapping[str, str | Path | Predictor]:
    if isinstance(models, Mapping):
        named = models
    else:
        listed = [models] if isinstance(models, str | Path) else models
        names = [str(model) for model in listed]
        if twice := [name for place, name in enumerate(names) if name in names[:place]]:
            raise ConfigError(f"models: {twice[0]} is given twice; give each once")
        named = dict(zip(names, listed, strict=True))
    if len(named) < _FEWEST:
        raise ConfigError(f"models: must be at least {_FEWEST}, got {len(named)}; for one model: autoft evaluate")
    return named


def _loaded(model: str | Path | Predictor, device: str | None) -> Predictor:
    return model if isinstance(model, Predictor) else Predictor.load(model, device=device)


def _strays(loaded: Mapping[str, Predictor]) -> list[str]:
    """Names of the models that are of no run."""
    return [name for name, model in loaded.items() if model.run is None]


def _check_same(first: str, one: Evaluated, second: str, other: Evaluated) -> None:
    """Both models have answered for the same items.

    Raises:
        DataError: they have not.
    """
    mine, theirs = _answered(one), _answered(other)
    if mine == theirs:
        return
    alone = len(set(mine) ^ set(theirs))
    raise DataError(
        f"{first} and {second} do not mean the same items: {alone or 'some'} are only one's, as where each drew its "
        "test split from the same data; give --data with items that neither has seen"
    )


def _answered(found: Evaluated) -> list[tuple[Any, Any]]:
    read: NDArray[np.bool_] = found.table["prediction"].notna().to_numpy()
    return list(zip(found.table["item"][read], found.table["label"][read], strict=True))
