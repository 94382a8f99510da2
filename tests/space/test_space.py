import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

from autoft.errors import ConfigError
from autoft.recipe import yaml
from autoft.space import RandomTrial, build_space
from autoft.space.trial import RepeatedTrial

SPACE = yaml.loads(
    """
plan:
  path: stages
  type: choice
  options:
    one: [{name: tune, unfreeze: 1, epochs: 5}]
    three: [{name: head, epochs: 1}, {name: tune, epochs: 3}, {name: last, unfreeze: all, epochs: 1}]
depth: {path: stages.tune.unfreeze, type: int, low: 0, high: all}
lr: {path: stages.tune.lr, type: float, low: 1e-5, high: 1e-2, log: true, when: {depth: ">= 1"}}
decay: {path: stages.tune.layer_decay, type: float, low: 0.3, high: 1.0, when: {depth: ">= 2", plan: three}}
last_lr: {path: stages.last.lr, type: float, low: 1e-6, high: 1e-4, log: true, when: {plan: three}}
head_lr: {path: "stages.*.head_lr", type: float, low: 1e-4, high: 1e-1, log: true}
dropout: {path: model.drop_rate, type: float, low: 0, high: 0.3, step: 0.1}
batch: {path: data.batch_size, type: int, low: 8, high: 64, log: true}
warmup: {path: stages.tune.warmup_steps, type: int, low: 0, high: 90, step: 30}
ema: {path: optimisation.ema_decay, type: categorical, values: [null, 0.9, 0.99]}
smoothing: {path: optimisation.label_smoothing, type: categorical, values: [0, 0.1]}
clip: {path: optimisation.clip_grad, value: 2}
"""
)


@pytest.fixture
def space(base, card):
    return build_space(SPACE, base.full(), card())


def function(trial):
    depth = trial.suggest_int("depth", 0, 3)
    changes = {"stages.tune.unfreeze": depth}
    if depth:
        changes["stages.*.lr"] = trial.suggest_float("lr", 1e-5, 1e-2, log=True)
    return changes


@pytest.mark.parametrize("seed", range(40))
def test_projecting_a_drawn_recipe_gives_back_what_was_drawn(space, base, trial, seed):
    drawn = trial(seed)
    recipe = base.override(space.draw(drawn))
    params = space.project(recipe.full())
    assert params == drawn.params
    assert {name: type(value) for name, value in params.items()} == {n: type(v) for n, v in drawn.params.items()}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), depth=st.integers(1, 8), family=st.sampled_from(["cnn", "vit", "other"]))
def test_projecting_is_the_inverse_of_drawing_for_any_model(base, card, seed, depth, family):
    space = build_space(SPACE, base.full(), card(family, depth))
    drawn = RandomTrial(np.random.default_rng(seed))
    overrides = space.draw(drawn)
    assert space.draw(RepeatedTrial(drawn.params)) == overrides
    assert space.project(base.override(overrides).full()) == drawn.params


def test_every_dimension_is_active_at_some_time_and_only_when_its_conditions_hold(space, trial):
    seen = set()
    for seed in range(40):
        drawn = trial(seed)
        space.draw(drawn)
        seen |= set(drawn.params)
        assert ("lr" in drawn.params) == (drawn.params["depth"] >= 1)
        assert ("decay" in drawn.params) == (drawn.params["depth"] >= 2 and drawn.params["plan"] == "three")
    assert seen == set(space.names) == set(SPACE) - {"clip"}


def test_a_dimension_that_does_not_count_leaves_the_base_recipe_alone(base, card):
    raw = {name: SPACE[name] for name in ("depth", "lr")}
    with_rate = base.override({"stages.tune.lr": 0.5})
    space = build_space(raw, with_rate.full(), card())
    recipe = with_rate.override(space.draw(RepeatedTrial({"depth": 0})))
    assert recipe.stages[1].lr == 0.5
    assert space.project(recipe.full()) == {"depth": 0}
    other = recipe.override({"stages.head.epochs": 5})
    assert space.project(other.full()) is None


def test_a_fixed_value_is_set_and_not_drawn(space, base, trial):
    drawn = trial()
    overrides = space.draw(drawn)
    assert overrides["optimisation.clip_grad"] == 2
    assert "clip" not in drawn.params
    assert space.project(base.override({**overrides, "optimisation.clip_grad": 3}).full()) is None


def test_several_paths_and_stars_are_set_to_one_value(base, card):
    raw = {
        "a": {"path": ["stages.head.lr", "stages.tune.lr"], "type": "float", "low": 0.1, "high": 0.2},
        "b": {"path": "stages.*.norm", "type": "categorical", "values": ["train", "eval"]},
    }
    space = build_space(raw, base.full(), card())
    overrides = space.draw(RepeatedTrial({"a": 0.15, "b": "eval"}))
    assert overrides == {
        "stages.head.lr": 0.15,
        "stages.tune.lr": 0.15,
        "stages.head.norm": "eval",
        "stages.tune.norm": "eval",
    }
    recipe = base.override(overrides)
    assert space.project(recipe.full()) == {"a": 0.15, "b": "eval"}
    assert space.project(recipe.override({"stages.tune.lr": 0.1}).full()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"stages.tune.unfreeze": 6},
        {"stages.tune.unfreeze": 1.0},
        {"stages.tune.unfreeze": "all"},
        {"stages.tune.lr": 1.0},
        {"stages.tune.patience": 3},
        {"optimisation.opt": "sgd"},
        {"optimisation.weight_decay": 0.5},
        {"stages": [{"name": "other", "epochs": 1}]},
    ],
    ids=str,
)
def test_a_recipe_outside_of_the_space_has_no_coordinates(base, card, changes):
    raw = {name: SPACE[name] for name in ("depth", "lr", "dropout")}
    space = build_space(raw, base.full(), card())
    inside = base.override({"stages.tune.lr": 1e-3})
    assert space.project(inside.full()) == {"depth": 1, "lr": 1e-3, "dropout": 0.0}
    assert space.project(inside.override(changes).full()) is None


