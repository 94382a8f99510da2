import pytest

from autoft.cli.outcome import more, outcome


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
        "gains": {"kept": "interpolation 0.7", "tried": tried},
        "forgetting": {"model": {"retention": 0.75}, "1": {"retention": 0.5}},
        "trials": {},
        "reasons": {},
        "wall_s": 1.0,
        "compute_s": 1.0,
    }
    texts = [str(part) for part in outcome(summary)]
    (line,) = [text for text in texts if text.startswith("model   interpolation 0.7: accuracy 0.9 ")]
    assert "0.02 better than the recipe's own weights (standard error 0.01)" in line
    assert "the best of 1 mixtures" in line
    assert line.endswith("the recipe's own weights have 0.87")


@pytest.mark.parametrize(
    ("trials", "reasons", "said"),
    [
        ({"COMPLETE": 5, "PRUNED": 3}, {"dominated": 3}, "--num-samples 16"),
        ({"COMPLETE": 5, "PRUNED": 3}, {"budget": 1}, "--time-budget 20m"),
        ({"COMPLETE": 5}, {}, "--time-budget 20m"),
    ],
    ids=["all were tried", "time was up in some", "time was up before some"],
)
def test_going_on_needs_more_of_what_the_search_ran_out_of(trials, reasons, said):
    assert more({"trials": trials, "reasons": reasons}, asked=8) == said
