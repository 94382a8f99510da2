"""The ledger as an Optuna study in a database: what dashboards read, and all that a resume needs."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from autoft.errors import StorageError
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState, best_evaluation
from autoft.study.memory import MemoryLedger
from autoft.study.patience import Answer, Patience
from autoft.study.storage import creation, open_storage, quiet, shown_url, translated

PROPOSAL, EVALUATION = "proposal", "evaluation:"


class OptunaLedger(MemoryLedger):
    """A `Ledger` that writes through to a database; reads cost nothing.

    A trial is one row with its proposal as a user attribute, one user attribute and one intermediate value (best so
    far, with the evaluation's index as step) per evaluation, and ``reason`` and ``reason_text``.

    Raises:
        ConfigError: not a storage URL.
        StorageError: the database refuses, or holds a study of that name that this search cannot go on with.
    """

    def __init__(self, url: str, study_name: str, objective: Objective, *, busy_timeout_s: float = 30.0) -> None:
        self.url, self._patience = url, Patience()
        self._backend = open_storage(url, busy_timeout_s=busy_timeout_s)
        with translated(url):
            self.study = _open_study(self._backend, study_name, objective, url)
            frozen = self.study.get_trials(deepcopy=False)
            super().__init__(objective, records_of(frozen, f"study {study_name!r} at {shown_url(url)}"))
            self._meta = dict(self.study.user_attrs)
        self._ids = {trial.number: trial._trial_id for trial in frozen}
        self._distributions: dict[str, BaseDistribution] = {}
        for trial in frozen:
            self._distributions |= trial.distributions

    def start(self, proposal: Proposal) -> int:
        """Begin a trial, in one transaction."""
        params, distributions = self._optuna_params(proposal)
        template = create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=params,
            distributions=distributions,
            user_attrs={PROPOSAL: proposal.plain(), "origin": proposal.origin},
            system_attrs=creation(),
        )
        identity = self._written(lambda: self._storage.create_new_trial(self.study._study_id, template))
        number = self._storage.get_trial_number_from_id(identity)
        if number != len(self._records):
            raise StorageError(
                f"study {self.study.study_name!r} at {shown_url(self.url)} was written to by another process; "
                f"give each search its own study name"
            )
        self._ids[number] = identity
        self._distributions |= distributions
        return super().start(proposal)

    def report(self, number: int, evaluation: Evaluation) -> None:
        """Keep an evaluation, and the best value so far as the intermediate value of its step."""
        before, record = self.trial(number), self._evaluated(number, evaluation)
        best = best_evaluation(record.curve, self.objective)
        identity = self._ids[number]

        def write() -> None:
            self._storage.set_trial_user_attr(identity, f"{EVALUATION}{evaluation.index}", evaluation.plain())
            if best is not None:
                self._storage.set_trial_intermediate_value(identity, evaluation.index, best.value)
            for lost in before.curve:
                if lost.index > evaluation.index:
                    self._forget(identity, lost.index, best)

        self._written(write)
        super().report(number, evaluation)

    def finish(self, number: int, state: TrialState, reason: str = "", reason_text: str = "") -> None:
        """End a trial."""
        record = self._ended(number, state, reason, reason_text)
        best = record.best(self.objective)
        values = None if best is None or record.state == TrialState.FAIL else [best.value]
        self._set_reason(number, record.reason, record.reason_text)
        self._written(lambda: self._end_row(self._ids[number], _optuna_state(record.state), values))
        super().finish(number, state, reason, reason_text)

    def suspend(self, number: int, reason: str = "", reason_text: str = "") -> None:
        """Set a trial that has not ended to WAITING, with the reason if it was paused."""
        self._set_reason(number, reason, reason_text)
        self._set_state(number, TrialState.WAITING)
        super().suspend(number, reason, reason_text)

    def reenter(self, number: int) -> None:
        """Set a trial that has not ended to RUNNING."""
        self._set_reason(number, "", "")
        self._set_state(number, TrialState.RUNNING)
        super().reenter(number)

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a fact about the study, as a user attribute of it."""
        self._written(lambda: self.study.set_user_attr(key, value))
        super().set_meta(key, value)

    def close(self) -> None:
        """Close the connections."""
        with translated(self.url):
            self._backend.remove_session()
            self._backend.engine.dispose()

    @property
    def _storage(self) -> optuna.storages.BaseStorage:
        return self.study._storage

    def _written(self, write: Callable[[], Answer]) -> Answer:
        """Do what may be done more than once; a server that is away is waited for."""

        def once() -> Answer:
            with translated(self.url):
                return write()

        return self._patience(once)

    def _end_row(self, identity: int, state: optuna.trial.TrialState, values: list[float] | None) -> None:
        try:
            self._storage.set_trial_state_values(identity, state, values)
        except optuna.exceptions.UpdateFinishedTrialError:  # the answer to the first attempt was lost
            if self._backend.get_trial(identity).state != state:
                raise

    def _set_state(self, number: int, state: TrialState) -> None:
        if self._unended(number).state != state:
            self._written(lambda: self._storage.set_trial_state_values(self._ids[number], _optuna_state(state)))

    def _set_reason(self, number: int, reason: str, text: str) -> None:
        """Write what differs from what the database has: most trials have no reason until they end."""
        before = self._unended(number)
        changes = {"reason": (before.reason, reason), "reason_text": (before.reason_text, text)}

        def write() -> None:
            for key, (old, new) in changes.items():
                if new != old:
                    self._storage.set_trial_user_attr(self._ids[number], key, new)

        self._written(write)

    def _forget(self, identity: int, index: int, best: Evaluation | None) -> None:
        """Optuna deletes nothing: the evaluation becomes null, and its step as good as the best before it."""
        self._storage.set_trial_user_attr(identity, f"{EVALUATION}{index}", None)
        if best is not None:
            self._storage.set_trial_intermediate_value(identity, index, best.value)

    def _optuna_params(self, proposal: Proposal) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """The parameters that Optuna can hold: those whose distribution is given and agrees with the study's."""
        distributions = {name: json_to_distribution(text) for name, text in proposal.distributions.items()}
        held = {
            name: distribution
            for name, distribution in distributions.items()
            if name in proposal.params and _agree(self._distributions.get(name), distribution)
        }
        return {name: proposal.params[name] for name in held}, held


def _open_study(storage: optuna.storages.RDBStorage, name: str, objective: Objective, url: str) -> optuna.Study:
    direction = StudyDirection.MAXIMIZE if objective.mode == "max" else StudyDirection.MINIMIZE
    with quiet():
        study = optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    if study.directions != [direction]:
        raise StorageError(
            f"study {name!r} at {shown_url(url)} does not {direction.name.lower()}, as {objective.metric} asks for; "
            f"choose another study name"
        )
    return study


def records_of(trials: list[FrozenTrial], where: str) -> Iterator[TrialRecord]:
    """What the rows of a study tell of its trials.

    Raises:
        StorageError: a trial was not written by autoft.
    """
    finished = sorted((trial for trial in trials if trial.state.is_finished()), key=_end)
    order = {trial.number: place for place, trial in enumerate(finished, start=1)}
    for trial in trials:
        if PROPOSAL not in trial.user_attrs:
            raise StorageError(f"{where}: trial {trial.number} was not written by autoft; choose another study name")
        yield TrialRecord(
            number=trial.number,
            state=TrialState(trial.state.name),
            proposal=Proposal.from_plain(trial.user_attrs[PROPOSAL]),
            curve=tuple(sorted(_evaluations(trial.user_attrs), key=lambda one: one.index)),
            reason=trial.user_attrs.get("reason", ""),
            reason_text=trial.user_attrs.get("reason_text", ""),
            ended=order.get(trial.number),
        )


def _evaluations(attributes: Mapping[str, Any]) -> Iterator[Evaluation]:
    for key, plain in attributes.items():
        if key.startswith(EVALUATION) and plain is not None:
            yield Evaluation.from_plain(plain)


def _end(trial: FrozenTrial) -> tuple[float, int]:
    return (trial.datetime_complete.timestamp() if trial.datetime_complete else 0.0, trial.number)


def _optuna_state(state: TrialState) -> optuna.trial.TrialState:
    return optuna.trial.TrialState[state.name]


def _agree(held: BaseDistribution | None, new: BaseDistribution) -> bool:
    try:
        optuna.distributions.check_distribution_compatibility(held or new, new)
    except ValueError:
        return False
    return True
