"""A run in two places: a working folder of this machine, and the copy at a URL that outlives the machine."""

import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autoft.errors import RunError, StorageError
from autoft.files import translated, write_text
from autoft.remote.manifest import FOLDER, MANIFEST, Entry, Manifest, is_needed, is_result, place_of
from autoft.remote.staging import Copies, Sign, digest_of, signs, staged
from autoft.remote.store import Store

HIDDEN = ".remote"
"""In the working folder: what it and the URL have to do with each other."""
_TRIES = 5
_KEPT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class _State:
    """What a working folder knows of the URL; a folder without it holds nothing that counts."""

    own: str
    """The name under which this folder writes there."""
    writer: str = ""
    """Who had written there last when the two were equal, or this one was ahead."""
    generation: int = 0
    current: bool = False
    """Whether there is nothing here that is not there."""

    def follows(self, there: Manifest) -> bool:
        """Whether nobody else has written there since."""
        return there.writer == self.own or (there.writer, there.generation) == (self.writer, self.generation)


class Mirror:
    """Keeps the copy of a run at a URL current, or brings it here. Whoever uses it holds the run's lock.

    The URL is the truth about who writes: a working folder whose writing the URL does not know as the last one is not
    written from. What another machine has written is never overwritten.

    Args:
        local: the working folder.
        store: the run's URL.
        copied: how to copy files that are written to all the time.
    """

    def __init__(self, local: Path, store: Store, copied: Copies) -> None:
        self.local, self.store = local, store
        self._copied = copied
        self._hidden = local / HIDDEN
        self._state: _State | None = None
        self._manifest = Manifest("")
        self._sent: dict[str, Sign] = {}
        """How the files were when they were sent."""
        self._digests: dict[Sign, str] = {}

    def update(self, note: Callable[[str], None]) -> None:
        """Make the working folder as new as the URL, where another machine wrote there last.

        Raises:
            RunError: the URL is that of an ordinary run folder.
            StorageError: the store or this disk refuses, or what is there cannot be used.
        """
        known, there = _state_of(self.local), _manifest_at(self.store)
        if there is None:
            if self.store.read("search.yaml") is not None:
                raise RunError(
                    f"{self.store.place}: is a run kept in a folder; give its path, or choose another --name"
                )
            if known and known.generation and any(signs(self.local, self._copied)):
                note(f"{self.store.place}: what was there is gone; it is sent again from {self.local}")
            self._take(known or _State(_new_name()), Manifest(""))
        elif known and known.follows(there):
            self._take(known, there)
        else:
            if known:
                note(self._put_aside(known))
            self._fetch(there)

    def claim(self) -> None:
        """Say at the URL that this folder is the one that writes from now on; it refuses if it cannot be written to.

        Raises:
            StorageError: the store refuses.
        """
        assert self._state is not None, "after update"
        for left in self._hidden.glob("stage-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        orphans = set(self.store.names(f"{FOLDER}/objects"))
        self._commit(self._manifest.files)
        for digest in orphans - {each.digest for each in self._manifest.files.values()}:
            self.store.remove(f"{FOLDER}/objects/{digest}")

    def give_up(self) -> None:
        """Take away what `claim` wrote: nothing came of the run."""
        if not self._manifest.files:
            self.store.remove(MANIFEST)

    def is_behind(self) -> bool:
        """Whether there is something to send."""
        return signs(self.local, self._copied) != self._sent

    def push(self) -> None:
        """Send what is new, in an order in which whatever the URL tells is there; then take away what is not needed.

        Raises:
            RunError: another machine goes on with the run.
            StorageError: the store or this disk refuses; the copy there is as whole as before.
        """
        before = signs(self.local, self._copied)
        with translated(self.local):
            self._hidden.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="stage-", dir=self._hidden) as stage:
                found = staged(self.local, self._copied, Path(stage))
                files = {name: Entry(each.sign[2], self._digest(each.path, each.sign)) for name, each in found.items()}
                self._digests = {each.sign: files[name].digest for name, each in found.items()}
                self._check_own()
                had, places = (
                    self._manifest.files,
                    {place_of(name, each) for name, each in self._manifest.files.items()},
                )
                for name in sorted(files, key=is_result):
                    place = place_of(name, files[name])
                    if had.get(name) != files[name] and (is_result(name) or place not in places):
                        self.store.upload(found[name].path, place)
                        places.add(place)
        if files != had:
            self._commit(files)
            self._clean(had, files)
        self._sent = before

    def leave(self) -> None:
        """Remember that all was sent, so that another machine's progress may simply take this folder's place."""
        assert self._state is not None, "after update"
        self._write_state(replace(self._state, current=True))

    def _commit(self, files: Mapping[str, Entry]) -> None:
        assert self._state is not None, "after update"
        manifest = Manifest(self._state.own, self._manifest.generation + 1, files)
        self.store.write(MANIFEST, manifest.text())
        self._manifest = manifest
        self._write_state(_State(self._state.own, manifest.writer, manifest.generation))

    def _check_own(self) -> None:
        own, there = self._manifest, _manifest_at(self.store)
        if there is None:  # taken away by a person: all is sent again
            self._manifest = replace(own, files={})
        elif (there.writer, there.generation) != (own.writer, own.generation):
            raise RunError(
                f"{self.store.place}: another machine goes on with this run; nothing of it was overwritten, and what "
                f"only this one has stays in {self.local}"
            )

    def _clean(self, before: Mapping[str, Entry], now: Mapping[str, Entry]) -> None:
        kept = {place_of(name, each) for name, each in now.items()}
        for place in {place_of(name, each) for name, each in before.items()} - kept:
            self.store.remove(place)

    def _fetch(self, there: Manifest) -> None:
        for _ in range(_TRIES):
            _clear(self.local)
            missing = _fetched(self.store, there, self.local)
            now = _manifest_at(self.store)
            if now == there or now is None:
                break
            there = now  # whoever writes there has taken files away meanwhile
        if lost := sorted(filter(is_needed, missing)):
            raise StorageError(
                f"{self.store.place}: {lost[0]} is missing or damaged there, and nothing goes on without it"
            )
        self._take(_State(_new_name(), there.writer, there.generation, current=True), there)

    def _take(self, state: _State, there: Manifest) -> None:
        self._manifest = there
        self._write_state(state)

    def _put_aside(self, known: _State) -> str:
        """Make place in the working folder; what was not sent is kept. Gives the sentence to tell."""
        told = f"{self.store.place}: another machine went on with this run, and so does this one from there"
        if known.current:
            return told
        aside = self.local.with_name(f"{self.local.name}.aside-{known.generation}-{known.own[:4]}")
        with translated(aside):
            aside.mkdir(exist_ok=True)
            for path in _children(self.local):
                path.replace(aside / path.name)
        return f"{told}; what only this one had is in {aside}"

    def _digest(self, path: Path, sign: Sign) -> str:
        return self._digests.get(sign) or digest_of(path)

    def _write_state(self, state: _State) -> None:
        write_text(self._hidden / "state.json", json.dumps(asdict(state)))
        self._state = state


