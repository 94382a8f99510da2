"""``search.yaml`` as a whole: its sections, and how files, options and overrides become one of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from autoft.cache import ReuseConfig
from autoft.errors import ConfigError
from autoft.pruning import PruneConfig
from autoft.recipe import Config, DataConfig, ModelConfig, Optimisation, Recipe, Stage, apply_overrides, yaml
from autoft.remote import check, is_url
from autoft.space import shipped
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.schedulers import SchedulerName

DEFAULT_SPACE = "freeze_depth"
COST, PARAMETERS, FORGETTING = "cost", "parameters", "forgetting"
NO_METRICS = (COST, PARAMETERS, FORGETTING)
"""Objectives that are no metrics."""
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""Of a run that is kept at a URL, or submitted to a cluster."""
PLAIN_TOLD = "of at most 128 letters, digits, '.', '_' and '-', not beginning with '.' or '-',"
_FILE_NAME = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]+")


class DataSection(DataConfig):
    """The recipe's data settings, and where the data are."""

    source: str | None = None
    """A folder of class folders, a CSV or parquet manifest, an .npz file, or a built-in name (digits)."""
    max_bytes: PositiveInt | None = None
    """Budget for decoded images on disk; default: half of the free space. Beyond it they are decoded on the fly."""


class ConstraintsConfig(Config):
    """What recipes must keep to; others are not tried, or cannot win."""

    max_parameters: PositiveInt | None = None
    """Trained ones, of all layer groups that any stage unfreezes, the head included."""
    max_latency_ms: PositiveFloat | None = None
    """Of one item through the whole model, in evaluation on this machine. It is the same for all recipes of a search:
    a model that is slower is refused before anything is trained."""
    min_retention: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Of the pretrained model, 1 for a frozen backbone (`forgetting` in summary.json). It is measured for the best
    trials and the baselines; those that retain less are not confirmed and never win."""


class SearchSection(Config):
    """How much to try, and how recipes are proposed and stopped."""

    metric: str | None = None
    """Also the name of a scorer of scikit-learn, of which more is better. Default: accuracy, average_precision or mae,
    by task."""
    objectives: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Metrics, ``cost`` (predicted seconds of training), ``parameters`` (trained ones) and ``forgetting`` (1 less the
    retention, measured for the trials whose weights are kept), of which summary.json shows the Pareto front. The
    samplers tpe and nsga2 propose by all of them but forgetting. The first is the metric that decides: pruning and the
    best recipe go by it alone."""
    constraints: ConstraintsConfig = ConstraintsConfig()
    num_samples: PositiveInt = 24
    """Recipes to try, baselines included."""
    time_budget_s: PositiveFloat | None = None
    """From process start to the written recipe."""
    max_gpu_hours: PositiveFloat | None = None
    """Of training, summed over all trials and starts of the search, a share of a GPU counting as such."""
    min_gain: PositiveFloat | None = None
    """No more recipes are drawn when all that are left are expected to better the best value by less, in the metric's
    unit: 0.001 is a tenth of a point of accuracy. Default: all are tried."""
    sampler: Literal["tpe", "gp", "cmaes", "random", "grid", "nsga2"] = "tpe"
    """How recipes are proposed; a grid has five levels of each continuous range, and all values of any other."""
    portfolio: Literal["on", "off"] = "on"
    """Whether recipes that are good elsewhere are tried after the baselines, as far as the search space has them."""
    probe: Literal["on", "off"] = "on"
    """Whether a look at the frozen features comes first: it tells which depths and which head the portfolio prefers."""
    warm_start: Annotated[str, Field(min_length=1)] | None = None
    """An earlier run (name or path), or a study of `storage`: its best recipes are tried first after the baselines."""
    scheduler: SchedulerName = "thaw"
    """What is not among the best at a rung is stopped (asha; hyperband, with several first rungs), or paused and
    perhaps thawed later (thaw); median stops what is behind the median of its peers at any evaluation."""
    grace_period: PositiveInt = 2
    """Evaluations before a trial is compared with its peers; for thaw epochs of a full fine-tune, by counted cost."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """Of the trials that come to a rung one in so many goes on."""
    gains: Literal["on", "off"] = "on"
    """Whether the winner's weights are mixed with those it started from, and with other trials', at the end; a mixture
    becomes the model if its gain on validation exceeds its standard error."""
    forgetting: Literal["on", "off"] = "on"
    """Whether it is measured at the end how far the winner and the baselines have moved from the pretrained model."""
    record_curves: bool = False
    """Whether to write curves.npz, on which `autoft.pruning.replay` judges pruning rules."""
    seed: NonNegativeInt = 0
    storage: str | None = None
    """Optuna storage URL of the study; default: study.db in the run folder."""

    @field_validator("objectives")
    @classmethod
    def _objectives_differ(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if names and names[0] in NO_METRICS:
            raise ConfigError(f"must begin with the metric that decides, got {names[0]}; put it later")
        if repeated := sorted({name for name in names or () if names and names.count(name) > 1}):
            raise ConfigError(f"must differ, got {', '.join(repeated)} more than once")
        return names

    @model_validator(mode="before")
    @classmethod
    def _first_objective_decides(cls, value: Any) -> Any:
        names = value.get("objectives") if isinstance(value, Mapping) else None
        if not isinstance(names, list | tuple) or not names or names[0] in NO_METRICS:
            return value
        if value.get("metric") not in (None, names[0]):
            raise ConfigError(f"objectives must begin with the metric, {value['metric']}, got {names[0]}")
        return {**value, "metric": names[0]}

    @model_validator(mode="after")
    def _forgetting_is_measured_where_it_counts(self) -> Self:
        if self.forgetting == "off" and FORGETTING in (self.objectives or ()):
            raise ConfigError("forgetting must be on where it is one of the objectives, got off; leave one of them out")
        return self


class ResourcesSection(Config):
    """What a trial may use."""

    workers_per_trial: PositiveInt = 1
    """Processes that train a trial together, each on its share of every batch."""
    cpus_per_worker: PositiveInt | None = None
    """Threads of a worker; default: what gets more done on this machine, by measurement."""
    gpus_per_worker: NonNegativeFloat | None = None
    """Fractions share a GPU, above one they are whole; default: one where there is one."""
    device: Literal["auto", "cpu"] = "auto"
    """auto trains on the GPU that a worker was given; cpu does not, whatever it was given."""
    max_concurrent_trials: PositiveInt | None = None
    """Default: as many as fit, and not more than there are trials."""

    @field_validator("gpus_per_worker")
    @classmethod
    def _a_gpu_is_shared_or_whole(cls, value: float | None) -> float | None:
        if value is not None and value > 1 and value != int(value):
            raise ConfigError(f"must be a share below one or a whole number, got {value:g}")
        return value


class OutputSection(Config):
    """Where the run is kept."""

    name: Annotated[str, Field(max_length=255)] | None = None
    """A plain file name; of letters, digits, ``.``, ``_`` and ``-`` where the run is kept at a URL or submitted;
    default: made of model and data."""
    storage_path: Annotated[str, Field(min_length=1)] = "runs"
    """A folder, or a URL that pyarrow knows: s3://bucket/runs, gs://, abfs://, hdfs://, file:///."""
    max_checkpoint_bytes: PositiveInt | None = None
    """Of all trials and shared stages together; default: half of the space that is free when the search starts. What
    is needed to resume, and the best trial, are kept beyond it."""

    @field_validator("storage_path")
    @classmethod
    def _storage_is_a_folder_or_the_url_of_one(cls, value: str) -> str:
        return check(value) if is_url(value) else value

    @field_validator("name")
    @classmethod
    def _name_is_a_file_name(cls, value: str | None) -> str | None:
        if value is not None and not _FILE_NAME.fullmatch(value):
            raise ConfigError(
                "must be a plain file name, without '/' and control characters (use storage_path for folders, and "
                "rename a folder that is called so)"
            )
        return value

    @model_validator(mode="after")
    def _name_is_part_of_a_url(self) -> Self:
        if is_url(self.storage_path) and not PLAIN_NAME.fullmatch(self.name or "_"):
            raise ConfigError(
                f"name must be {PLAIN_TOLD} where storage_path is a URL, got {self.name!r}; choose another one"
            )
        return self


