import shutil
import typing
from pathlib import Path

import pytest

import autoft.space.catalogue as room
from autoft.errors import UnknownNameError
from autoft.model.family import FAMILY_DEFAULTS, complete
from autoft.recipe import Recipe
from autoft.record import Family
from autoft.space import build_space, names, shipped

FOLDER = Path(__file__).parents[2] / "search_spaces"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
EVERY = pytest.mark.parametrize("name", NAMES)
FAMILIES = typing.get_args(Family)


def base_of(name, **changes):
    sections = shipped(name)
    plain = {"model": "net", **{key: value for key, value in sections.items() if key != "space"}}
    return Recipe.parse(plain, where=name).override(changes)


def test_the_shipped_spaces_are_these():
    assert set(names()) == set(NAMES) >= {"head_only", "freeze_depth", "staged", "layerwise_lr", "full", "smoke"}


@EVERY
def test_each_file_begins_with_intent_dimensions_and_cost(name):
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line)
    for word in ("# Intent: ", "# Dimensions (", "# Cost: "):
        assert sum(line.startswith(word) for line in comment) == 1
    for dimension in shipped(name)["space"]:
        assert dimension in " ".join(comment) or dimension.startswith("last_")


@EVERY
@pytest.mark.parametrize("depth", [0, 1, 4, 12])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_space_draws_valid_recipes_for_every_family(name, family, depth, card, trial):
    model = card(family, depth, drop_path=family != "cnn")
    base = complete(base_of(name), model)
    space = build_space(shipped(name)["space"], base.full(), model)
    texts = set()
    for seed in range(50):
        drawn = trial(seed)
        recipe = complete(base.override(space.draw(drawn)), model)
        assert Recipe.parse(recipe.full(), where=name) == recipe
        assert space.project(recipe.full()) == drawn.params
        texts.add(recipe.fingerprint())
    assert len(texts) == 50


@EVERY
def test_every_space_fits_regression_and_many_labels(name, card, trial):
    for task in ("regression", "multi_label"):
        base = base_of(name, **{"data.task": task})
        space = build_space(shipped(name)["space"], base.full(), card())
        for seed in range(20):
            recipe = base.override(space.draw(trial(seed)))
            assert task == "multi_label" or recipe.optimisation.label_smoothing == 0
            assert task == "multi_label" or recipe.data.class_weights == "none"


@EVERY
@pytest.mark.parametrize("family", FAMILIES)
def test_the_familys_own_rates_lie_within_the_ranges(name, family, card):
    model = card(family)
    base = base_of(name)
    ranges = build_space(shipped(name)["space"], base.full(), model).ranges
    defaults = FAMILY_DEFAULTS[family]
    assert ranges["head_lr"].low < defaults.head_lr < ranges["head_lr"].high
    if "lr" in ranges:
        assert ranges["lr"].low < defaults.lr < ranges["lr"].high


def test_the_default_space_searches_depth_rates_dropout_decay_and_norm(card):
    space = build_space(shipped("freeze_depth")["space"], base_of("freeze_depth").full(), card("cnn", 7))
    assert set(space.names) == {"head", "depth", "lr", "head_lr", "dropout", "weight_decay", "norm"}
    assert (space.ranges["depth"].low, space.ranges["depth"].high) == (0, 7)


def test_feature_extraction_is_a_legal_draw_of_the_default_space(card):
    from autoft.space.trial import RepeatedTrial  # noqa: PLC0415

    base = base_of("freeze_depth")
    space = build_space(shipped("freeze_depth")["space"], base.full(), card())
    params = {"head": "quick", "depth": 0, "head_lr": 1e-3, "dropout": 0.0, "weight_decay": 1e-4}
    recipe = base.override(space.draw(RepeatedTrial(params)))
    assert all(stage.head_only for stage in recipe.stages)
    assert space.project(recipe.full()) == params


def test_plans_of_the_staged_space_are_equally_long(card, trial):
    base = base_of("staged")
    space = build_space(shipped("staged")["space"], base.full(), card())
    drawn = [base.override(space.draw(trial(seed))) for seed in range(30)]
    assert {len(recipe.stages) for recipe in drawn} == {1, 2, 3}
    assert {sum(stage.epochs for stage in recipe.stages) for recipe in drawn} == {10}


@pytest.mark.parametrize("name", ["freeze_dept", "nothing", "../search_spaces/smoke", "smoke.yaml", ""])
def test_an_unknown_name_is_told_with_those_that_are_known(name):
    with pytest.raises(UnknownNameError) as error:
        shipped(name)
    assert "use one of: freeze_depth, full, head_only, layerwise_lr, smoke, staged" in str(error.value)
    assert ("did you mean 'freeze_depth'" in str(error.value)) == (name == "freeze_dept")


def test_in_a_wheel_the_spaces_lie_inside_the_package(tmp_path, monkeypatch):
    inside = tmp_path / "shipped"
    monkeypatch.setattr(room, "_CHECKOUT", tmp_path / "nowhere")
    monkeypatch.setattr(room, "_INSTALLED", inside)
    assert names() == ()
    shutil.copytree(FOLDER, inside)
    assert list(names()) == NAMES
    assert shipped("smoke")["space"]
