import math

import pytest

from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective
from autoft.training import as_run

ACCURACY = Objective("accuracy", "max")
HEAD, ALL = {"name": "head", "epochs": 3}, {"name": "all", "unfreeze": "all", "epochs": 6, "lr": 0.05}


@pytest.mark.parametrize(
    ("stages", "sections"),
    [
        pytest.param([HEAD, ALL], {}, id="epochs"),
        pytest.param([HEAD, ALL], {"optimisation": {"eval_every_steps": 2}}, id="evaluations within epochs"),
        pytest.param([HEAD, {**ALL, "schedule": "cosine", "warmup_steps": 2}], {}, id="cosine"),
        pytest.param([HEAD, {**ALL, "schedule": "linear", "epochs": None, "steps": 17}], {}, id="linear, in steps"),
        pytest.param([HEAD, {**ALL, "schedule": "wsd"}], {}, id="cooled down"),
        pytest.param([{**ALL, "patience": 2, "epochs": 20}, HEAD], {}, id="patience"),
        pytest.param([HEAD, ALL], {"optimisation": {"ema_decay": 0.8, "mixup": 0.2}}, id="an average, mixup"),
        pytest.param(
            [ALL, {**ALL, "name": "ruin", "lr": 0.9}], {"optimisation": {"opt": "sgd"}}, id="best in the first stage"
        ),
    ],
)
@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_recipe_as_run_gives_the_best_value_again_as_its_last(tiny, stages, sections, metric):
    world, recipe = tiny.world(), tiny.recipe(stages, **sections)
    trainer = world.trainer(recipe, metric=metric)
    tiny.finish(trainer)
    result = trainer.result()
    assert Recipe.parse(result.recipe.full(), where="again") == result.recipe
    replayed = world.trainer(result.recipe, metric=metric)
    curve = tiny.finish(replayed)
    assert curve[-1].value == result.value
    assert curve[-1].metrics == result.best.metrics
    assert replayed.result().best == curve[-1]
    assert replayed.result().recipe == result.recipe


def curve(*values: tuple[str, int, float]) -> tuple[Evaluation, ...]:
    """Evaluations by stage, epoch and value; an epoch has 10 steps."""
    return tuple(
        Evaluation(index, stage, float(epoch), epoch * 10, value, train_loss=1.0, val_loss=1.0)
        for index, (stage, epoch, value) in enumerate(values, start=1)
    )


def recipe(**tune) -> Recipe:
    stages = [{"name": "head", "epochs": 3, "patience": 2}, {"name": "tune", "unfreeze": 1, "epochs": 5, **tune}]
    return Recipe.parse({"model": "m", "stages": stages}, where="test")


def lengths(found: Recipe) -> list[tuple[str, int | None]]:
    return [(stage.name, stage.epochs) for stage in found.stages]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([("head", 1, 0.5), ("head", 2, 0.4)], [("head", 1)], id="the best epoch of one stage"),
        pytest.param([("head", 1, 0.5), ("head", 2, 0.5)], [("head", 1)], id="of equal ones the first"),
        pytest.param(
            [("head", 1, 0.5), ("head", 2, 0.6), ("tune", 1, 0.7)], [("head", 2), ("tune", 1)], id="two stages"
        ),
        pytest.param([("head", 2, 0.6), ("tune", 1, 0.5)], [("head", 2)], id="a stage that did not help is left out"),
        pytest.param([("head", 2, 0.6), ("tune", 1, 0.6)], [("head", 2)], id="nor one that is only as good"),
        pytest.param(
            [("head", 1, 0.6), ("head", 2, 0.5), ("tune", 1, 0.7)],
            [("head", 1), ("tune", 1)],
            id="each at its own best",
        ),
        pytest.param(
            [("head", 1, math.nan), ("head", 2, math.nan), ("tune", 1, 0.7)],
            [("head", 2), ("tune", 1)],
            id="a stage without a number ran to its end",
        ),
        pytest.param([("head", 1, math.nan)], [("head", 3), ("tune", 5)], id="nothing to cut to"),
        pytest.param([], [("head", 3), ("tune", 5)], id="nothing ran"),
    ],
)
def test_stages_are_cut_at_the_evaluation_they_kept(values, expected):
    assert lengths(as_run(recipe(), curve(*values), ACCURACY)) == expected


def test_a_cut_schedule_keeps_the_rates_it_had_and_needs_no_patience():
    found = as_run(recipe(schedule="cosine", patience=3), curve(("head", 3, 0.5), ("tune", 2, 0.6)), ACCURACY)
    head, tune = found.stages
    assert (head.patience, tune.patience) == (None, None)
    assert (tune.epochs, tune.schedule_steps) == (2, 50)


def test_an_uncut_schedule_and_a_given_one_stay_as_they_were():
    done = as_run(recipe(schedule="cosine"), curve(("head", 3, 0.5), ("tune", 5, 0.6)), ACCURACY)
    given = as_run(recipe(schedule="linear", schedule_steps=80), curve(("head", 3, 0.5), ("tune", 2, 0.6)), ACCURACY)
    assert done.stages[1].schedule_steps is None
    assert given.stages[1].schedule_steps == 80


def test_the_split_seed_is_written_down():
    assert as_run(recipe(), curve(("head", 1, 0.5)), ACCURACY).data.split_seed == 0
