"""Portfolios: every entry is a recipe that the default space could have drawn, for a model of its family."""

import typing
from pathlib import Path

import pytest

from autoft.errors import ConfigError
from autoft.model.family import complete
from autoft.recipe import Recipe
from autoft.record import Family
from autoft.space import build_space, portfolio, shipped
from autoft.space.portfolio import Entry, parse_portfolio, within

FAMILIES = typing.get_args(Family)
EVERY = pytest.mark.parametrize("family", FAMILIES)


def world(card, family="cnn", depth=9, name="freeze_depth"):
    model = card(family, depth, drop_path=family != "cnn")
    sections = shipped(name)
    base = complete(Recipe.parse({"model": "net", "stages": sections["stages"]}, where=name), model)
    return base, model, build_space(sections["space"], base.full(), model)


@EVERY
@pytest.mark.parametrize("depth", [1, 8])
@pytest.mark.parametrize("space", ["freeze_depth", "layerwise_lr", "staged", "full"])
def test_every_entry_of_every_family_lies_in_the_deep_spaces(family, depth, space, card):
    base, model, drawn_from = world(card, family, depth, space)
    entries = portfolio(family)
    assert 7 <= len(entries) <= 9
    for name, entry in entries.items():
        recipe = within(drawn_from, base, entry, model)
        assert recipe is not None, name
        assert drawn_from.project(recipe.full()), name
        assert complete(recipe, model) == recipe


@EVERY
def test_each_entry_has_its_reason_above_it(family):
    path = Path(__file__).parents[2] / "search_spaces" / "portfolios" / f"{family}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    for name in portfolio(family):
        assert lines[lines.index(f"{name}:") - 1].startswith("# ")


def test_the_full_space_regularises_more_than_the_default_one_can(card):
    entry = portfolio("vit")["full_regularised"]
    deep = {
        name: within(space, base, entry, model)
        for name in ("freeze_depth", "full")
        for base, model, space in [world(card, "vit", name=name)]
    }
    assert deep["freeze_depth"].model.drop_rate == deep["full"].model.drop_rate == 0.2
    assert (deep["freeze_depth"].optimisation.mixup, deep["full"].optimisation.mixup) == (0.0, 0.2)
    assert (deep["freeze_depth"].data.augment, deep["full"].data.augment) == ("none", "light")


@pytest.mark.parametrize(("depth", "groups"), [(1, 1), (4, 3), ("half", 2), ("all but one", 2), ("all", 3)])
def test_a_depth_is_a_number_of_groups_of_the_model(depth, groups, card):
    assert Entry(depth=depth).groups(card("cnn", 3)) == groups


def test_a_space_of_heads_alone_has_none_of_them(card):
    base, model, space = world(card, name="head_only")
    assert not [entry for entry in portfolio("cnn").values() if within(space, base, entry, model)]


def test_what_lies_outside_of_a_users_ranges_is_left_out(card):
    base, model, _ = world(card)
    narrow = build_space(
        {
            "depth": {"path": "stages.tune.unfreeze", "type": "int", "low": 0, "high": 2},
            "lr": {"path": "stages.tune.lr", "type": "float", "low": 1e-5, "high": 5e-4},
            "norm": {"path": "stages.tune.norm", "type": "categorical", "values": ["eval"]},
        },
        base.full(),
        model,
    )
    made = {name: within(narrow, base, entry, model) for name, entry in portfolio("cnn").items()}
    assert [name for name, recipe in made.items() if recipe] == ["last_two"]


def test_a_function_that_draws_is_not_asked_for_the_portfolio(card):
    base, model, _ = world(card)
    space = build_space(lambda trial: {"stages.tune.lr": trial.suggest_float("lr", 1e-5, 1e-2)}, base.full(), model)
    assert within(space, base, Entry(depth=1), model) is None


def test_stages_of_other_names_are_meant_by_their_place(card):
    model = card("cnn", 4)
    stages = [{"name": "first", "epochs": 1, "head_lr": 3e-3}, {"name": "second", "unfreeze": 1, "epochs": 2}]
    base = complete(Recipe.parse({"model": "net", "stages": stages}, where="base"), model)
    space = build_space(
        {"rate": {"path": "stages.second.lr", "type": "float", "low": 1e-5, "high": 1e-2},
         "depth": {"path": "stages.second.unfreeze", "type": "int", "low": 1, "high": "all"},
         "head": {"path": "stages.first.head_lr", "type": "float", "low": 1e-5, "high": 1e-2}},
        base.full(),
        model,
    )  # fmt: skip
    entry = Entry(depth="half", settings={"stages.tune.lr": 2e-4, "stages.head.head_lr": 5e-3})
    recipe = within(space, base, entry, model)
    assert [(one.name, one.unfreeze, one.lr, one.head_lr) for one in recipe.stages] == [
        ("first", 0, None, 5e-3),
        ("second", 2, 2e-4, 3e-3),
    ]


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ([], "p: must be a mapping of names to recipes"),
        ({"a": {"depth": -1}}, "p: a: depth"),
        ({"a": {"depth": "most"}}, "p: a: depth"),
        ({"a": {"depth": 1, "setting": {}}}, "p: a: setting: unknown key"),
    ],
)
def test_a_damaged_portfolio_is_told(raw, told):
    with pytest.raises(ConfigError, match=told):
        parse_portfolio(raw, where="p")


def test_a_base_recipe_outside_of_the_space_is_moved_into_it_where_nothing_is_said(card):
    model = card("cnn", 4)
    stages = [{"name": "head", "epochs": 1}, {"name": "tune", "unfreeze": 0.5, "epochs": 3, "lr": 1e-3}]
    base = complete(Recipe.parse({"model": "net", "stages": stages}, where="base"), model)
    raw = dict(shipped("freeze_depth")["space"])
    raw["dropout"] = {**raw["dropout"], "low": 0.1}
    space = build_space(raw, base.full(), model)
    assert space.project(base.full()) is None
    made = {name: within(space, base, entry, model) for name, entry in portfolio("cnn").items()}
    assert all(made.values())
    params = space.project(made["last_group"].full())
    assert (params["head"], params["depth"], params["dropout"]) == ("steady", 1, 0.1)
