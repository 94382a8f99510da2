"""Several processes on one store, some of which die."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from autoft.shards import Field, ShardStore

FIELDS = {"x": Field((4,), "int64")}
COUNT = 50
CONTEXT = multiprocessing.get_context("spawn")


def rows():
    return np.arange(COUNT * 4, dtype=np.int64).reshape(COUNT, 4)


def build_slowly(root, log, barrier):
    def build(writer):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        for index in range(COUNT):
            writer.put(index, {"x": rows()[index]})
            time.sleep(0.005)

    barrier.wait()
    shards = ShardStore(root, 10**6).get_or_build("key", FIELDS, COUNT, build)
    assert np.array_equal(shards.fields["x"], rows())


def die_while_building(root, how):
    def build(writer):
        writer.put(slice(0, 10), {"x": rows()[:10]})
        if how == "exit":
            os._exit(1)
        os.kill(os.getpid(), signal.SIGKILL)

    ShardStore(root, 10**6).get_or_build("key", FIELDS, COUNT, build)


def hold_open(shards, opened, done):
    assert shards.count == COUNT
    opened.set()
    done.wait(30)
    assert np.array_equal(shards.fields["x"], rows())


def start(target, *arguments):
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def build_whole(writer):
    writer.put(slice(None), {"x": rows()})


def test_of_two_processes_one_builds_and_the_other_waits(tmp_path):
    log = tmp_path / "log"
    barrier = CONTEXT.Barrier(2)
    both = [start(build_slowly, tmp_path / "cache", log, barrier) for _ in range(2)]
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(log.read_text().splitlines()) == 1


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_builder_that_dies_leaves_nothing_that_is_trusted_or_in_the_way(tmp_path, how):
    process = start(die_while_building, tmp_path, how)
    process.join(60)
    assert process.exitcode not in {0, None}
    left = [path for path in tmp_path.iterdir() if path.name.startswith(".building-")]
    assert len(left) == 1, "otherwise this test shows nothing"
    store = ShardStore(tmp_path, COUNT * 32)
    assert store.get("key") is None
    assert np.array_equal(store.get_or_build("key", FIELDS, COUNT, build_whole).fields["x"], rows())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".locks") == ["key"]


def test_what_another_process_has_open_is_not_evicted_until_it_ends(tmp_path):
    store = ShardStore(tmp_path, 2 * COUNT * 32)
    shards = store.get_or_build("key", FIELDS, COUNT, build_whole)
    opened, done = CONTEXT.Event(), CONTEXT.Event()
    process = start(hold_open, shards, opened, done)
    assert opened.wait(60)
    shards.close()
    store.get_or_build("other", FIELDS, COUNT, build_whole).close()
    store.get_or_build("third", FIELDS, COUNT, build_whole).close()
    assert store.get("key") is not None
    assert store.get("other") is None
    done.set()
    process.join(60)
    assert process.exitcode == 0


def test_an_interpreter_that_ends_with_shards_open_says_nothing(tmp_path):
    program = """
        import ctypes, sys
        from pathlib import Path
        from autoft.shards import Field, ShardStore, marker
        store = ShardStore(Path(sys.argv[1]), 10**6)
        shards = store.get_or_build("key", {"x": Field((), "int64")}, 0, lambda writer: None)
        assert shards.count == 0
        marker.beside = shards  # outlives what the module imports, where something holds on to the module
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(marker))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
