"""What one sees while a search runs: a live view on a terminal, plain lines elsewhere; both on standard error."""

import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autoft.cli.output import duration, note, number, size
from autoft.record import Evaluation, TrialRecord, TrialState
from autoft.tuner.observer import Observer, SearchPlan, Silent

if TYPE_CHECKING:
    from autoft.tuner.forecast import Forecast

_RECENT = 4
_BAR_WIDTH = 30


@contextmanager
def progress(*, quiet: bool) -> Iterator[Observer]:
    """The observer that suits standard error: silent, live or in lines."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        view = LiveProgress()
        with Live(
            get_renderable=view.render, console=Console(stderr=True), refresh_per_second=2, redirect_stdout=False
        ) as live:
            yield view
            live.refresh()
    else:
        yield LineProgress()


def title(trial: TrialRecord) -> str:
    """A trial in a few words: its baseline's name, or what was drawn for it."""
    if trial.baseline:
        return trial.baseline
    drawn = " ".join(f"{name}={number(value)}" for name, value in trial.proposal.params.items())
    return drawn or trial.proposal.origin


def ending(trial: TrialRecord) -> str:
    """How a trial ended: its state, or that it is paused, and the reason if there is one."""
    reason = ": ".join(part for part in (trial.reason, trial.reason_text) if part)
    state = "paused" if trial.paused else trial.state.value.lower()
    return f"{state}{f' ({reason})' if reason else ''}"


def planned(forecast: "Forecast") -> str:
    """The plan of a search in a sentence: how it uses the machine, what it keeps, what that will cost."""
    layout = forecast.layout
    side_by_side = f"{layout.slots.count} at a time, {layout.threads} thread{'s' * (layout.threads > 1)} each"
    parts = [f"{side_by_side}, {layout.memory_format}"]
    if forecast.kept:
        names = ", ".join(each.group for each in forecast.kept)
        parts.append(f"keeps {size(forecast.nbytes)} after {names}, built in {duration(forecast.building_s)}")
    if forecast.trials_s is not None and forecast.trials_without_reuse_s is not None:
        without = f" ({duration(forecast.trials_without_reuse_s)} without reuse)" if forecast.kept else ""
        parts.append(f"{duration(forecast.trials_s)} of computing predicted{without}")
    return "; ".join(parts)


