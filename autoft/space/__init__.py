"""Search spaces: names over dotted recipe paths, drawn through Optuna's distributions."""

from autoft.space.build import RawSpace, build_space
from autoft.space.catalogue import names, portfolio, shipped
from autoft.space.grid import grid_points, middle
from autoft.space.portfolio import Entry
from autoft.space.space import DeclaredSpace, FunctionSpace, SearchSpace
from autoft.space.trial import RandomTrial, RepeatedTrial

__all__ = [
    "DeclaredSpace",
    "Entry",
    "FunctionSpace",
    "RandomTrial",
    "RawSpace",
    "RepeatedTrial",
    "SearchSpace",
    "build_space",
    "grid_points",
    "middle",
    "names",
    "portfolio",
    "shipped",
]
