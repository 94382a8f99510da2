"""Where runs are kept: in a folder, or at a URL with a working folder of this machine's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autoft.errors import ConfigError, SearchInterruptedError
from autoft.recipe import Recipe, yaml
from autoft.remote import Mirror, Pulse, Store, check, digest, is_url, joined, parted, reading_copy
from autoft.shards import default_root
from autoft.study import copy_sqlite
from autoft.tuner.run_folder import RunFolder

if TYPE_CHECKING:
    from autoft.tuner.conductor import Conductor

_LEAVING_S = 20.0
"""How long a search that was interrupted waits for a store that is away."""


def folder_of(storage_path: str, name: str) -> RunFolder:
    """The folder of a run that is kept at a path or a URL."""
    if not is_url(storage_path):
        return RunFolder(Path(storage_path) / name)
    url = joined(check(storage_path), name)
    return RunFolder(_working(url) / name, url=url)


def folder_at(run: str | Path) -> RunFolder:
    """The folder of the run that a person names, by its path or its URL."""
    return folder_of(*parted(check(str(run)))) if is_url(str(run)) else RunFolder(Path(run))


def place_of(folder: RunFolder) -> tuple[str, str]:
    """The storage path and the name of a run: what `folder_of` takes."""
    return parted(folder.url) if folder.url else (str(folder.path.parent), folder.path.resolve().name)


def brought(run: str | Path, note: Callable[[str], None]) -> RunFolder:
    """The folder of a run that is to go on; what another machine has written to its URL since is brought here.

    Raises:
        RunLockedError: another process works in it.
        StorageError: the store or this disk refuses.
    """
    folder = folder_at(run)
    if folder.url:
        with folder.locked():
            _mirror(folder, folder.url).update(note)
    return folder


def read_folder(run: str | Path) -> RunFolder:
    """A folder to read a run from, without its checkpoints where it comes from another machine.

    Raises:
        StorageError: the store or this disk refuses.
    """
    folder = folder_at(run)
    if folder.url is None:
        return folder
    copies = _working(folder.url) / ".read"
    found = reading_copy(Store(folder.url), folder.path, copies)
    return RunFolder(found or copies / "none", url=folder.url)


def read_recipe(recipe: str | Path) -> Recipe:
    """A recipe, from its path or its URL.

    Raises:
        ConfigError: unreadable, not YAML, or a value that breaks a rule.
        StorageError: the store refuses.
    """
    if not is_url(str(recipe)):
        if Path(recipe).is_dir():
            raise ConfigError(f"{recipe}: is a folder; give a recipe, such as {RunFolder(Path(recipe)).best_recipe}")
        return Recipe.load(recipe)
    url, name = parted(check(str(recipe)))
    store = Store(url)
    text = store.read(name)
    where = f"{store.place.rstrip('/')}/{name}"
    if text is None:
        raise ConfigError(f"{where}: is not there; give the URL of a recipe, such as best_recipe.yaml of a run")
    return Recipe.parse(yaml.loads(text.decode("utf-8", "replace"), where=where), where=where)


class Link:
    """What ties a run that is worked on here to the place it is kept at; to a folder, nothing."""

    behind: str | None = None
    """The sentence to tell when the place does not have all of the run in the end."""

    def watch(self, conductor: "Conductor") -> None:
        """Have what happens to the place told while the search runs."""


class _UrlLink(Link):
    def __init__(self, folder: RunFolder, pulse: Pulse, note: Callable[[str], None]) -> None:
        self._folder, self._pulse, self._note = folder, pulse, note

    def watch(self, conductor: "Conductor") -> None:
        kept = conductor.on_trial_end

        def on_trial_end(conductor: "Conductor") -> None:
            self._pulse.check(self._note)
            kept(conductor)

        conductor.on_trial_end = on_trial_end

    def end(self, patience_s: float | None = None) -> None:
        """Send the rest, and say so where that cannot be done.

        Raises:
            RunError: another machine goes on with the run.
            SearchInterruptedError: nobody wants to wait for it.
        """
        try:
            self.behind = self._pulse.stop(patience_s=patience_s)
        except KeyboardInterrupt:
            raise SearchInterruptedError(
                f"{self._folder.place}: interrupted before all was sent; nothing is lost, on this machine "
                f"{self._folder.resuming} sends it"
            ) from None
        if self.behind:
            self._note(self.behind)


@contextmanager
def worked_on(folder: RunFolder, note: Callable[[str], None]) -> Iterator[Link]:
    """Hold a run for this process, and keep its URL current, if it has one: while it is worked on, and in the end.

    Raises:
        RunLockedError: another process holds it.
        RunError: another machine goes on with it meanwhile.
        StorageError: the store cannot be written to, or the disk refuses.
    """
    with folder.locked():
        if folder.url is None:
            yield Link()
            return
        mirror = _mirror(folder, folder.url)
        mirror.update(note)
        mirror.claim()
        link = _UrlLink(folder, pulse := Pulse(mirror), note)
        pulse.start()
        try:
            yield link
        except BaseException:
            link.end(_LEAVING_S)
            if not folder.exists:
                mirror.give_up()
            raise
        link.end()


def _mirror(folder: RunFolder, url: str) -> Mirror:
    return Mirror(folder.path, Store(url), {folder.database.name: copy_sqlite})


def _working(url: str) -> Path:
    return default_root() / "runs" / digest(url)
