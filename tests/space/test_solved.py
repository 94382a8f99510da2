"""The solved head as one more choice of a space."""

import pytest
from optuna.trial import FixedTrial

from autoft.model.family import complete
from autoft.recipe import Recipe
from autoft.space import build_space, shipped
from autoft.space.portfolio import head_options
from autoft.space.solved import SOLVED, with_solved_head

POINT = {"depth": 2, "lr": 1e-3, "head_lr": 1e-3, "dropout": 0.1, "weight_decay": 1e-4, "norm": "eval"}


def world(card, *, name="freeze_depth", changes=None, more=None):
    model = card("cnn", 9, drop_path=False)
    sections = shipped(name)
    base = Recipe.parse({"model": "net", "stages": sections["stages"]}, where=name).override(changes or {})
    base = complete(base, model)
    return base, build_space({**sections["space"], **(more or {})}, base.full(), model)


@pytest.mark.parametrize("changes", [{}, {"stages.head.warmup_steps": 5}, {"stages.head.epochs": 7}])
def test_every_choice_gives_its_own_stage_and_is_read_off_again(card, changes):
    base, space = world(card, changes=changes)
    offered = with_solved_head(space, base)
    assert set(head_options(offered, base)) == {"gentle", "steady", "quick", "damped", SOLVED}
    assert offered.names == space.names
    for label in head_options(offered, base):
        drawn = base.override(offered.draw(FixedTrial({**POINT, "head": label})))
        stage = drawn.stages[0]
        assert (stage.fit == "solve") == (label == SOLVED)
        if label != SOLVED:
            assert drawn == base.override(space.draw(FixedTrial({**POINT, "head": label})))
        assert offered.project(drawn.full()) == {**POINT, "head": label}


def test_a_solved_head_has_nothing_of_the_stage_that_takes_steps(card):
    base, space = world(card, changes={"stages.head.warmup_steps": 5, "stages.head.schedule": "cosine"})
    offered = with_solved_head(space, base)
    drawn = base.override(offered.draw(FixedTrial({**POINT, "head": SOLVED})))
    assert drawn.stages[0] == base.stages[0].solved()


@pytest.mark.parametrize(
    "more",
    [
        {"patience": {"path": "stages.*.patience", "type": "int", "low": 1, "high": 3}},
        {"patience": {"path": "stages.head.patience", "type": "int", "low": 1, "high": 3}},
    ],
)
def test_where_another_dimension_can_change_the_stage_it_is_not_offered(card, more):
    base, space = world(card, more=more)
    assert with_solved_head(space, base) is space


@pytest.mark.parametrize("name", ["head_only", "full", "smoke"])
def test_a_space_without_named_heads_stays_as_it_is(card, name):
    base, space = world(card, name=name)
    assert with_solved_head(space, base) is space


def test_it_is_offered_once(card):
    base, space = world(card)
    offered = with_solved_head(space, base)
    assert with_solved_head(offered, base) is offered
