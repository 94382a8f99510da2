import json
import math

import pytest
import torch

from autoft.model import named_tensors
from autoft.training.divergence import DivergenceWatch

CHANCE = math.log(10)


def told_after(losses, *, constant=CHANCE, squared=False, warmup=0) -> int | None:
    """The number of steps after which a watch tells a divergence, if it does."""
    watch = DivergenceWatch(constant, squared=squared)
    for step, loss in enumerate(losses):
        if watch.loss(loss, warming_up=step < warmup):
            return step + 1
    return None


OVERSHOOT = [2.3, 7.8, 8.0, 6.5, 9.2, 6.7, 4.8, 1.9, *[2.2, 1.8] * 50]
"""A head at 3e-2 over features of tf_efficientnet_lite0."""


@pytest.mark.parametrize(
    ("losses", "settings", "expected"),
    [
        pytest.param([2.3, math.nan], {}, 2, id="not a number: at once"),
        pytest.param([math.inf], {}, 1, id="infinite: at once"),
        pytest.param([2.3, *[2e5] * 7], {}, 5, id="a rate of 1e3: within an epoch of eight steps"),
        pytest.param([2.3, *[2e5] * 7], {"warmup": 100}, 5, id="the same within warm-up"),
        pytest.param([2.3, *[3.5] * 100], {}, range(51, 61), id="lastingly above chance: after fifty steps"),
        pytest.param([2.3, *[3.5] * 40, *[1.0] * 60], {}, None, id="above chance for forty steps"),
        pytest.param([2.3, *[3.5] * 60], {"warmup": 40}, None, id="fifty steps count after the warm-up"),
        pytest.param(OVERSHOOT, {}, None, id="a head that overshoots and recovers"),
        pytest.param([2.3, 5000.0, *[1.0] * 99], {}, None, id="a single spike"),
        pytest.param([*[2.3] * 19, 300.0] * 10, {}, None, id="a spike every twenty steps"),
        pytest.param([2.3] * 200, {}, None, id="learns nothing"),
        pytest.param([2.3] * 200, {"constant": 0.4}, None, id="never better than at its start, far from chance"),
        pytest.param([1.0, *[1e10] * 7], {"constant": 1.0, "squared": True}, 5, id="squared: a rate of 1e3"),
        pytest.param([9.0, *[4.0] * 200], {"constant": 1.0, "squared": True}, None, id="squared: starts far off"),
        pytest.param([1.0, *[2.5] * 200], {"constant": 1.0, "squared": True}, None, id="squared: half a nat is e"),
        pytest.param(
            [1.0, *[6.0] * 200], {"constant": 1.0, "squared": True}, range(51, 61), id="squared: lastingly above"
        ),
    ],
)
def test_the_loss_tells_a_divergence_as_soon_as_it_is_sure(losses, settings, expected):
    found = told_after(losses, **settings)
    assert found in expected if isinstance(expected, range) else found == expected


def test_the_scale_of_the_targets_does_not_matter_for_a_squared_loss():
    losses = [1.0, 3.0, 50.0, 900.0, 1e5, 1e7, 1e9, 1e11]
    assert told_after(losses, constant=1.0, squared=True) == told_after(
        [1e6 * loss for loss in losses], constant=1e6, squared=True
    )


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        pytest.param([1.0, math.nan], 2, id="not a number: at once"),
        pytest.param([math.inf], 1, id="infinite: at once"),
        pytest.param([*[2.0] * 10, *[1e5] * 5], 13, id="exploded for three steps"),
        pytest.param([*[2.0] * 10, 1e5, 2.0, 1e5, 2.0, 1e5], None, id="single spikes are for clipping"),
        pytest.param([*[1e-6] * 20, *[0.5] * 20], None, id="something to learn after all was learnt"),
        pytest.param([1.0, *[1e6] * 30], None, id="no median yet to compare with"),
        pytest.param([1.2**n for n in range(60)], None, id="growth that the median follows"),
    ],
)
def test_the_gradient_norm_tells_an_explosion(norms, expected):
    watch = DivergenceWatch(CHANCE)
    told = [step for step, norm in enumerate(norms, start=1) if watch.gradient(norm)]
    assert (told[0] if told else None) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param({"head": 1.0, "backbone": 9e3, "mean_loss": 11.5}, "backbone", id="a backbone blown up"),
        pytest.param({"head": 500.0, "backbone": 1.0, "mean_loss": 11.5}, "head", id="a head blown up"),
        pytest.param({"head": 7.0, "backbone": 1.0, "mean_loss": 7.1}, None, id="a head that overshoots"),
        pytest.param(
            {"head": 1.0, "backbone": 9e3, "mean_loss": 1.8}, None, id="scale does not matter under batch norm"
        ),
        pytest.param({"head": 1.0, "backbone": 3.0, "mean_loss": 2.4}, None, id="a slow start"),
    ],
)
def test_weights_that_grow_while_the_loss_is_above_chance_tell_a_divergence(seen, expected):
    watch = DivergenceWatch(CHANCE)
    watch.loss(2.3, warming_up=False)
    told = watch.weights(**seen)
    assert (expected in told) if expected else told is None


