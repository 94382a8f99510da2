"""How much faster many heads are trained together than one by one.

    python tests/benchmarks/fused_heads.py [--heads 64] [--images 300] [--side 96] [--epochs 10] [--threads 1]
        [--device cpu]

Head recipes of tf_efficientnet_lite0 (packaged weights), each with its own rate, decay, dropout and smoothing, on
features that lie in the cache already. One by one: a trainer per recipe. Fused: the first trainer has all others as
companions, and a trainer per recipe then forks from their results, as in a search. On a CPU the metrics of all
evaluations must be equal, bit for bit. Prints one line of JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from activation_cache import MODEL, pictures

import autoft
from autoft.cache import ActivationCache, reuse_of
from autoft.model import complete
from autoft.training import StagedTrainer, StageTree
from autoft.tuner.config import resolve_config
from autoft.tuner.prepare import lay_ground


def recipes_of(ground, arguments):
    """Head recipes, no two alike."""
    rng = np.random.default_rng(0)
    base = ground.recipe.override({"stages": [{"name": "head", "unfreeze": 0, "epochs": arguments.epochs}]})
    for _ in range(arguments.heads):
        changes = {
            "stages.head.head_lr": float(10 ** rng.uniform(-4, -1.5)),
            "stages.head.weight_decay": float(10 ** rng.uniform(-5, -1)),
            "stages.head.drop_rate": float(rng.integers(0, 7)) * 0.05,
            "optimisation.label_smoothing": float(rng.choice([0.0, 0.05, 0.1])),
        }
        yield complete(base.override(changes), ground.loaded.card)


def run(recipes, ground, cache, tree, device):
    """Seconds, and the metrics of all evaluations."""
    objective, metrics = ground.data.task.objective(None), []
    started = time.perf_counter()
    for recipe in recipes:
        shared = {"cache": cache, "tree": tree, "fresh": ground.loaded.reset, "device": device}
        trainer = StagedTrainer(recipe, ground.loaded, ground.data, objective, **shared)
        while trainer.advance():
            pass
        metrics.append([dict(evaluation.metrics) for evaluation in trainer.curve])
    return time.perf_counter() - started, metrics


def measured(arguments, folder):
    """Both ways, in turn, twice; the smaller time of each counts."""
    path = folder / "pictures.npz"
    pictures(path, arguments.images, arguments.side)
    options = {"model.name": MODEL, "data.source": str(path), "data.image_size": arguments.side}
    ground = lay_ground(resolve_config(None, [], options).base_recipe(), path, notify=lambda _text: None)
    recipes = list(recipes_of(ground, arguments))
    cache = ActivationCache(reuse_of(), ground.data, lambda _text: None)
    run(recipes[:1], ground, cache, None, arguments.device)  # builds the features
    seconds = {"one by one": [], "fused": []}
    for turn in range(2):
        took, expected = run(recipes, ground, cache, None, arguments.device)
        seconds["one by one"].append(took)
        tree = StageTree(folder / f"stages{turn}", companions=recipes[1:])
        took, found = run(recipes, ground, cache, tree, arguments.device)
        seconds["fused"].append(took)
        assert found == expected or arguments.device != "cpu", "metrics differ"
    best = {way: min(times) for way, times in seconds.items()}
    return {"times_faster": round(best["one by one"] / best["fused"], 2), "seconds": seconds}


def main():
    """Parse the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"heads": 64, "images": 300, "side": 96, "epochs": 10, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUTOFT_CACHE_DIR"] = folder
        told = {"autoft": autoft.__version__, **vars(arguments), **measured(arguments, Path(folder))}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
