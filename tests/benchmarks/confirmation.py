"""Whether a confirmed search ends below its baselines: synthetic searches whose truth is known, without any training.

A search has a baseline and recipes of known accuracy, most of them worse. Validation ranks them; the best three and the
baseline are run again, every run with a seed that shifts its accuracy and on other items; the simplest within one
standard error wins, by the code of the house (`plan_runs`, `judge`). Told are the share of searches that end below
their baseline by more than noise (a point, or half a standard error of one held-out accuracy if that is more), and by
how much, with confirmation and without; how often the winner's interval and that of its lead hold the truth.

Run: python tests/benchmarks/confirmation.py [--searches 2000]
"""

import argparse
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.confirmation.plan import Terms, plan_runs
from autoft.tuner.confirmation.runs import Outcome
from autoft.tuner.confirmation.verdict import Entrant, judge, plain_verdict

ACCURACY = Objective("accuracy", "max")
CORRELATION = 0.7
"""Between recipes, in how hard they find an item."""
NORMAL = NormalDist()
RECIPE = Recipe.parse({"model": "m", "stages": [{"name": "head", "epochs": 1}]}, where="benchmark").full()


@dataclass(frozen=True)
class Case:
    """The setting of many searches."""

    items: int
    """In a fold; validation has as many."""
    accuracy: float
    """Of the baseline."""
    lead: float
    """Of the best recipe over it, on average; below 0 nothing is gained by searching."""
    recipes: int = 24
    seeds: int = 2
    seed_spread: float = 0.005
    """By how much a seed shifts a recipe's accuracy."""


CASES = (
    Case(60, 0.98, -0.005),
    Case(60, 0.85, -0.01),
    Case(60, 0.85, 0.04),
    Case(250, 0.85, -0.01),
    Case(250, 0.85, 0.03),
    Case(1000, 0.85, -0.005),
    Case(1000, 0.85, 0.02),
)


def right(generator, accuracies, case):
    """(recipes, items): which items each recipe gets right in a run; an item is about as hard for all."""
    shifted = accuracies + case.seed_spread * generator.standard_normal(len(accuracies))
    hard = generator.standard_normal(case.items)
    own = generator.standard_normal((len(accuracies), case.items))
    ease = np.array([NORMAL.inv_cdf(float(each)) for each in np.clip(shifted, 0.01, 0.998)])[:, None]
    return (CORRELATION * hard + np.sqrt(1 - CORRELATION**2) * own < ease).astype(float)


def trial(number, value):
    curve = (Evaluation(1, "head", 1.0, 10, value=float(value), train_loss=0.1, val_loss=0.1, compute_s=1.0),)
    origin = "tpe" if number else "baseline:head_only"
    return TrialRecord(number, TrialState.COMPLETE, Proposal(RECIPE, origin), curve, ended=number + 1)


@dataclass(frozen=True)
class Ended:
    """How a search ended: true accuracy less the baseline's, and whether intervals held."""

    confirmed: float
    by_validation: float
    winner_held: bool
    lead_held: bool | None
    claimed: bool
    """Whether it called its lead real although it is not above 0."""


def search(case, seed):
    generator = np.random.default_rng([seed, case.items, round(1000 * case.accuracy)])
    behind = generator.exponential(0.03, case.recipes - 1)
    best = case.accuracy + case.lead + 0.01 * generator.standard_normal()
    truths = np.clip(np.concatenate([[case.accuracy], best - behind + behind.min()]), 0.3, 0.995)
    trials = [trial(number, value) for number, value in enumerate(right(generator, truths, case).mean(axis=1))]
    plan = plan_runs(trials, Terms(objective=ACCURACY, config=ConfirmConfig(seeds=case.seeds), seconds=1e9))
    outcomes = {}
    for run in range(plan.runs):
        scores = right(generator, truths, case)
        items = np.arange(run * case.items, (run + 1) * case.items)
        outcomes |= {(number, run): Outcome(items, scores[number], scores[number].mean()) for number in plan.candidates}
    sizes = generator.permutation(case.recipes)
    entrants = [
        Entrant(number, trials[number].proposal.origin, 0 if number == 0 else 1 + int(sizes[number]), 1.0, number == 0)
        for number in plan.candidates
    ]
    said = plain_verdict(judge(entrants, outcomes, frozenset(), ACCURACY))
    return ended(said, truths, max(range(len(trials)), key=lambda number: trials[number].curve[0].value))


def ended(said, truths, by_validation):
    winner, over = said["winner"], said["unfreezing"]["over_frozen"]
    interval = next(one["interval"] for one in said["candidates"] if one["trial"] == winner)
    lead = truths[over["trial"]] - truths[0]
    return Ended(
        confirmed=truths[winner] - truths[0],
        by_validation=truths[by_validation] - truths[0],
        winner_held=interval[0] <= truths[winner] <= interval[1],
        lead_held=over["interval"][0] <= lead <= over["interval"][1],
        claimed=over["real"] and over["difference"] > 0 and lead <= 0,
    )


def noise(case):
    """What nobody can tell from these items: half a standard error of one accuracy, at least a point."""
    return max(0.01, 0.5 * float(np.sqrt(case.accuracy * (1 - case.accuracy) / (case.items * case.seeds))))


def figures(case, searches):
    """Per case: shares below the baseline (confirmed, by validation), mean gains, and how often intervals held."""
    ends = [search(case, seed) for seed in range(searches)]
    return {
        "below": np.mean([one.confirmed < -noise(case) for one in ends]),
        "below_by_validation": np.mean([one.by_validation < -noise(case) for one in ends]),
        "gain": np.mean([one.confirmed for one in ends]),
        "gain_by_validation": np.mean([one.by_validation for one in ends]),
        "winner_held": np.mean([one.winner_held for one in ends]),
        "lead_held": np.mean([one.lead_held for one in ends]),
        "claimed": np.mean([one.claimed for one in ends]),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--searches", type=int, default=2000)
    searches = parser.parse_args().searches
    print(f"{searches} searches each; below: the share that ends below its baseline by more than noise")
    print(f"{'':46} below (validation)  gain (validation)   winner in  lead in  claimed wrongly")
    for case in CASES:
        found = figures(case, searches)
        name = f"{case.items} items, accuracy {case.accuracy}, best recipes {100 * case.lead:+.1f} points"
        print(
            f"{name:46} {found['below']:5.1%} ({found['below_by_validation']:5.1%})    "
            f"{found['gain']:+6.2%} ({found['gain_by_validation']:+6.2%})   {found['winner_held']:6.1%}   "
            f"{found['lead_held']:6.1%}   {found['claimed']:6.1%}"
        )


if __name__ == "__main__":
    main()
