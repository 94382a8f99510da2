"""The cache: activations of a frozen prefix, computed once and exact to the bit."""

from autoft.cache.activations import Activations
from autoft.cache.cache import ActivationCache, Need, Prepared, Reuse, reuse_of
from autoft.cache.config import ReuseConfig

__all__ = ["ActivationCache", "Activations", "Need", "Prepared", "Reuse", "ReuseConfig", "reuse_of"]
