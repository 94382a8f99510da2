"""A recipe: everything that decides how a model is fine-tuned, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator

from autoft.errors import ConfigError
from autoft.files import write_text
from autoft.recipe import yaml
from autoft.recipe.config import Config
from autoft.recipe.overrides import apply_overrides
from autoft.recipe.unfreeze import TopGroups, Unfreeze, UnfreezeValue, parse_unfreeze

Rate: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveRate: TypeAlias = Annotated[float, Field(gt=0.0)]
MemoryFormat: TypeAlias = Literal["auto", "contiguous", "channels_last"]
Fraction: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]

PENALTY = 0.1
"""Of a stage with ``fit: solve`` that gives none."""


class ModelConfig(Config):
    """Which pretrained model, and how it is regularised."""

    name: Annotated[str, Field(min_length=1)]
    weights: Annotated[str, Field(min_length=1)] = "pretrained"
    """``pretrained`` (an installed weights package that fits, else timm's hub), ``hub``, ``package:NAME``,
    ``random``, or the path of a .safetensors / .pth file."""
    drop_rate: Rate = 0.0
    drop_path_rate: Rate = 0.0
    groups: tuple[str, ...] | None = None
    """Own layer groups from input to head, each a pattern over parameter names; default: found by autoft."""


class DataConfig(Config):
    """How the data are read, split and fed."""

    task: Literal["single_label", "multi_label", "regression"] = "single_label"
    image_size: Annotated[int, Field(ge=8, le=4096)] | None = None
    """Side in pixels; default: the model's own."""
    resize: Literal["squash", "crop"] = "squash"
    batch_size: PositiveInt = 32
    augment: Literal["none", "flip", "light", "strong"] = "none"
    views: Literal["fresh"] | PositiveInt = "fresh"
    """Whether each epoch augments anew, or each item has so many augmented views, of which each epoch draws one."""
    class_weights: Literal["none", "balanced"] = "none"
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    val_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    test_fraction: Fraction = 0.2
    split_seed: NonNegativeInt | None = None
    """Default: the recipe's seed."""
    allow_corrupt_fraction: Fraction = 0.01

    @model_validator(mode="after")
    def _views_are_of_what_has_many(self) -> Self:
        if self.views != "fresh" and self.augment in ("none", "flip"):
            raise ConfigError(
                f"views: {self.views} needs augment: light or strong, got augment: {self.augment}, whose one or two "
                "outcomes are all kept anyway; leave views out"
            )
        return self

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.val_fraction + self.test_fraction >= 1.0:
            total = self.val_fraction + self.test_fraction
            raise ConfigError(f"val_fraction + test_fraction must be below 1, got {total:g}; lower one of them")
        return self


class Stage(Config):
    """One stage of a staged fine-tune."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
    unfreeze: UnfreezeValue = 0
    """Layer groups from the top (2), a share of the computing (0.5), ``last 3 layers``, ``all``, or a list of names or
    patterns; the head always trains."""
    fit: Literal["steps", "solve"] = "steps"
    """How it trains: by optimizer steps; or, the head alone on features that are fixed, by solving the convex problem:
    logistic regression, one per label where an item has several, ridge regression for numbers. It reads the training
    items as they are, once (``epochs: 1``): without augmentation, mixup, label smoothing, dropout and rates."""
    penalty: PositiveRate | None = None
    """Of ``fit: solve``: what half the squared weights on standardised features weigh beside the mean loss; default:
    `PENALTY`."""
    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    """Of the optimizer; a stage has its length in epochs or in steps."""
    lr: PositiveRate | None = None
    """Rate of the top backbone group; default: the model family's."""
    head_lr: PositiveRate | None = None
    """Rate of the head; default: the model family's."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Rate of a group = lr * layer_decay ** (distance from the top backbone group)."""
    weight_decay: NonNegativeFloat | None = None
    """Default: `Optimisation.weight_decay`."""
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Default: `Optimisation.ema_decay`."""
    drop_rate: Rate | None = None
    """Dropout before the head in a stage that trains nothing else; default: `ModelConfig.drop_rate`."""
    schedule: Literal["constant", "linear", "cosine", "wsd"] = "constant"
    """Course of the rates after the warm-up; ``wsd`` (warm-up, stable, decay) is constant but for a linear fall over
    the last quarter."""
    schedule_steps: PositiveInt | None = None
    """Optimizer steps over which the schedule falls to zero; default: the stage's length."""
    warmup_steps: NonNegativeInt = 0
    patience: PositiveInt | None = None
    """Evaluations without improvement after which the stage ends; default: it runs its length."""
    norm: Literal["train", "eval", "sync"] = "train"
    """Whether unfrozen normalisation layers update and use batch statistics; ``sync``: of the whole batch where several
    GPUs share it, instead of each GPU's part."""

    @field_validator("unfreeze", mode="before")
    @classmethod
    def _lists_are_tuples(cls, value: Any) -> Any:
        value = tuple(value) if isinstance(value, list) else value
        parse_unfreeze(value)
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(
                f"stage {self.name!r} must give its length as either epochs or steps, "
                f"got epochs={self.epochs}, steps={self.steps}"
            )
        if self.schedule == "constant" and self.schedule_steps is not None:
            raise ConfigError(
                f"stage {self.name!r}: schedule_steps has no effect with schedule: constant; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _what_a_solution_takes(self) -> Self:
        if self.fit == "steps":
            if self.penalty is not None:
                raise ConfigError(f"stage {self.name!r}: penalty is for fit: solve; set weight_decay, or leave it out")
            return self
        if not self.head_only or self.epochs != 1:
            raise ConfigError(
                f"stage {self.name!r}: fit: solve is for a stage of the head alone with epochs: 1, got unfreeze: "
                f"{self.unfreeze}, epochs: {self.epochs}, steps: {self.steps}; train other stages with fit: steps"
            )
        unused = sorted(name for name in _OF_STEPS if getattr(self, name) != type(self).model_fields[name].default)
        if unused:
            raise ConfigError(
                f"stage {self.name!r}: {', '.join(unused)} {'has' if len(unused) == 1 else 'have'} no effect with "
                "fit: solve, which takes no steps; leave out, or train with fit: steps"
            )
        return self

    @model_validator(mode="after")
    def _dropout_is_before_a_head(self) -> Self:
        if self.drop_rate is not None and not self.head_only:
            raise ConfigError(
                f"stage {self.name!r}: drop_rate is for stages that train the head alone (unfreeze: 0), "
                f"got unfreeze: {self.unfreeze}; set model.drop_rate"
            )
        return self

    def solved(self) -> "Stage":
        """The stage of the same name that solves for the head instead."""
        return Stage(name=self.name, fit="solve", epochs=1)

    @property
    def unfreezing(self) -> Unfreeze:
        """The ``unfreeze`` value, parsed."""
        return parse_unfreeze(self.unfreeze)

    @property
    def head_only(self) -> bool:
        """Whether nothing but the head can train."""
        return self.unfreezing == TopGroups(0)


_OF_STEPS = (
    *("head_lr", "weight_decay", "ema_decay", "drop_rate"),
    *("schedule", "schedule_steps", "warmup_steps", "patience"),
)
"""Settings of a stage that say how its optimizer's steps are taken."""


class Optimisation(Config):
    """What all stages share."""

    opt: Literal["adamw", "sgd"] = "adamw"
    momentum: Rate = 0.9
    """Of SGD; AdamW does not use it."""
    weight_decay: NonNegativeFloat = 1e-4
    """Not applied to norms and biases."""
    clip_grad: NonNegativeFloat = 1.0
    """Largest gradient norm; 0 does not clip."""
    label_smoothing: Rate = 0.0
    mixup: NonNegativeFloat = 0.0
    """Alpha of the Beta distribution; 0 is off."""
    mixup_at: Literal["input", "boundary"] = "input"
    """Whether the pixels are mixed, or the activations after the frozen prefix."""
    boundary_dtype: Literal["exact", "float16"] = "exact"
    """Whether activations after the frozen prefix keep their type, or are rounded to half precision."""
    memory_format: MemoryFormat = "auto"
    """Layout of images and convolution weights; auto: the faster one by measurement, written into the recipe."""
    ema_decay: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Decay per step of an average of the weights, which is then what is evaluated and kept."""
    amp: Literal["auto", "off"] = "auto"
    """Mixed precision (bfloat16) where a GPU is."""
    eval_every_steps: PositiveInt | None = None
    """Optimizer steps between evaluations; default: an epoch."""
    micro_batch: PositiveInt | None = None
    """Most items that go through the model at once in training; the gradients of a batch's parts are added up."""


class Provenance(Config):
    """Where a recipe comes from, written when it has been run. Changes nothing but the number of threads."""

    search: str | None = None
    trial: NonNegativeInt | None = None
    metric: str
    value: float
    data_fingerprint: str
    threads: PositiveInt
    workers: PositiveInt = 1
    """Processes that trained it together. One process comes to the same value within rounding, except where
    normalisation in training mode saw the part of a batch that each process had, or dropout was drawn by each."""
    weights: str | None = None
    """What the run's model file was made of, where it is not what the stages lead to, which is what has ``value``."""
    versions: dict[str, str] = Field(default_factory=dict)


class Recipe(Config):
    """Model, data, stages, optimisation and seed; immutable.

    Example:
        >>> recipe = Recipe.parse({"model": "resnet18", "stages": [{"name": "head", "epochs": 3}]}, where="doc")
        >>> recipe.override({"stages.head.head_lr": 1e-2}).stages[0].head_lr
        0.01
    """

    schema_version: Literal[1] = 1
    model: ModelConfig
    data: DataConfig = DataConfig()
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    optimisation: Optimisation = Optimisation()
    seed: NonNegativeInt = 0
    provenance: Provenance | None = None

    @field_validator("model", mode="before")
    @classmethod
    def _a_name_is_a_model(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("stages")
    @classmethod
    def _solved_is_what_is_frozen(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        for place, stage in enumerate(stages):
            if stage.fit == "solve" and not all(before.head_only for before in stages[:place]):
                raise ConfigError(
                    f"stage {stage.name!r}: fit: solve is for features that nothing has trained yet, but a stage "
                    "before it unfreezes some; put it first"
                )
        return stages

    @field_validator("stages")
    @classmethod
    def _names_are_unique(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        names = [stage.name for stage in stages]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"stage names must differ, got {', '.join(repeated)} more than once")
        return stages

    def override(self, changes: Mapping[str, Any], *, where: str = "recipe") -> "Recipe":
        """A recipe with dotted paths changed, validated as a whole.

        A stage is addressed by its name: ``stages.tune.lr``.

        Raises:
            ConfigError: a path that does not exist, or a value that breaks a rule.
        """
        return Recipe.parse(apply_overrides(self.full(), changes, where=where), where=where)

    def __str__(self) -> str:
        """As YAML, with all settings."""
        return yaml.dumps(self.full())

    def full(self) -> dict[str, Any]:
        """All settings as plain data, those that are none left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def save(self, path: str | Path) -> None:
        """Write the recipe as YAML, atomically."""
        write_text(Path(path), str(self))

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read a recipe; ``Recipe.load(p) == r`` after ``r.save(p)``.

        Raises:
            ConfigError: unreadable, not YAML, or a value that breaks a rule (all of them are told).
        """
        return cls.parse(yaml.load(Path(path)), where=str(path))

    def fingerprint(self, *parts: str) -> str:
        """A stable digest of the named top-level parts, or of everything but the provenance."""
        chosen = parts or tuple(name for name in type(self).model_fields if name != "provenance")
        plain = self.model_dump(mode="json", include=set(chosen))
        return fingerprint(plain)


def fingerprint(plain: Any) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of plain data, whatever the order of its keys."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
