"""autoft finds the best fine-tuning recipe for a pretrained model.

The public names are looked up when they are first used (PEP 562), so importing autoft costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autoft.lazily import looked_up

if TYPE_CHECKING:
    from autoft.errors import AutoftError
    from autoft.jobs.handover import submit
    from autoft.model import layer_groups
    from autoft.recipe import Recipe, Stage
    from autoft.record import Decision, Evaluation
    from autoft.tuner.compared import compare
    from autoft.tuner.predictor import Predictor
    from autoft.tuner.replay import fine_tune
    from autoft.tuner.result import SearchResult
    from autoft.tuner.search import resume, search

    __version__: str

_HOMES = {
    "AutoftError": "autoft.errors",
    "Decision": "autoft.record",
    "Evaluation": "autoft.record",
    "Predictor": "autoft.tuner.predictor",
    "Recipe": "autoft.recipe",
    "SearchResult": "autoft.tuner.result",
    "Stage": "autoft.recipe",
    "compare": "autoft.tuner.compared",
    "fine_tune": "autoft.tuner.replay",
    "layer_groups": "autoft.model",
    "resume": "autoft.tuner.search",
    "search": "autoft.tuner.search",
    "submit": "autoft.jobs.handover",
}

__all__ = [
    "AutoftError",
    "Decision",
    "Evaluation",
    "Predictor",
    "Recipe",
    "SearchResult",
    "Stage",
    "__version__",
    "compare",
    "fine_tune",
    "layer_groups",
    "resume",
    "search",
    "submit",
]


_looked_up = looked_up(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name != "__version__":
        return _looked_up(name)
    globals()[name] = value = import_module("importlib.metadata").version("autoft")
    return value


def __dir__() -> list[str]:
    """What is public, looked up or not: what a notebook completes."""
    return sorted(__all__)
