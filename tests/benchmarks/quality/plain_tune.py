"""The baseline, as a careful user of Ray Tune writes it: OptunaSearch (TPE), ASHA, reused actors, staged fine-tunes.

Images are decoded once and put into the object store; two trials of one thread at a time; frozen groups run without
gradients and in eval mode, so that the backward pass ends where training does; a head stage comes first. Space, model,
lengths and splits are those of autoft's default search space. With ``--points`` it tries those first, by
``points_to_evaluate``.

    python plain_tune.py SET_FOLDER OUT_FOLDER SEED [--points POINTS.json]
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.update(RAY_AIR_NEW_OUTPUT="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", TUNE_MAX_PENDING_TRIALS_PG="2")

import psutil
import ray
from plain_trial import HEADS, FineTune
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch
from sets import pixels

TRIALS, EPOCHS = 32, 12


def space(trial):
    """As search_spaces/freeze_depth.yaml has it for a convolutional network."""
    trial.suggest_categorical("head", list(HEADS))
    if trial.suggest_int("depth", 0, 8) > 0:
        trial.suggest_float("lr", 1e-5, 3e-3, log=True)
        trial.suggest_categorical("norm", ["train", "eval"])
    trial.suggest_float("head_lr", 1e-4, 3e-2, log=True)
    trial.suggest_float("dropout", 0.0, 0.3, step=0.05)
    trial.suggest_float("weight_decay", 1e-5, 1e-2, log=True)


class Incumbents(tune.Callback):
    """Notes when the best accuracy so far was reached, and by which weights."""

    def __init__(self, started_at, out):
        self.started_at, self.out, self.best, self.rows = started_at, out, -1.0, []

    def on_trial_result(self, iteration, trials, trial, result, **_info):
        """Hear a result; what is no incumbent is deleted."""
        if result["accuracy"] > self.best:
            self.best = result["accuracy"]
            self.rows.append({"seconds": time.time() - self.started_at, "val": self.best, "weights": result["kept"]})
        elif result["kept"]:
            Path(result["kept"]).unlink(missing_ok=True)


def main():
    """Run the search and print its incumbents as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("--points", type=Path, help="parameters to try first, a JSON list")
    arguments = parser.parse_args()
    started_at = psutil.Process().create_time()
    arguments.out.mkdir(parents=True, exist_ok=True)
    watch = Incumbents(started_at, arguments.out)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    points = json.loads(arguments.points.read_text()) if arguments.points else None
    trainable = tune.with_parameters(
        FineTune, data=pixels(arguments.data / "search.csv"), out=str(arguments.out), seed=arguments.seed
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"CPU": 1}),
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(
                space=space, metric="accuracy", mode="max", seed=arguments.seed, points_to_evaluate=points
            ),
            scheduler=ASHAScheduler(metric="accuracy", mode="max", max_t=EPOCHS, grace_period=2, reduction_factor=3),
            num_samples=TRIALS,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str((arguments.out / "ray").resolve()),
            verbose=0,
            callbacks=[watch],
            stop={"training_iteration": EPOCHS},
        ),
    )
    tuner.fit()
    total = time.time() - started_at
    ray.shutdown()
    sys.stdout.write(json.dumps({"total_s": total, "incumbents": watch.rows}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
