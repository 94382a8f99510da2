"""What a caller gives beside the configuration, as it was given; this loads nothing large."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import nn

Model: TypeAlias = "str | nn.Module"
Data: TypeAlias = str | Path | Sequence[Any]


@dataclass(frozen=True)
class Given:
    """What is not kept with the run: Python objects, and where to run."""

    model: "Model | None"
    data: Data | None
    space: Any
    metric: Callable[..., Any] | None
    address: str | None


def model_name(model: "Model") -> str:
    """A timm name as it is; an own module by its qualified class name."""
    return model if isinstance(model, str) else f"{type(model).__module__}.{type(model).__qualname__}"


def data_source(data: Data | None) -> str | None:
    """A path or built-in name as text; None for datasets, which no file can name."""
    return str(data) if isinstance(data, str | Path) else None
