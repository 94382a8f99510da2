"""What a search costs beside training: 40 trials of a tiny network on 32 points, two at a time.

Run: python tests/benchmarks/overhead.py
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import psutil
from tiny import TinyNet, tiny_data

import autoft


def main(trials=40):
    started_at = psutil.Process().create_time()
    with tempfile.TemporaryDirectory() as folder:
        result = autoft.search(
            TinyNet(),
            tiny_data(train=32, val=32),
            num_samples=trials,
            name="overhead",
            storage_path=folder,
            started_at=started_at,
            overrides={"data.test_fraction": 0.0},
        )
        history, table = result.history(), result.trials_dataframe()
    first_s = history.wall_s.min()
    span_s = history.wall_s.max() - first_s
    slots = 2
    overhead_s = (span_s * slots - table.compute_s.sum()) / trials
    print(f"from the command to the first evaluation   {first_s:6.1f} s")
    print(f"from the first to the last evaluation      {span_s:6.1f} s, {len(history)} evaluations, {trials} trials")
    print(f"training and evaluation in the workers     {table.compute_s.sum():6.1f} s on {slots} slots")
    print(f"slot time per trial outside of training    {overhead_s:6.3f} s")
    print(f"the whole program                          {time.time() - started_at:6.1f} s")


if __name__ == "__main__":
    main()
