"""Search spaces: names over dotted recipe paths, drawn through Optuna's distributions."""

from autoft.space.build import RawSpace, build_space
from autoft.space.catalogue import names, shipped
from autoft.space.space import DeclaredSpace, FunctionSpace, SearchSpace
from autoft.space.trial import RandomTrial

__all__ = [
    "DeclaredSpace",
    "FunctionSpace",
    "RandomTrial",
    "RawSpace",
    "SearchSpace",
    "build_space",
    "names",
    "shipped",
]
