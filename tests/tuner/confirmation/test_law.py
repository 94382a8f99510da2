"""The benchmark of confirmation, shortened: what is reported as the winner is not below its baseline."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "confirmation.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("synthetic_confirmation", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_where_searching_gains_nothing_the_winner_is_hardly_ever_below_its_baseline(benchmark):
    """The best by validation is below it in about half of such searches."""
    found = benchmark.figures(benchmark.Case(250, 0.85, -0.01), 120)
    assert found["below"] < 0.1
    assert found["below_by_validation"] > 0.3
    assert found["claimed"] < 0.05, "a lead that is not there was called real"


def test_where_there_is_something_to_gain_most_of_it_is_kept(benchmark):
    found = benchmark.figures(benchmark.Case(250, 0.85, 0.03), 120)
    assert found["gain"] > 0.7 * found["gain_by_validation"]
    assert found["below"] < 0.05
    assert found["winner_held"] > 0.85
    assert found["lead_held"] > 0.85
