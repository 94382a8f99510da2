import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from autoft.errors import ConfigError
from autoft.recipe import yaml
from autoft.space import build_space


class _Strange(BaseDistribution):
    def to_internal_repr(self, param_value_in_external_repr):
        return param_value_in_external_repr

    def single(self):
        return False

    def _contains(self, param_value_in_internal_repr):
        return True


LR = "lr: {path: stages.tune.lr, type: float, low: 1e-5, high: 1e-2, log: true}"
DEPTH = "depth: {path: stages.tune.unfreeze, type: int, low: 0, high: all}"
OPT = "opt: {path: optimisation.opt, type: categorical, values: [adamw, sgd]}"


def lines_of(error):
    return str(error.value).splitlines()


@pytest.fixture
def build(base, card):
    def make(text, **of_card):
        raw = yaml.loads("{" + ", ".join(text.split("\n")) + "}") if isinstance(text, str) else text
        return build_space(raw, base.full(), card(**of_card))

    return make


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("a: {path: stages.tune.epochs, type: int, low: 1, high: 9}", IntDistribution(1, 9)),
        ("a: {path: stages.tune.epochs, type: int, low: 1, high: 9, step: 4}", IntDistribution(1, 9, step=4)),
        ("a: {path: stages.tune.epochs, type: int, low: 1, high: 9, log: true}", IntDistribution(1, 9, log=True)),
        ("a: {path: stages.tune.unfreeze, type: int, low: 0, high: all}", IntDistribution(0, 5)),
        ("a: {path: stages.tune.unfreeze, type: int, low: 1, high: at most 2}", IntDistribution(1, 2)),
        ("a: {path: stages.tune.unfreeze, type: int, low: 1, high: at most 7}", IntDistribution(1, 5)),
        ("a: {path: stages.tune.unfreeze, type: int, low: 0, high: {cnn: all, vit: 2}}", IntDistribution(0, 5)),
        ("a: {path: model.drop_rate, type: float, low: 0, high: 0.3}", FloatDistribution(0, 0.3)),
        ("a: {path: model.drop_rate, type: float, low: 0, high: 0.3, step: 0.1}", FloatDistribution(0, 0.3, step=0.1)),
        (
            "a: {path: stages.tune.lr, type: float, low: {cnn: 1e-4, other: 1e-5}, high: {other: 1e-2}, log: true}",
            FloatDistribution(1e-4, 1e-2, log=True),
        ),
        ("a: {path: stages.tune.lr, type: float, low: 1e-3, high: 1e-3}", FloatDistribution(1e-3, 1e-3)),
        (
            "a: {path: data.augment, type: categorical, values: [none, flip]}",
            CategoricalDistribution(("none", "flip")),
        ),
        (
            "a: {path: optimisation.ema_decay, type: categorical, values: [null, 0.9]}",
            CategoricalDistribution((None, 0.9)),
        ),
        (
            "a: {path: stages.tune.unfreeze, type: choice, options: {some: 0.4, named: [group1], every: all}}",
            CategoricalDistribution(("some", "named", "every")),
        ),
    ],
)
def test_yaml_becomes_an_optuna_distribution(build, text, distribution):
    assert build(text).ranges == {"a": distribution}


def test_optuna_distributions_are_dimensions_named_by_their_paths(build, trial):
    ranges = {"stages.tune.lr": FloatDistribution(1e-5, 1e-2, log=True), "stages.tune.unfreeze": IntDistribution(0, 5)}
    space = build(ranges)
    assert space.ranges == ranges
    drawn = trial()
    assert space.draw(drawn) == drawn.params


