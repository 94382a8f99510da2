import os
import resource

import pytest
import safetensors.torch
import torch

from autoft.training.tensor_file import _NAMES, digest_of, write_tensors

TENSORS = {
    "odd": torch.randn(3, 5, generator=torch.Generator().manual_seed(1)),
    "flag": torch.tensor([True, False, True]),
    "half": torch.arange(7, dtype=torch.float16),
    "brain": torch.arange(3, dtype=torch.bfloat16),
    "one": torch.tensor(4.5),
    "count": torch.tensor(12),
    "none": torch.empty(0, 4),
    "wäg//é": torch.full((2, 2), float("nan")),
    "large": torch.arange(400_000, dtype=torch.float64),
}


def _bits(tensor):
    return tensor.dtype, tensor.shape, tensor.reshape(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize(
    "tensors",
    [
        pytest.param(TENSORS, id="of many shapes"),
        pytest.param({}, id="none"),
        pytest.param({f"{n}": torch.tensor(float(n)) for n in range(3000)}, id="more than a call takes"),
        pytest.param({str(kind): torch.ones(3).to(kind) for kind in _NAMES}, id="of every kind"),
    ],
)
def test_what_was_written_is_read_by_safetensors(tmp_path, tensors):
    path = tmp_path / "some.safetensors"
    assert write_tensors(path, tensors) == digest_of(path.read_bytes())
    found = safetensors.torch.load_file(path)
    assert {name: _bits(tensor) for name, tensor in found.items()} == {n: _bits(t) for n, t in tensors.items()}


def test_a_disk_that_takes_a_part_at_a_time_gets_all_of_it(tmp_path, monkeypatch):
    whole = os.writev
    monkeypatch.setattr("autoft.training.tensor_file.os.writev", lambda file, parts: whole(file, [parts[0][:100_003]]))
    write_tensors(tmp_path / "some.safetensors", TENSORS)
    found = safetensors.torch.load_file(tmp_path / "some.safetensors")
    assert {name: _bits(tensor) for name, tensor in found.items()} == {n: _bits(t) for n, t in TENSORS.items()}


def test_a_file_that_may_not_grow_that_large_is_an_error(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_tensors(tmp_path / "some.safetensors", TENSORS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
