"""Predictions of a fine-tuned model on new items: the public class Predictor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from autoft.data import Task
from autoft.data.augment import normalise
from autoft.data.decode import Frame, quietly
from autoft.data.items import for_each, reader
from autoft.data.labelled import Labelled, Origins, labelled
from autoft.data.other_metrics import is_scorer
from autoft.data.sources.listing import TEST, TRAIN, VAL
from autoft.data.sources.unlabelled import Unlabelled, unlabelled
from autoft.errors import ConfigError, DataError, ModelError, RunError, WeightsError, described
from autoft.model import MICRO_BATCH, call, in_micro_batches, model_input, rebuilt
from autoft.recipe import Config
from autoft.remote import is_url
from autoft.training import read_model
from autoft.tuner.evaluated import Evaluated, evaluated
from autoft.tuner.inputs import check_device
from autoft.tuner.place import read_folder
from autoft.tuner.run_folder import RunFolder
from autoft.tuner.usage import CROPS

FITTED_MODEL = "model.safetensors"
"""In the folder of a recipe that was run."""


class _Transform(Config):
    """How images become what the model takes; what `usage` writes."""

    input_size: tuple[Literal[3], PositiveInt, PositiveInt]
    interpolation: Literal["bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop_pct: float
    crop_mode: Literal["squash", "center"]


class _About(Config):
    """The head of a model file; what `usage` writes."""

    name: str
    arguments: dict[str, PositiveInt]
    task: Literal["single_label", "multi_label", "regression"]
    classes: tuple[str, ...] = ()
    transform: _Transform | None = None
    target_mean: float = 0.0
    target_std: float = Field(default=1.0, gt=0.0)


@dataclass(frozen=True)
class Predictor:
    """A fine-tuned model that predicts new items.

    Example:
        >>> predictor = autoft.Predictor.load("runs/photos")  # doctest: +SKIP
        >>> predictor.predict("new/")  # doctest: +SKIP
        >>> predictor.evaluate("labelled/").metrics  # doctest: +SKIP
    """

    module: nn.Module
    """In eval mode."""
    task: Task
    """Its kind, and the classes in the order of the outputs."""
    frame: Frame | None
    """What images are brought to, as in the search; None where the model takes tensors."""
    mean: tuple[float, ...] = ()
    """Per channel, of pixels from 0 to 1."""
    std: tuple[float, ...] = ()
    run: RunFolder | None = None
    """That it was loaded from."""

    @classmethod
    def load(cls, model: str | Path, *, module: nn.Module | None = None, device: str | None = None) -> Self:
        """Read the model of a run, of a folder that ``autoft train --out`` or `Fitted.save` wrote, or a model file.

        Args:
            model: its path; of a run the URL too.
            module: what was searched, if that was a module of one's own (it is copied, never changed).
            device: default: cuda where there is one.

        Raises:
            RunError: no run, or one that has no model yet.
            WeightsError: a file that is damaged, or that autoft has not written.
            ModelError: a module of one's own is needed, or does not fit.
        """
        path, run = _model_file(model)
        about, state = read_model(path)
        try:
            found = _About.parse(about, where=str(path))
        except ConfigError as error:
            raise WeightsError(f"{error}; predict with the version of autoft that has written it") from None
        whole = rebuilt(found.name, found.arguments, state, module=module, where=str(path))
        where = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return replace(cls.of(whole, about, device=where), run=run)

    @classmethod
    def of(cls, module: nn.Module, about: Mapping[str, Any], *, device: str | None = None) -> Self:
        """Of a module, moved to the device if one is named, and what `usage` says about it."""
        found = _About.parse(about, where="model")
        task = Task(found.task, found.classes, found.target_mean, found.target_std)
        if device is not None:
            check_device(device)
            module = module.to(device)
        if (transform := found.transform) is None:
            return cls(module, task, None)
        frame = Frame(transform.input_size[1], "crop" if transform.crop_mode == CROPS["crop"] else "squash")
        return cls(module, task, frame, transform.mean, transform.std)

    def predict(self, items: Any) -> pd.DataFrame:
        """Predict, image by image as the search did.

        Args:
            items: files and folders of images, PIL images, uint8 arrays (H, W, 3); for a model of tensors what its
                Datasets had as input. One of them or a sequence.

        Returns:
            one row per item: ``item`` (its path, or its place), ``prediction`` (a class; the labels from a probability
            of 0.5 on, separated by ``;``; or a number), with one label per item its ``probability``, and of each class
            the probability ``p.CLASS``. An item that cannot be read has a row without a prediction.

        Raises:
            DataError: nothing to predict, nothing that can be read, or not what the model takes.
        """
        found = unlabelled(items, self.frame)
        readable: list[bool] = []
        with quietly(), torch.no_grad():
            outputs = [self._outputs(part) for part in _parts(found, readable)]
        if not outputs:
            raise DataError(f"{found.names[0]}: cannot be read as an image, nor can anything else that was given")
        return _table(self.task, found.names, np.array(readable), torch.cat(outputs))

    def evaluate(self, data: Any, *, split: str | None = None) -> Evaluated:
        """Measure it on items whose labels are known, image by image as the search did.

        By the metrics of the task, and that which decided its run, if scikit-learn has it.

        Args:
            data: a folder of class folders, a CSV or parquet manifest, an .npz file, a built-in name, or a map-style
                Dataset of (input, target). Labels are matched to the model's classes by name.
            split: only the items that are in it: train, val or test, as the data say, or of the data of the run that
                the model was loaded from as they were drawn.

        Raises:
            DataError: no items, none that can be read, or not what the model takes.
            RunError: which items the run was made from is not known any more; load its model file instead.
            UnknownNameError: no such source or split, or a class that the model does not know.
        """
        made_from = _origins(self.run) if self.run else None
        task = self.task.judged_by(_run_scorers(self.run) if self.run else [])
        found = labelled(data, self.task, self.frame, split=split, made_from=made_from)
        readable: list[bool] = []
        with quietly(), torch.no_grad():
            parts = [self._outputs(part) for part in _parts(found, readable, parallel=found.parallel)]
        if not parts:
            raise DataError(f"{found.names[0]}: cannot be read, nor can any other item of {found.name}; repair them")
        usable, outputs = np.array(readable), torch.cat(parts)
        return evaluated(task, found, usable, outputs, _table(task, found.names, usable, outputs))

    def _outputs(self, rows: list[Mapping[str, Any]]) -> Tensor:
        device = next(self.module.parameters()).device
        try:
            fields = {name: torch.from_numpy(np.stack([row[name] for row in rows])).to(device) for name in rows[0]}
            if self.frame is not None:
                fields = {name: normalise(field, self.mean, self.std) for name, field in fields.items()}
            outputs = in_micro_batches(lambda part: call(self.module, model_input(part)).float(), fields).cpu()
        except (RuntimeError, ValueError, TypeError, LookupError) as error:
            raise ModelError(
                f"the model does not run on these items ({described(error)}); give what its Datasets had as input"
            ) from error
        return outputs


def _model_file(model: str | Path) -> tuple[Path, RunFolder | None]:
    """The file that a person means by a run, a folder or a file; and the run, if it is one."""
    path = Path(model)
    if not is_url(str(model)):
        if not path.is_dir():
            return path, None
        if (path / FITTED_MODEL).is_file():
            return path / FITTED_MODEL, None
    folder = read_folder(model)
    if not folder.exists:
        raise RunError(f"{folder.place}: is no run, and has no {FITTED_MODEL}; give a run or a model file")
    if not folder.best_model.is_file():
        raise RunError(f"{folder.place}: has no {folder.best_model.name} yet; finish the search with {folder.resuming}")
    return folder.best_model, folder


def _origins(run: RunFolder) -> Origins:
    split = run.read_split()
    places = {name: part for part in (TRAIN, VAL, TEST) for name in split.get(part, ())}
    return Origins(str(split.get("fingerprint")), places)


def _run_scorers(run: RunFolder) -> list[str]:
    """The metric that decided, where it is one of scikit-learn's; one of the caller's own is not kept with the run."""
    name = run.read_split().get("identity", {}).get("metric")
    return [name] if is_scorer(name) else []


def _parts(
    found: Unlabelled | Labelled, readable: list[bool], *, parallel: bool = True
) -> Iterator[list[Mapping[str, Any]]]:
    """What can be read, a micro-batch at a time; ``readable`` is told of each item."""
    rows = for_each(reader(found), len(found.names), parallel=parallel)
    while part := list(islice(rows, MICRO_BATCH)):
        readable += [row is not None for row in part]
        if kept := [row for row in part if row is not None]:
            yield kept


def _table(task: Task, names: tuple[str, ...], readable: np.ndarray[Any, Any], outputs: Tensor) -> pd.DataFrame:
    """One row per item; of those that could be read there are outputs."""
    predicted = task.predict(outputs).numpy()
    places = np.flatnonzero(readable)
    table = pd.DataFrame({"item": names})
    if task.kind == "regression":
        table["prediction"] = pd.Series(predicted, index=places)
        return table
    classes = np.array(task.classes, dtype=object)
    if task.kind == "single_label":
        table["prediction"] = pd.Series(classes[predicted.argmax(axis=1)], index=places)
        table["probability"] = pd.Series(predicted.max(axis=1), index=places)
    else:
        texts = [";".join(classes[row >= 0.5]) for row in predicted]
        table["prediction"] = pd.Series(texts, index=places, dtype=object)
    chances = pd.DataFrame(predicted, index=places, columns=[f"p.{name}" for name in task.classes])
    return pd.concat([table, chances.reindex(table.index)], axis=1)