ERRORS = {
    "not a mapping": ("lr: 3", ["space.lr: must be a mapping with path, type and a range, got 3"]),
    "no type": (
        "lr: {path: stages.tune.lr, low: 1, high: 2}",
        ["space.lr.type: is required, one of: int, float, categorical, bool, choice, bundle; or give a value"],
    ),
    "unknown type": (
        "lr: {path: stages.tune.lr, type: flaot, low: 1, high: 2}",
        [
            (
                "space.lr.type: must be one of: int, float, categorical, bool, choice, bundle, got 'flaot' "
                "(did you mean 'float'"
            )
        ],
    ),
    "unknown key": (
        "lr: {path: stages.tune.lr, type: float, low: 1e-3, hihg: 1e-2}",
        ["space.lr.hihg: unknown key (did you mean 'high'", "space.lr.high: is required"],
    ),
    "a value and a range": (
        "lr: {path: stages.tune.lr, type: float, low: 1e-3, high: 1e-2, value: 1}",
        ["space.lr.value: unknown key"],
    ),
    "low above high": (
        "lr: {path: stages.tune.lr, type: float, low: 1e-2, high: 1e-3}",
        ["space.lr.low: must not be above high (0.001), got 0.01"],
    ),
    "log from zero": (
        "lr: {path: stages.tune.lr, type: float, low: 0, high: 1e-3, log: true}",
        ["space.lr.low: must be above 0 on a log scale, got 0; raise it or leave out log"],
    ),
    "log from zero, int": (
        "a: {path: stages.tune.warmup_steps, type: int, low: 0, high: 9, log: true}",
        ["space.a.low: must be at least 1 on a log scale, got 0"],
    ),
    "log with step": (
        "lr: {path: stages.tune.lr, type: float, low: 0.1, high: 0.3, log: true, step: 0.1}",
        ["space.lr.step: a log scale has no steps, got 0.1"],
    ),
    "step that does not divide": (
        "a: {path: model.drop_rate, type: float, low: 0, high: 0.3, step: 0.08}",
        ["space.a.step: must divide high - low, got 0.08 in 0 to 0.3; high: 0.24 would do"],
    ),
    "step of zero": (
        "a: {path: model.drop_rate, type: float, low: 0, high: 0.3, step: 0}",
        ["space.a.step: must be greater than 0, got 0"],
    ),
    "a bound that is no number": (
        "lr: {path: stages.tune.lr, type: float, low: small, high: .nan}",
        [
            "space.lr.low: must be a number, or one of these for each model family, got 'small'",
            "space.lr.high: must be a number",
        ],
    ),
    "a float bound of an int": (
        "depth: {path: stages.tune.unfreeze, type: int, low: 0.5, high: al}",
        [
            "space.depth.low: must be a whole number, 'all' (the model's depth), 'at most N'",
            (
                "space.depth.high: must be a whole number, 'all' (the model's depth), 'at most N', or one of these for "
                "each model family, got 'al'"
            ),
        ],
    ),
    "unknown family": (
        "lr: {path: stages.tune.lr, type: float, low: {cnm: 1e-3}, high: 1}",
        ["space.lr.low: unknown model family 'cnm' (did you mean 'cnn'?); there are: cnn, vit, convnext, swin, other"],
    ),
    "family left out": (
        "lr: {path: stages.tune.lr, type: float, low: {vit: 1e-3}, high: 1}",
        ["space.lr.low: has no value for the family of net; add cnn, or other for all the rest"],
    ),
    "deeper than the model": (
        "depth: {path: stages.tune.unfreeze, type: int, low: 0, high: 6}",
        [
            (
                "space.depth.high: stages.tune.unfreeze: must be at most 5, the depth of net (its layer groups without "
                "the head), got 6; use `all`"
            )
        ],
    ),
    "an option deeper than the model": (
        "plan: {path: stages, type: choice, options: {deep: [{name: a, unfreeze: 9, epochs: 1}]}}",
        ["space.plan.options.deep: stages.a.unfreeze: must be at most 5"],
    ),
    "no values": (
        "a: {path: data.augment, type: categorical, values: []}",
        ["space.a.values: must have at least one value, got []"],
    ),
    "equal values": (
        "a: {path: data.batch_size, type: categorical, values: [8, 16, 8]}",
        ["space.a.values: must differ from one another, got 8 twice"],
    ),
    "lists as values": (
        "a: {path: stages.tune.unfreeze, type: categorical, values: [[group1], [group2]]}",
        ["space.a.values: must be numbers, words, true, false or null, got ['group1']; use type: choice"],
    ),
    "a value that is none of the recipe's": (
        "a: {path: data.augment, type: categorical, values: [none, mirror]}",
        ["space.a.values.1: data.augment: must be 'none', 'flip', 'light' or 'strong', got 'mirror'"],
    ),
    "a range beyond the recipe's": (
        "a: {path: model.drop_rate, type: float, low: 0, high: 1}",
        ["space.a.high: model.drop_rate: must be less than 1, got 1.0"],
    ),
    "unknown stage": (
        "lr: {path: stages.tun.lr, type: float, low: 1e-3, high: 1e-2}",
        ["space.lr.path: stages.tun.lr: there is no 'tun' (did you mean 'tune'?); there are: head, tune"],
    ),
    "unknown setting": (
        "lr: {path: stages.tune.rl, type: float, low: 1e-3, high: 1e-2}",
        ["space.lr.path: stages.1.rl: unknown key"],
    ),
    "unknown section": (
        "lr: {path: optimization.weight_decay, type: float, low: 1e-3, high: 1e-2}",
        ["space.lr.path: 'optimization.weight_decay': a recipe has no 'optimization' (did you mean 'optimisation'?)"],
    ),
    "unknown setting of data": (
        "a: {path: data.bach_size, type: int, low: 8, high: 16}",
        ["space.a.path: 'data.bach_size': unknown key (did you mean 'batch_size'?)"],
    ),
    "what all trials share": (
        "a: {path: data.test_fraction, type: float, low: 0.1, high: 0.2}",
        ["space.a.path: 'data.test_fraction' is the same for all trials of a search; of data one can search"],
    ),
    "the model": (
        "a: {path: model.name, type: categorical, values: [a, b]}",
        ["space.a.path: 'model.name' is the same for all trials"],
    ),
    "the seed": (
        "a: {path: seed, type: int, low: 0, high: 9}",
        ["space.a.path: 'seed' cannot be searched: trials would not be comparable"],
    ),
    "no path": ("a: {path: [], type: int, low: 0, high: 9}", ["space.a.path: must name at least one place"]),
    "a path with a hole": ("a: {path: stages..lr, type: int, low: 0, high: 9}", ["space.a.path: must be names with"]),
    "a path through a scalar": (
        "a: {path: optimisation.opt.name, type: int, low: 0, high: 9}",
        ["space.a.path: optimisation.opt.name: leads through 'adamw', which has no part"],
    ),
    "drop path that the model lacks": (
        "a: {path: model.drop_path_rate, type: float, low: 0, high: 0.3}",
        ["space.a.high: model.drop_path_rate: net has no drop path; leave it out, or add requires: drop_path"],
    ),
    "one place set twice": (
        f"{LR}\nother: {{path: [stages.*.lr], type: float, low: 1e-5, high: 1e-3}}",
        ["space.lr: sets 'stages.tune.lr', and so does other; give each its own place, or a `when`"],
    ),
    "one place set twice in one situation": (
        (
            f"{DEPTH}\na: {{path: stages.tune.lr, type: float, low: 1e-5, high: 1e-3, when: {{depth: '>= 2'}}}}\n"
            "b: {path: stages.tune.lr, type: float, low: 1e-5, high: 1e-3, when: {depth: '<= 2'}}"
        ),
        ["space.a: sets 'stages.tune.lr', and so does b"],
    ),
    "one place set twice between two numbers": (
        (
            f"{DEPTH}\na: {{path: stages.tune.lr, type: float, low: 1e-5, high: 1e-3, when: {{depth: '> 1'}}}}\n"
            "b: {path: stages.tune.lr, type: float, low: 1e-5, high: 1e-3, when: {depth: '< 3'}}"
        ),
        ["space.a: sets 'stages.tune.lr', and so does b"],
    ),
    "one place set twice in an interval": (
        (
            f"{LR}\na: {{path: optimisation.mixup, type: float, low: 0, high: 1, when: {{lr: '> 1e-4'}}}}\n"
            "b: {path: optimisation.mixup, type: float, low: 0, high: 1, when: {lr: '< 1e-3'}}"
        ),
        ["space.a: sets 'optimisation.mixup', and so does b"],
    ),
    "a broken option, told once": (
        "plan: {path: stages, type: choice, options: {deep: [{name: tune, unfreeze: 9, epochs: 1}]}}\n" + LR,
        ["space.plan.options.deep: stages.tune.unfreeze: must be at most 5"],
    ),
    "when: unknown dimension": (
        f"{DEPTH}\n{LR[:-1]}, when: {{dept: '>= 1'}}}}",
        ["space.lr.when.dept: there is no dimension 'dept' (did you mean 'depth'?); there are: depth, lr"],
    ),
    "when: not a comparison": (
        f"{DEPTH}\n{LR[:-1]}, when: {{depth: '=> 1'}}}}",
        ["space.lr.when: depth: must be a comparison such as '>= 2', '== sgd' or 'in [two, three]', got '=> 1'"],
    ),
    "when: an order among words": (
        f"{OPT}\n{LR[:-1]}, when: {{opt: '>= 1'}}}}",
        ["space.lr.when.opt: opt has no order, so >= says nothing about it; use ==, != or in"],
    ),
    "when: a value it never has": (
        f"{OPT}\n{LR[:-1]}, when: {{opt: sdg}}}}",
        ["space.lr.when.opt: opt is never 'sdg' (did you mean 'sgd'?); it is one of: adamw, sgd"],
    ),
    "when: a number compared with a word": (
        f"{DEPTH}\n{LR[:-1]}, when: {{depth: some}}}}",
        ["space.lr.when.depth: depth is a number, so it cannot be compared with 'some'"],
    ),
    "when: out of range": (
        f"{LR}\na: {{path: data.augment, type: categorical, values: [none, flip], when: {{lr: '> 1'}}}}",
        ["space.a.when.lr: can never hold: lr goes from 1e-05 to 0.01"],
    ),
    "when: a circle": (
        (
            f"{OPT[:-1]}, when: {{depth: '>= 1'}}}}\n"
            f"{DEPTH[:-1]}, when: {{lr: '> 1e-4'}}}}\n{LR[:-1]}, when: {{opt: sgd}}}}"
        ),
        ["space: conditions go in a circle: opt -> depth -> lr -> opt; take one of these `when` out"],
    ),
    "a plan without the stage": (
        (
            f"plan: {{path: stages, type: choice, options: {{one: [{{name: all, epochs: 1}}], "
            f"two: [{{name: tune, epochs: 2}}]}}}}\n{LR}"
        ),
        ["space.lr.path: stages.tune.lr: there is no 'tune'"],
    ),
    "an option that is no recipe": (
        "plan: {path: stages, type: choice, options: {none: [], bad: [{name: tune}]}}",
        [
            "space.plan.options.none: stages: must have at least 1 item",
            "space.plan.options.bad: stages.0: stage 'tune' must give its",
        ],
    ),
    "unknown requirement": (
        f"{LR[:-1]}, requires: dropout}}",
        ["space.lr.requires.0: must be"],
    ),
    "nothing": ("", ["space: has nothing to search"]),
    "nothing but fixed values": ("a: {path: model.drop_rate, value: 0.1}", ["space: has nothing to search"]),
    "a wrong fixed value": (
        f"a: {{path: model.drop_rate, value: 2}}\n{LR}",
        ["space.a.value: model.drop_rate: must be less than 1, got 2"],
    ),
}


