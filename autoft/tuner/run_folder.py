"""``runs/NAME``: where everything of a search is kept, and who may work in it."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from autoft.errors import RunError, RunLockedError, SearchInterruptedError
from autoft.files import translated, write_text
from autoft.recipe import yaml
from autoft.remote import bare, is_url
from autoft.study import kept_url, study_names
from autoft.tuner.config import SearchConfig

CONFIRMATION = " (confirmation)"
"""Behind the name of the study, the name of that of the confirmation's runs."""
_PUT_BACK = "put it back as it was, or start anew under another --name"
_LONGEST_NAME = 128
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class RunFolder:
    """The paths of a run, and its files in plain text.

    Args:
        path: the folder that is worked in.
        url: of the run, where it is kept at one; then the folder is this machine's own.
    """

    def __init__(self, path: Path, *, url: str | None = None) -> None:
        self.path, self.url = path, url
        self.config_file = path / "search.yaml"
        self.split_file = path / "split.json"
        self.database = path / "study.db"
        self.best_recipe = path / "best_recipe.yaml"
        self.best_model = path / "best_model.safetensors"
        self.trials_csv = path / "trials.csv"
        self.history_csv = path / "history.csv"
        self.curves = path / "curves.npz"
        self.summary = path / "summary.json"
        self.trials = path / "trials"
        self.confirm = path / "confirm"
        self.stages = path / "stages"
        self.scratch = path / ".ray"

    @property
    def name(self) -> str:
        """The run's name, which is also its study's."""
        return self.path.resolve().name

    @property
    def study(self) -> str:
        """The name of the study in ``study.db``: the run's, or the one that it had before its folder was renamed.

        Raises:
            StorageError: the database cannot be read.
        """
        names = [name for name in study_names(self.database) if not name.endswith(CONFIRMATION)]
        return names[0] if len(names) == 1 else self.name

    @property
    def place(self) -> str:
        """The run as a person names it: its folder, or its URL without a password."""
        return bare(self.url) if self.url else str(self.path)

    @property
    def resuming(self) -> str:
        """The command that goes on with the run."""
        return f"autoft resume {shlex.quote(self.place)}"

    @property
    def exists(self) -> bool:
        """Whether a search has begun here."""
        return self.config_file.is_file()

    def trial(self, number: int) -> Path:
        """The folder of one trial."""
        return self.trials / f"{number:04d}"

    def checkpoint(self, number: int) -> Path:
        """The folder of one trial's checkpoint."""
        return self.trial(number) / "checkpoint"

    def clear_trials_from(self, number: int) -> None:
        """Take away what trials of another study left in the folders of trials that are to come."""
        _clear_from(self.trials, number)

    def clear_runs_from(self, number: int) -> None:
        """The same for confirmation runs."""
        _clear_from(self.confirm, number)

    def read_config(self) -> SearchConfig:
        """The search as it was resolved when the run began.

        Raises:
            RunError: no search began here.
            ConfigError: the file was damaged.
        """
        if not self.exists:
            raise RunError(
                f"{self.place}: is not a run: it has no {self.config_file.name}; start one with autoft search"
            )
        return SearchConfig.parse(yaml.load(self.config_file), where=str(self.config_file))

    def write_config(self, config: SearchConfig) -> None:
        """Write search.yaml; without passwords of the study's storage and of the run's URL."""
        full = config.full()
        for section, key in (("output", "storage_path"), ("search", "warm_start")):
            if is_url(given := full[section].get(key) or ""):
                full[section][key] = bare(given)
        if storage := full["search"].get("storage"):
            full["search"]["storage"] = kept_url(storage)
        write_text(self.config_file, yaml.dumps(full))

    def write_json(self, path: Path, content: Any) -> None:
        """Write one of the run's JSON files."""
        write_text(path, json.dumps(content, indent=1) + "\n")

    def read_json(self, path: Path) -> Any:
        """Read one of the run's JSON files.

        Raises:
            RunError: it is not there or was damaged.
        """
        given = path == self.split_file
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            remedy = _PUT_BACK if given else f"finish the search with {self.resuming}"
            raise RunError(f"{path}: is missing; {remedy}") from None
        except ValueError as error:
            remedy = _PUT_BACK if given else f"{self.resuming} writes it again"
            raise RunError(f"{path}: damaged: {error}; {remedy}") from None

    def read_split(self) -> Mapping[str, Any]:
        """The content of split.json.

        Raises:
            RunError: it is not there or was damaged.
        """
        split = self.read_json(self.split_file)
        if not isinstance(split, Mapping) or not isinstance(split.get("identity"), Mapping):
            raise RunError(f"{self.split_file}: damaged: it has no 'identity'; {_PUT_BACK}")
        return split

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """An interruption, whenever it comes and however often, says how to go on if a search has begun here.

        Raises:
            SearchInterruptedError: in the place of KeyboardInterrupt.
        """
        try:
            yield
        except KeyboardInterrupt:
            if not self.exists:
                raise
            raise SearchInterruptedError(
                f"{self.place}: interrupted; nothing is lost, go on with: {self.resuming}"
            ) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process. A folder in which no search began is taken away again.

        Raises:
            RunLockedError: another process holds it.
            StorageError: the folder cannot be made.
        """
        with translated(self.path):
            new = not self.path.exists()
            if not new and not self.path.is_dir():
                raise RunError(f"{self.path}: is a file; choose another name or storage path")
            self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        with translated(self.path):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise RunLockedError(
                    f"{self.place}: another process is searching here; wait for it, stop it, or choose another --name"
                ) from None
        try:
            shutil.rmtree(self.scratch, ignore_errors=True)
            yield
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
            lock.release()
            if new and not self.exists:
                shutil.rmtree(self.path, ignore_errors=True)


def _clear_from(folder: Path, number: int) -> None:
    for path in folder.glob("*"):
        if path.name.isdigit() and int(path.name) >= number:
            shutil.rmtree(path, ignore_errors=True)


def default_name(model: str, source: str) -> str:
    """A run's name, made of model and data."""
    data = Path(source).resolve().stem if source else "data"
    return _UNSAFE.sub("-", f"{model}-{data}")[:_LONGEST_NAME].strip("-.") or "search"
