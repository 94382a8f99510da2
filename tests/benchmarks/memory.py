"""Private memory of driver and workers in a search on 20,000 generated images of 96 pixels.

Run: python tests/benchmarks/memory.py
"""

import contextlib
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

import autoft

MIB = 2**20


def generate(folder, count, side=96):
    """JPEG files in ten class folders, each class with a colour of its own."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = number % 10
        pixels = rng.integers(0, 128, (side // 8, side // 8, 3), np.uint8)
        pixels[..., label % 3] += np.uint8(12 * label)
        path = folder / f"class{label}" / f"{number:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).resize((side, side)).save(path, quality=85)


def private(process):
    """Anonymous resident memory in bytes: what is not shared with the page cache."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def watch(peaks, over):
    """Note the peak of this process and of every worker."""
    own = psutil.Process()
    while not over.wait(0.2):
        for process in [own, *own.children(recursive=True)]:
            with contextlib.suppress(psutil.Error, OSError, IndexError):  # processes come and go
                if process == own or "TrialActor" in process.cmdline()[0]:
                    name = "driver" if process == own else f"worker {process.pid}"
                    peaks[name] = max(peaks.get(name, 0), private(process))


SHORT = {
    "data.image_size": 96,
    "data.val_fraction": 0.02,
    "data.test_fraction": 0.02,
    "optimisation.eval_every_steps": 20,
    "stages": [{"name": "head", "steps": 20}, {"name": "tune", "steps": 40, "unfreeze": "all"}],
}
"""Steps instead of epochs: what memory is needed shows itself in the first ones."""


def main(count=20_000):
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images"
        data.mkdir()
        generate(data, count)
        peaks, over = {}, threading.Event()
        watcher = threading.Thread(target=watch, args=(peaks, over), daemon=True)
        watcher.start()
        started = time.time()
        autoft.search(
            "tf_efficientnet_lite0",
            data,
            num_samples=4,
            storage_path=folder,
            overrides=SHORT,
        )
        over.set()
        watcher.join()
        print(f"{count:,} images, {time.time() - started:.0f} s")
        for name, peak in sorted(peaks.items()):
            print(f"{name:16s} {peak / MIB:7.0f} MiB private at its peak")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
