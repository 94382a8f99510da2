"""The end of a search: choose, score the test split once, write what a user keeps."""

import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from autoft.errors import ConfigError, SearchFailedError
from autoft.files import replacing, translated, write_text
from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord
from autoft.statistics import wilson_interval
from autoft.training import Improved, Scorer, best_weights, load_weights, save_model, thread_count
from autoft.training.gains import AVERAGE, AVERAGED
from autoft.training.lengths import averaged
from autoft.tuner.as_json import to_json
from autoft.tuner.closing import Allowance, Closing, Read, forgetting_of
from autoft.tuner.conductor import BUDGET, Conductor
from autoft.tuner.confirmation.plan import again_s
from autoft.tuner.confirmation.refit import KIND, Refit, refit
from autoft.tuner.constant import constant, constant_notes
from autoft.tuner.delivery import Contest, Delivery, deliver
from autoft.tuner.forecast import Forecast
from autoft.tuner.gains import gains_of
from autoft.tuner.latency import LATENCY
from autoft.tuner.layout import device_here
from autoft.tuner.pareto import pareto_front
from autoft.tuner.prepare import Ground
from autoft.tuner.probe import PROBE
from autoft.tuner.rerun import rerun_of
from autoft.tuner.result import SearchResult
from autoft.tuner.run_folder import RunFolder
from autoft.tuner.tables import chosen, history_table, summarise, trials_table
from autoft.tuner.usage import usage

_MODEL = "model"
"""In the place of a trial's number: what best_model.safetensors holds, where that is no trial's own weights."""


def write_tables(folder: RunFolder, records: Sequence[TrialRecord], objective: Objective) -> None:
    """Write trials.csv and history.csv."""
    _write_csv(folder.trials_csv, trials_table(records, objective))
    _write_csv(folder.history_csv, history_table(records, objective))


def conclude(
    folder: RunFolder,
    ground: Ground,
    conductor: Conductor,
    *,
    forecast: Forecast,
    closing: Closing | None,
    confirmation: Mapping[str, Any] | None = None,
    objectives: Sequence[Objective] = (),
) -> SearchResult:
    """Write best_recipe.yaml, best_model.safetensors, the tables and summary.json.

    Args:
        folder: the run.
        ground: model and data.
        conductor: with all records.
        forecast: what was planned; it names a trial's threads, which the recipe must name to be replayed bit by bit.
        closing: what is done beside; None neither scores the test split nor does more, as after an interruption, when
            the choice is not final.
        confirmation: what it said; its winner is the search's.
        objectives: where there are several, the deciding one first.

    Raises:
        SearchFailedError: no trial was evaluated.
    """
    records, objective, threads = conductor.records, conductor.objective, forecast.layout.threads
    write_tables(folder, records, objective)
    ending = _end(folder, ground, conductor, said=confirmation, closing=closing, forecast=forecast)
    if ending is None:
        raise SearchFailedError(_nothing_found(folder, records))
    winner = ending.delivery.winner
    recipe = rerun_of(
        winner,
        objective,
        search=folder.name,
        data_fingerprint=ground.data.fingerprint,
        threads=threads,
        versions=versions(),
    )
    notes = [*ground.notes, *conductor.notes, *ending.notes]
    about = usage(ground.loaded, ground.data, ground.recipe.data)
    if weights := ending.improved.weights or ending.delivery.read(folder):
        load_weights(ground.loaded, weights)
        save_model(ground.loaded.module, folder.best_model, about)
    else:
        notes.append(_without_weights(folder, winner))
    _with_weights(recipe, winner, objective, ending.improved).save(folder.best_recipe)
    scored = ending.extra.get("test") or ending.test.get(winner.number)
    plain = constant(ground.data, objective)
    best = winner.best(objective)
    assert best is not None
    reached = best.value, scored
    notes += constant_notes(plain, ground.data, objective, reached=reached, interval=_interval(confirmation, winner))
    told = summarise(
        records,
        objective,
        winner=winner,
        test=ending.test,
        wall_s=conductor.clock.wall_s,
        notes=notes,
        forecast=forecast,
        confirmation=_with_test(confirmation, scored, ground, objective),
    )
    why = conductor.stopped_because if closing else "interrupted"
    retained = {
        int(name): each["retention"] for name, each in ending.extra.get("forgetting", {}).items() if name != _MODEL
    }
    front = {"pareto": pareto_front(records, objectives, ground.loaded, retained)} if objectives else {}
    known = conductor.ledger.meta()
    facts = {"probe": known.get(PROBE), **({LATENCY: known[LATENCY]} if LATENCY in known else {})}
    summary = {**told, **ending.extra, "stopped_because": why, **front, **facts, "constant": plain, "model": about}
    return _written(folder, summary)


