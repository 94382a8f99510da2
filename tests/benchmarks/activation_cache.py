"""How much time the activation cache saves: one list of recipes, run with reuse on and off in turn.

    python tests/benchmarks/activation_cache.py [--images 300] [--side 96] [--recipes 6] [--epochs 10] [--threads 1]

tf_efficientnet_lite0 with its packaged weights, generated images, one process, no scheduler. Recipes are drawn from the
default search space with seed 0, their depth uniform. Both sides read decoded images from shards; the time of building
the activations counts. Metrics of all evaluations must be equal. Prints one line of JSON: seconds of both sides, ratio,
and per trial its depth and the groups after which activations were read.
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

import autoft
from autoft.cache import ActivationCache, reuse_of
from autoft.model import complete
from autoft.record import Objective
from autoft.training import StagedTrainer
from autoft.tuner.config import resolve_config
from autoft.tuner.forecast import expected_passes
from autoft.tuner.prepare import Ground, lay_ground, search_space

MODEL = "tf_efficientnet_lite0"


def pictures(path, count, side, classes=6):
    """An .npz of noise on which a grating of one of a few directions lies: learnable, not trivial."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    angle = np.pi * labels[:, None, None] / classes
    phase = rng.uniform(0, 6.28, size=(count, 1, 1))
    wave = np.sin((across * np.cos(angle) + down * np.sin(angle)) * 0.5 + phase)
    images = 128 + 40 * wave[..., None] + rng.normal(0, 40, size=(count, side, side, 3))
    np.savez(path, x=images.clip(0, 255).astype(np.uint8), y=labels)


def prepared(folder, arguments):
    """The ground to train on, and the configuration of the search that the recipes could come from."""
    path = Path(folder) / "pictures.npz"
    pictures(path, arguments.images, arguments.side)
    options = {
        "model.name": MODEL,
        "data.source": str(path),
        "data.image_size": arguments.side,
        "search.num_samples": arguments.recipes,
        "search.scheduler": "none",
    }
    config = resolve_config(None, [], options)
    return config, lay_ground(config.base_recipe(), path, notify=lambda _text: None)


def drawn(config, ground: Ground, arguments):
    """Recipes of the default space with depths spread evenly."""
    rng = np.random.default_rng(0)
    head = max(1, arguments.epochs * 3 // 10)
    for depth in rng.integers(0, ground.loaded.card.depth, endpoint=True, size=arguments.recipes):
        changes = {
            "stages.head.epochs": head,
            "stages.tune.epochs": max(1, arguments.epochs - head),
            "stages.tune.unfreeze": int(depth),
            "stages.tune.lr": float(10 ** rng.uniform(-5, -3)),
            "stages.head.head_lr": float(10 ** rng.uniform(-4, -2)),
            "model.drop_rate": float(rng.integers(0, 6, endpoint=True)) * 0.05,
            "stages.tune.norm": str(rng.choice(["train", "eval"])),
        }
        yield complete(ground.recipe.override(changes), ground.loaded.card)


def timed(recipe, ground: Ground, objective: Objective, cache):
    """Seconds, and the trainer at its end."""
    started = time.perf_counter()
    rates = {"drop_rate": recipe.model.drop_rate, "drop_path_rate": recipe.model.drop_path_rate}
    trainer = StagedTrainer(recipe, ground.loaded.reset(**rates), ground.data, objective, cache=cache)
    while trainer.advance():
        pass
    return time.perf_counter() - started, trainer


def measured(arguments, folder):
    """Run every recipe both ways, the order changing from recipe to recipe."""
    config, ground = prepared(folder, arguments)
    objective = ground.data.task.objective(None)
    space = search_space(config, ground, None)
    notes: list[str] = []
    seconds, rows, cache = {"on": 0.0, "off": 0.0}, [], None
    for number, recipe in enumerate(drawn(config, ground, arguments)):
        ended = {}
        for way in ("on", "off") if number % 2 else ("off", "on"):
            started = time.perf_counter()
            if way == "on" and cache is None:
                passes = expected_passes(config, ground, space, objective)
                cache = ActivationCache(reuse_of(passes=passes), ground.data, notes.append)
            spent = time.perf_counter() - started
            took, ended[way] = timed(recipe, ground, objective, cache if way == "on" else None)
            seconds[way] += spent + took
            ended[way, "s"] = spent + took
        on, off = ended["on"].curve, ended["off"].curve
        assert [dict(e.metrics) for e in on] == [dict(e.metrics) for e in off], f"recipe {number}: metrics differ"
        reused = list(dict.fromkeys(e.reused for e in on))
        unfrozen = recipe.stages[1].unfreeze
        rows.append({"unfreeze": unfrozen, "on_s": round(ended["on", "s"], 2), "off_s": round(ended["off", "s"], 2)})
        rows[-1] |= {"reused": reused, "saved_s": round(sum(e.saved_s for e in on), 2)}
    return {"ratio": round(seconds["on"] / seconds["off"], 3), "seconds": seconds, "notes": notes, "trials": rows}


def main():
    """Parse the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 300, "side": 96, "recipes": 6, "epochs": 10, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AUTOFT_CACHE_DIR"] = folder
        told = {"autoft": autoft.__version__, **vars(arguments), **measured(arguments, folder)}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
