"""Names of a package that are looked up when they are first used (PEP 562): importing it loads nothing large."""

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


def looked_up(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package.

    Args:
        package: its name.
        homes: the module of each name.
    """

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return found


@contextmanager
def put_off(module: str, *functions: str) -> Iterator[None]:
    """Around the import of what imports a large module, of which little or nothing is used.

    Args:
        module: its name; it is imported when one of its functions is called, or when anything else of it is looked up.
        functions: what is only looked up meanwhile.
    """
    if module in sys.modules:
        yield
        return
    stand_in = ModuleType(module)

    def looked_up_there(name: str) -> Any:
        if name.startswith("__"):  # as Python itself does at every import
            raise AttributeError(name)
        return getattr(real(), name)

    def real() -> ModuleType:
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]
        return import_module(module)

    def later(name: str) -> Callable[..., Any]:
        def call(*values: Any, **options: Any) -> Any:
            return getattr(real(), name)(*values, **options)

        return call

    vars(stand_in).update({name: later(name) for name in functions}, __getattr__=looked_up_there)
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(module) is stand_in:
            del sys.modules[module]


@contextmanager
def much_imported() -> Iterator[Callable[[], None]]:
    """Around an import of something large and the use of it: all of it stays, and is not searched for garbage.

    Searching it takes a tenth of the import's time, and half a second again whenever something else is made. What is
    given is called when all is imported: garbage is searched for from then on, and among what is older again when this
    ends.
    """
    was_on, frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.disable()

    def imported() -> None:
        if not frozen:
            gc.freeze()
        if was_on:
            gc.enable()

    try:
        yield imported
    finally:
        if not frozen:
            gc.unfreeze()
        if was_on:
            gc.enable()
