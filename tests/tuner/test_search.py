"""Whole searches on real Ray, with a tiny network."""

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from ray import tune
from safetensors.torch import load_file
from sklearn.metrics import cohen_kappa_score
from tiny import TinyNet, tiny_data

import autoft
from autoft.errors import ConfigError, RunError, RunLockedError, SearchFailedError, UnknownNameError
from autoft.pruning import Nothing
from autoft.pruning.replay import load_task, replay
from autoft.space import portfolio
from autoft.tuner.observer import Silent
from autoft.tuner.result import SearchResult
from autoft.tuner.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("shared_ray")
EXTRAS = {
    "search.gains": "off",
    "search.record_curves": True,
    "search.objectives": ["accuracy", "log_loss", "cost", "parameters"],
}
SHORT = {
    "confirm": "off",
    "stages": [{"name": "head", "epochs": 1}, {"name": "tune", "epochs": 3, "unfreeze": 1, "lr": 1e-3}],
}


def search(path, *, model=None, data=None, num_samples=6, name="tiny", overrides=None, **more):
    torch.manual_seed(0)
    return autoft.search(
        model or TinyNet(),
        data or tiny_data(test=24),
        num_samples=num_samples,
        name=name,
        storage_path=path,
        overrides={**SHORT, **(overrides or {})},
        **more,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, shared_ray):
    """A search that ran to its end."""
    return search(tmp_path_factory.mktemp("runs"), num_samples=8, overrides=EXTRAS)


def test_every_trial_has_ended_and_every_stop_has_a_reason(finished):
    table = finished.trials_dataframe()
    assert len(table) == 8
    assert set(table.state) <= {"COMPLETE", "PRUNED"}
    assert table[table.state != "COMPLETE"].reason_text.notna().all()
    assert all(trial.state.is_finished() for trial in finished.study.trials)


def test_the_baselines_come_first_and_are_in_the_summary(finished):
    summary = finished.summary
    assert list(summary["baselines"]) == ["head_only", "standard", "full"]
    assert [baseline["trial"] for baseline in summary["baselines"].values()] == [0, 1, 2]
    assert all(0 <= baseline["test"]["accuracy"] <= 1 for baseline in summary["baselines"].values())


def test_what_winner_and_baselines_have_forgotten_is_in_the_summary(finished):
    told = finished.summary["forgetting"]
    assert set(told) == {"0", "1", "2", str(finished.summary["winner"])}
    assert told["0"]["retention"] == 1.0
    assert all(0.0 <= each["retention"] <= 1.0 for each in told.values())


def test_the_portfolio_follows_the_baselines_and_is_in_the_summary(finished):
    tried = finished.summary["portfolio"]
    assert tried
    assert [entry["trial"] for entry in tried.values()] == list(range(3, 3 + len(tried)))
    assert tried.keys() <= portfolio("other").keys()
    assert all(finished.records[entry["trial"]].curve for entry in tried.values())


def test_the_summary_has_the_keys_that_scripts_rely_on(finished):
    written = json.loads((finished.path / "summary.json").read_text())
    keys = {
        "metric",
        "mode",
        "best_value",
        "winner",
        "test",
        "baselines",
        "trials",
        "reasons",
        "wall_s",
        "compute_s",
        "saved_s",
        "predicted_s",
        "plan",
        "stopped_because",
    }
    assert keys <= set(written)
    assert finished.cost == {name: written[name] for name in ("wall_s", "compute_s", "saved_s", "predicted_s")}
    assert sum(written["trials"].values()) == 8
    assert written["stopped_because"] == "all 8 recipes were tried"
    assert sum(written["reasons"].values()) == written["trials"].get("PRUNED", 0)


def test_the_study_and_its_recipes_say_how_the_machine_was_used(finished):
    kept = finished.ledger.meta()["layout"]
    assert kept == {name: finished.summary["plan"][name] for name in ("memory_format", "threads", "slots")}
    formats = {record.proposal.recipe["optimisation"]["memory_format"] for record in finished.records}
    assert formats == {finished.best_recipe.optimisation.memory_format} == {kept["memory_format"]}
    assert finished.best_recipe.provenance.threads == kept["threads"]
    assert all(set(record.proposal.predicted) for record in finished.records)


