import math
import random

import pytest
import torch

from autoft.errors import ConfigError, FreezeError, ModelError, RunError
from autoft.model import named_tensors
from autoft.record import Action, Decision, best_evaluation
from autoft.training import StagedTrainer, evaluate, fit, run

STAGES = [
    {"name": "head", "epochs": 2},
    {"name": "tune", "unfreeze": 1, "epochs": 2},
    {"name": "all", "unfreeze": "all", "epochs": 2},
]


def test_the_same_seed_gives_the_same_curve_bit_for_bit_and_another_seed_another(tiny):
    world, recipe = tiny.world(), tiny.recipe(optimisation={"mixup": 0.2}, data={"augment": "light"})
    first = tiny.seen(tiny.finish(world.trainer(recipe)))
    torch.rand(17)
    assert tiny.seen(tiny.finish(world.trainer(recipe))) == first
    other = recipe.model_copy(update={"seed": 1})
    assert tiny.seen(tiny.finish(world.trainer(other))) != first


def test_training_leaves_the_global_generators_as_they_were(tiny):
    before = torch.get_rng_state(), random.getstate()
    tiny.finish(tiny.world().trainer(tiny.recipe()))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_stages_that_are_equal_so_far_give_equal_curves_whatever_follows(tiny):
    world = tiny.world()
    short = tiny.seen(tiny.finish(world.trainer(tiny.recipe(STAGES[:1]))))
    assert tiny.seen(tiny.finish(world.trainer(tiny.recipe(STAGES))))[: len(short)] == short


@pytest.mark.parametrize(
    ("optimisation", "expected"),
    [
        pytest.param({}, [(3, 1.0), (6, 2.0)], id="an epoch by default"),
        pytest.param({"eval_every_steps": 2}, [(2, 2 / 3), (4, 4 / 3), (6, 2.0)], id="every so many steps"),
        pytest.param({"eval_every_steps": 4}, [(4, 4 / 3), (6, 2.0)], id="and always at the end"),
    ],
)
def test_evaluations_come_where_the_recipe_says(tiny, optimisation, expected):
    curve = tiny.finish(tiny.world().trainer(tiny.recipe(STAGES[:1], optimisation=optimisation)))
    assert [(e.step, e.epoch) for e in curve] == expected
    assert [e.index for e in curve] == list(range(1, len(expected) + 1))


def test_a_stage_in_steps_may_end_within_an_epoch(tiny):
    curve = tiny.finish(tiny.world().trainer(tiny.recipe([{"name": "head", "steps": 5}])))
    assert [e.step for e in curve] == [3, 5]


def test_the_network_learns(tiny):
    trainer = tiny.world(tiny.images(train=60)).trainer(tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 12}]))
    curve = tiny.finish(trainer)
    assert curve[-1].train_loss < curve[0].train_loss
    assert trainer.result().value > 0.6


def test_only_what_the_stages_train_can_differ_from_the_base(tiny):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe(STAGES[:2]))
    before = {name: tensor.clone() for name, tensor in named_tensors(world.loaded.module).items()}
    tiny.finish(trainer)
    changed = {name for name, now in named_tensors(world.loaded.module).items() if not torch.equal(now, before[name])}
    head, top = world.loaded.groups[-1], world.loaded.groups[-2]
    assert changed <= {*head.parameters, *top.parameters, *top.buffers}
    assert changed >= {*head.parameters, *top.parameters}


def test_norm_eval_keeps_the_statistics_of_unfrozen_norms(tiny):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([{"name": "tune", "unfreeze": "all", "epochs": 1, "norm": "eval"}]))
    before = {name: buffer.clone() for name, buffer in world.loaded.module.named_buffers()}
    tiny.finish(trainer)
    assert all(torch.equal(buffer, before[name]) for name, buffer in world.loaded.module.named_buffers())


