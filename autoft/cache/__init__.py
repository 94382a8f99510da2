"""The cache: activations of a frozen prefix, computed once and exact to the bit."""

from autoft.cache.activations import Activations
from autoft.cache.cache import ActivationCache, Need, Prepared, Reuse, reuse_of

__all__ = ["ActivationCache", "Activations", "Need", "Prepared", "Reuse", "reuse_of"]
