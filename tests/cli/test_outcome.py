import pytest

from autoft.cli.outcome import more, outcome, verdict
from autoft.tuner.conductor import NONE_LEFT


def test_the_outcome_says_what_the_model_file_holds():
    tried = [{"kind": "interpolation 0.7", "value": 0.9, "gain": 0.02, "standard_error": 0.01, "kept": True}]
    summary = {
        "metric": "accuracy",
        "mode": "max",
        "best_value": 0.88,
        "winner": 1,
        "test": {"accuracy": 0.91},
        "test_plain": {"accuracy": 0.87},
        "baselines": {},
        "constant": {"answer": "'cat'", "value": 0.5, "test": {"accuracy": 0.25}},
        "gains": {"kept": "interpolation 0.7", "tried": tried},
        "forgetting": {"model": {"retention": 0.75}, "1": {"retention": 0.5}},
        "trials": {},
        "reasons": {},
        "wall_s": 1.0,
        "compute_s": 1.0,
    }
    parts = list(outcome(summary))
    assert [list(column.cells)[-1] for column in parts[1].columns][:3] == ["always 'cat'", "0.5", "0.25"]
    texts = [str(part) for part in parts]
    (line,) = [text for text in texts if text.startswith("model   interpolation 0.7: accuracy 0.9 ")]
    assert "0.02 better than the recipe's own weights (standard error 0.01)" in line
    assert "the best of 1 mixtures" in line
    assert line.endswith("the recipe's own weights have 0.87")


@pytest.mark.parametrize(
    ("value", "winner", "delivered", "said"),
    [
        (0.8, 3, {}, "trial 3 won: accuracy 0.8 on the validation split, as good as the best baseline, head_only"),
        (0.9, 3, {"weights": "own"}, "0.1 better than the best baseline, head_only"),
        (0.8, 0, {"weights": "another recipe"}, "trial 0, the baseline head_only, is delivered: accuracy 0.8"),
        (0.7, 3, {"weights": "another recipe"}, "trial 3 is delivered: accuracy 0.7"),
    ],
)
def test_the_first_line_says_who_won_or_is_delivered_instead(value, winner, delivered, said):
    summary = {"metric": "accuracy", "mode": "max", "best_value": value, "winner": winner, "delivered": delivered}
    assert said in verdict({**summary, "baselines": {"head_only": {"trial": 0, "value": 0.8}}})


@pytest.mark.parametrize(
    ("trials", "reasons", "why", "said"),
    [
        ({"COMPLETE": 5, "PRUNED": 3}, {"dominated": 3}, "all 8 recipes were tried", "--num-samples 16"),
        ({"COMPLETE": 5, "PRUNED": 3}, {"budget": 1}, "the time budget was used up", "--time-budget 20m"),
        ({"COMPLETE": 5}, {}, None, "--time-budget 20m"),
        ({"COMPLETE": 5}, {}, NONE_LEFT, "--set space=NAME"),
        ({"COMPLETE": 5}, {}, "the 2 GPU hours of the search were used up", "--set search.max_gpu_hours=HOURS"),
        ({"COMPLETE": 5}, {}, "at most 0.1, less than search.min_gain (0.2)", "--set search.min_gain=null"),
    ],
    ids=["all were tried", "time was up in some", "time was up before some", "no recipes", "GPU hours", "gain"],
)
def test_going_on_needs_more_of_what_the_search_ran_out_of(trials, reasons, why, said):
    assert more({"trials": trials, "reasons": reasons, "stopped_because": why}, asked=8) == said
