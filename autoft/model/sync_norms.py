"""Batch statistics over the whole batch, where its items lie on several GPUs."""

from collections.abc import Callable, Iterable

from timm.layers import BatchNormAct2d, SyncBatchNormAct  # type: ignore[attr-defined]
from torch import nn

from autoft.model.load import LoadedModel


def synchronise(loaded: LoadedModel, groups: Iterable[int]) -> Callable[[], None]:
    """Let every BatchNorm of some layer groups count the items of all ranks in training; on GPUs only.

    The modules stay the same objects, since chains and optimizers know them: they behave as torch's SyncBatchNorm, or
    timm's for layers that hold an activation too, until the returned function is called.
    """
    trained, found = set(groups), []
    for name, part in loaded.module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and loaded.homes[name] & trained:
            found.append((part, type(part)))
            part.process_group = None  # type: ignore[assignment]  # that of all ranks
            part.__class__ = SyncBatchNormAct if isinstance(part, BatchNormAct2d) else nn.SyncBatchNorm

    def undo() -> None:
        for part, kind in found:
            part.__class__ = kind

    return undo
