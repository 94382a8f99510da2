"""Private memory of a worker that reads a cache of activations, for a small and a large cache.

    python tests/benchmarks/cache_memory.py [--gigabytes 0.2 2.0]

Generated activations of 200 kB a row. For each size a process of its own opens them as a trial does and reads all of
them in batches of 32 in random order, twice. Prints one line of JSON: RssAnon after torch has been loaded and at its
peak, per size, and the difference between the sizes in MB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import torch

from autoft.cache.activations import Activations
from autoft.cache.probe import Form
from autoft.cache.rows import HostRows
from autoft.data.feed import read_ahead
from autoft.data.variants import PLAIN
from autoft.shards import Field, ShardStore

ROW = (56, 32, 28)
ROW_BYTES = 4 * 56 * 32 * 28


def private_bytes():
    """Anonymous resident memory: what is not shared with the page cache."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this kernel does not tell RssAnon")


def work(folder):
    """Read everything, and print the figures."""
    torch.set_num_threads(1)
    before = private_bytes()
    shards = ShardStore(Path(folder), 2**40).get("rows")
    rows = {PLAIN: HostRows(shards, whole=False)}
    kept = Activations(1, "stem", Form(ROW, torch.float32, channels_last=False), 1.0, rows, torch.device("cpu"))
    peak, over = [before], threading.Event()

    def watch():
        while not over.wait(0.01):
            peak.append(max(peak[-1], private_bytes()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    total = 0.0
    for epoch in range(2):
        order = np.random.default_rng(epoch).permutation(shards.count)
        for batch in read_ahead(np.array_split(order, len(order) // 32), kept.read):
            total += float(batch.sum())
    over.set()
    watcher.join()
    sys.stdout.write(json.dumps({"rows": shards.count, "start_mb": before / 1e6, "peak_mb": peak[-1] / 1e6}) + "\n")


def build(folder, nbytes):
    """Generated activations."""
    rng, count = np.random.default_rng(0), int(nbytes / ROW_BYTES)

    def fill(writer):
        for start in range(0, count, 64):
            rows = slice(start, min(start + 64, count))
            writer.put(rows, {"rows": rng.random((rows.stop - start, *ROW), dtype=np.float32)})

    ShardStore(folder, 2**40).get_or_build("rows", {"rows": Field(ROW, "float32")}, count, fill).close()


def main():
    """Parse the options and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, nargs=2, default=[0.2, 2.0])
    parser.add_argument("--worker")
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker)
        return 0
    told = {}
    for size in arguments.gigabytes:
        with tempfile.TemporaryDirectory() as folder:
            build(Path(folder), size * 1e9)
            done = subprocess.run([sys.executable, __file__, "--worker", folder], capture_output=True, check=True)
            told[f"{size} GB"] = {name: round(value, 1) for name, value in json.loads(done.stdout).items()}
    small, large = (each["peak_mb"] - each["start_mb"] for each in told.values())
    sys.stdout.write(json.dumps({**told, "grows_by_mb": round(large - small, 1)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