def test_the_tables_have_the_columns_that_scripts_rely_on(finished):
    trials = pd.read_csv(finished.path / "trials.csv")
    history = pd.read_csv(finished.path / "history.csv")
    first = ["trial", "state", "reason", "reason_text", "value", "stage", "epochs", "compute_s", "saved_s", "reused"]
    assert list(trials.columns)[:12] == [*first, "predicted_s", "workers"]
    assert all(column.startswith("params.") for column in trials.columns[12:])
    assert list(history.columns)[:6] == ["wall_s", "trial", "stage", "epoch", "value", "best_value"]
    for record in finished.records:
        own = history[history.trial == record.number]
        assert own.train_loss.tolist() == pytest.approx([each.train_loss for each in record.curve])
        assert own.val_loss.tolist() == pytest.approx([each.val_loss for each in record.curve])
    assert history.wall_s.is_monotonic_increasing
    assert history.best_value.is_monotonic_increasing
    assert history.best_value.iloc[-1] == finished.summary["best_value"] == trials.value.max()


def test_optuna_holds_reasons_and_intermediate_values_with_the_evaluation_as_step(finished):
    for trial in finished.study.trials:
        steps = list(trial.intermediate_values)
        assert steps == list(range(1, len(steps) + 1))
        if trial.state == TrialState.PRUNED:
            assert trial.user_attrs["reason"]
            assert trial.user_attrs["reason_text"]


def test_the_front_of_several_objectives_has_the_winner_and_the_cheapest(finished):
    front = finished.pareto
    assert list(front["objectives"].values()) == ["max", "min", "min", "min"]
    assert front["front"][0]["values"]["accuracy"] == finished.best_value
    assert min(point["values"]["parameters"] for point in front["front"]) == 3 * 16 + 3, "the head alone"
    assert all(point["values"]["cost"] > 0 for point in front["front"])


def test_a_search_of_one_objective_has_no_front(finished):
    one = replace(finished, summary={name: part for name, part in finished.summary.items() if name != "pareto"})
    with pytest.raises(RunError, match=r"--set search\.objectives=\[accuracy,cost\]"):
        _ = one.pareto


def test_the_curves_of_a_search_can_be_replayed(finished):
    task = load_task(finished.path / "curves.npz")
    assert [[e.value for e in curve] for curve in task.curves] == [
        [e.value for e in record.curve] for record in finished.records
    ]
    places = dict(zip(task.hyperparameters, task.points[-1], strict=True))
    params = finished.records[-1].proposal.params
    assert places["depth"] == params["depth"]
    assert places["head"] == ["gentle", "steady", "quick", "damped", "solved"].index(params["head"])
    assert replay(Nothing(), task).saved == 0


def test_the_best_recipe_replays_to_the_same_value_bit_for_bit(finished):
    recipe = autoft.Recipe.load(finished.path / "best_recipe.yaml")
    torch.manual_seed(0)
    fitted = autoft.fine_tune(recipe, tiny_data(test=24), model=TinyNet())
    assert fitted.value == finished.summary["best_value"]
    assert fitted.reproduced is True
    assert fitted.test == finished.summary["test"]
    saved = load_file(finished.path / "best_model.safetensors")
    for name, tensor in fitted.module.state_dict().items():
        assert torch.equal(saved[name], tensor), name


def test_any_trial_can_be_trained_again_to_its_value_bit_for_bit(finished):
    values = finished.trials_dataframe().value
    trial = 7 if finished.summary["winner"] != 7 else 6
    recipe = finished.recipe(trial)
    assert (recipe.provenance.trial, recipe.provenance.value) == (trial, values[trial])
    torch.manual_seed(0)
    assert autoft.fine_tune(recipe, tiny_data(test=24), model=TinyNet()).reproduced is True
    with pytest.raises(UnknownNameError, match="has no trial 99; it has trials 0 to 7"):
        finished.recipe(99)


def test_a_result_and_what_was_fine_tuned_are_told_in_a_line(finished):
    told = f"SearchResult('{finished.path}': trial {finished.summary['winner']} of 8 won, accuracy "
    assert repr(finished).startswith(told)
    assert "on validation, " in repr(finished)
    assert repr(finished).endswith(" on test)")
    assert "\n" not in repr(finished)


