"""A search of 24 trials on three nodes, in which a worker, a node and the driver are killed at moments drawn by a seed.

Run: python tests/benchmarks/chaos.py [SEED] [WORKERS]

With more than one worker per trial another rank of a trial is killed too.

It prints one line of JSON: how many trials there are, how many of them twice, RUNNING or failed, what was killed when,
and whether the winner is that of the undisturbed search.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import numpy as np
import psutil
from clusters import cluster, raylet, worker_below
from commands import command, evaluations, states, wait_for

from autoft.streams import stream

TRIALS, FIRST_S, LAST_S = 24, 25.0, 110.0
"""Blows fall in this span, counted from the start."""


def pictures(path):
    """720 generated images of 32 pixels in three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(720) % 3
    images = rng.integers(0, 200, (720, 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        image[10 * label : 10 * label + 10] += 20
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


def search(folder, data, address, workers):
    """The arguments of a search whose recipes and values do not depend on the order of events."""
    settings = (
        "model.weights=random",
        "data.image_size=32",
        "search.scheduler=none",
        "search.sampler=random",
        "prune=off",
        "confirm=off",
        "reuse=off",
        "search.gains=off",
        "resources.cpus_per_worker=1",
        f"resources.workers_per_trial={workers}",
        "optimisation.memory_format=contiguous",
    )
    return command(
        "search",
        "--quiet",
        "--model=test_resnet.r160_in1k",
        f"--data={data}",
        f"--num-samples={TRIALS}",
        "--name=run",
        f"--storage-path={folder}",
        f"--address={address}",
        *(f"--set={setting}" for setting in settings),
    )


def start(arguments):
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True, env=settings)


def undisturbed(folder, data, workers):
    with cluster() as nodes:
        for _ in range(2):
            nodes.add_node(num_cpus=workers)
        assert start(search(folder, data, nodes.address, workers)).wait() == 0


def disturbed(folder, data, seed, workers_per_trial):
    """The same search under blows, in the order and at the moments that the seed draws."""
    draw = stream(seed, "chaos")
    kinds = ["worker", "node", "driver", *(["rank"] if workers_per_trial > 1 else [])]
    moments = sorted(draw.uniform(FIRST_S, LAST_S, len(kinds)))
    blows = [str(blow) for blow in draw.permutation(kinds)]
    told = []
    with cluster() as nodes:
        workers = [nodes.add_node(num_cpus=workers_per_trial) for _ in range(2)]
        began, driver = time.monotonic(), start(search(folder, data, nodes.address, workers_per_trial))
        for moment, blow in zip(moments, blows, strict=True):
            while time.monotonic() - began < moment:
                time.sleep(0.05)
            assert driver.poll() is None, "the search was over before the last blow"
            victim = int(draw.integers(len(workers)))
            told.append({"s": round(moment, 1), "killed": blow, "evaluations": len(evaluations(folder / "run"))})
            if blow in {"worker", "rank"}:
                process = _process(blow, [*workers[victim:], *workers[:victim]], folder / "run")
                told[-1]["pid"] = process.pid
                process.kill()
            elif blow == "node":
                process = raylet(workers.pop(victim))
                told[-1]["pid"] = process.pid
                process.kill()
                workers.append(nodes.add_node(num_cpus=workers_per_trial))
            else:
                told[-1]["pid"] = driver.pid
                os.kill(driver.pid, signal.SIGKILL)
                driver.wait()
                driver = start(command("resume", folder / "run", "--quiet", f"--address={nodes.address}"))
        assert driver.wait() == 0
    return told, time.monotonic() - began


def _process(blow, nodes, run):
    """A worker, or another rank, on the first of the nodes that has one; waited for while they start."""
    rank = 1 if blow == "rank" else 0
    return wait_for(lambda: next((found for node in nodes if (found := worker_below(node, run, rank=rank))), None))


def winner(folder):
    summary = json.loads((folder / "run" / "summary.json").read_text())
    return summary["winner"], summary["best_value"]


def main(seed=0, workers=1):
    with tempfile.TemporaryDirectory() as folder:
        calm, wild = Path(folder, "calm"), Path(folder, "wild")
        data = pictures(Path(folder, "pictures.npz"))
        began = time.monotonic()
        undisturbed(calm, data, workers)
        calm_s = time.monotonic() - began
        blows, wild_s = disturbed(wild, data, seed, workers)
        found = states(wild / "run")
        heard = evaluations(wild / "run")
        curves = [sorted(index for trial, index in heard if trial == number) for number in found]
        print(
            json.dumps(
                {
                    "seed": seed,
                    "workers_per_trial": workers,
                    "trials": len(found),
                    "twice": sum(curve != list(range(1, len(curve) + 1)) for curve in curves),
                    "running": sum(state in {"RUNNING", "WAITING"} for state in found.values()),
                    "failed": sum(state == "FAIL" for state in found.values()),
                    "evaluations": [len(evaluations(calm / "run")), len(heard)],
                    "winner": winner(wild),
                    "same_winner": winner(wild) == winner(calm),
                    "seconds": [round(calm_s), round(wild_s)],
                    "blows": blows,
                    "left_behind": [child.name() for child in psutil.Process().children()],
                }
            )
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
