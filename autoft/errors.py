"""Everything autoft raises on purpose.

Every message says what is wrong with its value, the rule it breaks and what to do about it.
The members are also built-in exceptions, so ``except ValueError`` works as a Python user expects.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class AutoftError(Exception):
    """Root of the tree. ``exit_code`` is what the command line ends with."""

    exit_code = 1


class ConfigError(AutoftError, ValueError):
    """A value in a recipe, a search space, ``search.yaml`` or on the command line breaks a rule."""

    exit_code = 2


class UnknownNameError(AutoftError, LookupError):
    """A name (model, metric, search space, built-in data set) is not known."""

    exit_code = 2

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DataError(AutoftError, ValueError):
    """The data cannot be used as they are."""

    exit_code = 2


class ModelError(AutoftError, ValueError):
    """The model cannot be cut, frozen or given a head as asked."""

    exit_code = 2


class WeightsError(ModelError):
    """Pretrained weights cannot be had, or do not fit the model."""


class RunError(AutoftError, ValueError):
    """A run folder cannot be used: another model or data, not a run, a bad name."""

    exit_code = 2


class RunLockedError(AutoftError, RuntimeError):
    """Another process works in the run folder."""

    exit_code = 2


class StorageError(AutoftError, OSError):
    """The disk or the study's database refused to read or to write."""

    exit_code = 2

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class FreezeError(AutoftError, AssertionError):
    """A freezing law was broken: a frozen parameter or buffer changed, or a trainable one was not held."""


class SearchFailedError(AutoftError, RuntimeError):
    """The search ended without a result, or the same crash came too often."""


class DivergedError(AutoftError, ArithmeticError):
    """A fine-tune diverged before any evaluation gave a number."""


class SearchInterruptedError(AutoftError, RuntimeError):
    """The search was interrupted by the user; the run folder can be resumed."""

    exit_code = 130


class ClusterError(AutoftError, RuntimeError):
    """A Ray cluster cannot be reached, refuses, or cannot start a job."""

    exit_code = 2


class JobFailedError(AutoftError, RuntimeError):
    """A job on a cluster ended without success; ``exit_code`` is that of the job."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class DetachedError(AutoftError, RuntimeError):
    """Whoever followed a job went away; the job goes on."""

    exit_code = 130


def near(name: str, known: Iterable[str]) -> str:
    """A hint that ends an error message: the known names nearest to ``name``, or nothing."""
    matches = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" (did you mean {', '.join(repr(match) for match in matches)}?)" if matches else ""


def described(error: BaseException) -> str:
    """An exception's type and message, in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(":")
