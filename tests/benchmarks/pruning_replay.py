"""What the pruning rules save and cost on recorded curves: settings chosen on seven tasks, tested on the eighth.

Run: python tests/benchmarks/pruning_replay.py [--curves ../shared/curves]
"""

import argparse
from pathlib import Path

import numpy as np

from autoft.pruning import PruneConfig
from autoft.pruning.replay import TOPS, candidates, load_task, mildest, replay, rule_of

HEAD = f"{'':34}" + "".join(f"top {share:4.0%} " for share in TOPS) + "  saved  regret"


def row(name, judged):
    false = [np.mean([one.false_prunes[share] for one in judged]) for share in TOPS]
    saved, regret = np.mean([one.saved for one in judged]), np.max([one.regret for one in judged])
    print(f"{name:34}" + "".join(f"{value:8.1%} " for value in false) + f"{saved:7.1%} {regret:7.4f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--curves", type=Path, default=Path(__file__).parents[3] / "shared" / "curves")
    tasks = [load_task(path) for path in sorted(parser.parse_args().curves.glob("*.npz"))]
    orders = [np.random.default_rng(seed).permutation(len(task.curves)) for seed, task in enumerate(tasks)]
    judged = {
        name: [replay(rule_of(config), task, order) for task, order in zip(tasks, orders, strict=True)]
        for name, config in candidates().items()
    }
    print(f"all {len(tasks)} tasks; falsely stopped of the best (the default: {PruneConfig()!r})\n{HEAD}")
    for name, ones in judged.items():
        row(name, ones)
    print(f"\nleave one task out: chosen on the others, tested on\n{HEAD}")
    tested = []
    for place, task in enumerate(tasks):
        chosen = mildest({name: [*ones[:place], *ones[place + 1 :]] for name, ones in judged.items()})
        tested.append(judged[chosen][place])
        row(task.name, tested[-1:])
        print(f"    {chosen}")
    row("all", tested)


if __name__ == "__main__":
    main()
