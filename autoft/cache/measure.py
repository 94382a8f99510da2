"""How fast a model computes on this machine: seconds per row of every segment, measured once and kept on disk."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from autoft.data import DataHandle
from autoft.data.inputs import as_inputs
from autoft.errors import ModelError
from autoft.files import write_text
from autoft.model import MICRO_BATCH, LoadedModel, make_ready, model_input, precision, quick_gradients
from autoft.model.memory import MemoryFormat, memory_formats
from autoft.shards import default_root

_FORMAT = 4
_FEW_ROWS, _MORE_ROWS = 8, MICRO_BATCH // 2
"""To compare settings by, and to predict from."""
_TELLING_S = 0.2
"""Of a step on more rows: where it takes longer, computing outweighs what any step costs, and a few rows say as much.

EfficientNet-lite0 at 96 px, one thread: 17 to 32 ms a row on 8 rows and 19 to 27 on 16, in twelve starts of a search.
"""
_LONGEST_S = 1.0
"""Of a step that is measured twice."""
_PATIENCE = 4
"""How many times the time allowed the first pass, which also prepares kernels and memory, may take."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the speed of one model on one machine depends on."""

    memory_format: MemoryFormat
    threads: int


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds per row of each segment of the chain, from input to head; a model that cannot be cut has one."""

    rows: int
    """Of the batch it was measured with."""
    forward_s: tuple[float, ...]
    """In evaluation."""
    train_s: tuple[float, ...]
    """Forward and backward in training."""
    update_s: tuple[float, ...]
    """Seconds of an optimizer step on the segment's layer group, whatever the batch."""
    row_bytes: tuple[int, ...]
    """Of a row of what the segment gives; 0 where that is not one tensor."""

    @property
    def step_s(self) -> float:
        """Seconds per row of training the whole model."""
        return sum(self.train_s)


class MeasurementError(ModelError):
    """The model does not run by itself; training it will tell why."""


class _SlowError(Exception):
    """It takes longer than it may."""


class Measurements:
    """What is known of one model's speed; what is not known yet is measured when it is asked for, and kept.

    Args:
        loaded: the model; it stays as it is.
        data: any data that fit it.
        device: where it is to train.
        cores: that this process may use.
        mixed: autocast to bfloat16.
        folder: where measurements are kept; default: ``machine`` in the cache's folder.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        data: DataHandle,
        device: torch.device,
        *,
        cores: int,
        mixed: bool = False,
        folder: Path | None = None,
    ) -> None:
        self._loaded, self._data, self._device, self._mixed = loaded, data, device, mixed
        name = _key(loaded, data, device, cores=cores, mixed=mixed)
        self.file = (folder or default_root() / "machine") / f"{name}.json"
        self._known = _read(self.file, segments=len(loaded.chain))

    @property
    def formats(self) -> tuple[MemoryFormat, ...]:
        """The memory formats that can be told apart by this model's weights."""
        return memory_formats(self._loaded.module)

    def few_rows(self, setting: Setting, *, at_most_s: float = math.inf) -> Speed | None:
        """Measured with a few rows: good for comparing settings.

        None where a row of training takes longer than ``at_most_s``: it is not even waited for the end. (Threads that
        wait for cores which others use are slower by orders of magnitude.)
        """
        found = self._speed(setting, _FEW_ROWS, at_most_s)
        return found if found and found.step_s <= at_most_s else None

    def exact(self, setting: Setting) -> Speed:
        """Good for predicting: measured with more rows, unless a few say as much."""
        few = self._speed(setting, _FEW_ROWS)
        if few and few.step_s * _MORE_ROWS > _TELLING_S:
            return few
        found = self._speed(setting, _MORE_ROWS)
        assert found is not None, "only a limit ends a measurement early"
        return found

    def _speed(self, setting: Setting, rows: int, at_most_s: float = math.inf) -> Speed | None:
        key = (setting, rows)
        found = self._known.get(key)
        if key not in self._known or (found is None and at_most_s == math.inf):
            try:
                with _threads(setting.threads), torch.random.fork_rng(devices=[]):
                    self._known[key] = found = self._measured(setting, rows, at_most_s)
            except Exception as error:
                raise MeasurementError(f"its speed cannot be measured: {type(error).__name__}: {error}") from error
            _write(self.file, self._known)
        return found

    def _measured(self, setting: Setting, rows: int, at_most_s: float) -> Speed | None:
        model, device = self._model, self._device
        channels_last = setting.memory_format == "channels_last"
        make_ready(model.module, device, channels_last=channels_last)
        fields = self._data.read(np.arange(rows) % len(self._data))
        moved = {name: field.to(device) for name, field in fields.items()}
        inputs = as_inputs(moved, self._data, model.card, channels_last=channels_last)
        with precision(device, mixed=self._mixed):
            x = model_input(inputs)
            try:
                train_s = _trained(model, x, rows, device, limit_s=_PATIENCE * at_most_s * rows)
                if sum(train_s) * rows <= _LONGEST_S:
                    again_s = _trained(model, x, rows, device)
                    train_s = tuple(min(pair) for pair in zip(train_s, again_s, strict=True))
            except _SlowError:
                return None
            forward_s, row_bytes = _evaluated(model, x, rows, device)
        return Speed(rows, forward_s, train_s, self._update_s, row_bytes)

    @cached_property
    def _model(self) -> LoadedModel:
        """A copy to measure on: training changes its running statistics."""
        model = self._loaded.reset()
        for name, parameter in model.module.named_parameters():
            parameter.requires_grad_(parameter.is_floating_point() and name not in model.fixed)
        return model

    @cached_property
    def _update_s(self) -> tuple[float, ...]:
        """Of AdamW, per segment; a model that cannot be cut has one for all groups together."""
        names = [group.parameters for group in self._loaded.groups]
        if len(self._loaded.chain) != len(names):
            names = [tuple(name for part in names for name in part)]
        module = self._model.module
        seconds = []
        for group in names:
            own = [parameter for name in group if (parameter := module.get_parameter(name)).requires_grad]
            for parameter in own:
                parameter.grad = torch.zeros_like(parameter)
            step = _adamw_step(own)
            step()
            seconds.append(_timed(step, self._device))
            module.zero_grad(set_to_none=True)
        return tuple(seconds)


