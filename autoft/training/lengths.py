"""Lengths of stages: in steps, and as run."""

from autoft.recipe import Recipe, Stage
from autoft.record import Curve, Evaluation, Objective, best_evaluation

NEVER_BEFORE_THE_END = 10**9
"""As ``eval_every_steps``: evaluated is only the end of a stage."""


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
    micro_batch = best.micro_batch or recipe.optimisation.micro_batch
    optimisation = recipe.optimisation.model_copy(update={"micro_batch": micro_batch})
    return recipe.model_copy(update={"stages": tuple(stages), "data": data, "optimisation": optimisation})


def averaged(recipe: Recipe, curve: Curve, objective: Objective, *, decay: float) -> Recipe:
    """What to run to get the average that the trial kept beside its best weights, bit for bit: `as_run`, with it.

    Only the end of each stage is evaluated, so that nothing but the average at the end can be kept.
    """
    run = as_run(recipe, curve, objective)
    *before, last = run.stages
    once = run.optimisation.model_copy(update={"eval_every_steps": NEVER_BEFORE_THE_END})
    stages = (*before, last.model_copy(update={"ema_decay": decay}))
    return run.model_copy(update={"stages": stages, "optimisation": once})


def fixed_length(recipe: Recipe, curve: Curve, objective: Objective) -> Recipe:
    """`as_run`, with every length in steps and one evaluation at the end of each stage.

    So nothing is chosen on what is held out, and as many steps are taken on data of another size.
    """
    run = as_run(recipe, curve, objective)
    stages = [(stage, kept_evaluation(curve, stage.name, objective)) for stage in run.stages]
    fixed = tuple(
        stage.model_copy(update={"epochs": None, "steps": kept.step, "patience": None})
        if kept and stage.fit == "steps"
        else stage
        for stage, kept in stages
    )
    once = run.optimisation.model_copy(update={"eval_every_steps": NEVER_BEFORE_THE_END})
    return run.model_copy(update={"stages": fixed, "optimisation": once, "provenance": None})


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
