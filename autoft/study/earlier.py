"""An earlier study, read and never written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection

from autoft.errors import UnknownNameError, near
from autoft.record import Objective, TrialRecord
from autoft.study.optuna_ledger import records_of
from autoft.study.storage import open_storage, quiet, shown_url, translated


@dataclass(frozen=True)
class EarlierStudy:
    """What another study came to."""

    name: str
    objective: Objective
    """Its metric's name is not known to the database."""
    records: tuple[TrialRecord, ...]
    meta: Mapping[str, Any]

    def best(self, count: int) -> list[TrialRecord]:
        """The best trials of different recipes, best first; those without a value are none."""
        found = [(best.value, record) for record in self.records if (best := record.best(self.objective))]
        found.sort(key=lambda pair: (-self.objective.score(pair[0]), pair[1].number))
        distinct: list[TrialRecord] = []
        for _, record in found:
            if all(record.proposal.recipe != other.proposal.recipe for other in distinct):
                distinct.append(record)
        return distinct[:count]


def read_study(url: str, name: str) -> EarlierStudy:
    """Read a study of a database that exists.

    Raises:
        UnknownNameError: the database has no such study.
        StorageError: the database refuses, or the study was not written by autoft.
    """
    storage = open_storage(url)
    try:
        with translated(url), quiet():
            names = optuna.get_all_study_names(storage)
            if name in names:
                study = optuna.load_study(study_name=name, storage=storage)
                frozen, direction, meta = study.get_trials(deepcopy=False), study.direction, dict(study.user_attrs)
        if name not in names:
            raise UnknownNameError(
                f"the database {shown_url(url)} has no study {name!r}{near(name, names)}; "
                f"it has: {', '.join(sorted(names)) or 'none'}"
            )
        objective = Objective("", "max" if direction == StudyDirection.MAXIMIZE else "min")
        return EarlierStudy(name, objective, tuple(records_of(frozen, f"study {name!r} at {shown_url(url)}")), meta)
    finally:
        storage.remove_session()
        storage.engine.dispose()
