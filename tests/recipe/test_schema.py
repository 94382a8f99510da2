"""Recipes: round trips, fingerprints, and what they refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.errors import ConfigError
from autoft.recipe import (
    CostFraction,
    Everything,
    LastLayers,
    Names,
    Provenance,
    Recipe,
    TopGroups,
    parse_unfreeze,
    yaml,
)

RATES = st.floats(min_value=1e-8, max_value=10.0, allow_nan=False)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
UNFREEZE = st.one_of(
    st.integers(0, 20),
    st.floats(0.0, 1.0),
    st.just("all"),
    st.integers(0, 99).map(lambda count: f"last {count} layers"),
    st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3),
)
STAGES = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "unfreeze": UNFREEZE},
        optional={
            "lr": RATES,
            "head_lr": RATES,
            "layer_decay": st.floats(0.1, 1.0),
            "warmup_steps": st.integers(0, 50),
            "patience": st.integers(1, 9),
            "norm": st.sampled_from(["train", "eval"]),
        },
    ).flatmap(
        lambda stage: st.sampled_from(["epochs", "steps"]).flatmap(
            lambda unit: st.integers(1, 100).map(lambda length: {**stage, unit: length})
        )
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda stage: stage["name"],
)
RECIPES = st.builds(
    lambda stages, seed, decay, clip: Recipe.parse(
        {
            "model": "resnet18",
            "stages": stages,
            "seed": seed,
            "optimisation": {"weight_decay": decay, "clip_grad": clip},
        },
        where="test",
    ),
    STAGES,
    st.integers(0, 2**31),
    st.floats(0.0, 1.0),
    st.floats(0.0, 10.0),
)


def a_recipe(**changes):
    plain = {
        "model": "resnet18",
        "stages": [
            {"name": "head", "epochs": 3},
            {"name": "tune", "epochs": 7, "unfreeze": 2, "lr": 1e-4},
        ],
    }
    return Recipe.parse({**plain, **changes}, where="test")


@given(RECIPES)
def test_a_saved_recipe_loads_as_it_was(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    recipe.save(path)
    assert Recipe.load(path) == recipe


@given(RECIPES)
def test_plain_data_parse_back_to_the_same_recipe_and_fingerprint(recipe):
    again = Recipe.parse(recipe.full(), where="test")
    assert again == recipe
    assert again.fingerprint() == recipe.fingerprint()


@given(RECIPES, RECIPES)
def test_fingerprints_differ_exactly_when_recipes_do(one, other):
    assert (one.fingerprint() == other.fingerprint()) == (one == other)


def test_a_fingerprint_of_a_part_sees_that_part_alone():
    recipe = a_recipe()
    changed = recipe.override({"stages.tune.lr": 1e-3})
    assert changed.fingerprint("model", "data") == recipe.fingerprint("model", "data")
    assert changed.fingerprint("stages") != recipe.fingerprint("stages")


def test_the_fingerprint_is_stable_over_releases():
    assert a_recipe().fingerprint("model") == "64c2907d5f2ee6be"


def test_provenance_changes_no_fingerprint():
    recipe = a_recipe()
    told = Provenance(metric="accuracy", value=0.5, data_fingerprint="0", threads=1)
    assert recipe.model_copy(update={"provenance": told}).fingerprint() == recipe.fingerprint()


def test_recipes_are_immutable():
    with pytest.raises(ValueError, match="frozen"):
        a_recipe().seed = 1


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        pytest.param(0, TopGroups(0), id="head only"),
        pytest.param(3, TopGroups(3), id="top groups"),
        pytest.param(0.4, CostFraction(0.4), id="fraction of cost"),
        pytest.param("last 12 layers", LastLayers(12), id="last layers"),
        pytest.param(("layer4", "layer3.*"), Names(("layer4", "layer3.*")), id="patterns"),
        pytest.param("all", Everything(), id="all"),
    ],
)
def test_unfreeze_values_mean_what_they_say(value, parsed):
    assert parse_unfreeze(value) == parsed


@pytest.mark.parametrize("value", [-1, 1.5, "some", (), ("",), True])
def test_unfreeze_values_of_no_form_are_refused(value):
    with pytest.raises(ConfigError, match="a number of top groups"):
        parse_unfreeze(value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"modle": 1}, "modle: unknown key (did you mean 'model'?)", id="misspelt section"),
        pytest.param({"data": {"imagesize": 1}}, "data.imagesize: unknown key (did you mean 'image_size'", id="key"),
        pytest.param({"seed": -1}, "seed: must be greater than or equal to 0, got -1", id="negative seed"),
        pytest.param(
            {"stages": [{"name": "a", "epochs": 1}, {"name": "a", "epochs": 1}]}, "must differ, got a", id="same names"
        ),
        pytest.param({"stages": [{"name": "a"}]}, "either epochs or steps", id="no length"),
        pytest.param({"stages": [{"name": "a", "epochs": 1, "steps": 1}]}, "either epochs or steps", id="two lengths"),
        pytest.param({"stages": [{"name": "a", "epochs": 1, "schedule_steps": 5}]}, "has no effect", id="idle setting"),
        pytest.param({"data": {"val_fraction": 0.5, "test_fraction": 0.5}}, "must be below 1, got 1", id="no train"),
        pytest.param({"stages": []}, "stages: must", id="no stages at all"),
        pytest.param({"stages": [{"name": "a", "epochs": 1, "lr": float("nan")}]}, "stages.0.lr", id="nan rate"),
        pytest.param(
            {"stages": [{"name": "a", "fit": "solve", "epochs": 2}]}, "with epochs: 1, got", id="solved twice"
        ),
        pytest.param(
            {"stages": [{"name": "a", "fit": "solve", "epochs": 1, "unfreeze": 1}]}, "of the head alone", id="deep"
        ),
        pytest.param(
            {"stages": [{"name": "a", "fit": "solve", "epochs": 1, "head_lr": 0.1}]},
            "head_lr has no effect with fit: solve",
            id="a rate without steps",
        ),
        pytest.param({"stages": [{"name": "a", "epochs": 1, "penalty": 1}]}, "penalty is for fit: solve", id="penalty"),
        pytest.param(
            {"stages": [{"name": "a", "epochs": 1, "unfreeze": 1}, {"name": "b", "fit": "solve", "epochs": 1}]},
            "features that nothing has trained yet",
            id="solved on what was trained",
        ),
        pytest.param({"seed": True}, "seed: must be a number, not true or false, got True", id="truth as a number"),
        pytest.param({"data": {"views": True}}, "data.views: must be a number, not true", id="truth as number or word"),
        pytest.param({"stages": [{"name": "a", "epochs": 1, "lr": False}]}, "stages.0.lr: must be a number", id="rate"),
    ],
)
def test_a_broken_rule_is_told_with_its_path(changes, told):
    with pytest.raises(ConfigError) as caught:
        a_recipe(**changes)
    assert told in str(caught.value)


def test_all_errors_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        Recipe.parse({"model": "m", "stages": [{"name": "h", "epoch": 1, "lr": -1}], "sead": 3}, where="r.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == len({line.split(":")[1] for line in lines})
    assert {line.split(": ")[1] for line in lines} >= {"stages.0.epoch", "stages.0.lr", "sead"}
    assert all(line.startswith("r.yaml: ") for line in lines)


def test_a_recipe_is_printed_as_yaml_and_shown_without_its_defaults():
    recipe = Recipe.parse({"model": "resnet18", "stages": [{"name": "head", "epochs": 1}]}, where="test")
    assert yaml.loads(str(recipe), where="test") == recipe.full()
    shown = "Recipe(model=ModelConfig(name='resnet18'), stages=(Stage(name='head', epochs=1),))"
    assert repr(recipe) == shown
