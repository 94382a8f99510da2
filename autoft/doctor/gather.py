"""Gathering the facts of the machine this runs on. Nothing is started, changed or waited for without end."""

import os
import platform
import re
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from autoft.doctor.facts import Disk, Facts, Token
from autoft.doctor.graphics import cuda_here, gpus_here
from autoft.doctor.listeners import listeners_here
from autoft.files import network_mount
from autoft.shards import ShardStore, default_roots, entries, look

PACKAGES = ("autoft", "ray", "torch", "timm", "optuna")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, not written to
_BOUND = re.compile(r"([A-Za-z0-9-]+)(?:\[[^\]]*\])?>=([0-9.]+)")
_TOKEN, _TOKEN_FILE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def facts_here(runs: Path, *, seconds: float = 30.0) -> Facts:
    """What this machine is like.

    Args:
        runs: the folder of all runs.
        seconds: how long checksums may be compared, of the cache and of checkpoints, a half each.
    """
    gpus = gpus_here()
    damaged, unchecked, checked = _health(runs, seconds)
    return Facts(
        versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        required={"python": "3.11", **_required()},
        disks=tuple(_disks(runs)),
        open_files=_open_files(),
        token=_token(),
        memory_bytes=psutil.virtual_memory().total,
        gpus=gpus,
        cuda=cuda_here() if gpus else None,
        shared_memory=_disk("shared memory", _SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None,
        listeners=listeners_here(),
        damaged=tuple(damaged),
        unchecked=unchecked,
        checked=checked,
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _required() -> dict[str, str]:
    """The lower bounds that autoft was installed with."""
    try:
        asked = metadata.requires("autoft") or []
    except metadata.PackageNotFoundError:
        return {}
    bounds = (_BOUND.match(line) for line in asked if ";" not in line)
    return {found[1]: found[2] for found in bounds if found}


def _disks(runs: Path) -> Iterator[Disk]:
    yield _disk("runs", runs)
    yield _disk("cache", default_roots()["items"])
    yield _disk("ray", Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()))


def _disk(purpose: str, path: Path) -> Disk:
    """The disk of a folder, or of the nearest one above it that exists."""
    whole = path.absolute()
    existing = next((folder for folder in (whole, *whole.parents) if folder.is_dir()), Path("/"))
    usage = shutil.disk_usage(existing)
    return Disk(
        purpose, str(path), usage.free, usage.total, os.access(existing, os.W_OK | os.X_OK), network_mount(existing)
    )


def _open_files() -> int:
    """The hard limit: Ray raises the soft one to it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def _token() -> Token:
    """Where Ray would take its token from, in its order."""
    wanted = os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
    if os.environ.get(_TOKEN):
        return Token(wanted, f"the variable {_TOKEN}")
    file = Path(os.environ.get(_TOKEN_FILE) or Path.home() / ".ray" / "auth_token")
    try:
        return Token(wanted, str(file), file.stat().st_mode & 0o777)
    except OSError:
        return Token(wanted, None)


def _health(runs: Path, seconds: float) -> tuple[list[str], int, str]:
    """Sentences about damage, what there was no time for, and what was looked at."""
    damaged, unchecked, kept = [], 0, 0
    end = time.monotonic() + seconds / 2
    for kind, root in default_roots().items():
        store = ShardStore(root, 0)
        kept += len(entries(store))
        found, left = look(store, seconds=max(0.0, end - time.monotonic()))
        damaged += [f"cache: {kind}: {each.key}: {each.what}" for each in found]
        unchecked += left
    folders = sorted(path.parent for path in runs.glob("*/search.yaml"))
    end = time.monotonic() + seconds / 2
    for place, folder in enumerate(folders):
        if time.monotonic() > end:
            unchecked += len(folders) - place
            break
        damaged += [f"checkpoint: {path} is not what was written" for path in _damaged_checkpoints(folder)]
    return damaged, unchecked, f"{kept} entries of the cache and the checkpoints of {len(folders)} runs in {runs}"


def _damaged_checkpoints(folder: Path) -> list[Path]:
    from autoft.training.checkpoint import damaged_checkpoints  # noqa: PLC0415 - loads torch, for runs alone

    return damaged_checkpoints(folder)
