"""What reading a cache costs a training step of the tail, against the same tail on tensors already in memory.

    python tests/benchmarks/cached_step.py [--side 96] [--images 512] [--batch 32] [--rounds 12] [--device cpu]

tf_efficientnet_lite0 with random weights, generated images, one thread. Per boundary the same steps are taken twice:
with rows that the feed reads from the memory-mapped cache, and with rows that lie in a list; in alternating rounds of
five steps in one run, of which medians are compared. Prints one line of JSON: milliseconds per step and their ratio,
per boundary.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

import autoft.cache.cache as room
from autoft.cache import ActivationCache, Need, Reuse
from autoft.data import DataHandle, Splits, Task
from autoft.data.feed import read_ahead
from autoft.model import FreezePlan, apply_plan, load_model, set_modes
from autoft.recipe import ModelConfig
from autoft.record import FieldSpec, InputSpec
from autoft.shards import Field, ShardStore
from autoft.training import Forward

STEPS = 5


class Stored:
    """Items in shards, as a search has them."""

    def __init__(self, shards):
        self.shards = shards

    def read(self, indices):
        return self.shards.read(indices)


def pictures(folder, count, side):
    """Noise images in a store."""
    rng = np.random.default_rng(0)
    field = {"input": Field((side, side, 3), "uint8")}
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    shards = ShardStore(folder, 2**40).get_or_build(
        "pixels", field, count, lambda w: w.put(slice(None), {"input": pixels})
    )
    return DataHandle(
        name="noise",
        fingerprint="0" * 16,
        task=Task("single_label", tuple("abcd")),
        spec=InputSpec({"input": FieldSpec((side, side, 3), "uint8")}, image=True),
        targets=np.arange(count) % 4,
        splits=Splits(np.arange(count), np.arange(0), np.arange(0), names=("",) * count, fingerprint="0" * 16),
        groups=None,
        notes=(),
        items=Stored(shards),
        content="noise",
    )


class Tail:
    """The tail of a model, its optimizer, and one way to take a step."""

    def __init__(self, loaded, boundary, targets):
        plan = FreezePlan(frozenset(range(boundary, len(loaded.groups))))
        apply_plan(plan, loaded)
        set_modes(plan, loaded)
        self._forward = Forward(loaded, boundary)
        self._optimizer = torch.optim.AdamW([p for p in loaded.module.parameters() if p.requires_grad], lr=1e-4)
        self._targets = targets

    def steps(self, batches, rows_of):
        """Milliseconds per step over the batches, whose rows ``rows_of`` gives."""
        started = time.perf_counter()
        for indices, rows in read_ahead(batches, lambda part: (part, rows_of(part))):
            loss = functional.cross_entropy(self._forward.tail(rows), self._targets[indices])
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
        if self._forward.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / len(batches) * 1e3


def measured(arguments, folder):
    """Both ways, per boundary."""
    data = pictures(folder / "items", arguments.images, arguments.side)
    base = load_model(
        ModelConfig(name="tf_efficientnet_lite0", weights="random"), num_outputs=4, image_size=arguments.side
    )
    targets = torch.from_numpy(data.targets).to(arguments.device)
    rng, told = np.random.default_rng(1), []
    for boundary in arguments.boundaries:
        loaded = base.reset()
        loaded.module.to(arguments.device)
        cache = ActivationCache(Reuse(folder / "kept", 2**40, always=True), data, sys.stderr.write)
        kept = cache.prepare(loaded, [Need(boundary, 1.0)]).activations[boundary]
        tail = Tail(loaded, boundary, targets)
        times = {"cached": [], "in memory": []}
        for number in range(arguments.rounds + 1):
            batches = np.split(rng.permutation(arguments.images)[: arguments.batch * STEPS], STEPS)
            ready = {id(part): kept.read(part) for part in batches}
            ways = {"cached": kept.read, "in memory": lambda part, ready=ready: ready[id(part)]}
            for way in ("cached", "in memory") if number % 2 else ("in memory", "cached"):
                spent = tail.steps(batches, ways[way])
                if number:  # the first round warms up
                    times[way].append(spent)
        cached_ms, memory_ms = (statistics.median(times[way]) for way in ("cached", "in memory"))
        row = {"after": kept.name, "kb_per_row": round(kept.form.field.row_bytes / 1000, 1)}
        row |= {"cached_ms": round(cached_ms, 2), "in_memory_ms": round(memory_ms, 2)}
        told.append(
            {**row, "ratio": round(cached_ms / memory_ms, 3), "lies": type(next(iter(kept.rows.values()))).__name__}
        )
    return told


def main():
    """Parse the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"side": 96, "images": 512, "batch": 32, "rounds": 12}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--boundaries", type=int, nargs="+", default=[3, 5, 6, 7, 8])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    room._IN_MEMORY_BYTES = 0  # nothing is small enough to be read whole: what is measured is the memory map
    with tempfile.TemporaryDirectory() as folder:
        told = {**vars(arguments), "boundaries": measured(arguments, Path(folder))}
    over = [row for row in told["boundaries"] if row["in_memory_ms"] >= 5]
    told["worst_ratio_from_5_ms_on"] = max((row["ratio"] for row in over), default=None)
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
