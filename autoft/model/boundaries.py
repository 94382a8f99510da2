"""Boundaries of a chain at which what arrives is not all that the segments above need, or not one row per item."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from autoft.errors import ModelError
from autoft.model.chain import Chain
from autoft.model.inputs import ModelInput, model_input


@torch.no_grad()
def only_sound(chain: Chain, x: ModelInput) -> Chain:
    """The chain without its unsound boundaries, found on an example, in eval mode.

    At a sound one arrives a tensor whose first dimension is the batch, and nothing reaches the segments above on
    another way: left behind by a module below in an attribute, say, or noted by a hook.

    Raises:
        ModelError: none is sound.
    """
    rows = set(_without_rows(chain, x))
    unsound = rows | set(_bypassed(chain.without(rows), x))
    if len(chain) > 1 and len(unsound) == len(chain) - 1:
        raise ModelError("between no two groups flows one row per item, and that alone")
    return chain.without(unsound)


def _without_rows(chain: Chain, x: ModelInput) -> Iterator[int]:
    """Where the batch is not the first dimension, or another one grows with it."""
    longer = {name: torch.cat([field, field[-1:]]) for name, field in _fields(x).items()}
    count = len(next(iter(longer.values()))) - 1
    values, more = _passed(chain, x), _passed(chain, model_input(longer))
    for index in range(1, len(chain)):
        if any(chain.segments[:index]) and not _has_rows(values[index], more[index], count):
            yield index


def _has_rows(value: Any, longer: Any, count: int) -> bool:
    if not (isinstance(value, Tensor) and isinstance(longer, Tensor) and value.dim() and longer.dim()):
        return False
    plain = value.layout is torch.strided
    return plain and (len(value), len(longer)) == (count, count + 1) and value.shape[1:] == longer.shape[1:]


def _bypassed(chain: Chain, x: ModelInput) -> Iterator[int]:
    """Where a segment above gives something else after those below have seen another input.

    Segments run from the last to the first, so that what each of them leaves behind is of the other input when the next
    one runs.
    """
    values, other = _passed(chain, x), model_input({name: _altered(field) for name, field in _fields(x).items()})
    _passed(chain, other)
    for index in reversed(range(1, len(chain))):
        if not _is_same(chain, values, index, index + 1):
            for boundary in range(1, index + 1):
                _passed(chain, other)
                if not _is_same(chain, values, boundary, index + 1):
                    yield boundary


def _is_same(chain: Chain, values: Sequence[Any], start: int, stop: int) -> bool:
    found = chain.run(copy.deepcopy(values[start]), start, stop)
    expected = values[stop]
    return found is expected or (isinstance(found, Tensor) and _same_bits(found, expected))


def _same_bits(found: Tensor, expected: Any) -> bool:
    return isinstance(expected, Tensor) and torch.equal(found.nan_to_num(), expected.nan_to_num())


def _passed(chain: Chain, x: Any) -> list[Any]:
    """What enters each segment, and what leaves the last: each with memory of its own, whatever is done in place."""
    values = [x]
    for index in range(len(chain)):
        values.append(chain.run(copy.deepcopy(values[-1]), index, index + 1))
    return values


def _fields(x: ModelInput) -> dict[str, Tensor]:
    return {"input": x} if isinstance(x, Tensor) else dict(x)


def _altered(field: Tensor) -> Tensor:
    """Another input that a model takes where it takes this one."""
    return field.flip(0) * 0.5 + 0.25 if field.is_floating_point() else field.flip(0)
