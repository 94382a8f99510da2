"""timm, imported without torch's compiler, which takes a quarter of the time and compiles nothing here.

timm imports torchvision, which imports one function of the compiler, and marks a function of its own as one that is
not to be compiled, which imports all of it. Both are put off until they are called; whoever does use the compiler
finds everything as it would be.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

import torch.compiler
from torch import _compile

_COMPILER = "torch._dynamo"
_OF_TORCHVISION = f"{_COMPILER}.utils"


@contextmanager
def _put_off() -> Iterator[None]:
    asked = ModuleType(_OF_TORCHVISION)
    asked.is_compile_supported = _is_compile_supported  # type: ignore[attr-defined]
    disable = torch.compiler.disable
    sys.modules[_OF_TORCHVISION] = asked
    torch.compiler.disable = _disable
    try:
        yield
    finally:
        torch.compiler.disable = disable
        if sys.modules.get(_OF_TORCHVISION) is asked:
            del sys.modules[_OF_TORCHVISION]


def _is_compile_supported(device_type: str) -> Any:
    return import_module(_OF_TORCHVISION).is_compile_supported(device_type)


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:  # noqa: FBT001, FBT002
    """As `torch.compiler.disable`, in the way in which torch's own optimizers use it: it takes effect when called."""
    return _compile._disable_dynamo(fn, recursive)


if _COMPILER not in sys.modules:
    with _put_off():
        import_module("timm")
