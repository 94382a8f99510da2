"""The result of a search, read from its run folder."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from autoft.errors import RunError
from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord
from autoft.study import OptunaLedger, shown_url, sqlite_url
from autoft.tuner.place import read_folder
from autoft.tuner.run_folder import RunFolder

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Example:
        >>> result = autoft.search(model="resnet18", data="photos/")  # doctest: +SKIP
        >>> result.best_recipe.save("best.yaml")  # doctest: +SKIP
    """

    path: Path
    """The run folder."""
    summary: dict[str, Any]
    """The content of summary.json."""
    url: str | None = None
    """Of the run, where it is kept at one; then ``path`` is this machine's copy."""

    @property
    def place(self) -> str:
        """The run as the command line takes it: its URL or its folder."""
        return self.url or str(self.path)

    @property
    def best_recipe(self) -> Recipe:
        """The winner's recipe, as run."""
        return Recipe.load(RunFolder(self.path).best_recipe)

    @property
    def best_value(self) -> float:
        """The winner's metric on the validation split."""
        return float(self.summary["best_value"])

    @property
    def test(self) -> dict[str, float] | None:
        """Metrics on the test split of the model that was written; None without one."""
        test: dict[str, float] | None = self.summary["test"]
        return test

    @property
    def confirmation(self) -> dict[str, Any] | None:
        """What the runs with fresh seeds said: candidates, winner, why, what unfreezing bought; None without any."""
        confirmation: dict[str, Any] | None = self.summary.get("confirmation")
        return confirmation

    @property
    def pareto(self) -> dict[str, Any]:
        """The objectives with their modes, and the trials that no other betters in all of them.

        Raises:
            RunError: the search had one objective.
        """
        if "pareto" not in self.summary:
            raise RunError(
                f"{self.place}: had one objective, {self.summary['metric']}; for a front of its trials: autoft resume "
                f"{self.place} --set search.objectives=[{self.summary['metric']},cost]"
            )
        front: dict[str, Any] = self.summary["pareto"]
        return front

    def trials_dataframe(self) -> pd.DataFrame:
        """One row per trial: state, reason, value, stage, epochs, seconds, parameters."""
        return pd.read_csv(RunFolder(self.path).trials_csv, keep_default_na=True)

    def history(self) -> pd.DataFrame:
        """One row per evaluation, in the order of time."""
        return pd.read_csv(RunFolder(self.path).history_csv)

    @cached_property
    def ledger(self) -> OptunaLedger:
        """The study with autoft's records."""
        folder = RunFolder(self.path)
        objective = Objective(self.summary["metric"], self.summary["mode"])
        return open_ledger(folder, objective, folder.read_config().search.storage)

    @property
    def study(self) -> "optuna.Study":
        """The Optuna study."""
        return self.ledger.study

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials with their curves."""
        return self.ledger.trials()


def open_confirmation(folder: RunFolder, objective: Objective, storage: str | None) -> OptunaLedger:
    """The ledger of a run's confirmation: a study of its own beside that of the trials."""
    return OptunaLedger(storage or sqlite_url(folder.database.resolve()), f"{folder.name} (confirmation)", objective)


def open_ledger(folder: RunFolder, objective: Objective, storage: str | None) -> OptunaLedger:
    """The ledger of a run: study.db in its folder, or the study of its name in another Optuna storage.

    Raises:
        RunError: the run begins, and the storage has a study of that name already.
    """
    ledger = OptunaLedger(storage or sqlite_url(folder.database.resolve()), folder.name, objective)
    if not folder.exists and ledger.trials():
        with ledger:
            raise RunError(
                f"search.storage: {shown_url(ledger.url)} has a study {folder.name!r} of another run, with "
                f"{len(ledger.trials())} trials; choose another --name, or go on with that run by autoft resume"
            )
    return ledger


def load_result(run: str | Path) -> SearchResult:
    """Read the result of a run, from its folder or its URL.

    Raises:
        RunError: not a run, or its search has not come to a result yet.
        StorageError: its URL cannot be reached.
    """
    folder = read_folder(run)
    if not folder.exists:
        raise RunError(
            f"{folder.place}: is not a run: it has no {folder.config_file.name}; start one with autoft search"
        )
    summary = folder.read_json(folder.summary)
    return SearchResult(path=folder.path, summary=summary, url=folder.place if folder.url else None)