def test_the_callers_module_is_left_alone(finished, tmp_path):
    torch.manual_seed(0)
    net = TinyNet()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    search(tmp_path, model=net, num_samples=1)
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_result_can_be_loaded_from_its_folder(finished):
    again = SearchResult.load(finished.path)
    assert again.summary == finished.summary
    assert again.best_recipe == finished.best_recipe
    assert len(again.study.trials) == 8


def test_the_same_search_goes_on_where_it_ended(finished):
    before = finished.trials_dataframe()
    finished.ledger.set_meta("layout", {"memory_format": "contiguous", "threads": 2, "slots": 1})
    more = search(finished.path.parent, num_samples=10)
    assert more.best_recipe.provenance.threads == 2, "the study's choice, not a new one"
    after = more.trials_dataframe()
    assert len(after) == 10
    pd.testing.assert_frame_equal(after.iloc[:8][before.columns], before, check_dtype=False)


def test_another_data_set_under_the_same_name_is_refused_and_changes_nothing(finished):
    files = {path: path.read_bytes() for path in sorted(finished.path.glob("*.*")) if path.suffix != ".db-wal"}
    with pytest.raises(RunError, match="holds another search: data was"):
        search(finished.path.parent, data=tiny_data(test=24, seed=9))
    with pytest.raises(RunError, match="metric was 'accuracy' and is now 'log_loss'"):
        search(finished.path.parent, metric="log_loss")
    assert {path: path.read_bytes() for path in files} == files


def test_a_metric_of_ones_own_decides_and_is_given_again_to_go_on(tmp_path):
    def kappa(targets, predictions):
        return cohen_kappa_score(targets, predictions, weights="quadratic")

    def other(targets, predictions):
        return -kappa(targets, predictions)

    model, data = TinyNet(), tiny_data(test=24)
    result = search(tmp_path, model=model, data=data, metric=kappa, num_samples=4)
    best = [max(one.metrics["kappa"] for one in record.curve) for record in result.records]
    assert (result.summary["metric"], result.summary["mode"]) == ("kappa", "max")
    assert result.best_value == best[result.summary["winner"]] == max(best)
    assert {"accuracy", "kappa"} <= set(result.test)
    again = {"num_samples": 5, "model": model, "data": data}
    with pytest.raises(UnknownNameError, match=r"'kappa' is not known.*in Python a function of your own"):
        autoft.resume(result.path, **again)
    with pytest.raises(RunError, match="metric was 'kappa' and is now 'other'"):
        autoft.resume(result.path, metric=other, **again)
    assert len(autoft.resume(result.path, metric=kappa, **again).records) == 5


def test_the_same_seed_gives_the_same_search(tmp_path):
    columns = ["trial", "state", "reason", "value", "stage", "epochs"]
    serial = {"resources.max_concurrent_trials": 1}
    one = search(tmp_path / "one", overrides=serial).trials_dataframe()
    other = search(tmp_path / "other", overrides=serial).trials_dataframe()
    pd.testing.assert_frame_equal(one[columns], other[columns])
    params = [column for column in one.columns if column.startswith("params.")]
    pd.testing.assert_frame_equal(one[params], other[params])


def test_reuse_changes_no_result_and_is_seen(tmp_path):
    """The network is far too small for it to pay, so it is asked for."""
    columns = ["trial", "state", "reason", "value", "stage", "epochs"]
    serial = {"resources.max_concurrent_trials": 1}
    off = search(tmp_path / "off", overrides={**serial, "reuse": "off"})
    on = search(tmp_path / "on", overrides={**serial, "reuse.activations": "on"})
    pd.testing.assert_frame_equal(on.trials_dataframe()[columns], off.trials_dataframe()[columns])
    read, written = on.trials_dataframe(), off.trials_dataframe()
    assert written.reused.isna().all()
    assert (written.saved_s == off.summary["saved_s"]).all()
    assert off.summary["saved_s"] == 0
    assert read.reused.notna().sum() >= 2
    assert read.saved_s.sum() > 0
    assert [note for note in on.summary["notes"] if "reuse" in note] == []


