"""Whether it pays to choose among several proposals, by expected improvement or by that per cost: on invented tasks.

Each task is a smooth surface over the default search space of a network of nine layer groups: a hill over depth and
learning rate of random place, width and height, other dimensions of small effect, learning curves and noise. The real
conductor, policy, freeze-thaw halving and samplers search it on a virtual clock; the cost of an epoch is counted from
its depth. Invented surfaces are smoother than real ones, so the figures say that it does no harm rather than how much
it helps. The exponent of the cost is the share of recipes still to be tried.

Run: python tests/benchmarks/proposal_choice.py [--tasks 60] [--num-samples 24] [--scheduler none]
"""

import argparse
import math
from dataclasses import dataclass

import numpy as np

from autoft.recipe import Recipe
from autoft.record import Evaluation, GroupCard, ModelCard, Objective
from autoft.space import build_space
from autoft.streams import stream, stream_seed
from autoft.tuner.baselines import baselines
from autoft.tuner.exploring import ExploringSampler
from autoft.tuner.policy import Policy
from autoft.tuner.sampler import PredictingSampler, build_sampler
from autoft.tuner.sampler_choice import DRAWS, ChoosingSampler
from autoft.tuner.simulator import simulate

SCORE, GROUPS = Objective("accuracy", "max"), 8
SHARES = (0.12, 0.08, 0.14, 0.12, 0.14, 0.12, 0.16, 0.09, 0.03)
CARD = ModelCard(
    "m", "cnn", tuple(GroupCard(f"g{i}", 10, 1, s) for i, s in enumerate(SHARES)), "timm", 32, (0.5,) * 3, (0.5,) * 3
)
HEAD = {"name": "head", "epochs": 3, "head_lr": 3e-3}
TUNE = {"name": "tune", "unfreeze": 4, "epochs": 7, "lr": 3e-4, "head_lr": 3e-3}
BASE = Recipe.parse({"model": "m", "stages": [HEAD, TUNE]}, where="benchmark")
DEEP = {"when": {"depth": ">= 1"}}
SPACE = {
    "depth": {"path": "stages.tune.unfreeze", "type": "int", "low": 0, "high": "all"},
    "lr": {"path": "stages.tune.lr", "type": "float", "low": 1e-5, "high": 3e-3, "log": True, **DEEP},
    "head_lr": {"path": "stages.tune.head_lr", "type": "float", "low": 1e-4, "high": 3e-2, "log": True},
    "dropout": {"path": "model.drop_rate", "type": "float", "low": 0.0, "high": 0.3},
    "weight_decay": {"path": "optimisation.weight_decay", "type": "float", "low": 1e-5, "high": 1e-2, "log": True},
    "norm": {"path": "stages.tune.norm", "type": "categorical", "values": ["train", "eval"], **DEEP},
}
BUDGETS = (20, 30, 45, 60, 90)
"""Epochs of a full fine-tune after which the best value is looked at."""


def depth_of(stage):
    wanted = stage.get("unfreeze", 0)
    if isinstance(wanted, float):  # a share of the cost
        return next((depth for depth in range(GROUPS + 1) if sum(SHARES[GROUPS - depth :]) >= wanted), GROUPS)
    return GROUPS if wanted == "all" else min(GROUPS, wanted)


def units(plain):
    return {stage["name"]: sum(SHARES[GROUPS - depth_of(stage) :]) for stage in plain["stages"]}


def total(recipe):
    found = units(recipe.full())
    return sum(found[stage.name] * stage.epochs for stage in recipe.stages)


