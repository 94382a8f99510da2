import numpy as np
import pytest
import torch

from autoft.data import DataHandle, Splits, Task
from autoft.record import FieldSpec, InputSpec


class Rows:
    def __init__(self, pixels):
        self.pixels = pixels

    def read(self, indices):
        return {"input": self.pixels[indices]}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def noise_of(side=16, *, count=40, content="noise", labels=3):
    """Noise images, more than one micro-batch of them."""
    rng = np.random.default_rng(1)
    names = tuple(f"{number:03d}" for number in range(count))
    return DataHandle(
        name="noise",
        fingerprint="0" * 16,
        task=Task("single_label", tuple("abcde"[:labels])),
        spec=InputSpec({"input": FieldSpec((side, side, 3), "uint8")}, image=True),
        targets=np.arange(count) % labels,
        splits=Splits(*np.split(np.arange(count), [count - 10, count]), names=names, fingerprint="0" * 16),
        groups=None,
        notes=(),
        items=Rows(rng.integers(0, 256, size=(count, side, side, 3), dtype=np.uint8)),
        content=content,
    )


@pytest.fixture
def noise():
    return noise_of
