"""Layers that become synchronised ones and back; what they compute needs several GPUs."""

import pytest
import torch
from freezing_models import base, images
from torch import nn

from autoft.model import set_eval, synchronise


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100"])
def test_norms_of_trained_groups_are_synchronised_until_they_are_given_back(name):
    loaded = base(name).reset(drop_rate=0.0, drop_path_rate=0.0)
    before = {path: type(part) for path, part in loaded.module.named_modules()}
    set_eval(loaded)
    seen = images(32)
    with torch.no_grad():
        expected = loaded.module(seen)
    trained = {len(loaded.groups) - 2}
    undo = synchronise(loaded, trained)
    synchronised = {
        path for path, part in loaded.module.named_modules() if isinstance(part, nn.SyncBatchNorm) and path in before
    }
    batch_norms = {path for path, kind in before.items() if issubclass(kind, nn.BatchNorm2d)}
    assert synchronised == {path for path in batch_norms if loaded.homes[path] & trained}
    assert synchronised
    with torch.no_grad():
        assert torch.equal(loaded.module(seen), expected), "an activation or the statistics were lost"
    undo()
    assert {path: type(part) for path, part in loaded.module.named_modules()} == before