@pytest.mark.parametrize("broken", ["parameter", "buffer"])
def test_a_frozen_tensor_that_changes_is_an_error_at_the_end_of_the_stage(tiny, broken):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe(STAGES[:1]))
    trainer.advance()
    tensors = world.loaded.module.named_parameters() if broken == "parameter" else world.loaded.module.named_buffers()
    next(tensors)[1].data.add_(1e-7)
    with pytest.raises(FreezeError, match="bit-identical"):
        tiny.finish(trainer)


def test_a_stage_ends_with_the_weights_of_its_best_evaluation(tiny):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 6, "lr": 0.3}]))
    curve = tiny.finish(trainer)
    best = best_evaluation(curve, world.data.task.objective())
    assert best is not curve[-1], "the case is no case"
    assert evaluate(world.loaded, world.data, world.data.splits.val) == best.metrics


def test_the_next_stage_starts_from_the_best_of_the_stage_before(tiny):
    world = tiny.world()
    stages = [
        {"name": "all", "unfreeze": "all", "epochs": 6, "lr": 0.3},
        {"name": "again", "unfreeze": 0, "epochs": 1},
    ]
    trainer = world.trainer(tiny.recipe(stages))
    first = [trainer.advance()[0] for _ in range(6)]
    best = best_evaluation(first, world.data.task.objective())
    assert best is not first[-1], "the case is no case"
    assert evaluate(world.loaded, world.data, world.data.splits.val) == best.metrics


def test_a_value_that_is_not_a_number_is_never_kept_as_best(tiny, monkeypatch):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([{"name": "head", "epochs": 4}]))
    metrics, calls = type(world.data.task).metrics_of_each, iter((math.nan, None, math.nan, None))

    def sometimes_nothing(task, outputs, targets):
        (found,), value = metrics(task, outputs, targets), next(calls)
        return [found | ({} if value is None else {"accuracy": value})]

    monkeypatch.setattr(type(world.data.task), "metrics_of_each", sometimes_nothing)
    curve = tiny.finish(trainer)
    assert [math.isnan(e.value) for e in curve] == [True, False, True, False]
    assert trainer.result().best.index in {2, 4}


def test_patience_ends_a_stage_after_so_many_evaluations_without_improvement(tiny):
    world = tiny.world()
    still = [
        {"name": "head", "epochs": 20, "head_lr": 1e-12, "patience": 3},
        {"name": "tune", "unfreeze": 1, "epochs": 1},
    ]
    assert [e.stage for e in tiny.finish(world.trainer(tiny.recipe(still)))] == ["head"] * 4 + ["tune"]


def test_the_first_evaluation_after_an_unfreeze_and_those_within_warm_up_are_marked(tiny):
    stages = [
        {"name": "head", "epochs": 2},
        {"name": "tune", "unfreeze": 1, "epochs": 3, "warmup_steps": 5},
        {"name": "same", "unfreeze": 1, "epochs": 1},
        {"name": "less", "unfreeze": 0, "epochs": 1},
    ]
    curve = tiny.finish(tiny.world().trainer(tiny.recipe(stages)))
    assert [e.warming_up for e in curve] == [False, False, True, False, False, False, False]


def test_a_stop_records_nothing_and_going_on_gives_the_same_curve(tiny):
    world, recipe = tiny.world(), tiny.recipe()
    whole = tiny.seen(tiny.finish(world.trainer(recipe)))
    asked = iter([False, False, True, *[False] * 100])
    trainer = world.trainer(recipe, should_stop=lambda: next(asked))
    assert trainer.advance() == ()
    assert trainer.curve == ()
    assert tiny.seen(tiny.finish(trainer)) == whole


def test_run_ends_when_the_report_says_so_and_leaves_the_best_weights(tiny):
    world = tiny.world()
    stop = Decision(Action.STOP, "enough", "enough")
    result = run(world.trainer(tiny.recipe(STAGES)), lambda e: stop if e.index == 4 else Decision())
    assert len(result.curve) == 4
    assert evaluate(world.loaded, world.data, world.data.splits.val) == result.best.metrics
    assert not world.loaded.module.training


