"""How much of a search's time reuse saves: a list of recipes, run by Ray with reuse on and off in one go.

    apt-get download tuxpaint-stamps-default && dpkg-deb -x tuxpaint-stamps-default*.deb stamps
    python tests/benchmarks/reuse.py stamps [--list 96|224] [--without activations|stages|fused ...]
    python tests/benchmarks/reuse.py stamps --breakdown

``96`` runs 24 recipes of up to 10 epochs on 300 images at 96 px, ``224`` runs 6 recipes of 3 epochs on 128 images at
224 px. The recipes are those of recipes.yaml: drawn from the default space with seed 0 (a depth is uniform there), and
kept before anything was measured. tf_efficientnet_lite0 with its packaged weights, real images (Debian's Tux Paint
stamps), two workers of one thread, no scheduler, an empty cache. Wall time is from the moment at which the first worker
takes up a trial to the last one's end, building the activations included; what both sides spend alike (start of Ray and
workers, decoding, the test split) is not. All evaluations must have the same metrics. ``--without`` switches off parts
of the reuse, to see what each is worth; both sides have the memory format that ``--format`` names. Prints one line of
JSON.

``--breakdown`` runs the list eight times: off, on, with each part switched off alone (the activations; heads trained
beside others; the stage tree, which those need), in the other memory format, off in the other format, and with one
worker of two threads. It tells the seconds of each and what they are over those of ``on``: what the part is worth.
Metrics are compared among the first five. (``--list 48``, two recipes of two epochs, shows that it runs.)
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

import autoft
from autoft.model import complete
from autoft.tuner import session  # noqa: F401 - loads all that `instead` looks at
from autoft.tuner.companions import likely_head_stages
from autoft.tuner.observer import Silent
from autoft.tuner.prepare import build_policy

MODEL = "tf_efficientnet_lite0"
ALL = ["activations", "fused", "stages"]
LISTS = {"96": (24, 300, 96, 3, 7), "224": (6, 128, 224, 1, 2), "48": (2, 60, 48, 1, 1)}
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


@contextmanager
def instead(original, own):
    """Within the block the tuner calls ``own`` wherever it called ``original``."""
    name = original.__name__
    modules = [module for path, module in sys.modules.items() if path.startswith("autoft.tuner")]
    users = [module for module in modules if vars(module).get(name) is original]
    for module in users:
        setattr(module, name, own)
    try:
        yield
    finally:
        for module in users:
            setattr(module, name, original)


def run(name, data, folder, *, without=(), memory_format="channels_last", workers=2):
    """Seconds, and the metrics of all evaluations by trial."""
    os.environ["AUTOFT_CACHE_DIR"] = str(folder / "cache")
    watch = Watch()

    def policy_of_the_list(config, ground, *rest, **options):
        recipes = tuple(listed(name, ground))
        policy = build_policy(config, ground, *rest, **options)
        return replace(policy, baselines=recipes, num_samples=len(recipes), portfolio=())

    def heads_beside(*given):
        return () if "fused" in without else likely_head_stages(*given)

    parts = dict.fromkeys(set(without) & {"activations", "stages"}, "off")
    with instead(build_policy, policy_of_the_list), instead(likely_head_stages, heads_beside):
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
                "search.probe": "off",  # it would build the activations before the time is taken
                "prune": "off",
                "reuse": parts or "on",
                "optimisation.memory_format": memory_format,
                "resources.max_concurrent_trials": workers,
                "resources.cpus_per_worker": 2 // workers,
            },
        )
    curves = {record.number: [dict(e.metrics) for e in record.curve] for record in result.records}
    first = min(path.stat().st_mtime for path in result.path.glob("trials/*/worker_pid"))
    return watch.last - first, curves, result.summary


def measured(arguments, folder):
    """The list with reuse off, then on."""
    data = folder / "pictures"
    pictures(arguments.stamps, data, LISTS[arguments.list][1])
    layout = {"memory_format": arguments.format}
    off_s, expected, _ = run(arguments.list, data, folder / "off", without=ALL, **layout)
    on_s, found, summary = run(arguments.list, data, folder / "on", without=arguments.without, **layout)
    assert found == expected, "metrics differ"
    told = {"ratio": round(on_s / off_s, 3), "on_s": round(on_s, 1), "off_s": round(off_s, 1)}
    return {**told, "saved_s": summary["saved_s"], "compute_s": summary["compute_s"], "notes": summary["notes"]}


def broken_down(arguments, folder):
    """The list as often as there are parts."""
    data = folder / "pictures"
    pictures(arguments.stamps, data, LISTS[arguments.list][1])
    (other,) = {"contiguous", "channels_last"} - {arguments.format}
    own = {"memory_format": arguments.format}
    ways = {
        "off": {**own, "without": ALL},
        "on": own,
        **{f"without {part}": {**own, "without": [part]} for part in ALL},
    }
    exact = set(ways)
    ways |= {other: {"memory_format": other}, f"off, {other}": {"memory_format": other, "without": ALL}}
    ways |= {"one worker of two threads": {**own, "workers": 1}}
    seconds, curves = {}, {}
    for number, (way, settings) in enumerate(ways.items()):
        seconds[way], curves[way], _ = run(arguments.list, data, folder / str(number), **settings)
        sys.stderr.write(f"{way}: {seconds[way]:.1f} s\n")
        assert way not in exact or curves[way] == curves["off"], f"{way}: metrics differ"
    rounded = {way: round(spent, 1) for way, spent in seconds.items()}
    return {"seconds": rounded, "over_on": {way: round(spent / seconds["on"], 3) for way, spent in seconds.items()}}


def main():
    """Parse the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stamps", type=Path)
    parser.add_argument("--list", choices=LISTS, default="96")
    parser.add_argument("--without", nargs="*", choices=ALL, default=[])
    parser.add_argument("--breakdown", action="store_true")
    parser.add_argument("--format", choices=["contiguous", "channels_last"], default="channels_last")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = (broken_down if arguments.breakdown else measured)(arguments, Path(folder))
    sys.stdout.write(
        json.dumps({"list": arguments.list, "without": arguments.without, "format": arguments.format, **told}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
