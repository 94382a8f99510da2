"""How much a search costs until it meets the winner, replayed on recorded curves with one worker.

Cost in full training runs until a trial of the pool's true top 1% has shown its own best value, by the real conductor
and policy on a virtual clock. Portfolio and reduction factor are chosen on the other tasks. A search that ends without
the winner counts as its whole pool. Then 2,000 trivial trials: time and memory.

Run: python tests/benchmarks/policy_replay.py [--shuffles 20] [--curves ../shared/curves]
"""

import argparse
import time
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoft.pruning.replay import RecordedTask, load_task, recorded_curve
from autoft.study import MemoryLedger
from autoft.tuner.policy import Policy
from autoft.tuner.recorded import curves_of, recorded_pool, recorded_recipe, recorded_trial
from autoft.tuner.simulator import simulate

RUNGS = ((2, 3), (2, 5), (2, 8))
"""grace_period (the default) and reduction_factor to choose among."""


@dataclass(frozen=True)
class Search:
    task: RecordedTask
    pool: np.ndarray
    seed: int
    rungs: tuple[int, int]
    portfolio: tuple[int, ...] = ()
    model: bool = True
    scheduler: str = "thaw"

    def policy(self):
        recipes = [(str(trial), recorded_recipe(trial, len(self.task.curves[trial]))) for trial in self.portfolio]
        return Policy(
            objective=self.task.objective,
            sampler=recorded_pool(self.task, self.pool, seed=self.seed, model=self.model),
            baselines=recipes[:1],
            portfolio=recipes[1:],
            num_samples=len(self.pool),
            scheduler=self.scheduler,
            grace_period=self.rungs[0],
            reduction_factor=self.rungs[1],
        )

    def cost(self):
        """Full runs until the winner was met, and whether it was; without it, all that the pool would cost."""
        scores = self.task.best_scores()
        ranked = self.pool[np.argsort(-scores[self.pool], kind="stable")]
        winners = {int(trial) for trial in ranked[: max(1, round(0.01 * len(ranked)))]}
        ledger = MemoryLedger(self.task.objective)

        def met(step):
            trial = recorded_trial(ledger.trial(step.number).proposal.recipe)
            return trial in winners and self.task.objective.score(step.evaluation.value) == scores[trial]

        last = simulate(self.policy(), curves_of(self.task), ledger=ledger, until=met).steps[-1]
        length = max(map(len, self.task.curves))
        return (last.spent / length, True) if met(last) else (float(len(self.pool)), False)


def costs(task, *, shuffles, size=1000, **more):
    """(shuffles, 2): cost and whether the winner was met."""
    found = []
    for seed in range(shuffles):
        pool = np.random.default_rng(seed).permutation(len(task.curves))[:size]
        found.append(Search(task, pool, seed, **more).cost())
    return np.array(found)


def greedy_portfolio(tasks, size=8):
    """Trials that together come near the best of every task, the one that lowers the mean log rank most first."""
    ranks = np.array([np.argsort(np.argsort(-task.best_scores())) for task in tasks]) + 1.0
    best, chosen = np.full(len(tasks), float(ranks.shape[1])), []
    for _ in range(size):
        gain = np.log(np.minimum(best[:, None], ranks)).mean(axis=0) + 0.01 * np.log(ranks).mean(axis=0)
        gain[chosen] = np.inf
        chosen.append(int(np.argmin(gain)))
        best = np.minimum(best, ranks[:, chosen[-1]])
    return tuple(chosen)


def show(name, rows):
    """Mean and median over the shuffles of each task, and over all."""
    value = np.array([row[:, 0] for row in rows])
    met = np.mean([row[:, 1].mean() for row in rows])
    tasks = " ".join(f"{mean:5.1f}" for mean in value.mean(axis=1))
    print(
        f"{name:46} {value.mean():6.2f} {np.median(value):6.2f} {np.quantile(value, 0.9):6.2f}  {met:5.0%}  {tasks}",
        flush=True,
    )


