"""How much of a search's time reuse saves: a list of recipes, run by Ray with reuse on and off in one go.

    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default*.deb stamps
    python tests/benchmarks/reuse.py stamps [--list 96|224] [--without activations|stages ...]

``96`` runs 24 recipes of up to 10 epochs on 300 images at 96 px, ``224`` runs 6 recipes of 3 epochs on 128 images at
224 px. The recipes are those of recipes.yaml: drawn from the default space with seed 0 (a depth is uniform there), and
kept before anything was measured. tf_efficientnet_lite0 with its packaged weights, real images (Debian's Tux Paint
stamps), two workers of one thread, no scheduler, an empty cache. Wall time is from the moment at which the first worker
takes up a trial to the last one's end, building the activations included; what both sides spend alike (start of Ray and
workers, decoding, the test split) is not. All evaluations must have the same metrics. ``--without`` switches off parts
of the reuse, to see what each is worth; both sides have the memory format that ``--format`` names. Prints one line of
JSON.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

import autoft
from autoft.model import complete
from autoft.tuner import session
from autoft.tuner.observer import Silent

MODEL = "tf_efficientnet_lite0"
LISTS = {"96": (24, 300, 96, 3, 7), "224": (6, 128, 224, 1, 2)}
"""Recipes, images, pixels, epochs of the head, epochs of the rest."""


def pictures(stamps, folder, count):
    """A folder of class folders with ``count`` stamps of the seven largest classes, each class in its turn."""
    root = stamps / "usr/share/tuxpaint/stamps"
    classes = {}
    for path in sorted(root.rglob("*.png")):
        if not path.stem.endswith(("_mirror", "_flip")):
            classes.setdefault(path.relative_to(root).parts[0], []).append(path)
    largest = sorted(classes, key=lambda name: (-len(classes[name]), name))[:7]
    rng = np.random.default_rng(0)
    waiting = {name: [classes[name][place] for place in rng.permutation(len(classes[name]))] for name in largest}
    taken = 0
    while taken < count:
        for name in largest:
            if waiting[name] and taken < count:
                target = folder / name / f"{taken:04d}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(waiting[name].pop(), target)
                taken += 1


class Watch(Silent):
    """When the last trial ended, in seconds since the epoch."""

    def __init__(self):
        self.last = None

    def trial_ended(self, trial):
        """End."""
        self.last = time.time()


def listed(name, ground):
    """The recipes of a list, as the search would complete them."""
    count, _, _, head, rest = LISTS[name]
    entries = yaml.safe_load((Path(__file__).parent / "recipes.yaml").read_text())[:count]
    lengths = {"stages.head.epochs": head, "stages.tune.epochs": rest}
    for number, changes in enumerate(entries):
        yield f"recipe{number}", complete(ground.recipe.override({**changes, **lengths}), ground.loaded.card)


def run(name, data, folder, reuse, memory_format):
    """Seconds, and the metrics of all evaluations by trial."""
    os.environ["AUTOFT_CACHE_DIR"] = str(folder / "cache")
    watch = Watch()
    original = session.build_policy

    def policy_of_the_list(config, ground, *rest, **options):
        recipes = tuple(listed(name, ground))
        policy = original(config, ground, *rest, **options)
        return replace(policy, baselines=recipes, num_samples=len(recipes), portfolio=())

    session.build_policy = policy_of_the_list
    try:
        result = autoft.search(
            MODEL,
            data,
            name="run",
            storage_path=folder,
            num_samples=LISTS[name][0],
            observer=watch,
            overrides={
                "data.image_size": LISTS[name][2],
                "search.scheduler": "none",
                "prune": "off",
                "reuse": reuse,
                "optimisation.memory_format": memory_format,
                "resources.max_concurrent_trials": 2,
                "resources.cpus_per_worker": 1,
            },
        )
    finally:
        session.build_policy = original
    curves = {record.number: [dict(e.metrics) for e in record.curve] for record in result.records}
    first = min(path.stat().st_mtime for path in result.path.glob("trials/*/worker_pid"))
    return watch.last - first, curves, result.summary


def measured(arguments, folder):
    """The list with reuse off, then on."""
    data = folder / "pictures"
    pictures(arguments.stamps, data, LISTS[arguments.list][1])
    reuse = dict.fromkeys(arguments.without, "off") or "on"
    off_s, expected, _ = run(arguments.list, data, folder / "off", "off", arguments.format)
    on_s, found, summary = run(arguments.list, data, folder / "on", reuse, arguments.format)
    assert found == expected, "metrics differ"
    told = {"ratio": round(on_s / off_s, 3), "on_s": round(on_s, 1), "off_s": round(off_s, 1)}
    return {**told, "saved_s": summary["saved_s"], "compute_s": summary["compute_s"], "notes": summary["notes"]}


def main():
    """Parse the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stamps", type=Path)
    parser.add_argument("--list", choices=LISTS, default="96")
    parser.add_argument("--without", nargs="*", choices=["activations", "stages"], default=[])
    parser.add_argument("--format", choices=["contiguous", "channels_last"], default="channels_last")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = measured(arguments, Path(folder))
    sys.stdout.write(
        json.dumps({"list": arguments.list, "without": arguments.without, "format": arguments.format, **told}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
