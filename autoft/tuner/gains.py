"""Free gains at the end of a search: which weights are there to be mixed with the winner's."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord, best_first
from autoft.training import Improved, Ingredient, Judge, StageKeys, StageTree, best_weights, improve, load_weights
from autoft.training.checkpoint import best_average
from autoft.training.gains import MOST_MEMBERS, Weights
from autoft.tuner.baselines import HEAD_ONLY
from autoft.tuner.closing import OUT_OF_TIME
from autoft.tuner.delivery import Contest, Delivery
from autoft.tuner.prepare import Ground
from autoft.tuner.run_folder import RunFolder


def gains_of(contest: Contest, delivery: Delivery, *, scored: int) -> tuple[Improved, list[str]]:
    """What mixtures with the winner's weights came to, and sentences on what is missing.

    Args:
        contest: run, model, data and trials; the model's weights are changed.
        delivery: the winner.
        scored: models that are to be scored on the test split afterwards.
    """
    folder, ground, winner = contest.folder, contest.ground, delivery.winner
    records, objective, allowance = contest.records, contest.objective, contest.allowance
    items, test = len(ground.data.splits.val), len(ground.data.splits.test)
    after = [test] * scored
    weights = delivery.read(folder)
    if weights is None:
        return Improved(), []
    if not allowance.affords(items, items, *after):
        return Improved(), [f"gains: none tried: {OUT_OF_TIME}"]
    heads = {*ground.loaded.groups[-1].parameters, *ground.loaded.groups[-1].buffers}
    start = None if weights.keys() <= heads else _start(folder, ground, records, objective, winner)
    others = [each for each in _finished(records, objective) if each.number != winner.number]
    others = [each for each in others if folder.checkpoint(each.number).is_dir()][:MOST_MEMBERS]
    notes: list[str] = []

    def affords() -> bool:
        enough = allowance.affords(items, *after)
        notes[:] = [] if enough else [f"gains: not all were tried: {OUT_OF_TIME}"]
        return enough

    judge = Judge(contest.scorer, objective, winner=weights)
    members = [
        Ingredient(f"trial {each.number}", partial(best_weights, folder.checkpoint(each.number))) for each in others
    ]
    average = None if delivery.weights else best_average(folder.checkpoint(winner.number))
    found = improve(judge, start=start, others=members, affords=affords, average=average)
    if found.weights and not contest.accepts(found.weights):
        notes.append(f"gains: {found.kind} retains less than search.constraints.min_retention, so it is not kept")
        found = Improved(tuple(replace(each, kept=False) for each in found.tried))
    return found, notes


def _start(
    folder: RunFolder, ground: Ground, records: Sequence[TrialRecord], objective: Objective, winner: TrialRecord
) -> Ingredient | None:
    """The pretrained backbone with the head of the winner's own head stage, else with that of the baseline."""
    if own := _head_stage(folder, ground, objective, winner):
        return Ingredient("its head stage", lambda: own)
    for record in records:
        if record.baseline == HEAD_ONLY and record.best(objective) and record.state != "FAIL":
            return Ingredient(
                f"the head of trial {record.number}", partial(best_weights, folder.checkpoint(record.number))
            )
    return None


def _head_stage(folder: RunFolder, ground: Ground, objective: Objective, winner: TrialRecord) -> Weights | None:
    """What the winner's opening head stage came to, where it is kept to be shared."""
    recipe = Recipe.parse(winner.proposal.recipe, where=f"trial {winner.number}")
    if len(recipe.stages) < 2 or not recipe.stages[0].head_only:
        return None
    load_weights(ground.loaded, {})
    key = StageKeys(ground.loaded, ground.data, objective).key(recipe, 0)
    found = StageTree(folder.stages).find(key)
    return found.weights if found else None


def _finished(records: Sequence[TrialRecord], objective: Objective) -> list[TrialRecord]:
    """Trials that came to something, the best first."""
    return [record for record in best_first(records, objective) if record.state.finished]
