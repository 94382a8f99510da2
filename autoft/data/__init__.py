"""Data: opening and splitting them, the task they pose, and feeding them to a model.

What reads and computes is looked up when it is first used (PEP 562), so that a name can be checked without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoft.data.named import BUILT_IN, check_named

if TYPE_CHECKING:
    from autoft.data.handle import DataHandle
    from autoft.data.open import open_data
    from autoft.data.sources import Source
    from autoft.data.splits import Splits
    from autoft.data.task import Task

_HOMES = {
    "DataHandle": "autoft.data.handle",
    "Source": "autoft.data.sources",
    "Splits": "autoft.data.splits",
    "Task": "autoft.data.task",
    "open_data": "autoft.data.open",
}

__all__ = ["BUILT_IN", "DataHandle", "Source", "Splits", "Task", "check_named", "open_data"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoft.data' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_HOMES[name]), name)
    return value
