"""The command line as a process, and what can be seen of a run from outside."""

import json
import sqlite3
import sys
import time
from contextlib import closing


def command(*arguments):
    return [sys.executable, "-m", "autoft", *map(str, arguments)]


def wait_for(condition, seconds=150):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)
    return found


def rows(run, query):
    """Rows of a study's database; none while it is being made."""
    try:
        with closing(sqlite3.connect(f"file:{run / 'study.db'}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


def evaluations(run):
    """When each evaluation in the study came, by trial number and index; one that was lost with a worker is null."""
    found = rows(
        run,
        "select t.number, a.key, a.value_json from trial_user_attributes a join trials t using (trial_id) "
        "where a.key like 'evaluation:%' and a.value_json != 'null'",
    )
    return {(number, int(key.partition(":")[2])): json.loads(value)["wall_s"] for number, key, value in found}


def states(run):
    """State of every trial in the study, by number."""
    return dict(rows(run, "select number, state from trials"))
