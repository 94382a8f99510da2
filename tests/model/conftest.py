"""Models shared by the tests: built once, copied by `reset`."""

from collections.abc import Callable

import pytest
import torch
from freezing_models import NAMES, SIZES, HandWritten, base, images
from torch import Tensor, nn

from autoft.model import LoadedModel


@pytest.fixture
def fresh() -> Callable[..., LoadedModel]:
    """A fresh model by name, with drop rates."""

    def make(name: str, **rates: float) -> LoadedModel:
        return base(name).reset(**rates)

    return make


@pytest.fixture
def inputs() -> Callable[..., Tensor]:
    """A batch for a model by name."""

    def make(name: str, *, batch: int = 4, seed: int = 0) -> Tensor:
        return images(SIZES.get(name, 16), batch=batch, seed=seed)

    return make


@pytest.fixture
def hand_written() -> type[nn.Module]:
    return HandWritten


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
