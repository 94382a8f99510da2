"""Data: opening and splitting them, the task they pose, and feeding them to a model.

What reads and computes is looked up when it is first used (PEP 562), so that a name can be checked without torch.
"""

from typing import TYPE_CHECKING

from autoft.data.named import BUILT_IN, check_named
from autoft.lazily import looked_up

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

__getattr__ = looked_up(__name__, _HOMES)
