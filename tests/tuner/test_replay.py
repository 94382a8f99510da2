"""A recipe on its own: fine_tune."""

import pytest
import torch
from tiny import TinyNet, tiny_data

import autoft
from autoft.errors import ConfigError, DivergedError, UnknownNameError

HEAD, TUNE = {"name": "head", "epochs": 1}, {"name": "tune", "epochs": 2, "unfreeze": 1, "lr": 1e-3}


def fitted(*stages, **more):
    torch.manual_seed(0)
    recipe = autoft.Recipe.parse({"model": "tiny.TinyNet", "stages": list(stages)}, where="test")
    return autoft.fine_tune(recipe, more.pop("data", tiny_data(test=24)), model=more.pop("model", TinyNet()), **more)


def test_a_recipe_runs_to_a_model_with_metrics_and_a_recipe_that_repeats_it(tmp_path):
    one = fitted(HEAD, TUNE)
    one.save(tmp_path)
    again = fitted(HEAD, TUNE)
    assert again.value == one.value
    assert not one.module.training
    assert {"accuracy", "log_loss"} <= set(one.metrics)
    torch.manual_seed(0)
    replayed = autoft.fine_tune(autoft.Recipe.load(tmp_path / "recipe.yaml"), tiny_data(test=24), model=TinyNet())
    assert replayed.reproduced is True


def test_other_data_are_told():
    recipe = fitted(HEAD).recipe
    torch.manual_seed(0)
    other = autoft.fine_tune(recipe, tiny_data(test=24, seed=5), model=TinyNet())
    assert any("not the data that the recipe was found on" in text for text in other.warnings)


def test_a_recipe_of_several_processes_says_what_one_makes_of_it():
    recipe = fitted(HEAD).recipe
    recipe = recipe.model_copy(update={"provenance": recipe.provenance.model_copy(update={"workers": 2})})
    torch.manual_seed(0)
    again = autoft.fine_tune(recipe, tiny_data(test=24), model=TinyNet())
    assert any("found by 2 processes that shared each batch, and is run by one" in text for text in again.warnings)
    assert again.recipe.provenance.workers == 1


def test_a_stage_that_diverges_is_told_and_the_stage_before_it_is_kept():
    result = fitted(HEAD, {**TUNE, "lr": 1e3, "head_lr": 1e3})
    assert any(text.startswith("stage tune diverged") for text in result.warnings)
    assert result.recipe.stages[-1].name == "head"


def test_a_training_that_diverges_at_once_is_an_error_that_names_the_stage():
    nan = tiny_data(test=24)
    for part in nan:
        part.tensors[0][:] *= 1e30
    with pytest.raises(DivergedError, match=r"stage head diverged: .*; lower its rates"):
        fitted({**HEAD, "head_lr": 1e3}, data=nan)


def test_a_scorer_of_scikit_learn_decides_and_is_kept_with_the_recipe():
    one = fitted(HEAD, TUNE, metric="matthews_corrcoef")
    assert one.objective.metric == one.recipe.provenance.metric == "matthews_corrcoef"
    assert one.value == max(evaluation.metrics["matthews_corrcoef"] for evaluation in one.curve)
    torch.manual_seed(0)
    assert autoft.fine_tune(one.recipe, tiny_data(test=24), model=TinyNet()).reproduced is True


def test_a_metric_that_cannot_be_computed_of_the_data_is_told_before_anything_is_trained():
    with pytest.raises(ConfigError, match=r"metric 'f1': cannot be computed of .* Target is multiclass but"):
        fitted(HEAD, metric="f1")


def test_a_decision_to_stop_ends_the_run():
    seen = []

    def report(evaluation):
        seen.append(evaluation)
        return autoft.Decision(action=2, rule="enough", text="it is enough")

    fitted(HEAD, TUNE, report=report)
    assert len(seen) == 1


def test_another_model_than_the_recipes_is_refused():
    with pytest.raises(UnknownNameError, match="the recipe was found for"):
        fitted(HEAD, model=torch.nn.Linear(8, 3))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": "best_recipe.yaml"}, r"recipe: must be a Recipe, got str; give autoft\.Recipe\.load"),
        ({"device": "gpu"}, "device: 'gpu' cannot be used .*; give cpu, or leave it out"),
        ({"device": "cuda:99"}, "device: 'cuda:99' cannot be used .*; give cpu, or leave it out"),
    ],
    ids=["a path", "no device", "a device that is not there"],
)
def test_what_cannot_be_run_is_refused(given, said):
    recipe = autoft.Recipe.parse({"model": "tiny.TinyNet", "stages": [HEAD]}, where="test")
    with pytest.raises(ConfigError, match=said):
        autoft.fine_tune(**{"recipe": recipe, "data": tiny_data(), "model": TinyNet(), **given})