@pytest.mark.parametrize(("text", "starts"), ERRORS.values(), ids=ERRORS.keys())
def test_a_space_that_cannot_be_is_refused_line_by_line(build, text, starts):
    with pytest.raises(ConfigError) as error:
        build(text)
    lines = lines_of(error)
    assert len(lines) == len(starts), lines
    for start in starts:
        assert any(line.startswith(start) for line in lines), lines


def test_all_errors_are_told_at_once_and_each_once(build):
    with pytest.raises(ConfigError) as error:
        build(
            "lr: {path: stages.tune.rl, type: float, low: 2, high: 1}\n"
            "depth: {path: stages.tune.unfreeze, type: int, low: 0, high: 9, setp: 2}\n"
            "b: {path: data.batch_size, type: categorical, values: [], when: {lrr: '>= 1'}}"
        )
    starts = [line.split(": ")[0] for line in lines_of(error)]
    assert starts == ["space.lr.low", "space.depth.setp", "space.b.values"]


def test_a_model_without_groups_has_nothing_to_unfreeze_but_can_be_searched(build, trial):
    space = build(f"{DEPTH}\n{LR[:-1]}, when: {{depth: '>= 1'}}}}", depth=0)
    assert space.ranges == {"depth": IntDistribution(0, 0)}
    assert space.draw(trial()) == {"stages.tune.unfreeze": 0}