def test_fit_uses_the_threads_of_the_recipe_and_scores_the_test_split_on_request(tiny):
    world = tiny.world()
    told = {"metric": "accuracy", "value": 0.5, "data_fingerprint": "0", "threads": 2}
    recipe = tiny.recipe(STAGES[:1], provenance=told)
    world.trainer(recipe)
    used = []
    report = lambda _: used.append(torch.get_num_threads()) or Decision()  # noqa: E731
    fitted = fit(recipe, world.loaded, world.data, world.data.task.objective(), report=report, test=True)
    assert used == [2, 2]
    assert torch.get_num_threads() == 1
    assert fitted.test == evaluate(world.loaded, world.data, world.data.splits.test)


def test_a_model_that_was_trained_before_is_refused(tiny):
    world, recipe = tiny.world(), tiny.recipe(STAGES)
    tiny.finish(world.trainer(recipe))
    with pytest.raises(ModelError, match="trained already"):
        StagedTrainer(recipe, world.loaded, world.data, world.data.task.objective())


@pytest.mark.parametrize("norm", ["train", "eval"])
def test_a_batch_of_one_item_trains_through_batch_norm(tiny, norm):
    recipe = tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 1, "norm": norm}], data={"batch_size": 1})
    curve = tiny.finish(tiny.world(tiny.images(train=5)).trainer(recipe))
    assert [e.step for e in curve] == [4], "three batches of one, and a last one of two"
    assert curve[0].diverged is None


def test_a_last_batch_of_one_item_joins_the_one_before(tiny):
    recipe = tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 2}], data={"batch_size": 8})
    curve = tiny.finish(tiny.world(tiny.images(train=17)).trainer(recipe))
    assert [e.step for e in curve] == [2, 4]


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_other_tasks_train(tiny, kind):
    world = tiny.world(tiny.images(kind, train=60), tiny.conv_net(outputs=1 if kind == "regression" else 3))
    curve = tiny.finish(world.trainer(tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 8, "lr": 0.01}])))
    assert curve[-1].diverged is None
    assert curve[-1].train_loss < curve[0].train_loss


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({"optimisation": {"opt": "sgd", "momentum": 0.0}}, id="sgd without momentum"),
        pytest.param({"optimisation": {"label_smoothing": 0.1, "mixup": 0.4}}, id="smoothing and mixup"),
        pytest.param({"data": {"class_weights": "balanced", "sampler": "balanced"}}, id="balanced"),
        pytest.param({"model": {"drop_rate": 0.3}, "optimisation": {"ema_decay": 0.9}}, id="head dropout and ema"),
        pytest.param({"optimisation": {"clip_grad": 0.0}}, id="no clipping"),
        pytest.param({"data": {"augment": "strong"}}, id="augmented"),
    ],
)
def test_every_setting_trains_and_changes_the_curve(tiny, sections):
    world = tiny.world()
    plain = tiny.seen(tiny.finish(world.trainer(tiny.recipe(STAGES))))
    found = tiny.seen(tiny.finish(world.trainer(tiny.recipe(STAGES, **sections))))
    assert found != plain
    assert all(math.isfinite(row[4]) for row in found)


def test_the_training_loss_is_reported_without_smoothing(tiny):
    world = tiny.world()
    stages = [{"name": "head", "epochs": 1, "head_lr": 1e-12}]
    plain, smooth = (
        tiny.finish(world.trainer(tiny.recipe(stages, optimisation={"label_smoothing": s})))[0].train_loss
        for s in (0.0, 0.5)
    )
    assert smooth == pytest.approx(plain, rel=1e-6)


def test_a_model_that_cannot_be_cut_trains(tiny):
    world = tiny.world(tiny.vectors(), tiny.opaque())
    curve = tiny.finish(
        world.trainer(tiny.recipe([{"name": "head", "epochs": 2}, {"name": "tune", "unfreeze": 1, "epochs": 2}]))
    )
    assert world.loaded.chain.why_not
    assert len(curve) == 4