def _interval(confirmation: Mapping[str, Any] | None, winner: TrialRecord) -> Sequence[float] | None:
    """Of what the winner reached in its runs again."""
    candidates = confirmation["candidates"] if confirmation else ()
    return next((one["interval"] for one in candidates if one["trial"] == winner.number), None)


def _without_weights(folder: RunFolder, winner: TrialRecord) -> str:
    """The note that the winner's checkpoint is gone; a model file of another trial goes with it."""
    gone = f"the weights of trial {winner.number} are gone from {folder.checkpoint(winner.number)}"
    with suppress(ConfigError):
        before = Recipe.load(folder.best_recipe).provenance
        if before and before.trial == winner.number and folder.best_model.is_file():
            return f"{gone}: {folder.best_model.name} is as it was, and nothing was scored with it again"
    folder.best_model.unlink(missing_ok=True)
    again = f"autoft train {shlex.quote(str(folder.best_recipe))} --data SOURCE --out FOLDER"
    return f"{gone}, so there is no {folder.best_model.name}; {again} makes it again"


def noted(folder: RunFolder, result: SearchResult, note: str) -> SearchResult:
    """The result with one more note, in its summary.json too."""
    return _written(folder, {**result.summary, "notes": [*result.summary["notes"], note]})


def _written(folder: RunFolder, summary: dict[str, Any]) -> SearchResult:
    write_text(folder.summary, to_json(summary) + "\n")
    return SearchResult(path=folder.path, summary=summary, url=folder.place if folder.url else None)


def _with_test(
    confirmation: Mapping[str, Any] | None, test: Mapping[str, float] | None, ground: Ground, objective: Objective
) -> Mapping[str, Any] | None:
    """With the interval of the winner's accuracy on the test split, which chose nothing."""
    if not confirmation or not test or objective.metric != "accuracy" or ground.data.groups is not None:
        return confirmation
    items = len(ground.data.splits.test)
    interval = wilson_interval(round(test["accuracy"] * items), items)
    return {**confirmation, "test_interval": [interval.low, interval.high]}


def _with_weights(recipe: Recipe, winner: TrialRecord, objective: Objective, improved: Improved) -> Recipe:
    """The recipe says so where the model file holds other weights than it leads to; to an average it can be led."""
    assert recipe.provenance is not None
    if kept := next((each for each in improved.tried if each.kept and each.kind == AVERAGE), None):
        own = averaged(recipe, winner.curve, objective, decay=AVERAGED)
        return own.model_copy(update={"provenance": recipe.provenance.model_copy(update={"value": kept.value})})
    told = recipe.provenance.model_copy(update={"weights": improved.kind})
    return recipe.model_copy(update={"provenance": told})


@dataclass(frozen=True)
class _Ending:
    """What the end of a search came to."""

    delivery: Delivery
    test: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    """Metrics on the test split, by trial."""
    improved: Improved = field(default_factory=Improved)
    extra: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the summary; ``test`` where other weights than the winner's own are written."""
    notes: Sequence[str] = ()


def _end(
    folder: RunFolder,
    ground: Ground,
    conductor: Conductor,
    *,
    said: Mapping[str, Any] | None,
    closing: Closing | None,
    forecast: Forecast,
) -> _Ending | None:
    """What is delivered, and what is done beside; None where no trial was evaluated."""
    records, objective = conductor.records, conductor.objective
    if closing is None:
        winner = chosen(records, objective, said)
        return _Ending(Delivery(winner)) if winner else None
    with thread_count(forecast.layout.threads):
        allowance = Allowance.of(closing, ground)
        baselines = _baselines(folder, conductor)
        contest = Contest(
            folder,
            ground,
            records,
            objective,
            said or {},
            allowance,
            scored=len(baselines) + 2,
            device=_device(forecast),
            reuse=closing.reuse,
            retention=closing.retention,
        )
        delivery = deliver(contest)
        return _beside(contest, delivery, baselines, closing, forecast) if delivery else None