@dataclass(frozen=True)
class Task:
    seed: int

    def draw(self, name, low, high):
        return stream(self.seed, "task", name).uniform(low, high)

    def final(self, plain):
        tune, head_lr = plain["stages"][-1], plain["stages"][-1].get("head_lr") or 3e-3
        off = (math.log10(head_lr) - self.draw("head_lr", -3.5, -2)) / 0.8
        value = self.draw("base", 0.5, 0.75) - 0.01 * min(4, off**2) - 0.05 * abs(plain["model"]["drop_rate"] - 0.1)
        if depth := depth_of(tune):
            rate, best = math.log10(tune.get("lr") or 3e-4), self.draw("lr", -4.5, -2.8)
            far = ((depth - self.draw("depth", 1, 8)) / self.draw("wide", 1.5, 4)) ** 2
            hill = math.exp(-far - ((rate - best) / self.draw("lr_wide", 0.4, 0.9)) ** 2)
            fits = (tune.get("norm", "train") == "eval") == (self.draw("norm", 0, 1) < 0.5)
            value += self.draw("gain", 0.0, 0.3) * hill * (1.0 if fits else self.draw("other", 0.5, 0.9))
            value -= 0.06 * (1 - hill) + 0.2 * (rate > best + 1.2)
        return value

    def curve(self, plain):
        noise, tau = self.draw("noise", 0.004, 0.012), self.draw("tau", 1.0, 3.0)
        rng = stream(self.seed, "curve", Recipe.parse(plain, where="benchmark").fingerprint())
        end, value, found = self.final(plain) + rng.normal(0, noise), 0.3, []
        for stage in plain["stages"]:
            goal = end if stage is plain["stages"][-1] else self.draw("base", 0.5, 0.75) - 0.02
            for epoch in range(1, stage["epochs"] + 1):
                value = goal - (goal - value) * math.exp(-1 / tau)
                seen = float(value + rng.normal(0, 0.3 * noise))
                found.append(Evaluation(len(found) + 1, stage["name"], epoch, 10 * epoch, seen, 0.5, 1 - seen))
        return tuple(found)


class PerCost(ChoosingSampler):
    """Divides by the cost to the power of the share of recipes that are still to be tried."""

    num_samples = 24

    def promise(self, known, drawn):
        costs = np.array([total(Recipe.parse(proposal.recipe, where="benchmark")) for proposal in drawn])
        return super().promise(known, drawn) / costs ** max(0.0, 1.0 - len(known) / self.num_samples)


def searched(task, num_samples, choosing, scheduler):
    """Best value at each budget, and at the end; ``choosing`` among proposals, unless it is None."""
    space = build_space(SPACE, BASE.full(), CARD)

    def build(seed, name="tpe"):
        return build_sampler(name, space=space, base=BASE, objective=SCORE, seed=seed)

    sampler = build(task.seed)
    if choosing:
        others = [build(stream_seed(task.seed, "draw", number)) for number in range(1, DRAWS)]
        sampler = choosing((sampler, *others), SCORE)
    policy = Policy(
        objective=SCORE,
        sampler=PredictingSampler(ExploringSampler(sampler, build(task.seed, "random")), lambda _recipe: {}, units),
        baselines=baselines(BASE, CARD),
        num_samples=num_samples,
        scheduler=scheduler,
    )
    steps = simulate(policy, task.curve).steps
    best = np.maximum.accumulate([step.evaluation.value for step in steps])
    spent = np.array([step.spent for step in steps])
    return [*(best[max(0, np.searchsorted(spent, budget, "right") - 1)] for budget in BUDGETS), best[-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--num-samples", type=int, default=24)
    parser.add_argument("--scheduler", default="thaw")
    chosen = parser.parse_args()
    PerCost.num_samples = chosen.num_samples
    ways = {"tpe": None, "by gain alone": ChoosingSampler, "by gain per cost": PerCost}
    found = {
        name: [searched(Task(n), chosen.num_samples, way, chosen.scheduler) for n in range(chosen.tasks)]
        for name, way in ways.items()
    }
    print("points of accuracy by epochs spent:", *BUDGETS, "end")
    for name, rows in found.items():
        ahead = 100 * (np.array(rows) - np.array(found["tpe"]))
        error = ahead.std(axis=0, ddof=1) / math.sqrt(len(ahead))
        shown = zip(100 * np.mean(rows, axis=0), ahead.mean(axis=0), error, strict=True)
        print(f"{name:17}", *(f"{value:6.2f} ({more:+.2f} +- {off:.2f})" for value, more, off in shown))


if __name__ == "__main__":
    main()
