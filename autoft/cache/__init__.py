"""The cache: activations of a frozen prefix, computed once and exact to the bit.

What computes is looked up when it is first used (PEP 562), so that the configuration loads without torch.
"""

from typing import TYPE_CHECKING

from autoft.cache.config import ReuseConfig
from autoft.lazily import looked_up

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

__getattr__ = looked_up(__name__, _HOMES)