def test_a_condition_that_this_model_is_too_shallow_for_leaves_the_dimension_out(build):
    text = f"{DEPTH}\ndecay: {{path: stages.tune.layer_decay, type: float, low: 0.3, high: 1, when: {{depth: '>= 2'}}}}"
    assert build(text, depth=2).names == ("depth", "decay")
    assert build(text, depth=1).names == ("depth",)


def test_what_model_family_or_task_has_no_use_for_is_left_out_with_what_hangs_on_it(build, base, card):
    text = (
        f"{LR}\n"
        "drop_path: {path: model.drop_path_rate, type: float, low: 0, high: 0.3, requires: drop_path}\n"
        "norm: {path: stages.tune.norm, type: categorical, values: [train, eval], families: [cnn]}\n"
        "mixup: {path: optimisation.mixup, type: float, low: 0, high: 1, when: {drop_path: '> 0.1'}}\n"
        "smoothing: {path: optimisation.label_smoothing, type: float, low: 0, high: 0.1, requires: classes}"
    )
    assert set(build(text, drop_path=True).names) == {"lr", "drop_path", "norm", "mixup", "smoothing"}
    assert set(build(text, family="vit").names) == {"lr", "smoothing"}
    regression = base.override({"data.task": "regression"})
    raw = yaml.loads("{" + ", ".join(text.split("\n")) + "}")
    assert set(build_space(raw, regression.full(), card()).names) == {"lr", "norm"}