def test_inputs_of_several_tensors_train(tiny):
    world = tiny.world(tiny.vectors(fields=2), tiny.two_inputs())
    curve = tiny.finish(world.trainer(tiny.recipe([{"name": "all", "unfreeze": "all", "epochs": 4}])))
    assert curve[-1].train_loss < curve[0].train_loss


def test_augmentation_of_tensors_is_refused(tiny):
    world = tiny.world(tiny.vectors(), tiny.opaque())
    with pytest.raises(ConfigError, match=r"data\.augment: needs images"):
        world.trainer(tiny.recipe(data={"augment": "flip"}))


def test_rates_that_nobody_filled_in_are_refused(tiny):
    with pytest.raises(ConfigError, match=r"stages\.head\.head_lr"):
        tiny.world().trainer(tiny.recipe([{"name": "head", "epochs": 1, "head_lr": None}]))


def test_a_result_before_the_first_evaluation_is_refused(tiny):
    trainer = tiny.world().trainer(tiny.recipe(), should_stop=lambda: True)
    with pytest.raises(RunError, match="before its first evaluation"):
        run(trainer)


def test_the_prefix_of_a_stage_is_what_no_stage_so_far_has_trained(tiny):
    world = tiny.world()
    stages = [STAGES[0], STAGES[1], {"name": "back", "unfreeze": 0, "epochs": 1}]
    trainer, boundaries = world.trainer(tiny.recipe(stages)), []
    while trainer.advance():
        boundaries += [trainer._engine._ground.forward.boundary] if trainer._engine else []
    assert boundaries == [3, 2]


def test_what_is_evaluated_is_what_is_kept_also_with_an_average(tiny):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe(STAGES, optimisation={"ema_decay": 0.8}))
    result = run(trainer)
    assert evaluate(world.loaded, world.data, world.data.splits.val) == result.best.metrics


def test_the_average_differs_from_the_raw_weights(tiny):
    world = tiny.world()
    plain = tiny.finish(world.trainer(tiny.recipe(STAGES)))
    averaged = tiny.finish(world.trainer(tiny.recipe(STAGES, optimisation={"ema_decay": 0.8})))
    assert averaged[0].train_loss == plain[0].train_loss
    assert averaged[0].val_loss != plain[0].val_loss


def test_compute_seconds_are_those_since_the_evaluation_before(tiny):
    curve = tiny.finish(tiny.world().trainer(tiny.recipe()))
    assert all(0 < e.compute_s < 5 for e in curve)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_training_on_a_gpu_keeps_the_freezing_laws_and_resumes(tiny, tmp_path):
    world, recipe = tiny.world(), tiny.recipe(STAGES, optimisation={"ema_decay": 0.9})
    trainer = world.trainer(recipe, device="cuda")
    trainer.advance()
    trainer.save(tmp_path)
    rest = tiny.finish(trainer)
    resumed = world.trainer(recipe, device="cuda")
    assert resumed.restore(tmp_path)
    assert [e.step for e in tiny.finish(resumed)] == [e.step for e in rest]
    assert all(math.isfinite(e.value) for e in resumed.curve)


@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_the_optimizer_goes_into_the_next_stage_with_the_state_of_the_best_evaluation(tiny, opt):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe(STAGES[:2], optimisation={"opt": opt}))
    trainer.advance()
    first = trainer._engine
    while trainer._engine:
        trainer.advance()
    expected = first.best.optimizer
    trainer._engine = trainer._open(companions=False)
    carried = trainer._engine._run.optimizer_state()
    assert set(carried) == set(expected) != set()
    assert all(torch.equal(value, expected[key]) for key, value in carried.items())


def test_synchronised_norms_are_refused_where_there_are_no_gpus(tiny):
    recipe = tiny.recipe([{"name": "tune", "unfreeze": 1, "epochs": 1, "norm": "sync"}])
    with pytest.raises(ConfigError, match=r"stages\.tune\.norm: sync needs GPUs .*got cpu; use norm: eval"):
        tiny.world().trainer(recipe)
