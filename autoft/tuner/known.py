"""Trials that are over before they begin: their stages were run by the probe, so that no worker need start for them."""

from dataclasses import replace

from autoft.model import LoadedModel
from autoft.recipe import Recipe
from autoft.record import Action
from autoft.training import StageKeys, StageTree, thread_count
from autoft.tuner.conductor import Assignment, Conductor
from autoft.tuner.layout import device_here
from autoft.tuner.worker import Worker, WorkerContext


def tell_known(conductor: Conductor, context: WorkerContext, loaded: LoadedModel) -> None:
    """Hear the next trials from this process for as long as all their stages lie in the tree.

    So the first answer, a recipe and its weights, is there as soon as the probe is over, also where it has used up a
    short time budget.

    Args:
        conductor: opened; its policy decides on these trials as on any.
        context: what workers are given.
        loaded: the model; it stays as it is.
    """
    if conductor.records:  # a resumed search goes on in the order that it had
        return
    here = replace(context, device=device_here(context.device), reuse=None)  # nothing is left to compute
    worker: Worker | None = None
    with thread_count(context.threads):
        while _is_known(conductor, here, loaded):
            worker = worker or Worker(lambda: here, base=loaded)
            given = conductor.next_trial(free=True)
            assert isinstance(given, Assignment), "it was the next"
            worker.begin(given.number, given.recipe, known=given.known)
            while conductor.hear(given.number, worker.step()) is Action.CONTINUE:
                continue


def _is_known(conductor: Conductor, context: WorkerContext, loaded: LoadedModel) -> bool:
    plain = conductor.ahead if context.stages else None
    if plain is None or context.stages is None:
        return False
    recipe = Recipe.parse(plain, where="the next trial")
    if not all(stage.head_only for stage in recipe.stages):
        return False
    keys, tree = StageKeys(loaded, context.data, context.objective), StageTree(context.stages)
    return all(tree.find(keys.key(recipe, index)) for index in range(len(recipe.stages)))
