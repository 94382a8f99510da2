"""scikit-learn is imported without scipy's statistics, and whoever uses what needs them finds it as ever."""

import subprocess
import sys

PROGRAM = """
import sys
import autoft.tuner.session
from autoft.training.linear import solve_linear
assert "scipy.stats" not in sys.modules, "imported"

import numpy as np
from sklearn.metrics import label_ranking_average_precision_score
labels, scores = np.array([[1, 0, 0], [0, 0, 1]]), np.array([[0.75, 0.5, 1], [1, 0.2, 0.1]])
score = label_ranking_average_precision_score(labels, scores)
assert abs(score - 5 / 12) < 1e-12, score
from sklearn._loss.link import MultinomialLogit
assert np.allclose(MultinomialLogit().link(np.array([[0.2, 0.8]])), [[np.log(0.5), np.log(2.0)]])
import scipy.stats
assert abs(scipy.stats.norm.ppf(0.975) - 1.96) < 1e-3
print("as ever")
"""


def test_statistics_are_imported_when_they_are_used():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("as ever\n", 0), done.stderr
