"""The head: the layer that is made anew for the task."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoft.errors import ModelError
from autoft.streams import stream_seed


@contextmanager
def drawn_from(seed: int, *key: str | int) -> Iterator[None]:
    """Draw what torch initialises inside from the stream (seed, key); the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream_seed(seed, *key))
        yield


def head_names(module: nn.Module, order: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the modules that make up the head.

    What ``get_classifier()`` returns, else the last linear layer in call order (``order``), else in module order.
    """
    names = {id(part): name for name, part in module.named_modules()}
    if callable(classifier := getattr(module, "get_classifier", None)):
        owned = classifier()
        parts = owned if isinstance(owned, tuple | list) else (owned,)
        return tuple(names[id(part)] for part in parts if id(part) in names and any(True for _ in part.parameters()))
    found = dict(module.named_modules())
    ordered = [name for name in (order or found) if isinstance(found.get(name), nn.Linear)]
    return tuple(ordered[-1:])


def head_width(module: nn.Module, names: Sequence[str]) -> int | None:
    """How many outputs the head has, or None if that cannot be told."""
    if not names:
        return None
    part = module.get_submodule(names[0])
    width: Any = getattr(part, "out_features", getattr(part, "out_channels", None))
    if not isinstance(width, int):
        width = next((tensor.shape[0] for tensor in part.parameters() if tensor.dim() > 1), None)
    return width if isinstance(width, int) else None


def renew_head(module: nn.Module, names: Sequence[str], num_outputs: int, seed: int) -> None:
    """Give the module a new head of ``num_outputs``, drawn from (seed, "head").

    Raises:
        ModelError: there is no head to replace.
    """
    with drawn_from(seed, "head"):
        if callable(reset := getattr(module, "reset_classifier", None)):
            reset(num_outputs)
            return
        old = module.get_submodule(names[0]) if names and names[0] else None
        if not isinstance(old, nn.Linear):
            raise ModelError(
                f"{type(module).__qualname__}: has no nn.Linear inside that could become the head; "
                "give it the methods get_classifier() and reset_classifier(num_outputs)"
            )
        parent, _, last = names[0].rpartition(".")
        new = nn.Linear(old.in_features, num_outputs, bias=old.bias is not None, dtype=old.weight.dtype)
        setattr(module.get_submodule(parent), last, new)


class HeadDropout:
    """A forward pre-hook: dropout on what goes into the head, while the head is in train mode."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, head: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Drop from the first argument."""
        first, *rest = arguments
        return (functional.dropout(first, p=self.rate, training=head.training), *rest)
