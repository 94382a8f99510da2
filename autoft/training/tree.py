"""The stage tree: a stage that many trials begin with is run once, and they fork from its result.

A stage is identified by its content: the recipe up to it, model, data and seed. Its result lies in a folder of the run
named by that content, as a checkpoint. Hippo (VLDB 2022) shares stages likewise.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from autoft.data import DataHandle
from autoft.errors import StorageError
from autoft.files import translated
from autoft.model import LoadedModel, plan_stage, tensor_digest
from autoft.recipe import Recipe
from autoft.recipe.schema import PENALTY
from autoft.record import Curve, Evaluation, Objective
from autoft.training.checkpoint import read_checkpoint, write_checkpoint
from autoft.training.optim import weight_decay_of

_FORMAT = 1
_LOOK_EVERY_S = 0.05
_ONLY_DEEPER = ("lr", "layer_decay", "norm")
"""Settings of a stage that mean nothing where the head trains alone."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage came to."""

    curve: Curve
    """Its evaluations, counted from 1 with the stage."""
    weights: Mapping[str, Tensor]
    """Parameters and buffers that it or a stage before it trains, as it ended."""
    optimizer: Mapping[str, Tensor]
    """What the next stage carries on."""
    watch: Mapping[str, Any]
    """State of the divergence watch."""


class StageKeys:
    """Names stages of one model on one data set by their content.

    Args:
        loaded: in its base state.
        data: the data.
        objective: what decides which evaluation a stage ends with.
    """

    def __init__(self, loaded: LoadedModel, data: DataHandle, objective: Objective) -> None:
        self._loaded = loaded
        device = next(loaded.module.parameters()).device
        self._around = {
            "format": _FORMAT,
            "base": loaded.digest,
            "head": [tensor_digest(loaded.module.get_parameter(name)) for name in loaded.groups[-1].parameters],
            "groups": [group.parameters for group in loaded.groups],
            "data": data.fingerprint,
            "metric": objective.metric,
            "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }

    def key(self, recipe: Recipe, index: int) -> str:
        """The name of stage ``index``, with all that lies before it."""
        optimisation = recipe.optimisation.model_dump(mode="json", exclude={"weight_decay"})
        content = {
            **self._around,
            "data settings": recipe.data.model_dump(mode="json"),
            "optimisation": optimisation,
            "seed": recipe.seed,
            "stages": [self._stage(recipe, place) for place in range(index + 1)],
        }
        return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _stage(self, recipe: Recipe, index: int) -> dict[str, Any]:
        """A stage with the settings that are in force in it."""
        stage = recipe.stages[index]
        trained = sorted(plan_stage(stage, self._loaded).trainable)
        plain = stage.model_dump(mode="json", exclude={"unfreeze", "weight_decay", "drop_rate"})
        if stage.fit == "solve":
            return {"name": stage.name, "trained": trained, "fit": "solve", "penalty": stage.penalty or PENALTY}
        alone = len(trained) == 1
        if alone:
            plain = {key: value for key, value in plain.items() if key not in _ONLY_DEEPER}
        return {
            **plain,
            "trained": trained,
            "weight_decay": weight_decay_of(recipe.optimisation, stage),
            "drop_rate": recipe.model.drop_rate if stage.drop_rate is None else stage.drop_rate,
            "drop_path_rate": 0.0 if alone else recipe.model.drop_path_rate,
        }


class Claim:
    """The right to run a stage; it ends with the process at the latest."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock

    def release(self) -> None:
        """Let others run the stage, or fork from its result."""
        self._lock.release()


class StageTree:
    """Results of stages, shared by all workers of a run.

    Args:
        root: the folder of the results.
        companions: recipes whose opening head stages other trials of the search are expected to ask for.
        notify: told in a sentence when a result could not be kept.
    """

    def __init__(
        self, root: Path, *, companions: Sequence[Recipe] = (), notify: Callable[[str], None] = lambda _text: None
    ) -> None:
        self._root, self._notify = root, notify
        self.companions = tuple(companions)

    def find(self, key: str) -> StageResult | None:
        """The result of a stage; None where there is none that can be trusted."""
        found = read_checkpoint(self._root / key)
        if found is None:
            return None
        with suppress(OSError):
            os.utime(self._root / key)  # results that nobody asks for are the first to go
        sections, facts = found
        curve = tuple(Evaluation.from_plain(plain) for plain in facts["curve"])
        return StageResult(curve, sections["weights"], sections["optimizer"], facts["watch"])

    def put(self, key: str, result: StageResult) -> None:
        """Keep a result; a disk that refuses costs no more than the chance to fork."""
        facts = {"curve": [evaluation.plain() for evaluation in result.curve], "watch": dict(result.watch)}
        try:
            sections = {"weights": result.weights, "optimizer": result.optimizer}
            write_checkpoint(self._root / key, sections, facts, durable=False)
        except StorageError as error:
            self._notify(f"reuse: the result of a stage is not kept but computed each time: {error}")

    def claim(self, key: str, should_stop: Callable[[], bool]) -> Claim | None:
        """Wait until nobody else runs the stage; None when ``should_stop`` said so first."""
        while not should_stop():
            if claim := self.try_claim(key):
                return claim
            time.sleep(_LOOK_EVERY_S)
        return None

    def try_claim(self, key: str) -> Claim | None:
        """The right to run a stage; None while somebody else has it."""
        folder = self._root / ".locks"
        with translated(self._root):
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / f"{key}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return None
        return Claim(lock)
