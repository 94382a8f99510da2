"""The driver is killed, interrupted or refused: nothing is lost, and one sentence is said."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pandas as pd
import psutil
import pytest
from commands import command, evaluations, states, wait_for

import autoft
from autoft.errors import StorageError

pytestmark = pytest.mark.slow
ENDED = {"COMPLETE", "PRUNED", "FAIL"}


def workers(run):
    """Process numbers of all workers that took up a trial."""
    return {int(path.read_text()) for path in run.glob("trials/*/worker_pid")}


def finish(process, code=0):
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, err
    return out, err


def test_a_killed_driver_loses_no_finished_trial_and_at_most_one_evaluation_per_running_one(
    search_command, started, tmp_path
):
    run = tmp_path / "run"
    first = started(search_command("--quiet"))
    wait_for(lambda: sum(state in ENDED for state in states(run).values()) >= 3)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before, states_before = evaluations(run), states(run)
    assert "RUNNING" in states_before.values()
    ended = [number for number, state in states_before.items() if state in ENDED]
    times = {number: (run / f"trials/{number:04d}/worker_pid").stat().st_mtime for number in ended}

    _, told = finish(started(command("resume", run, "--num-samples=10", "--set=search.time_budget_s=600")))
    assert "Traceback" not in told
    after = pd.read_csv(run / "trials.csv")
    assert list(after.trial) == list(range(10))
    assert set(after.state) <= ENDED
    assert states(run) == dict(zip(after.trial, after.state, strict=True))
    for number in ended:
        assert (run / f"trials/{number:04d}/worker_pid").stat().st_mtime == times[number], "was run again"
    history = pd.read_csv(run / "history.csv")
    for number in set(states_before) - set(ended):
        seen = [before[trial, index] for trial, index in sorted(before) if trial == number]
        kept = history[history.trial == number].wall_s.to_list()
        surely = seen[:-1]
        assert kept[: len(surely)] == surely, "more than the last evaluation was redone"
        assert len(kept) >= len(seen)


def test_an_interrupted_search_says_how_to_go_on_and_does(search_command, started, tmp_path):
    run = tmp_path / "run"
    first = started(search_command("--json", "--set=search.record_curves=true"))
    wait_for(lambda: len(evaluations(run)) >= 3)
    os.kill(first.pid, signal.SIGINT)
    _, told = finish(first, code=130)
    assert f"autoft resume {run}" in told
    assert "Traceback" not in told
    assert "RUNNING" not in states(run).values()
    assert (run / "best_recipe.yaml").is_file()
    assert (run / "curves.npz").is_file()

    wanted = max(4, len(states(run)))
    out, _ = finish(started(command("resume", run, f"--num-samples={wanted}", "--json")))
    summary = json.loads(out.splitlines()[-1])
    assert sum(summary["trials"].values()) == wanted
    assert "WAITING" not in summary["trials"]


def test_a_search_starts_as_many_workers_as_there_are_slots(search_command, started, tmp_path):
    run = tmp_path / "run"
    finish(started(search_command("--quiet", "--num-samples=4", "--set=resources.max_concurrent_trials=2")))
    slots = min(2, len(os.sched_getaffinity(0)))
    assert len(workers(run)) == slots


def test_a_killed_worker_costs_an_evaluation_and_no_trial(search_command, started, tmp_path):
    run = tmp_path / "run"
    process = started(search_command("--json", "--num-samples=5"))
    wait_for(lambda: len(evaluations(run)) >= 2)
    victim = min(workers(run))
    psutil.Process(victim).kill()
    out, told = finish(process)
    summary = json.loads(out)
    assert "raylet" not in told
    assert sum(summary["trials"].values()) == 5
    assert "FAIL" not in summary["trials"]


def test_a_second_process_on_the_same_run_is_refused(search_command, started, tmp_path):
    run = tmp_path / "run"
    first = started(search_command("--quiet", "--num-samples=100"))  # more than it comes to while the other starts
    wait_for((run / ".lock").exists)
    wait_for(lambda: len(states(run)) > 0)
    _, told = finish(started(command("resume", run)), code=2)
    assert "another process" in told
    os.kill(first.pid, signal.SIGTERM)
    finish(first, code=130)


def test_a_full_disk_is_told_and_the_run_goes_on_once_there_is_space(search_command, started, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        _, told = finish(started(search_command("--quiet", f"--storage-path={disk}")), code=2)
        assert "No space left" in told or "disk is full" in told or "full" in told
        assert "Traceback" not in told
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        out, _ = finish(started(search_command("--json", f"--storage-path={disk}", "--num-samples=3")))
        assert json.loads(out.splitlines()[-1])["best_value"] is not None
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_folder_that_cannot_be_written_to_is_told(pictures, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert Path("/proc").is_dir()
    for folder in (blocked, Path("/proc/none")):
        with pytest.raises(StorageError, match=str(folder)) as error:
            autoft.search("test_resnet.r160_in1k", pictures, storage_path=folder, overrides={"model.weights": "random"})
        assert (error.value.exit_code, str(error.value).count("\n")) == (2, 0)