def _beside(
    contest: Contest, delivery: Delivery, baselines: Mapping[str, Read], closing: Closing, forecast: Forecast
) -> _Ending:
    """What is good to have beside the winner: gains or a refit, scores on the test split, what was forgotten."""
    own = _MODEL if delivery.weights else str(delivery.winner.number)
    finalists: dict[str, Read] = {own: partial(delivery.read, contest.folder), **baselines}
    improved, extra, notes = _improved(contest, delivery, closing, forecast, scored=len(finalists) + 1)
    scores = dict(_score(contest.scorer, finalists))
    plain = scores.pop(_MODEL, None) or scores.get(own)
    if improved.weights is not None:
        others = {name: read for name, read in finalists.items() if name != _MODEL}
        finalists = {_MODEL: lambda: improved.weights, **others}
        extra |= {"test_plain": plain, "test": _score(contest.scorer, {_MODEL: finalists[_MODEL]}).get(_MODEL)}
    elif delivery.weights:
        extra["test"] = plain
    if closing.forgetting:
        measured = {**finalists, **_kept(contest)} if closing.all_kept else finalists
        extra["forgetting"], more = forgetting_of(contest.scorer, measured, contest.allowance)
        notes += more
    if closing.retention:
        notes += closing.retention.notes(contest.records)
    return _Ending(delivery, {int(name): found for name, found in scores.items()}, improved, extra, notes)


def _improved(
    contest: Contest, delivery: Delivery, closing: Closing, forecast: Forecast, *, scored: int
) -> tuple[Improved, dict[str, Any], list[str]]:
    """Weights that are better than the winner's own, what the summary says of them, and notes."""
    extra: dict[str, Any] = {"delivered": delivery.told} if delivery.told else {}
    notes = list(delivery.notes)
    if closing.refit:
        again = _refit(contest, delivery.winner, closing, forecast)
        return Improved(weights=again.weights, name=KIND), {**extra, "refit": again.told}, notes
    improved = Improved()
    if closing.gains:
        improved, more = gains_of(contest, delivery, scored=scored)
        extra["gains"] = improved.plain()
        notes += more
    return improved, extra, notes


def _refit(contest: Contest, winner: TrialRecord, closing: Closing, forecast: Forecast) -> Refit:
    """The winner on train and validation; not begun where a time budget is sure to end before it."""
    needed_s = again_s(winner, contest.records, contest.objective)
    until = math.inf if closing.until is None else closing.until
    if closing.now() + needed_s > until:
        text = f"not refitted: it takes {needed_s:.0f} s, and the time budget ended first; give a larger --time-budget"
        return Refit(None, {"trial": winner.number, "kept": False, "text": text})
    again = refit(
        winner,
        contest.ground,
        contest.objective,
        should_stop=lambda: closing.now() >= until,
        device=_device(forecast),
        reuse=closing.reuse,
    )
    if again.weights and not contest.accepts(again.weights):
        text = "not refitted: with more items it retains less than search.constraints.min_retention"
        return Refit(None, {**again.told, "kept": False, "text": text})
    return again


def _device(forecast: Forecast) -> str:
    return device_here(forecast.layout.slots.runs_on)


def _kept(contest: Contest) -> dict[str, Read]:
    """How to read the weights of all trials of which there are some, the best first."""
    kept = [number for record in contest.ranked() if contest.folder.checkpoint(number := record.number).is_dir()]
    return {str(number): partial(best_weights, contest.folder.checkpoint(number)) for number in kept}


def _baselines(folder: RunFolder, conductor: Conductor) -> dict[str, Read]:
    """How to read the weights of the baselines, by trial number."""
    found = (record.number for record in conductor.records if record.baseline and record.best(conductor.objective))
    return {str(number): partial(best_weights, folder.checkpoint(number)) for number in found}


def _score(scorer: Scorer, finalists: Mapping[str, Read]) -> Mapping[str, Mapping[str, float]]:
    """Metrics on the test split, by trial number; none of a trial without weights."""
    items = scorer.data.splits.test
    found = {}
    for number, read in finalists.items() if len(items) else ():
        if weights := read():
            found[number] = scorer.metrics(weights, items)
    return found


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    return {name: version(name) for name in ("autoft", "torch", "timm")}


def _nothing_found(folder: RunFolder, records: Sequence[TrialRecord]) -> str:
    reasons = {record.reason_text for record in records if record.reason and record.reason != BUDGET}
    why = "; ".join(sorted(reasons)) or "the time budget ended before the first evaluation"
    remedy = "mend the cause" if reasons else "give a larger --time-budget"
    return f"{folder.place}: no trial came to a result: {why}; {remedy}, then go on with: {folder.resuming}"


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary, translated(path):
        table.to_csv(temporary, index=False)
