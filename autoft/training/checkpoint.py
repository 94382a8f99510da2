"""Delta checkpoints: tensors as safetensors and the rest as JSON, committed as a whole, newest valid one wins.

A checkpoint is a pair ``checkpoint-N.safetensors`` and ``checkpoint-N.json``. The JSON is written last and holds the
digest of its tensors, so a pair without a JSON, or whose digest differs, does not count. The one before the
newest stays, to fall back to.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from autoft.files import replacing, translated, write_text
from autoft.training.tensor_file import digest_of, write_tensors

Sections: TypeAlias = Mapping[str, Mapping[str, Tensor]]

_FORMAT = 3
_KEPT = 2


def write_checkpoint(folder: Path, sections: Sections, facts: Mapping[str, Any], *, durable: bool = True) -> Path:
    """Add a checkpoint to ``folder`` and drop all but the one before it.

    Args:
        folder: is created.
        sections: tensors by section and name; a tensor that an earlier section holds under the same name with the
            same bits is stored once.
        facts: plain data, finite.
        durable: whether it must outlast a power failure.

    Returns:
        the path of its JSON.

    Raises:
        StorageError: the disk refuses; the checkpoints before are untouched.
    """
    numbers = _numbers(folder)
    number = numbers[-1] + 1 if numbers else 1
    stem = folder / f"checkpoint-{number:06d}"
    stored, places = _deduplicated(sections)
    with replacing(stem.with_suffix(".safetensors"), durable=durable) as temporary:
        digest = write_tensors(temporary, stored)
    description = {"format": _FORMAT, "digest": digest, "places": places, "facts": facts}
    write_text(stem.with_suffix(".json"), json.dumps(description, allow_nan=False), durable=durable)
    _clean(folder, keep=(*numbers, number)[-_KEPT:])
    return stem.with_suffix(".json")


def read_checkpoint(folder: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    """The sections and facts of the newest checkpoint that is whole, or None if there is none."""
    for number in reversed(_numbers(folder)):
        if found := _read(folder / f"checkpoint-{number:06d}"):
            return found
    return None


def damaged_checkpoints(folder: Path) -> list[Path]:
    """The descriptions in and below a folder whose tensors are missing or are not those that were written."""
    return sorted(path for path in folder.rglob("checkpoint-*.json") if not _is_whole(path) and path.exists())


def slim_checkpoint(folder: Path) -> None:
    """Leave of a finished trial's checkpoints no more than `best_weights` and `best_average` need.

    Raises:
        StorageError: the disk refuses; the checkpoints are untouched.
    """
    if found := read_checkpoint(folder):
        sections, facts = found
        best = facts["best"]
        kept = (best, average_of(best))
        write_checkpoint(folder, {name: sections[name] for name in kept if name in sections}, facts)
        _clean(folder, keep=(_numbers(folder)[-1],))


def best_weights(folder: Path) -> dict[str, Tensor] | None:
    """The weights of the trial's best evaluation so far, from its newest whole checkpoint; all others are the base's.

    None without a checkpoint, or where no evaluation gave a number.
    """
    found = read_checkpoint(folder)
    if found is None:
        return None
    sections, facts = found
    return sections[facts["best"]] or None


def average_of(section: str) -> str:
    """Where a checkpoint has the average that was kept beside these weights."""
    return f"{section}_average"


def best_average(folder: Path) -> dict[str, Tensor] | None:
    """`best_weights` with the average that was kept beside them in the place of those that trained; None without."""
    found = read_checkpoint(folder)
    if found is None:
        return None
    sections, facts = found
    average = sections.get(average_of(facts["best"]))
    return {**sections[facts["best"]], **average} if average else None


def _read(stem: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]] | None:
    try:
        description = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        content = stem.with_suffix(".safetensors").read_bytes()
        if description["format"] != _FORMAT or description["digest"] != digest_of(content):
            return None
        stored = safetensors.torch.load(content)
        places: dict[str, dict[str, str]] = description["places"]
        sections = {name: {key: stored[at] for key, at in keys.items()} for name, keys in places.items()}
        return sections, description["facts"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        return None


def _is_whole(path: Path) -> bool:
    try:
        digest = json.loads(path.read_text(encoding="utf-8"))["digest"]
        return bool(digest == digest_of(path.with_suffix(".safetensors").read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _deduplicated(sections: Sections) -> tuple[dict[str, Tensor], dict[str, dict[str, str]]]:
    """The tensors to store, and where each section finds its own."""
    stored: dict[str, Tensor] = {}
    places: dict[str, dict[str, str]] = {section: {} for section in sections}
    copies: dict[str, list[str]] = {}
    for section, tensors in sections.items():
        for name, tensor in tensors.items():
            plain = tensor.detach().cpu().contiguous()
            known = copies.setdefault(name, [])
            twin = next((place for place in known if _same_bits(stored[place], plain)), None)
            if twin is None:
                twin = f"{section}/{name}"
                stored[twin] = plain
                known.append(twin)
            places[section][name] = twin
    return stored, places


def _same_bits(first: Tensor, second: Tensor) -> bool:
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(first.reshape(-1).view(torch.uint8), second.reshape(-1).view(torch.uint8))


def _numbers(folder: Path) -> list[int]:
    """The checkpoints that were committed, oldest first."""
    stems = (path.stem.removeprefix("checkpoint-") for path in folder.glob("checkpoint-*.json"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def _clean(folder: Path, *, keep: tuple[int, ...]) -> None:
    """Remove older checkpoints and what an interrupted writer left."""
    names = {f"checkpoint-{number:06d}" for number in keep}
    with translated(folder):
        for path in (*folder.glob("checkpoint-*"), *folder.glob(".checkpoint-*.tmp")):
            if path.stem not in names:
                path.unlink(missing_ok=True)
