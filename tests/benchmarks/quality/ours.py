"""autoft's side of the benchmark: a search, and the weights of every incumbent kept aside as it arises.

python ours.py SET_FOLDER OUT_FOLDER SEED [path=value ...]
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import psutil

import autoft
from autoft.record import Objective
from autoft.tuner.observer import Silent

MODEL, TRIALS, HEAD_EPOCHS, EPOCHS = "tf_efficientnet_lite0", 32, 3, 12


class Incumbents(Silent):
    """Copies the checkpoint of a trial that becomes the best of the search; it holds the trial's best weights."""

    def __init__(self, started_at, out):
        self.started_at, self.out, self.best, self.rows = started_at, out, None, []

    def evaluated(self, trial, evaluation, best):
        """Hear an evaluation."""
        if not Objective("accuracy", "max").prefers(evaluation, self.best):
            return
        seconds, self.best = time.time() - self.started_at, evaluation
        kept = self.out / "incumbents" / str(len(self.rows))
        shutil.copytree(self.out / "runs/run/trials" / f"{trial.number:04d}" / "checkpoint", kept)
        self.rows.append({"seconds": seconds, "val": evaluation.value, "checkpoint": str(kept)})


def main():
    """Run the search and print its incumbents as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("changes", nargs="*")
    arguments = parser.parse_args()
    started_at = psutil.Process().create_time()
    os.environ["AUTOFT_CACHE_DIR"] = str(arguments.out / "cache")  # nothing of an earlier search is reused
    watch = Incumbents(started_at, arguments.out)
    result = autoft.search(
        MODEL,
        str(arguments.data / "search.csv"),
        name="run",
        storage_path=arguments.out / "runs",
        num_samples=TRIALS,
        observer=watch,
        started_at=started_at,
        overrides=[
            "data.image_size=96",
            "data.test_fraction=0",
            f"search.seed={arguments.seed}",
            f"stages.head.epochs={HEAD_EPOCHS}",
            f"stages.tune.epochs={EPOCHS - HEAD_EPOCHS}",
            "resources.max_concurrent_trials=2",
            "resources.cpus_per_worker=1",
            *arguments.changes,
        ],
    )
    told = {"total_s": time.time() - started_at, "incumbents": watch.rows}
    sys.stdout.write(json.dumps({**told, "final": str(result.path / "best_model.safetensors")}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
