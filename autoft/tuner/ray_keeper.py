"""The process that starts Ray's own processes and keeps them: it says where they listen, and if one ends by itself.

It ends them when its standard input closes, as it does when the search that started it ends, however that ends.
"""

import json
import logging
import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any, TextIO

import psutil

from autoft.tuner.machine import card_count, core_count
from autoft.tuner.ray_head import LOCAL

_OBJECT_STORE_BYTES = 200 * 2**20
_NICENESS = 5
"""Of Ray's processes: they give way to the search, which does not wait for them before its first trial."""
_VITAL = {"gcs_server": "GCS", "raylet": "raylet"}
"""Processes of Ray without which it ends the program that uses it, a while later and without a word of ours."""
_LOOK_S = 0.5


def keep(answers: TextIO, over: threading.Event) -> None:
    """Import Ray, start its processes, and keep them until it is over or one of them ends.

    Args:
        answers: is written to, one object of JSON per line: the ``address`` of Ray or the ``error`` that kept it from
            starting; then, the name of a process that ``ended``.
        over: set when standard input closes.
    """

    def say(**told: str) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    ray, worker = import_module("ray"), import_module("ray._private.worker")
    if over.is_set():  # what is wrong with data or settings is often found meanwhile
        return
    with suppress(OSError, AttributeError):  # a sandbox that forbids it, or Windows: then nothing gives way
        os.nice(_NICENESS)
    try:
        started: Any = ray.init(
            address=LOCAL,  # without it a Ray that others started here would be joined
            num_cpus=core_count(),
            num_gpus=card_count(),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )
    except Exception as error:  # noqa: BLE001 - carried to the process that waits
        say(error=str(error))
        return
    say(address=started.address_info["gcs_address"])
    node: Any = worker._global_node
    while not over.wait(_LOOK_S):
        if ended := [_VITAL[kind] for kind, _ in node.dead_processes() if kind in _VITAL]:
            say(ended=ended[0])
            _kill_all()
            os._exit(0)  # Ray would wait for what is gone
    ray.shutdown()  # on Linux the kernel would end them with this process, but not those that they started


def _kill_all() -> None:
    """End all processes that Ray has started: some would wait a minute for the one that has ended."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _set_at_the_end(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    over = threading.Event()
    threading.Thread(target=_set_at_the_end, args=(over,), daemon=True).start()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # whatever else is printed is no answer
        keep(answers, over)