class SearchConfig(Config):
    """A search, resolved: everything a run needs to start or to go on."""

    model: ModelConfig
    data: DataSection = DataSection()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    optimisation: Optimisation = Optimisation()
    space: dict[str, Any]
    search: SearchSection = SearchSection()
    prune: PruneConfig = PruneConfig()
    reuse: ReuseConfig = ReuseConfig()
    confirm: ConfirmConfig = ConfirmConfig()
    resources: ResourcesSection = ResourcesSection()
    output: OutputSection = OutputSection()

    @model_validator(mode="after")
    def _the_study_is_where_the_run_is(self) -> Self:
        if is_url(self.output.storage_path) and (self.search.storage or "").startswith("sqlite"):
            raise ConfigError(
                "search.storage must be a database server where output.storage_path is a URL, got a file, which other "
                "machines do not have; leave it out: study.db is kept with the run"
            )
        return self

    @field_validator("space", mode="before")
    @classmethod
    def _space_is_a_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ConfigError("must be a mapping of dimension names, or the name of a search space")
        return dict(value)

    def base_recipe(self) -> Recipe:
        """The recipe that the search space changes.

        Raises:
            ConfigError: the sections do not make a valid recipe.
        """
        data = self.data.model_dump(mode="json", exclude={"source", "max_bytes"})
        return Recipe.parse(
            {
                "model": self.model.model_dump(mode="json"),
                "data": data,
                "stages": [stage.model_dump(mode="json") for stage in self.stages],
                "optimisation": self.optimisation.model_dump(mode="json"),
                "seed": self.search.seed,
            },
            where="search",
        )

    def full(self) -> dict[str, Any]:
        """All settings as plain data."""
        return self.model_dump(mode="json", exclude_none=True)

    def override(self, changes: Mapping[str, Any]) -> Self:
        """The configuration with dotted paths changed; of a search space given by name the dimensions.

        Raises:
            ConfigError: a path that does not exist, or a value that breaks a rule.
            UnknownNameError: a search space that is not shipped and is no file.
        """
        if isinstance(name := changes.get("space"), str):
            changes = {**changes, "space": _space_file(name).get("space")}
        return type(self).parse(apply_overrides(self.full(), changes, where="search"), where="search")


