"""The cache: activations of a frozen prefix, computed once and exact to the bit.

What computes is looked up when it is first used (PEP 562), so that the configuration loads without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoft.cache.config import ReuseConfig

if TYPE_CHECKING:
    from autoft.cache.activations import Activations
    from autoft.cache.cache import ActivationCache, Need, Prepared, Reuse, reuse_of

_HOMES = {
    "ActivationCache": "autoft.cache.cache",
    "Activations": "autoft.cache.activations",
    "Need": "autoft.cache.cache",
    "Prepared": "autoft.cache.cache",
    "Reuse": "autoft.cache.cache",
    "reuse_of": "autoft.cache.cache",
}

__all__ = ["ActivationCache", "Activations", "Need", "Prepared", "Reuse", "ReuseConfig", "reuse_of"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoft.cache' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_HOMES[name]), name)
    return value
