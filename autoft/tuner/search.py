"""The public functions: search, and resume. Bad settings are told before anything large is imported."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoft.data import check_named
from autoft.errors import AutoftError, ConfigError, DataError
from autoft.interrupts import remembered
from autoft.lazily import much_imported
from autoft.recipe import parse_assignment
from autoft.tuner.config import SearchConfig, resolve_config
from autoft.tuner.given import Data, Given, data_source, model_name
from autoft.tuner.observer import Observer, Silent
from autoft.tuner.ray_head import begun

if TYPE_CHECKING:
    from autoft.data.other_metrics import GivenMetric
    from autoft.tuner.given import Model
    from autoft.tuner.result import SearchResult


def search(  # noqa: PLR0913 - the options of a search
    model: "Model | None" = None,
    data: Data | None = None,
    *,
    config: str | Path | None = None,
    space: Any = None,
    num_samples: int | None = None,
    time_budget_s: float | None = None,
    metric: "GivenMetric | None" = None,
    name: str | None = None,
    storage_path: str | Path | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    address: str | None = None,
    observer: Observer | None = None,
    started_at: float | None = None,
) -> "SearchResult":
    """Find the best fine-tuning recipe for a pretrained model on your data.

    A search of the same name and storage path goes on where it stopped.

    Args:
        model: the name of a timm model, or any nn.Module (which is copied, never changed).
        data: a folder of class folders, a CSV or parquet manifest, an .npz file, a built-in name (``"digits"``), or
            a pair (train, val) or triple (train, val, test) of map-style Datasets of (input, target).
        config: a search.yaml; what is given here beside it wins.
        space: the name of a shipped space, a YAML file, a mapping as in search.yaml, a dict of Optuna distributions
            or Ray Tune domains over dotted recipe paths, or a function of a trial that returns dotted overrides.
        num_samples: recipes to try, baselines included.
        time_budget_s: seconds from the start of the process (or of this call) to the written recipe.
        metric: what decides: accuracy, balanced_accuracy, macro_f1, average_precision, roc_auc, log_loss, mae, mse, r2
            or loss; the name of a scorer of scikit-learn (``"matthews_corrcoef"``); or one of your own, a function of
            (targets, predictions) of which more is better, or what ``sklearn.metrics.make_scorer`` makes of it, where
            it takes probabilities or less is better. Default: accuracy, with several labels average_precision, of
            numbers mae.
        name: of the run, a plain file name.
        storage_path: the folder of all runs, or its URL as pyarrow has them (``s3://bucket/runs``); default ``runs``.
        overrides: dotted overrides as a mapping or as ``"path=value"`` texts, for example ``{"data.image_size": 96}``.
        address: Ray cluster to run on, ``"auto"`` or ``"host:port"``; default: the one that this process is connected
            to, else ``$RAY_ADDRESS``, else this machine. It is not kept with the run.
        observer: told what happens; default: silent.
        started_at: when the budget began, in seconds since the epoch; default: now.

    Raises:
        AutoftError: a member of its tree for each thing that can be wrong; the run can always be resumed.
    """
    named = space if isinstance(space, str | Path) else None
    resolved = resolve_config(
        Path(config) if config else None,
        _assignments(overrides),
        {
            "model.name": model_name(model) if model is not None else None,
            "data.source": data_source(data),
            "space": str(named) if named else (dict(space) if _is_plain_space(space) else None),
            "search.num_samples": num_samples,
            "search.time_budget_s": time_budget_s,
            "search.metric": _metric_name(metric),
            "output.name": name,
            "output.storage_path": str(storage_path) if storage_path else None,
        },
    )
    given = None if space is None or named or _is_plain_space(space) else space
    own = None if isinstance(metric, str) else metric
    return _run(resolved, Given(model, data, given, own, address), observer or Silent(), started_at)


def resume(  # noqa: PLR0913 - the options of a search
    run: str | Path,
    *,
    num_samples: int | None = None,
    time_budget_s: float | None = None,
    model: "Model | None" = None,
    data: Data | None = None,
    space: Any = None,
    metric: Callable[..., Any] | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    address: str | None = None,
    observer: Observer | None = None,
    started_at: float | None = None,
) -> "SearchResult":
    """Go on with a search that was stopped, killed, or is to be given more to spend.

    Args:
        run: its folder, ``runs/NAME``, or its URL, ``s3://bucket/runs/NAME``: what another machine wrote there is
            brought here.
        num_samples: a new total of recipes.
        time_budget_s: a new budget, from the start of this process.
        model: the module again, if the search was given one.
        data: the data again, if they were given as Datasets or have moved.
        space: the search space again, if it was given as a Python object.
        metric: the metric again, if it was one of your own.
        overrides: as for `search`.
        address: as for `search`; another one than before will do, if the run's folder can be reached there.
        observer: as for `search`.
        started_at: as for `search`.

    Raises:
        RunError: not a run, or model or data are not those of the run.
    """
    from autoft.tuner.place import brought, place_of

    watching = observer or Silent()
    folder = brought(run, watching.note)
    stored, (storage_path, name) = folder.read_config(), place_of(folder)
    options = {
        "search.num_samples": num_samples,
        "search.time_budget_s": time_budget_s,
        "data.source": data_source(data),
        "search.metric": _metric_name(metric),
        "output.name": name,
        "output.storage_path": storage_path,
    }
    changes = {path: value for path, value in options.items() if value is not None}
    resolved = stored.override({**changes, **dict(_assignments(overrides))})
    if data is None and resolved.data.source is not None:
        _check_there(resolved.data.source)
    return _run(resolved, Given(model, data, space, metric, address), watching, started_at)


def _check_there(source: str) -> None:
    """Refuse a run whose data are not where they were.

    Raises:
        DataError: there is nothing that can be read.
    """
    try:
        check_named(source)
    except AutoftError as error:
        raise DataError(
            f"{error}. The run has its data from {source}, as seen from the folder where it was started; "
            "if they have moved, or that was another folder, say where they are with --data"
        ) from error


def _run(config: SearchConfig, given: Given, observer: Observer, started_at: float | None) -> "SearchResult":
    """Have Ray start and workers' imports begin beside this process's own imports, then search.

    Raises:
        ConfigError: there are no data.
        DataError: under this name there are none.
    """
    source = given.data if given.data is not None else config.data.source
    if source is None:
        raise ConfigError("data.source: is required; give a folder, a manifest, an .npz file or digits")
    if isinstance(source, str | Path):
        check_named(source)
    started = time.time() if started_at is None else started_at
    with begun(given.address) as head, much_imported() as imported:
        with remembered() as ask:
            if head is not None and head.server is not None:
                head.server.fork()
            from autoft.tuner.session import run_search

            if _has_domains(given.space):
                from autoft.tuner.ray_space import with_distributions

                given = replace(given, space=with_distributions(given.space))
            imported()
            ask()
        return run_search(config, given, observer, started, head)


def _assignments(overrides: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        return list(overrides.items())
    texts = [overrides] if isinstance(overrides, str) else overrides
    if not isinstance(texts, Sequence) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"overrides: must be a mapping or texts such as 'data.image_size=96', got {overrides!r}")
    return [parse_assignment(text) for text in texts]


def _metric_name(metric: "GivenMetric | None") -> str | None:
    if metric is None or isinstance(metric, str):
        return metric
    from autoft.data.other_metrics import name_of

    return name_of(metric)


def _is_plain_space(space: Any) -> bool:
    """Whether the space is a mapping as search.yaml has it, not of Optuna's objects."""
    return isinstance(space, Mapping) and all(isinstance(value, Mapping) for value in space.values())


def _has_domains(space: Any) -> bool:
    """Whether some of its values are Ray Tune's."""
    found = space.values() if isinstance(space, Mapping) else ()
    return any(type(value).__module__ == "ray.tune.search.sample" for value in found)