def replay_all(tasks, shuffles):
    print(f"{'full training runs until the winner':46} {'mean':>6} {'median':>6} {'90%':>6}  met    mean per task")
    few = max(1, shuffles // 2)
    tried = {rungs: [costs(task, shuffles=few, rungs=rungs) for task in tasks] for rungs in RUNGS}
    for (grace, factor), rows in tried.items():
        show(f"thaw, grace {grace}, factor {factor} ({few} shuffles)", rows)
    others = [[other for other in range(len(tasks)) if other != place] for place in range(len(tasks))]
    chosen = [min(RUNGS, key=lambda rungs: np.mean([tried[rungs][o][:, 0] for o in rest])) for rest in others]
    portfolios = [greedy_portfolio([tasks[other] for other in rest]) for rest in others]
    print("chosen on the other tasks:", *chosen)
    for size in (1000, 64, 24):
        common = {"shuffles": shuffles, "size": size}
        for name, more in {
            "random, asha (2, 3)": {"model": False, "scheduler": "asha"},
            "random, thaw": {"model": False},
            "model, thaw": {},
        }.items():
            asha = "asha" in name
            show(
                f"{name}, of {size}",
                [costs(t, **common, rungs=(2, 3) if asha else r, **more) for t, r in zip(tasks, chosen, strict=True)],
            )
    rows = [
        costs(task, shuffles=shuffles, rungs=rungs, portfolio=portfolio)
        for task, rungs, portfolio in zip(tasks, chosen, portfolios, strict=True)
    ]
    show("portfolio, model, thaw, of 1000", rows)


def trivial(trials=2000):
    """Time per report and memory of a search of trials that train nothing."""
    values = np.random.default_rng(0).random((trials, 9))
    curves = tuple(recorded_curve(row, row) for row in np.minimum.accumulate(values, axis=1))
    task = RecordedTask("trivial", ("x",), np.arange(float(trials))[:, None], curves)
    policy = Search(task, np.arange(trials), 0, (2, 3), model=False).policy()
    seconds, sizes, judge = [], [], Policy.judge

    def timed(self, *arguments, **more):
        began = time.perf_counter()
        decision = judge(self, *arguments, **more)
        seconds.append(time.perf_counter() - began)
        return decision

    def watch(step):
        if len(seconds) % 500 == 0:
            sizes.append((step.number + 1, tracemalloc.get_traced_memory()[0]))
        return False

    Policy.judge = timed
    try:
        began = time.perf_counter()
        steps = simulate(policy, curves_of(task), workers=4).steps
        whole = time.perf_counter() - began
        tracemalloc.start()
        seconds_plain, seconds[:] = list(seconds), []
        policy = Search(task, np.arange(trials), 0, (2, 3), model=False).policy()
        simulate(policy, curves_of(task), workers=4, until=watch)
    finally:
        Policy.judge = judge
        tracemalloc.stop()
    late = 1000 * np.array(seconds_plain[-len(seconds_plain) // 10 :])
    print(f"\n{trials} trivial trials, {len(steps)} reports, {whole:.1f} s")
    print(f"decision per report: median {1000 * np.median(seconds_plain):.2f} ms, the last tenth {late.mean():.2f} ms")
    print(f"  the slowest {1000 * max(seconds_plain):.2f} ms; memory per trial in KiB, as the search grows:")
    print(" ", *(f"{size / 1024 / count:.1f}" for count, size in sizes if count > 100))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--curves", type=Path, default=Path(__file__).parents[3] / "shared" / "curves")
    parser.add_argument("--shuffles", type=int, default=20)
    parser.add_argument("--trivial", action="store_true", help="only the trivial trials")
    chosen = parser.parse_args()
    if not chosen.trivial:
        replay_all([load_task(path) for path in sorted(chosen.curves.glob("*.npz"))], chosen.shuffles)
    trivial()


if __name__ == "__main__":
    main()
