"""A tiny network and tiny data, importable by worker processes."""

import torch
from torch import nn
from torch.utils.data import TensorDataset


class TinyNet(nn.Module):
    """Two blocks and a head: enough to freeze."""

    def __init__(self, *, fail_in_training=False, most_rows=None):
        super().__init__()
        self.block1 = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
        self.block2 = nn.Sequential(nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, 3)
        self.fail_in_training = fail_in_training
        self.most_rows = most_rows
        """In training; more need more memory than there is."""

    def forward(self, x):
        if self.fail_in_training and self.training:
            raise RuntimeError("this network never trains")
        if self.most_rows and self.training and len(x) > self.most_rows:
            torch.empty(2**60, dtype=torch.uint8)
        return self.head(self.block2(self.block1(x)))


def tiny_data(train=48, val=24, test=0, seed=0):
    """Linearly separable points in three classes, as Datasets."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(train + val + test, 8, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    parts = torch.split(torch.arange(len(x)), [train, val, test] if test else [train, val])
    return tuple(TensorDataset(x[part], y[part]) for part in parts)