def test_a_dimension_that_lives_in_one_plan_only_is_tried_in_that_plan(build):
    text = (
        "plan: {path: stages, type: choice, options: {one: [{name: tune, epochs: 1}], "
        "two: [{name: tune, epochs: 1}, {name: last, epochs: 1}]}}\n"
        "last: {path: stages.last.lr, type: float, low: 1e-5, high: 1e-3"
    )
    assert build(f"{text}, when: {{plan: two}}}}").names == ("plan", "last")
    with pytest.raises(ConfigError, match="there is no 'last'"):
        build(f"{text}}}")


def test_a_setting_that_another_one_must_allow_is_tried_where_it_counts(build):
    text = (
        "schedule: {path: stages.tune.schedule, type: categorical, values: [constant, cosine]}\n"
        "fall: {path: stages.tune.schedule_steps, type: int, low: 10, high: 90"
    )
    assert build(f"{text}, when: {{schedule: cosine}}}}").names == ("schedule", "fall")
    with pytest.raises(ConfigError, match="schedule_steps has no effect"):
        build(f"{text}}}")


PLAN = "plan: {path: stages, type: choice, options: {one: [{name: extra, epochs: 1}]}, when: {opt: sgd}}"


@pytest.mark.parametrize(
    ("path", "when", "fits"),
    [
        ("stages.extra.lr", "", False),
        ("stages.extra.lr", ", when: {opt: sgd}", True),
        ("stages.extra.lr", ", when: {opt: adamw}", False),
        ("stages.tune.lr", "", False),
        ("stages.tune.lr", ", when: {opt: adamw}", True),
        ("stages.tune.lr", ", when: {opt: sgd}", False),
    ],
)
def test_a_path_must_lead_somewhere_whenever_its_dimension_counts(build, trial, base, path, when, fits):
    text = f"{OPT}\n{PLAN}\nlr: {{path: {path}, type: float, low: 1e-5, high: 1e-2{when}}}"
    if fits:
        space = build(text)
        for seed in range(10):
            base.override(space.draw(trial(seed)))
    else:
        with pytest.raises(ConfigError, match=r"space\.lr\.path: stages\.[a-z]+\.lr: there is no"):
            build(text)


def test_a_plan_may_hang_on_what_it_is_changed_by(build, trial):
    plan = "plan: {path: stages, type: choice, options: {long: [{name: tune, epochs: 9}]}, when: {depth: '>= 2'}}"
    assert build(f"{DEPTH}\n{plan}").names == ("depth", "plan")


@pytest.mark.parametrize("raw", [3, "freeze_depth", None, []], ids=str)
def test_what_is_neither_a_mapping_nor_a_function_is_refused(base, card, raw):
    with pytest.raises(ConfigError, match="must be a mapping of dimensions or a function of a trial"):
        build_space(raw, base.full(), card())


def test_a_distribution_over_what_cannot_be_searched_is_refused(build):
    with pytest.raises(ConfigError) as error:
        build({"stages.tun.lr": FloatDistribution(0.1, 1)})
    assert lines_of(error) == [
        "space.stages.tun.lr.path: stages.tun.lr: there is no 'tun' (did you mean 'tune'?); there are: head, tune"
    ]
    with pytest.raises(ConfigError) as error:
        build({"seed": IntDistribution(0, 9), "stages.tune.lr": _Strange()})
    assert len(lines_of(error)) == 2