@dataclass
class LiveProgress:
    """Keeps what the view shows; `render` draws it."""

    clock: Callable[[], float] = time.monotonic
    plan: SearchPlan | None = None
    ended: int = 0
    best: float | None = None
    best_trial: str = ""
    running: dict[int, tuple[TrialRecord, Evaluation | None]] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    recent: deque[str] = field(default_factory=lambda: deque(maxlen=_RECENT))
    notes: list[str] = field(default_factory=list)
    saved_s: float = 0.0

    def __post_init__(self) -> None:
        self._started_at = self.clock()

    def note(self, text: str) -> None:
        """Keep a note under the view."""
        self.notes.append(text)

    def started(self, plan: SearchPlan) -> None:
        """Show what is searched."""
        self.plan, self.ended, self.saved_s = plan, plan.finished_trials, plan.saved_s
        self._started_at = self.clock()
        if plan.best and (best := plan.best.best(plan.objective)):
            self.best, self.best_trial = best.value, _named(plan.best)

    def trial_started(self, trial: TrialRecord) -> None:
        """Show the trial among the running ones."""
        self.paused.discard(trial.number)
        self.running[trial.number] = (trial, None)

    def evaluated(self, trial: TrialRecord, evaluation: Evaluation, best: float | None) -> None:
        """Show how far the trial is."""
        self.running[trial.number] = (trial, evaluation)
        self.saved_s += evaluation.saved_s
        if best is not None and best != self.best:
            self.best, self.best_trial = best, _named(trial)

    def trial_ended(self, trial: TrialRecord) -> None:
        """Count the trial and show its reason."""
        self.running.pop(trial.number, None)
        self.paused.discard(trial.number)
        if trial.paused:
            self.paused.add(trial.number)
        self.recent.append(f"#{trial.number} {ending(trial)}")
        if trial.state.finished:
            self.ended += 1
            self.outcomes[trial.reason or trial.state.value.lower()] += 1

    def render(self) -> RenderableType:
        """The view as it stands."""
        if self.plan is None:
            return Group(*self._notes(), Text(f"preparing {duration(self.clock() - self._started_at)}", style="dim"))
        return Group(*self._notes(), self._summary(self.plan), *self._running(), *self._recent())

    def _summary(self, plan: SearchPlan) -> Table:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold")
        grid.add_column()
        objective = plan.objective
        grid.add_row("search", Text(f"{plan.place}  {plan.model.name} on {plan.data}"))
        waiting = f", {len(self.paused)} paused" if self.paused else ""
        grid.add_row("trials", _bar(self.ended, plan.num_samples, f"{self.ended} of {plan.num_samples}{waiting}"))
        grid.add_row("budget", self._budget(plan))
        if plan.forecast:
            grid.add_row("plan", Text(planned(plan.forecast)))
        if self.saved_s > 0:
            grid.add_row("saved", Text(f"{duration(self.saved_s)} of computing by reuse so far"))
        shown = f"{objective.metric} {number(self.best)}  {self.best_trial}" if self.best is not None else "-"
        grid.add_row("best", Text(shown, style="green"))
        grid.add_row("ended", Text(", ".join(f"{count} {name}" for name, count in self.outcomes.most_common()) or "-"))
        return grid

    def _budget(self, plan: SearchPlan) -> RenderableType:
        spent = self.clock() - self._started_at
        if plan.time_left_s is None:
            return Text(f"{duration(spent)}, no time budget")
        left = max(0.0, plan.time_left_s - spent)
        return _bar(spent, plan.time_left_s, f"{duration(left)} left")

    def _running(self) -> Iterator[RenderableType]:
        for trial, evaluation in list(self.running.values()):
            where = (
                f"{evaluation.stage} epoch {evaluation.epoch:g} value {number(evaluation.value)}" if evaluation else ""
            )
            yield _line(f"running #{trial.number} {where or 'starting'}  {title(trial)}", "cyan")

    def _recent(self) -> Iterator[RenderableType]:
        return (_line(text, "dim") for text in list(self.recent))

    def _notes(self) -> Iterator[RenderableType]:
        return (Text(text, style="yellow") for text in list(self.notes))


def _bar(done: float, total: float, text: str) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=max(total, 1e-9), completed=min(done, total), width=_BAR_WIDTH), Text(text))
    return grid


def _named(trial: TrialRecord) -> str:
    return f"trial {trial.number}: {title(trial)}"


def _line(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


class LineProgress:
    """One line per event: for logs and pipes."""

    def __init__(self) -> None:
        self._best: float | None = None
        self._metric = "value"
        self._ended = 0
        self._total = 0

    def note(self, text: str) -> None:
        """Print it."""
        note(text)

    def started(self, plan: SearchPlan) -> None:
        """Print what is searched."""
        self._metric, self._ended, self._total = plan.objective.metric, plan.finished_trials, plan.num_samples
        items = ", ".join(f"{count} {name}" for name, count in plan.items.items())
        budget = "no time budget" if plan.time_left_s is None else f"{duration(max(0.0, plan.time_left_s))} left"
        note(f"{plan.place}: {plan.model.name} on {plan.data} ({items}), {plan.num_samples} trials, {budget}")
        if plan.forecast:
            note(f"plan: {planned(plan.forecast)}")
        if plan.best and (best := plan.best.best(plan.objective)):
            self._tell_best(plan.best, best, best.value)

    def trial_started(self, trial: TrialRecord) -> None:
        """Print what is tried."""
        note(f"trial {trial.number} started: {title(trial)}")

    def evaluated(self, trial: TrialRecord, evaluation: Evaluation, best: float | None) -> None:
        """Print a new best value."""
        if best is not None and best != self._best and math.isfinite(best):
            self._tell_best(trial, evaluation, best)

    def _tell_best(self, trial: TrialRecord, evaluation: Evaluation, best: float) -> None:
        self._best = best
        where = f"{evaluation.stage} epoch {evaluation.epoch:g}"
        note(f"trial {trial.number} best so far: {self._metric} {number(best)} ({where})")

    def trial_ended(self, trial: TrialRecord) -> None:
        """Print how it ended."""
        self._ended += trial.state.finished
        count = f" [{self._ended}/{self._total}]" if trial.state is not TrialState.WAITING else ""
        note(f"trial {trial.number} {ending(trial)}{count}")
