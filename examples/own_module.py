"""Search a recipe for a module of your own on Datasets of your own; here a small network on generated sequences.

python examples/own_module.py --num-samples 6
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import autoft


class SequenceNet(nn.Module):
    """Two convolutions, an average over time, and a classifier."""

    def __init__(self, *, channels: int = 8, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, channels, 5, padding=2), nn.BatchNorm1d(channels), nn.ReLU())
        self.body = nn.Sequential(nn.Conv1d(channels, channels, 5, padding=2), nn.BatchNorm1d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Sequences (B, 1, length) to logits (B, classes)."""
        features: Tensor = self.body(self.stem(inputs)).mean(dim=-1)
        logits: Tensor = self.classifier(features)
        return logits


def waves(count: int, *, seed: int, length: int = 64) -> TensorDataset:
    """Noisy sines whose frequency is the class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 3, (count,), generator=generator)
    time = torch.linspace(0, 6.28, length)
    phase = torch.rand(count, 1, generator=generator) * 6.28
    clean = torch.sin((2.0 + 3.0 * targets[:, None]) * time + phase)
    noise = 0.3 * torch.randn(count, length, generator=generator)
    return TensorDataset((clean + noise)[:, None, :], targets)


def main() -> None:
    """Show the layer groups, search, and use the fitted module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-samples", type=int, default=6)
    parser.add_argument("--time-budget-s", type=float, default=120.0)
    parser.add_argument("--storage-path", type=Path, default=Path("runs"))
    options = parser.parse_args()

    torch.manual_seed(0)  # a run that goes on needs the module with the weights that it began with
    module = SequenceNet()
    for group in autoft.layer_groups(module):
        print(f"{group.name}: {len(group.parameters)} parameter tensors")

    data = (waves(256, seed=0), waves(64, seed=1), waves(64, seed=2))  # train, validation, test
    result = autoft.search(
        model=module,
        data=data,
        num_samples=options.num_samples,
        time_budget_s=options.time_budget_s,
        name="own_module",
        storage_path=options.storage_path,
    )
    print(f"best {result.summary['metric']}: {result.summary['best_value']:.4f}, on the test split: {result.test}")

    fitted = autoft.fine_tune(result.best_recipe, data=data, model=module)
    with torch.no_grad():
        predicted = fitted.module(torch.stack([data[2][0][0]])).argmax(dim=1)
    print(f"predicted class of the first test sequence: {fitted.classes[int(predicted)]}")


if __name__ == "__main__":
    main()
