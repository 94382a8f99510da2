"""How often intervals hold the truth: synthetic searches whose truth is known, without any training.

A search has recipes of known accuracy, chooses the best on a validation set and scores it once on a test set, with
its baseline beside it. Coverage is the share of searches whose 95% interval holds the winner's true accuracy
(Wilson), or its true lead over the baseline (paired bootstrap).

Run: python tests/benchmarks/coverage.py [--searches 2000]
"""

import argparse
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from autoft.statistics import paired_bootstrap, wilson_interval

CORRELATION = 0.7
"""Between recipes, in how hard they find an item."""
NORMAL = NormalDist()


@dataclass(frozen=True)
class Case:
    """The setting of many searches."""

    items: int
    accuracy: float
    """The best recipes' accuracy, on average over searches; they differ by `spread` from search to search."""
    spread: float = 0.007
    recipes: int = 16
    per_group: int = 1
    """Items that come together (pictures of one patient): they are all right or all wrong."""


CASES = (
    Case(60, 0.98),
    Case(200, 0.98),
    Case(60, 0.85, 0.03),
    Case(1000, 0.85, 0.03),
    Case(600, 0.85, 0.03, per_group=10),
)


def right(generator, accuracies, groups, per_group):
    """(recipes, items): which items each recipe gets right; an item is as hard for all."""
    hard = generator.standard_normal(groups)
    own = generator.standard_normal((len(accuracies), groups))
    ease = np.array([NORMAL.inv_cdf(float(accuracy)) for accuracy in accuracies])[:, None]
    got = CORRELATION * hard + np.sqrt(1 - CORRELATION**2) * own < ease
    return np.repeat(got, per_group, axis=1).astype(float)


def search(case, seed):
    """Whether Wilson's and the bootstrap's interval held, and by how much validation promised too much."""
    generator = np.random.default_rng([seed, case.items])
    best = np.clip(case.accuracy + case.spread * generator.standard_normal(), 0.5, 0.998)
    worse = generator.exponential(2 * case.spread, case.recipes)
    accuracies = np.clip(best - worse + worse.min(), 0.3, 0.998)
    groups = case.items // case.per_group
    validation = right(generator, accuracies, groups, case.per_group).mean(axis=1)
    winner, baseline = int(np.argmax(validation)), 0
    test = right(generator, accuracies, groups, case.per_group)
    truth, lead = accuracies[winner], accuracies[winner] - accuracies[baseline]
    names = np.repeat(np.arange(groups), case.per_group) if case.per_group > 1 else None
    wilson = wilson_interval(int(test[winner].sum()), case.items)
    paired = paired_bootstrap(test[winner] - test[baseline], groups=names, draws=1000, seed=seed)
    return truth in wilson, None if winner == baseline else lead in paired, validation[winner] - truth


def coverage(case, searches):
    """Coverage of Wilson, of the paired bootstrap, and mean excess of the winner's validation accuracy."""
    held = [search(case, seed) for seed in range(searches)]
    pairs = [paired for _, paired, _ in held if paired is not None]
    return np.mean([one for one, _, _ in held]), np.mean(pairs), np.mean([excess for _, _, excess in held])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--searches", type=int, default=2000)
    searches = parser.parse_args().searches
    print(f"{searches} searches each, nominal 95%\n{'':40} Wilson  paired  validation promises too much")
    for case in CASES:
        wilson, paired, excess = coverage(case, searches)
        name = f"{case.items} items, accuracy {case.accuracy}" + (f", {case.per_group} a group" * (case.per_group > 1))
        wilson = "     -" if case.per_group > 1 else f"{wilson:6.1%}"
        print(f"{name:40} {wilson}  {paired:6.1%}  {excess:6.1%}")


if __name__ == "__main__":
    main()
