"""What a search costs its driver per report and per trial, for 10, 100 and 1,000 trials at a time.

The real conductor, policy (freeze-thaw, all pruning rules) and sampler (TPE) on a virtual clock, with made-up curves of
ten evaluations; nothing is trained, and Ray takes no part. First all slots are filled by random draws, then 60 trials
follow: from there on it is measured, in milliseconds of one core, and of the clock. The ledger is in memory, in SQLite,
or at a URL.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/scaling.py
     [--slots 10 100 1000] [--storage memory|sqlite|URL] [--sampler tpe]
"""

import argparse
import math
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from autoft.recipe import Recipe
from autoft.record import Evaluation, GroupCard, ModelCard, Objective
from autoft.space import build_space
from autoft.study import MemoryLedger, OptunaLedger, sqlite_url
from autoft.tuner.conductor import Conductor
from autoft.tuner.policy import Policy
from autoft.tuner.sampler import build_sampler
from autoft.tuner.simulator import simulate

OBJECTIVE = Objective("accuracy", "max")
CARD = ModelCard(
    "made", "cnn", tuple(GroupCard(f"g{i}", 10, 1, 1 / 9) for i in range(9)), "timm", 32, (0.5,) * 3, (0.5,) * 3
)
EPOCHS, AFTER = 10, 60
BASE = Recipe.parse(
    {"model": "made", "stages": [{"name": "tune", "unfreeze": 2, "epochs": EPOCHS, "lr": 1e-4, "head_lr": 1e-3}]},
    where="scaling",
)
SPACE = {
    "depth": {"path": "stages.tune.unfreeze", "type": "int", "low": 0, "high": "all"},
    "lr": {"path": "stages.tune.lr", "type": "float", "low": 1e-5, "high": 3e-3, "log": True},
    "decay": {"path": "stages.tune.weight_decay", "type": "float", "low": 1e-5, "high": 1e-1, "log": True},
    "norm": {"path": "stages.tune.norm", "type": "categorical", "values": ["train", "eval"]},
    "dropout": {"path": "model.drop_rate", "type": "float", "low": 0.0, "high": 0.3},
}


def curve_of(recipe):
    """Rises to what its rate and depth give; the best lies at depth 5 and 5e-4."""
    stage = recipe["stages"][0]
    hill = math.exp(-(((stage["unfreeze"] - 5) / 3) ** 2) - ((math.log10(stage["lr"]) + 3.3) / 0.7) ** 2)
    top = 0.6 + 0.3 * hill - 0.1 * recipe["model"]["drop_rate"]
    values = [top * (1 - 0.6 * math.exp(-index / 3)) for index in range(1, EPOCHS + 1)]
    return tuple(
        Evaluation(index, "tune", float(index), 10 * index, value, 1 - value, 1 - value)
        for index, value in enumerate(values, start=1)
    )


class FilledAtRandom:
    """A sampler whose first proposals are random, so that filling the slots does not take longer than the rest."""

    def __init__(self, name, slots):
        space = build_space(SPACE, BASE.full(), CARD)
        build = partial(build_sampler, space=space, base=BASE, seed=0, objective=OBJECTIVE)
        self._first, self._then, self._slots = build("random"), build(name), slots

    def propose(self, records, number):
        return (self._first if number < self._slots else self._then).propose(records, number)

    def locate(self, recipe, origin):
        return self._then.locate(recipe, origin)


class Stopwatch:
    """Wraps the conductor's two calls; keeps seconds of each (of a core, of the clock) and the trials so far."""

    def __init__(self):
        self.reports, self.turns = [], []

    def __enter__(self):
        self._hear, self._next = Conductor.hear, Conductor.next_trial
        stopwatch, hear, following = self, self._hear, self._next

        def timed_hear(conductor, number, report):
            began = moment()
            action = hear(conductor, number, report)
            stopwatch.reports.append((len(conductor.records), moment() - began))
            return action

        def timed_next(conductor):
            began, before = moment(), len(conductor.records)
            turn = following(conductor)
            if len(conductor.records) > before:
                stopwatch.turns.append((len(conductor.records), moment() - began))
            return turn

        Conductor.hear, Conductor.next_trial = timed_hear, timed_next
        return self

    def __exit__(self, *_error):
        Conductor.hear, Conductor.next_trial = self._hear, self._next


def moment():
    """Seconds of this core, and of the clock."""
    return np.array([time.thread_time(), time.perf_counter()])


def ledger_at(storage, folder, name):
    if storage == "memory":
        return MemoryLedger(OBJECTIVE)
    url = sqlite_url(Path(folder) / f"{name}.db") if storage == "sqlite" else storage
    return OptunaLedger(url, name, OBJECTIVE)


def measure(slots, storage, sampler):
    """Milliseconds (core, clock) per report and per new trial once all slots are busy, and the seconds of it all."""
    policy = Policy(
        objective=OBJECTIVE,
        sampler=FilledAtRandom(sampler, slots),
        baselines=[("base", BASE)],
        num_samples=slots + AFTER,
        cost=lambda _proposal, _curve: 1.0,
    )
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Stopwatch() as watch:
        ledger = ledger_at(storage, folder, f"scaling-{slots}-{time.time_ns()}")
        with ledger:
            simulate(policy, curve_of, workers=slots, ledger=ledger)
    whole = time.perf_counter() - began
    reports = [1000 * seconds for trials, seconds in watch.reports if trials > slots]
    turns = [1000 * seconds for trials, seconds in watch.turns if trials > slots]
    return np.array(reports), np.array(turns), whole


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slots", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--storage", default="memory")
    parser.add_argument("--sampler", default="tpe")
    chosen = parser.parse_args()
    print("median milliseconds, of one core / of the clock; the mean of a core's")
    print(
        f"{'slots':>6} {'per report':>16} {'mean':>7} {'per new trial':>18} {'mean':>7} {'reports':>8} {'whole s':>8}"
    )
    for slots in chosen.slots:
        reports, turns, whole = measure(slots, chosen.storage, chosen.sampler)
        (core, clock), (own, waited) = np.median(reports, axis=0), np.median(turns, axis=0)
        print(
            f"{slots:6d} {core:7.2f} /{clock:7.2f} {reports[:, 0].mean():7.2f} {own:8.1f} /{waited:8.1f} "
            f"{turns[:, 0].mean():7.1f} {len(reports):8d} {whole:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
