"""Data: opening and splitting them, the task they pose, and feeding them to a model."""

from autoft.data.handle import DataHandle
from autoft.data.open import open_data
from autoft.data.sources import Source
from autoft.data.sources.builtin import BUILTINS
from autoft.data.splits import Splits
from autoft.data.task import Task

__all__ = ["BUILTINS", "DataHandle", "Source", "Splits", "Task", "open_data"]
