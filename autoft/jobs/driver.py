"""What a job does on the cluster, as its order says."""

import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autoft.data import BUILTINS
from autoft.jobs.order import CONFIG_FILE, Order, check_versions, versions
from autoft.jobs.transfer import sent
from autoft.recipe import yaml
from autoft.tuner.config import SearchConfig

_KEPT_S, _LOOK_S = 600.0, 0.1
"""So long a log with a run's files is kept for who reads it, and no longer."""


def search_options(order: Order, folder: Path, home: Path) -> dict[str, Any]:
    """The options of the search that a job is to run.

    Args:
        order: from the laptop.
        folder: where the job's package is unpacked.
        home: where relative storage paths begin; the package's folder does not outlive the job.

    Raises:
        ClusterError: the versions are others than on the laptop.
        ConfigError: the configuration was damaged on its way.
    """
    check_versions(order.versions, versions())
    file = folder / CONFIG_FILE
    config = SearchConfig.parse(yaml.load(file), where=CONFIG_FILE)
    changes = {"output.storage_path": str(order.folder(home).path.parent)}
    source, weights = config.data.source or "", config.model.weights
    if source not in BUILTINS and (folder / source).exists():
        changes["data.source"] = str(folder / source)
    if (folder / weights).is_file():
        changes["model.weights"] = str(folder / weights)
    return {"config": file, "overrides": changes}


def send(order: Order, home: Path, write: Callable[[str], None], log: int = 1) -> None:
    """Write the run's files as lines, and take the log's content away when whoever fetches has stopped the job.

    Args:
        order: from the laptop.
        home: where relative storage paths begin.
        write: takes a line.
        log: the descriptor that the lines go to; a file is emptied, since it is as large as the run's files.

    Raises:
        RunError: no search began there; then the log stays.
    """
    stopped: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda number, _frame: stopped.append(number)) for number in numbers]
    try:
        for line in sent(order.folder(home).path, order.have):
            if stopped:
                break
            write(line)
        until = time.monotonic() + _KEPT_S
        while not stopped and time.monotonic() < until:
            time.sleep(_LOOK_S)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if stat.S_ISREG(os.fstat(log).st_mode):
        os.ftruncate(log, 0)
