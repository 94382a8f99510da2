"""What a measured number is worth: intervals, paired comparisons, and when to stop."""

from autoft.statistics.choice import Candidate, expected_gain, simplest
from autoft.statistics.intervals import Interval, wilson_interval
from autoft.statistics.paired import Comparison, compare, paired_bootstrap, standard_error
from autoft.statistics.seeds import seed_error, seed_variance, widened, wider

__all__ = [
    "Candidate",
    "Comparison",
    "Interval",
    "compare",
    "expected_gain",
    "paired_bootstrap",
    "seed_error",
    "seed_variance",
    "simplest",
    "standard_error",
    "widened",
    "wider",
    "wilson_interval",
]
