"""The memory that training frees: kept by the process until the trial is over, and given back then.

The C library gives large blocks back to the system as soon as they are free. A training step takes them anew each time,
and the system clears every page of them: a tenth of the time of a step on a CPU.
"""

import ctypes
import sys
from functools import cache
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As <malloc.h> of the GNU C library numbers them."""
_MOST = 2**31 - 1


def keep_freed() -> None:
    """Let the process keep what it frees; nothing happens where the C library is another one."""
    if library := _gnu():
        library.mallopt(_MMAP_THRESHOLD, _MOST)
        library.mallopt(_TRIM_THRESHOLD, _MOST)


def give_back() -> None:
    """Give the system what the process has freed so far."""
    if library := _gnu():
        library.malloc_trim(0)


@cache
def _gnu() -> Any:
    """The GNU C library, if this process uses it."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
