"""Searches as their database sees them: processes that write trials at the same time, each into a study of its own.

python ledger_writers.py URL WRITERS TRIALS EVALUATIONS; prints a JSON list: the seconds of
each call by kind, for every writer.
"""

import json
import multiprocessing
import sys
import time
from importlib import import_module

from autoft.record import Evaluation, Objective, Proposal, TrialState
from autoft.study import OptunaLedger


def study_of(writer):
    return f"writer-{writer}"


def value_of(writer, number, index):
    """What a trial reports at an evaluation."""
    return round(((37 * number + 11 * writer) % 101) / 101 + index / 1000, 6)


def write(url, writer, trials, evaluations):
    """Start, report and finish trials; returns the seconds of each call by kind."""
    took = {"start": [], "report": [], "finish": []}

    def timed(kind, call, *arguments):
        before = time.perf_counter()
        answer = call(*arguments)
        took[kind].append(round(time.perf_counter() - before, 5))
        return answer

    proposal = Proposal({"stages": [{"name": "tune", "epochs": evaluations}]}, "tpe")
    with OptunaLedger(url, study_of(writer), Objective("accuracy", "max")) as ledger:
        for _ in range(trials):
            number = timed("start", ledger.start, proposal)
            for index in range(1, evaluations + 1):
                value = value_of(writer, number, index)
                timed("report", ledger.report, number, Evaluation(index, "tune", index, index, value, 0.1, 0.1))
            timed("finish", ledger.finish, number, TrialState.COMPLETE)
    return took


def main(url, writers, trials, evaluations):
    """All writers begin at once. What they import is imported once, before."""
    OptunaLedger("sqlite://", "imports", Objective("accuracy", "max")).close()
    import_module("psycopg")
    with multiprocessing.get_context("fork").Pool(writers) as pool:
        tasks = [(url, writer, trials, evaluations) for writer in range(writers)]
        return pool.starmap(write, tasks, chunksize=1)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))) + "\n")