def test_seed_provenance_and_what_is_filled_in_later_do_not_matter(base, card):
    raw = {"depth": SPACE["depth"]}
    space = build_space(raw, base.full(), card())
    changes = {"seed": 7, "data.image_size": 96, "stages.tune.lr": 1e-3, "stages.head.head_lr": 1e-2}
    provenance = {"metric": "accuracy", "value": 0.5, "data_fingerprint": "x", "threads": 1}
    filled = base.override({**changes, "provenance": provenance})
    assert space.project(filled.full()) == {"depth": 1}


def test_params_of_another_space_are_left_out_of_the_distributions(space):
    found = space.distributions({"depth": 2, "lr": 1.0, "plan": "four", "gone": 3, "ema": None})
    assert found == {"depth": IntDistribution(0, 5), "ema": space.ranges["ema"]}


def test_a_function_of_a_trial_is_a_space_whose_names_are_those_it_suggests(base, card, trial):
    space = build_space(function, base.full(), card())
    assert set(space.names) == {"depth", "lr"}
    for seed in range(10):
        drawn = trial(seed)
        overrides = space.draw(drawn)
        recipe = base.override(overrides)
        assert recipe.stages[1].unfreeze == drawn.params["depth"]
        assert recipe.stages[0].lr == recipe.stages[1].lr == drawn.params.get("lr")
        assert space.draw(RepeatedTrial(drawn.params)) == overrides
        assert space.distributions(drawn.params) == drawn.distributions
        assert space.project(recipe.full()) is None
    assert space.distributions({"depth": 2, "lr": 7.0}) == {}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda trial: trial.suggest_int("depth", 0, 3), "space: the function must return a mapping of dotted paths"),
        (
            lambda trial: {"stages.tune.unfreeze": trial.suggest_int("depth", 6, 9)},
            r"^space: stages\.tune\.unfreeze: must be at most 5[^\n]*$",
        ),
        (
            lambda trial: {"stages.tun.lr": trial.suggest_float("lr", 0.1, 1)},
            r"space: stages\.tun\.lr: there is no 'tun' \(did you mean 'tune'\?\)",
        ),
        (lambda trial: {"seed": trial.suggest_int("seed", 0, 3)}, "'seed' cannot be searched"),
    ],
)
def test_a_function_that_gives_no_recipe_is_refused_before_anything_is_spent(base, card, function, message):
    with pytest.raises(ConfigError, match=message):
        build_space(function, base.full(), card())


def test_an_error_in_the_function_is_told_with_what_it_had_drawn(base, card):
    def fails(trial):
        if trial.suggest_int("depth", 0, 3) > 1:
            raise KeyError("lr")
        return {}

    with pytest.raises(
        ConfigError, match=r"^space: the function raised KeyError: 'lr' having drawn {'depth': [23]}; mend it"
    ) as error:
        build_space(fails, base.full(), card())
    assert isinstance(error.value.__cause__, KeyError)
    with pytest.raises(ConfigError, match=r"raised ZeroDivisionError: .* before it drew anything"):
        build_space(lambda _trial: 1 / 0, base.full(), card())


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("raw", [SPACE, function, {"stages.tune.lr": FloatDistribution(1e-5, 1e-2, log=True)}])
def test_an_optuna_study_draws_from_it(base, card, raw):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = build_space(raw, base.full(), card())
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=3))
    for _ in range(8):
        drawn = study.ask()
        recipe = base.override(space.draw(drawn))
        assert space.distributions(drawn.params) == drawn.distributions
        if not callable(raw):
            assert space.project(recipe.full()) == drawn.params
        study.tell(drawn, recipe.model.drop_rate)


BUNDLE = {
    "head": {
        "path": "stages.head",
        "type": "bundle",
        "options": {"slow": {"head_lr": 1e-3, "drop_rate": 0.0}, "fast": {"head_lr": 1e-2, "drop_rate": 0.2}},
    }
}


def test_a_bundle_sets_several_settings_below_one_path_and_is_read_off_a_recipe(base, card):
    space = build_space(BUNDLE, base.full(), card())
    trial = RepeatedTrial({"head": "fast"})
    assert space.draw(trial) == {"stages.head.head_lr": 1e-2, "stages.head.drop_rate": 0.2}
    assert space.project(base.override({"stages.head.head_lr": 1e-3, "stages.head.drop_rate": 0.0}).full()) == {
        "head": "slow"
    }
    assert space.project(base.override({"stages.head.head_lr": 1e-3}).full()) is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "at least one option"),
        ({"a": {"head_lr": 1e-3}, "b": {"drop_rate": 0.1}}, "must all set the same keys, got: a sets head_lr"),
        ({"a": {"head_lr": 1e-3}, "b": {"head_lr": 1e-3}}, "must differ"),
        ({"a": {"headlr": 1e-3}}, "headlr"),
    ],
)
def test_a_bundle_that_cannot_be_is_refused(base, card, options, told):
    with pytest.raises(ConfigError, match=told):
        build_space({"head": {**BUNDLE["head"], "options": options}}, base.full(), card())


def test_a_bundle_and_a_dimension_that_set_the_same_place_are_refused(base, card):
    other = {"rate": {"path": "stages.head.head_lr", "type": "float", "low": 1e-4, "high": 1e-2}}
    with pytest.raises(ConfigError, match=r"sets 'stages\.head\.head_lr'"):
        build_space({**BUNDLE, **other}, base.full(), card())
