"""The benchmark of coverage, shortened: intervals hold the truth about as often as they say."""

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "coverage.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("items", "accuracy", "spread"), [(60, 0.98, 0.007), (1000, 0.85, 0.03)])
def test_intervals_of_searches_hold_the_truth(items, accuracy, spread, benchmark):
    """Three standard errors of 300 searches beside the 1.5 points that 2,000 of them keep."""
    wilson, paired, excess = benchmark.coverage(benchmark.Case(items, accuracy, spread), 300)
    assert abs(wilson - 0.95) < 0.04
    assert abs(paired - 0.95) < 0.04
    assert excess > 0, "the winner's validation accuracy is too good on average"
