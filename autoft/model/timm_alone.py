"""timm, imported without torch's compiler, which takes a quarter of the time and compiles nothing here.

timm imports torchvision, which imports one function of the compiler, and marks a function of its own as one that is
not to be compiled, which imports all of it. Both are put off until they are called; whoever does use the compiler
finds everything as it would be.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch.compiler
from torch import _compile

from autoft.lazily import put_off

_COMPILER = "torch._dynamo"


@contextmanager
def _compiler_put_off() -> Iterator[None]:
    disable = torch.compiler.disable
    torch.compiler.disable = _disable
    try:
        with put_off(f"{_COMPILER}.utils", "is_compile_supported"):
            yield
    finally:
        torch.compiler.disable = disable


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:  # noqa: FBT001, FBT002
    """As `torch.compiler.disable`, in the way in which torch's own optimizers use it: it takes effect when called."""
    return _compile._disable_dynamo(fn, recursive)


if _COMPILER not in sys.modules:
    with _compiler_put_off():
        import_module("timm")