def test_activations_that_do_not_fit_are_told_in_the_summary(tmp_path):
    tight = {"reuse.activations": "on", "reuse.max_bytes": 100, "resources.max_concurrent_trials": 1}
    result = search(tmp_path, num_samples=1, overrides=tight)
    assert any("raise reuse.max_bytes" in note for note in result.summary["notes"])


def test_a_rate_that_is_far_too_hot_is_told_as_diverged_within_its_first_epoch(tmp_path):
    space = {"lr": {"path": "stages.tune.lr", "type": "float", "low": 1e3, "high": 1e3}}
    result = search(tmp_path, space=space, num_samples=4)
    last = result.trials_dataframe().iloc[3]
    assert (last.state, last.reason, last.stage) == ("PRUNED", "diverged", "tune")
    assert last.epochs <= 2.0


def test_a_network_that_crashes_ends_the_search_with_its_cause_and_leaves_the_traceback(tmp_path):
    with pytest.raises(SearchFailedError, match="RuntimeError: this network never trains"):
        search(tmp_path, model=TinyNet(fail_in_training=True))
    assert "this network never trains" in (tmp_path / "tiny/trials/0000/error.txt").read_text()
    states = list(pd.read_csv(tmp_path / "tiny/trials.csv").state)
    assert states.count("FAIL") in {3, 4}, "one more may be at work when the third crash ends the search"
    assert set(states) <= {"FAIL", "WAITING"}


class Killer(Silent):
    """Ends the worker of a trial that has ended, as soon as the next trial is to have it."""

    def __init__(self, run):
        self.run, self.killed = run, None

    def trial_started(self, trial):
        file = self.run / f"trials/{trial.number - 1:04d}/worker_pid"
        if self.killed is None and file.exists():
            self.killed = int(file.read_text())
            os.kill(self.killed, signal.SIGKILL)


def test_a_worker_that_dies_between_two_trials_costs_no_trial(tmp_path):
    alone = {f"search.{part}": "off" for part in ("portfolio", "probe", "gains", "forgetting")}
    watch = Killer(tmp_path / "my run")
    changes = {**alone, "search.scheduler": "none", "prune": "off", "resources.max_concurrent_trials": 1}
    result = search(tmp_path, num_samples=3, name="my run", overrides=changes, observer=watch)
    assert watch.killed is not None
    assert list(result.trials_dataframe().state) == ["COMPLETE"] * 3
    assert str(watch.killed) not in (result.path / "trials/0002/worker_pid").read_text()


def test_without_a_test_split_every_output_says_so(tmp_path):
    without = {"data.test_fraction": 0.0, "search.forgetting": "off"}
    result = search(tmp_path, data=tiny_data(), num_samples=1, overrides=without)
    assert result.summary["test"] is None
    assert "forgetting" not in result.summary
    assert any("chosen on the same" in note for note in result.summary["notes"])


def test_a_space_may_be_a_function_of_a_trial(tmp_path):
    def space(trial):
        return {"stages.tune.lr": trial.suggest_float("rate", 1e-4, 1e-2, log=True)}

    result = search(tmp_path, space=space, num_samples=5)
    assert result.trials_dataframe()["params.rate"].iloc[3:].between(1e-4, 1e-2).all()


@pytest.mark.parametrize("rates", [FloatDistribution(1e-4, 1e-2, log=True), tune.loguniform(1e-4, 1e-2)])
def test_a_space_may_be_distributions_or_ray_tunes_domains_over_recipe_paths(tmp_path, rates):
    result = search(tmp_path, space={"stages.tune.lr": rates}, num_samples=5)
    drawn = result.trials_dataframe()["params.stages.tune.lr"].dropna()
    assert len(drawn) >= 2
    assert drawn.between(1e-4, 1e-2).all()


@pytest.mark.parametrize("more", [{}, {"optimisation.opt": tune.choice(["adamw", "sgd"])}])
def test_a_grid_of_ray_tunes_says_how_all_of_a_space_becomes_one(tmp_path, more):
    told = r"^space\.stages\.tune\.lr: a grid is for all of a space; give tune.choice and search.sampler=grid$"
    with pytest.raises(ConfigError, match=told):
        search(tmp_path, space={"stages.tune.lr": tune.grid_search([1e-3, 1e-4]), **more})


