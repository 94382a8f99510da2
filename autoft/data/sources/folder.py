"""An image folder: one folder per class, or folders train, val and test with one folder per class in each."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from autoft.data.decode import Frame
from autoft.data.sources.files import IMAGE_SUFFIXES, ImageFiles, is_image, needed
from autoft.data.sources.listing import SPLIT_NAMES, TRAIN, Listing
from autoft.errors import DataError
from autoft.files import translated


def list_folder(folder: Path, frame: Frame | None, *, kind: str) -> Listing:
    """List the images of a folder; their class is the folder they lie in, at any depth below it.

    Raises:
        DataError: no images, no class folders, splits that cannot be told, or a task that needs a manifest.
    """
    if kind != "single_label":
        raise DataError(
            f"{folder}: class folders give one class per image, but data.task is {kind}; "
            "use a CSV manifest with the columns path and label"
        )
    with translated(folder):
        found = _Found()
        splits = _split_folders(folder)
        for split, base in splits.items():
            _collect(folder, base, split, found)
    if not found.items:
        raise _nothing(folder, found)
    _check_not_wrapped(folder, {label for _, label, _ in found.items})
    rows = sorted(found.items)
    names = tuple(name for name, _, _ in rows)
    origin = ImageFiles(str(folder.absolute()), names, needed(frame, str(folder)))
    given = np.array([split for _, _, split in rows]) if TRAIN in splits else None
    return Listing(
        name=folder.absolute().name,
        names=names,
        labels=np.array([label for _, label, _ in rows]),
        origin=origin,
        digests=origin.digests(),
        given=given,
        notes=found.notes(),
    )


def images_below(folder: Path) -> list[Path]:
    """The image files of a folder, at any depth, in order."""
    with translated(folder):
        return list(_walk(folder, _Found()))


@dataclass
class _Found:
    """What a walk through the folders has met."""

    items: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, class and split."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Files that are no images, by extension."""
    hidden: int = 0
    outside: list[str] = field(default_factory=list)
    """Images that lie in no class folder."""
    empty: list[str] = field(default_factory=list)
    """Class folders without images."""

    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        notes = []
        if self.ignored:
            kinds = ", ".join(sorted(self.ignored)[:5])
            notes.append(f"{self.ignored.total()} files are no images by their extension ({kinds}) and are left out")
        if self.hidden:
            notes.append(f"{self.hidden} hidden files or folders are left out")
        if self.outside:
            notes.append(f"{len(self.outside)} images lie in no class folder ({_some(self.outside)}) and are left out")
        if self.empty:
            notes.append(f"{len(self.empty)} folders hold no images ({_some(self.empty)}) and are no classes")
        return tuple(notes)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folders of train, val and test; the folder itself under the name "" when it is not split.

    A lone folder called train beside ordinary ones is a class; train with val or test beside it is a split.
    """
    children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not _hidden(child.name)]
    named: dict[str, Path] = {}
    for child in children:
        if split := SPLIT_NAMES.get(child.name.lower()):
            if split in named:
                raise DataError(
                    f"{folder}: {named[split].name} and {child.name} are both the {split} split; keep one of them"
                )
            named[split] = child
    others = [child for child in children if child not in named.values() and any(_walk(child, _Found()))]
    if not named or (others and (len(named) == 1 or TRAIN not in named)):
        return {"": folder}
    if TRAIN not in named:
        raise DataError(f"{folder}: has {_some([*named])} but no train folder; add one, with a folder per class in it")
    if others:
        raise DataError(
            f"{folder}: class folders ({_some([child.name for child in others])}) lie beside the split folders "
            f"({', '.join(child.name for child in named.values())}); move them into train"
        )
    return named


def _collect(folder: Path, base: Path, split: str, found: _Found) -> None:
    for child in sorted(base.iterdir()):
        if _hidden(child.name):
            found.hidden += 1
        elif child.is_dir():
            paths = list(_walk(child, found))
            if not paths:
                found.empty.append(child.relative_to(folder).as_posix())
            found.items += [(path.relative_to(folder).as_posix(), child.name, split) for path in paths]
        elif is_image(child.name):
            found.outside.append(child.relative_to(folder).as_posix())
        else:
            found.ignored[child.suffix.lower() or "none"] += 1


def _walk(folder: Path, found: _Found, parents: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
    """Images at any depth. Links are followed, but not in circles."""
    stat = folder.stat()
    here = (stat.st_dev, stat.st_ino)
    if here in parents:
        return
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if _hidden(entry.name):
                found.hidden += 1
            elif entry.is_dir():
                yield from _walk(Path(entry.path), found, (*parents, here))
            elif is_image(entry.name):
                yield Path(entry.path)
            else:
                found.ignored[Path(entry.name).suffix.lower() or "none"] += 1


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _check_not_wrapped(folder: Path, classes: set[str]) -> None:
    """Refuse what archives unpack to: one folder around those of the classes or splits."""
    only = folder / classes.pop()
    if classes or not only.is_dir():
        return
    inner = [child.name for child in sorted(only.iterdir()) if child.is_dir() and any(_walk(child, _Found()))]
    if len(inner) > 1:
        raise DataError(
            f"{folder}: there is one class folder only, {only.name}, and in it the folders {_some(inner)}; "
            f"where these are the classes or the splits, give {only}"
        )


def _nothing(folder: Path, found: _Found) -> DataError:
    kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
    if found.outside:
        return DataError(
            f"{folder}: {len(found.outside)} images lie directly in the folder; "
            "put them into one folder per class, or give a CSV manifest with the columns path and label"
        )
    what = "no images" if found.ignored or found.empty or found.hidden else "is empty; it has no images"
    return DataError(f"{folder}: {what}; give a folder with one folder of images ({kinds}) per class")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
