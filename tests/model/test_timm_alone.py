"""What a search needs before anything trains is imported without torch's compiler, and whoever uses that finds it."""

import subprocess
import sys

PROGRAM = """
import sys
import types
import torch
import autoft.tuner.session
from autoft.cache.measure import _adamw_step
from autoft.model.describe import build_card
from autoft.recipe import ModelConfig

build_card(ModelConfig(name="test_efficientnet"))
weight = torch.nn.Parameter(torch.ones(2))
weight.grad = torch.ones(2)
_adamw_step([weight])()
assert weight.tolist() == [1.0, 1.0]
assert "torch._dynamo" not in sys.modules, "imported"

import torchvision
from timm.models.naflexvit import NaFlexRopeIterator
boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
assert torchvision.ops.roi_align(torch.ones(1, 1, 4, 4), [boxes], 1).item() == 1.0
assert torchvision.ops.roi_align.__globals__["is_compile_supported"]("cpu") in (True, False)
assert hasattr(sys.modules["torch._dynamo.utils"], "counters"), "not torch's own"
try:
    NaFlexRopeIterator.__next__(types.SimpleNamespace(_depth_idx=1, depth=1))
except StopIteration:
    print("not compiled, and called")
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2.0
assert torch.compiler.disable(len)([0]) == 1
assert torch.compiler.disable.__module__ == "torch.compiler"
print("as ever")
"""


def test_the_compiler_is_imported_when_it_is_used():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("not compiled, and called\nas ever\n", 0), done.stderr