def resolve_config(
    file: Path | None = None,
    assignments: Sequence[tuple[str, Any]] = (),
    options: Mapping[str, Any] | None = None,
) -> SearchConfig:
    """Put a configuration together: the file, then the options, then the dotted assignments.

    Args:
        file: a search.yaml; sections that are left out have their defaults.
        assignments: dotted paths and values as given to ``--set``, in order.
        options: dotted paths and values of the command's own options; None is "not given".

    Raises:
        ConfigError: all errors at once, each with its path and the nearest name.
        UnknownNameError: a search space that is not shipped and is no file.
    """
    raw = _read(file) if file else {}
    where = str(file) if file else "search"
    given = {path: value for path, value in (options or {}).items() if value is not None}
    changes = [*given.items(), *assignments]
    for path, value in changes:
        if path in {"model", "data", "space"}:
            raw[path] = value
    raw = _expand(raw)
    for path, value in changes:
        if path not in {"model", "data", "space"}:
            raw = apply_overrides(raw, {path: value}, where=where)
    if raw.get("model") is None:
        raise ConfigError(f"{where}: model: is required; give the name of a timm model, for example --model resnet18")
    return SearchConfig.parse(raw, where=where)


def _read(file: Path) -> dict[str, Any]:
    raw = yaml.load(file)
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{file}: must be a mapping of sections, got {type(raw).__name__}")
    return raw


def _expand(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Short forms written out: a model's name, a data source, a search space's name."""
    result = dict(raw)
    if isinstance(result.get("model"), str):
        result["model"] = {"name": result["model"]}
    if isinstance(result.get("data"), str):
        result["data"] = {"source": result["data"]}
    space = result.pop("space", DEFAULT_SPACE)
    base = _space_file(space) if isinstance(space, str) else {**shipped(DEFAULT_SPACE), "space": space}
    return _merged(base, result)


def _space_file(name: str) -> dict[str, Any]:
    return _read(Path(name)) if name.endswith((".yaml", ".yml")) else dict(shipped(name))


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on top of ``base``; mappings are merged one level down, anything else is replaced."""
    result = {**base, **over}
    for key in base.keys() & over.keys():
        if isinstance(base[key], Mapping) and isinstance(over[key], Mapping):
            result[key] = {**base[key], **over[key]}
    return result