def test_a_run_that_another_process_holds_is_refused(finished):
    with RunFolder(finished.path).locked(), pytest.raises(RunLockedError, match="another process"):
        search(finished.path.parent)


def test_bad_input_leaves_no_folder_behind(tmp_path):
    with pytest.raises(ConfigError, match="depth"):
        search(tmp_path, space={"depth": {"path": "stages.tune.unfreeze", "type": "int", "low": 0, "high": 99}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overrides", [None, 3, [("data.image_size", 96)]], ids=repr)
def test_overrides_of_another_kind_are_refused(overrides):
    with pytest.raises(ConfigError, match="overrides: must be a mapping or texts such as"):
        autoft.search(TinyNet(), tiny_data(), overrides=overrides)


def test_gpu_hours_on_a_machine_that_uses_no_gpu_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"search\.max_gpu_hours: is 2, but this search uses no GPU"):
        search(tmp_path, overrides={"search.max_gpu_hours": 2, "resources.gpus_per_worker": 0})


def test_a_budget_too_short_for_one_evaluation_is_told(tmp_path):
    with pytest.raises(SearchFailedError, match="larger --time-budget"):
        search(tmp_path, time_budget_s=1.0, started_at=1.0)


def test_only_what_is_needed_is_kept_on_disk(finished):
    kept = {int(path.parent.name) for path in (finished.path / "trials").glob("*/checkpoint")}
    assert kept == {0, 1, 2, SearchResult.load(finished.path).summary["winner"]}


def test_with_a_small_quota_a_search_still_has_its_best_model_and_goes_on(tmp_path):
    small = {"output.max_checkpoint_bytes": 1}
    result = search(tmp_path, num_samples=4, overrides=small)
    kept = {int(path.parent.name) for path in (result.path / "trials").glob("*/checkpoint")}
    assert kept == {result.summary["winner"]}
    assert any("output.max_checkpoint_bytes" in note for note in result.summary["notes"])
    assert result.summary["test"] is not None
    more = search(tmp_path, num_samples=5, overrides=small)
    assert sum(more.summary["trials"].values()) == 5
    assert more.best_value >= result.best_value
    assert load_file(more.path / "best_model.safetensors")


def test_dictionary_inputs_and_regression_are_searched(tmp_path):
    class Pair(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = torch.nn.Linear(3, 4), torch.nn.Linear(2, 4)
            self.head = torch.nn.Linear(4, 1)

        def forward(self, a, b):
            return self.head(torch.relu(self.left(a) + self.right(b)))

    class Items(torch.utils.data.Dataset):
        def __init__(self, seed, count):
            self.rng = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)

        def __len__(self):
            return len(self.rng)

        def __getitem__(self, index):
            row = torch.from_numpy(self.rng[index])
            return {"a": row[:3], "b": row[3:5]}, float(row[0] + row[3])

    data = (Items(0, 40), Items(1, 20), Items(2, 20))
    result = search(tmp_path, model=Pair(), data=data, num_samples=3, overrides={"data.task": "regression"})
    assert (result.summary["metric"], result.summary["mode"]) == ("mae", "min")
    assert {"mae", "r2"} <= set(result.summary["test"])
    assert result.best_recipe.provenance.weights == result.summary["gains"]["kept"]
    assert ("test_plain" in result.summary) == (result.summary["gains"]["kept"] is not None)


def test_a_model_that_only_diverges_ends_its_search_with_the_cause(tmp_path):
    broken = TinyNet()
    torch.nn.init.constant_(broken.block1[0].weight, float("nan"))
    with pytest.raises(SearchFailedError, match="no trial came to a result: the training loss is nan"):
        search(tmp_path, model=broken, num_samples=8, overrides={"resources.max_concurrent_trials": 2})
    trials = pd.read_csv(tmp_path / "tiny/trials.csv")
    assert set(trials.state) == {"PRUNED"}
    assert set(trials.reason) == {"diverged"}
