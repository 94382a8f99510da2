"""What this machine has; asking imports nothing large where it can be told without."""

import os
import sys
from pathlib import Path

_CARDS = ("nvidia*", "nvhost*", "nvmap", "kfd", "dxg")
"""Below /dev where Linux has a GPU that torch can use."""


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def card_count() -> int:
    """GPUs that torch sees."""
    if sys.platform == "linux" and not any(any(Path("/dev").glob(pattern)) for pattern in _CARDS):
        return 0
    import torch  # noqa: PLC0415 - two seconds

    return torch.cuda.device_count()
