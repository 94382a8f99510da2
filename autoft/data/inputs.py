"""From decoded items to what a model takes."""

from collections.abc import Mapping

from torch import Tensor

from autoft.data.augment import normalise
from autoft.data.handle import DataHandle
from autoft.record import ModelCard


def as_inputs(fields: Mapping[str, Tensor], data: DataHandle, card: ModelCard) -> dict[str, Tensor]:
    """What the model takes: decoded images normalised, other fields as they are."""
    if not data.spec.image:
        return dict(fields)
    return {name: normalise(field, card.mean, card.std) for name, field in fields.items()}
