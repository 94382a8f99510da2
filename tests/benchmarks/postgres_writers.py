"""Eight searches write 2,000 trials into one PostgreSQL database at the same time: is anything lost?

A server of its own is started on loopback, flushes to the disk included, and stopped again. Each trial is started,
reports ten evaluations and is finished.

Run: python tests/benchmarks/postgres_writers.py [--writers 8] [--trials 2000] [--evaluations 10]
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import numpy as np
from ledger_writers import main as write_all
from ledger_writers import study_of, value_of
from postgres import Postgres, why_not

from autoft.record import TrialState
from autoft.study import read_study


def lost(url, writers, trials, evaluations):
    """How many trials are not there as they were written."""
    missing = 0
    for writer in range(writers):
        records = {record.number: record for record in read_study(url, study_of(writer)).records}
        for number in range(trials):
            told = [value_of(writer, number, index) for index in range(1, evaluations + 1)]
            record = records.pop(number, None)
            whole = record is not None and record.state == TrialState.COMPLETE
            missing += not (whole and [each.value for each in record.curve] == told)
        missing += len(records)
    return missing


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--evaluations", type=int, default=10)
    chosen = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    each = chosen.trials // chosen.writers
    server = Postgres(fsync=True)
    try:
        began = time.perf_counter()
        took = write_all(server.url, chosen.writers, each, chosen.evaluations)
        whole = time.perf_counter() - began
        missing = lost(server.url, chosen.writers, each, chosen.evaluations)
    finally:
        server.close()
    print(
        f"{chosen.writers} writers, {chosen.writers * each} trials of {chosen.evaluations} evaluations: {missing} lost"
    )
    print(f"{whole:.0f} s, {1000 * whole / (chosen.writers * each):.0f} ms of the whole per trial")
    for kind in ("start", "report", "finish"):
        ms = 1000 * np.concatenate([one[kind] for one in took])
        print(f"  {kind:7} median {np.median(ms):6.1f} ms, 99% {np.quantile(ms, 0.99):6.1f} ms")


if __name__ == "__main__":
    main()
