"""The search that a job runs on the cluster."""

from pathlib import Path
from typing import Any

from autoft.data import BUILT_IN
from autoft.jobs.order import CONFIG_FILE, Order
from autoft.recipe import yaml
from autoft.tuner.config import SearchConfig


def search_options(order: Order, folder: Path, home: Path) -> dict[str, Any]:
    """The options of the search that a job is to run.

    Args:
        order: from the laptop.
        folder: where the job's package is unpacked.
        home: where relative storage paths begin; the package's folder does not outlive the job.

    Raises:
        ConfigError: the configuration was damaged on its way.
    """
    file = folder / CONFIG_FILE
    config = SearchConfig.parse(yaml.load(file), where=CONFIG_FILE)
    changes = {"output.storage_path": order.kept_in(home)}
    source, weights = config.data.source or "", config.model.weights
    if source not in BUILT_IN and (folder / source).exists():
        changes["data.source"] = str(folder / source)
    if (folder / weights).is_file():
        changes["model.weights"] = str(folder / weights)
    return {"config": file, "overrides": changes}
