"""Lengths of stages: in steps, and as run."""

from autoft.recipe import Recipe, Stage
from autoft.record import Curve, Evaluation, Objective, best_evaluation


def as_run(recipe: Recipe, curve: Curve, objective: Objective) -> Recipe:
    """What to run to get the trial's best evaluation again, bit for bit, as the last one.

    These are the stages up to the one with the best evaluation, each ending at the evaluation that it kept.

    Args:
        recipe: as the trial was given it.
        curve: as far as the trial came; without a best evaluation the recipe stays as it is.
        objective: what was best.
    """
    best = best_evaluation(curve, objective)
    if best is None:
        return recipe
    steps_per_epoch = round(best.step / best.epoch)
    stages: list[Stage] = []
    for stage in recipe.stages:
        kept = kept_evaluation(curve, stage.name, objective)
        stages.append(cut_stage(stage, kept.step, steps_per_epoch=steps_per_epoch) if kept else stage)
        if stage.name == best.stage:
            break
    split_seed = recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed
    data = recipe.data.model_copy(update={"split_seed": split_seed})
    return recipe.model_copy(update={"stages": tuple(stages), "data": data})


def kept_evaluation(curve: Curve, stage: str, objective: Objective) -> Evaluation | None:
    """The evaluation a stage ended with: its best one, or the last where none was a number."""
    own = [evaluation for evaluation in curve if evaluation.stage == stage]
    return best_evaluation(own, objective) or (own[-1] if own else None)


def cut_stage(stage: Stage, steps: int, *, steps_per_epoch: int) -> Stage:
    """``stage`` ending after ``steps`` optimizer steps, at the rates it had; it needs no patience for that."""
    length = length_in_steps(stage, steps_per_epoch)
    whole_epochs = stage.epochs is not None and steps % steps_per_epoch == 0
    changes = {
        "epochs": steps // steps_per_epoch if whole_epochs else None,
        "steps": None if whole_epochs else steps,
        "patience": None,
    }
    if stage.schedule != "constant" and steps < length:
        changes["schedule_steps"] = stage.schedule_steps or length
    return stage.model_copy(update=changes)


def length_in_steps(stage: Stage, steps_per_epoch: int) -> int:
    """The stage's length in optimizer steps."""
    if stage.steps is not None:
        return stage.steps
    assert stage.epochs is not None, "the schema asks for one of the two"
    return stage.epochs * steps_per_epoch