def _adamw_step(parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
    """A step of torch's AdamW that changes nothing: the rate is 0. Its class would import torch's compiler."""
    held: list[Tensor] = list(parameters)
    gradients = [parameter.grad for parameter in held if parameter.grad is not None]
    first, second = ([torch.zeros_like(parameter) for parameter in held] for _ in range(2))
    counts = [torch.zeros((), device=parameter.device) for parameter in held]

    @torch.no_grad()
    def step() -> None:
        adamw(
            held,
            gradients,
            first,
            second,
            max_exp_avg_sqs=[],
            state_steps=counts,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=0.0,
            weight_decay=0.01,
            eps=1e-8,
            maximize=False,
        )

    return step


@torch.no_grad()
def _evaluated(
    model: LoadedModel, x: Any, rows: int, device: torch.device
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Seconds of a row and bytes of its result, per segment, in evaluation."""
    model.module.eval()
    seconds, sizes = [], []
    for index in range(len(model.chain)):
        started = _now(device)
        x = model.chain.run(x, index, index + 1)
        seconds.append((_now(device) - started) / rows)
        sizes.append(x.nbytes // rows if isinstance(x, Tensor) and len(x) == rows else 0)
    return tuple(seconds), tuple(sizes)


@torch.enable_grad()
def _trained(
    model: LoadedModel, x: Any, rows: int, device: torch.device, *, limit_s: float = math.inf
) -> tuple[float, ...]:
    """Seconds of a row per segment, forward and backward in training.

    Segments are cut apart at their boundaries, and gradients handed from one to the one before.
    """
    model.module.train()
    seconds, passed = [], []
    for index in range(len(model.chain)):
        leaf = x.detach().requires_grad_() if index and isinstance(x, Tensor) and x.is_floating_point() else None
        entering = x if leaf is None else leaf.clone()  # a segment may begin by changing its input in place
        started = _now(device)
        with quick_gradients(device):
            x = model.chain.run(entering, index, index + 1)
        seconds.append(_now(device) - started)
        if sum(seconds) > limit_s:
            raise _SlowError
        passed.append((leaf, x))
    gradient: Tensor | None = torch.ones_like(x) / rows
    for index, (leaf, given) in reversed(list(enumerate(passed))):
        if gradient is not None and isinstance(given, Tensor) and given.requires_grad:
            started = _now(device)
            torch.autograd.backward(given, gradient)
            seconds[index] += _now(device) - started
        gradient = leaf.grad if leaf is not None else None
    model.module.zero_grad(set_to_none=True)
    return tuple(spent / rows for spent in seconds)


def _now(device: torch.device) -> float:
    """Seconds; of one thread on the CPU only those that it had a core, for a search measures while Ray starts."""
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return thread_time()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def _timed(run: Any, device: torch.device) -> float:
    started = _now(device)
    run()
    return _now(device) - started


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _key(loaded: LoadedModel, data: DataHandle, device: torch.device, *, cores: int, mixed: bool) -> str:
    shapes = {name: [list(field.shape), str(field.dtype)] for name, field in data.spec.fields.items()}
    kind = device.type if device.type == "cpu" else torch.cuda.get_device_name(device)
    parts = [_FORMAT, loaded.digest, shapes, kind, cores, mixed, torch.__version__, version("timm")]
    return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def _write(file: Path, known: Mapping[tuple[Setting, int], Speed | None]) -> None:
    speeds = [
        {**asdict(setting), "rows": rows, "speed": asdict(speed) if speed else None}
        for (setting, rows), speed in known.items()
    ]
    write_text(file, json.dumps({"format": _FORMAT, "speeds": speeds}) + "\n")


def _read(file: Path, *, segments: int) -> dict[tuple[Setting, int], Speed | None]:
    """What the file tells; nothing, so that it is measured again, where it is damaged."""
    try:
        plain = json.loads(file.read_bytes())
        speeds = plain["speeds"] if plain["format"] == _FORMAT else []
        return {
            (Setting(each["memory_format"], int(each["threads"])), int(each["rows"])): _parsed(each["speed"], segments)
            for each in speeds
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _parsed(plain: Mapping[str, Any] | None, segments: int) -> Speed | None:
    if plain is None:
        return None
    lists = {name: tuple(value) for name, value in plain.items() if name != "rows"}
    speed = Speed(rows=int(plain["rows"]), **lists)
    times = (*speed.forward_s, *speed.train_s, *speed.update_s)
    lengths = {len(speed.forward_s), len(speed.train_s), len(speed.update_s), len(speed.row_bytes)}
    if lengths != {segments} or not all(math.isfinite(time) and time >= 0 for time in times):
        raise ValueError(f"not {segments} finite times")
    return speed
