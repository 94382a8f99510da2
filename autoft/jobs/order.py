"""What a job is to do: written where it is submitted, read on the cluster."""

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from autoft.errors import ClusterError, ConfigError
from autoft.jobs.job import RUN, STORAGE_PATH, VERB
from autoft.recipe import Config, yaml
from autoft.remote import is_url, joined

FOLDER = ".autoft"
ORDER_FILE, CONFIG_FILE = f"{FOLDER}/job.yaml", f"{FOLDER}/search.yaml"
ENTRYPOINT = "exec python -P -m autoft job"
"""The same for all jobs: what users wrote is in files, and never in a shell's command."""
TAKEN = "the run is "
"""How the first sentence of a search's job begins: versions agree."""
_PARTS = {"autoft": 3, "ray": 3, "torch": 2, "python": 2}
"""How many parts of a version must agree."""


class Order(Config):
    """The order of one job."""

    verb: Literal["search", "send"]
    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=128)]
    """The name of the run."""
    storage_path: str
    """As the configuration has it, a URL too; a relative one begins in the home folder of who runs the cluster."""
    versions: dict[str, str] = Field(default_factory=dict)
    """On the laptop, where they must agree."""
    have: dict[str, str] = Field(default_factory=dict)
    """Digests of what need not be sent again, by file name."""

    def files(self, config: Mapping[str, Any] | None = None) -> dict[str, str]:
        """The order as files of a package, with the content of the search's search.yaml."""
        files = {ORDER_FILE: yaml.dumps(self.plain())}
        return files | ({CONFIG_FILE: yaml.dumps(dict(config))} if config else {})

    def metadata(self) -> dict[str, str]:
        """What is kept beside the job, to find its run again."""
        return {VERB: self.verb, RUN: self.run, STORAGE_PATH: self.storage_path}

    def kept_in(self, home: Path) -> str:
        """The folder of all runs on the cluster, or its URL."""
        return self.storage_path if is_url(self.storage_path) else str(home / self.storage_path)

    def place(self, home: Path) -> str:
        """The run, on the cluster or at its URL."""
        kept_in = self.kept_in(home)
        return joined(kept_in, self.run) if is_url(kept_in) else str(Path(kept_in) / self.run)


def read_order(folder: Path) -> Order:
    """The order in a job's folder.

    Raises:
        ConfigError: there is none: the command was not started by a job.
    """
    file = folder / ORDER_FILE
    if not file.is_file():
        raise ConfigError(
            f"autoft job: is what a submitted job runs, and {folder} has no {ORDER_FILE}; use autoft submit"
        )
    return Order.parse(yaml.load(file), where=ORDER_FILE)


def versions() -> dict[str, str]:
    """Versions of what must agree on both sides."""
    return {"python": platform.python_version(), **{name: _version(name) for name in ("autoft", "ray", "torch")}}


def check_versions(laptop: Mapping[str, str], cluster: Mapping[str, str]) -> None:
    """Refuse to run a search by other versions than it was checked with.

    Raises:
        ClusterError: names both sides of each difference.
    """
    if differing := list(_differences(laptop, cluster)):
        raise ClusterError(
            f"versions differ: {'; '.join(differing)}; install the same on both sides, or submit with --other-versions"
        )


def _differences(laptop: Mapping[str, str], cluster: Mapping[str, str]) -> Iterator[str]:
    for name, parts in _PARTS.items():
        here, there = laptop.get(name), cluster.get(name)
        if here and there and _first(here, parts) != _first(there, parts):
            yield f"{name} is {here} where it was submitted and {there} on the cluster"


def _first(text: str, parts: int) -> list[str]:
    return text.partition("+")[0].split(".")[:parts]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