@pytest.mark.parametrize(
    ("steps", "validation", "expected"),
    [
        pytest.param([2.3], 1e5, True, id="an epoch of one step"),
        pytest.param([2.3, 9.0, 9.0], 1e5, True, id="an epoch of few steps"),
        pytest.param([2.3, *[1.5] * 9], 1e5, False, id="batch statistics that lag behind a sound training"),
        pytest.param([2.3], 30.0, False, id="a bad start"),
        pytest.param([2.3, *[1.5] * 9], math.nan, True, id="not a number"),
    ],
)
def test_the_validation_loss_tells_what_few_steps_cannot(steps, validation, expected):
    watch = DivergenceWatch(CHANCE)
    for loss in steps:
        watch.loss(loss, warming_up=False)
    assert bool(watch.validation(validation)) is expected


def test_a_watch_goes_on_from_its_state():
    losses, norms = [2.3, *[3.4] * 70], [*[2.0] * 69, *[1e6] * 3]

    def told(watch, steps):
        return [(watch.loss(losses[step], warming_up=False), watch.gradient(norms[step])) for step in steps]

    whole = told(DivergenceWatch(CHANCE), range(71))
    for cut in (1, 30, 70):
        first, second = DivergenceWatch(CHANCE), DivergenceWatch(CHANCE)
        begun = told(first, range(cut))
        second.load(json.loads(json.dumps(first.state())))
        assert begun + told(second, range(cut, 71)) == whole


def test_a_new_stage_forgets_all_but_where_the_trial_began():
    watch = DivergenceWatch(0.1)
    for _ in range(40):
        watch.loss(5.0, warming_up=False)
    watch.new_stage()
    assert all(watch.loss(5.4, warming_up=False) is None for _ in range(80)), "the trial began at 5 nats"


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param({"name": "head", "epochs": 3, "head_lr": 1e3}, id="head"),
        pytest.param({"name": "all", "unfreeze": "all", "epochs": 3, "lr": 1e3}, id="backbone"),
        pytest.param(
            {"name": "all", "unfreeze": "all", "epochs": 3, "lr": 1e3, "norm": "eval"}, id="backbone, norm eval"
        ),
        pytest.param(
            {"name": "all", "unfreeze": "all", "epochs": 3, "lr": 1e3, "warmup_steps": 50}, id="within warm-up"
        ),
    ],
)
@pytest.mark.parametrize("train", [60, 24, 6], ids=["eight steps", "three steps", "one step"])
@pytest.mark.parametrize("kind", ["single_label", "regression"])
def test_a_rate_of_1e3_is_told_within_the_first_epoch(tiny, stage, train, kind):
    world = tiny.world(tiny.images(kind, train=train), tiny.conv_net(outputs=1 if kind == "regression" else 3))
    curve = tiny.finish(world.trainer(tiny.recipe([stage])))
    assert len(curve) == 1
    assert curve[0].epoch <= 1.0
    assert math.isnan(curve[0].value)
    assert curve[0].diverged


def test_after_a_divergence_the_trainer_is_done_and_keeps_what_was_good(tiny):
    stages = [{"name": "head", "epochs": 2}, {"name": "hot", "unfreeze": "all", "epochs": 2, "lr": 1e6, "head_lr": 1e6}]
    trainer = tiny.world().trainer(tiny.recipe(stages))
    curve = tiny.finish(trainer)
    assert [e.stage for e in curve] == ["head", "head", "hot"]
    assert trainer.done
    assert trainer.advance() == ()
    result = trainer.result()
    assert result.diverged == curve[-1].diverged
    assert result.best.stage == "head"
    assert [stage.name for stage in result.recipe.stages] == ["head"]


def test_what_is_not_a_number_stops_before_the_optimizer_step(tiny):
    data = tiny.vectors()
    rows = data.items.read(slice(None))["input"]
    rows[data.splits.train[:10]] = math.nan
    world = tiny.world(data, tiny.opaque())
    trainer = world.trainer(tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 2}], data={"batch_size": 20}))
    before = {name: tensor.clone() for name, tensor in named_tensors(world.loaded.module).items()}
    (told,) = trainer.advance()
    assert told.diverged == "the training loss is nan"
    assert told.step == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in named_tensors(world.loaded.module).items())
    assert math.isnan(trainer.result().value)
    assert trainer.result().weights == {}


def test_a_gradient_that_is_not_finite_stops_before_the_optimizer_step(tiny):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 2}]))
    for parameter in world.loaded.module.parameters():
        parameter.register_hook(lambda gradient: gradient * math.inf)
    before = {name: tensor.clone() for name, tensor in world.loaded.module.named_parameters()}
    (told,) = trainer.advance()
    assert "gradient norm is" in told.diverged
    assert all(torch.equal(tensor, before[name]) for name, tensor in world.loaded.module.named_parameters())
