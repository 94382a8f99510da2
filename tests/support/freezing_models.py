"""The models that the laws of freezing and of reuse are tested on: built once per process, copied by `reset`."""

import functools

import torch
from torch import Tensor, nn

from autoft.model import LoadedModel, load_model
from autoft.recipe import ModelConfig

SIZES = {
    "resnet18": 32,
    "mobilenetv3_small_100": 32,
    "tf_efficientnet_lite0": 32,
    "vit_tiny_patch16_224": 32,
    "convnext_atto": 32,
    "swin_tiny_patch4_window7_224": 32,
}
NAMES = (*SIZES, "hand-written")
NUM_OUTPUTS = 5


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.InstanceNorm2d(channels, affine=True, track_running_stats=True)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(torch.relu(self.norm(self.conv(x))))


class HandWritten(nn.Module):
    """Every trap: three kinds of norm, one without parameters, dropout, a shared convolution, a plain buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.register_buffer("shift", torch.zeros(8, 1, 1))
        self.blocks = nn.Sequential(Block(8), Block(8), Block(8))
        self.blocks[2].conv = self.blocks[0].conv
        self.bare_norm = nn.BatchNorm2d(8, affine=False)
        self.neck = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, NUM_OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x)) + self.shift
        x = self.bare_norm(self.blocks(x))
        x = x.mean((2, 3))
        return self.fc(self.drop(self.neck(x)))


def images(size: int, *, batch: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


@functools.cache
def base(name: str) -> LoadedModel:
    torch.manual_seed(1)
    config = ModelConfig(name=name, weights="pretrained" if name == "hand-written" else "random")
    if name == "hand-written":
        example = {"input": images(16, batch=2)}
        return load_model(config, num_outputs=NUM_OUTPUTS, module=HandWritten(), example=example)
    return load_model(config, num_outputs=NUM_OUTPUTS, image_size=SIZES[name])