def reading_copy(store: Store, working: Path, copies: Path) -> Path | None:
    """A folder to read a run from, without its checkpoints; None where there is no run at the URL.

    Args:
        store: the run's URL.
        working: the working folder, which is read where nobody else has written to the URL since.
        copies: where else to put a copy; those that were made more than a day ago go.

    Raises:
        StorageError: the store or this disk refuses, or what is there cannot be used.
    """
    for _ in range(_TRIES):
        there = _manifest_at(store)
        if there is None or not there.files:
            return None
        known = _state_of(working)
        if known and known.follows(there):
            return working
        copy = copies / f"{there.generation}-{there.writer}"
        if (copy / working.name).is_dir() or _copied_to(copy, working.name, store, there):
            return copy / working.name
    raise StorageError(f"{store.place}: is being written to, and does not stand still; try again")


def _copied_to(copy: Path, name: str, store: Store, there: Manifest) -> bool:
    """Bring what lies at the top of a run; False where it changed meanwhile."""
    with translated(copy):
        copy.parent.mkdir(parents=True, exist_ok=True)
        for old in copy.parent.iterdir():
            if time.time() - old.stat().st_mtime > _KEPT_S:
                shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=copy.parent) as part:
            missing = _fetched(store, there, Path(part) / copy.name / name, top=True)
            if any(map(is_needed, missing)):
                return False
            with suppress(OSError):  # another process was quicker
                (Path(part) / copy.name).rename(copy)
    return (copy / name).is_dir()


def _fetched(store: Store, there: Manifest, folder: Path, *, top: bool = False) -> list[str]:
    """Bring a run's files, or those at its top; gives the names of those that are not what they should be."""
    missing = []
    for name, entry in there.files.items():
        if top and "/" in name:
            continue
        if store.download(place_of(name, entry), folder / name) != entry.digest:
            (folder / name).unlink(missing_ok=True)
            missing.append(name)
    return missing


def _manifest_at(store: Store) -> Manifest | None:
    text = store.read(MANIFEST)
    return None if text is None else Manifest.parse(text, f"{store.place}: {MANIFEST}")


def _state_of(working: Path) -> _State | None:
    try:
        return _State(**json.loads((working / HIDDEN / "state.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _clear(folder: Path) -> None:
    """Empty a working folder that is locked."""
    shutil.rmtree(folder / HIDDEN, ignore_errors=True)
    for path in _children(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _children(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _new_name() -> str:
    return secrets.token_hex(8)
