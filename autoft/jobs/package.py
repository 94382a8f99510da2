"""What is shipped with a job: one zip file of the order and, where asked, a folder of the user's."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from autoft.errors import ConfigError
from autoft.files import translated

MAX_BYTES = 100_000_000
"""Ray's dashboard takes 104,857,600 bytes at once."""
_SAME_DATE = (1980, 1, 1, 0, 0, 0)
"""Equal contents make equal packages, which a cluster keeps once."""


@contextmanager
def packaged(order: Mapping[str, str], folder: Path | None = None, *, max_bytes: int = MAX_BYTES) -> Iterator[Path]:
    """A zip file that is gone after the block.

    Args:
        order: texts by file name, all of them hidden from what users ship.
        folder: shipped beside them; without its hidden files and folders.
        max_bytes: of the zip file.

    Raises:
        ConfigError: not a folder, a link to a folder in it, or too large.
        StorageError: something cannot be read.
    """
    with TemporaryDirectory(prefix="autoft-package-") as scratch:
        path = Path(scratch) / "package.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, text in order.items():
                archive.writestr(zipfile.ZipInfo(name, _SAME_DATE), text)
            for name, file in sorted(_files(folder)) if folder else ():
                with translated(file):
                    archive.writestr(_entry(name), file.read_bytes())
                if archive.fp and archive.fp.tell() > max_bytes:
                    raise ConfigError(
                        f"--working-dir {folder}: must be below {max_bytes:,} bytes when packed; leave large data "
                        "where the cluster can read them, and name them by --data as it sees them"
                    )
        yield path


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _SAME_DATE)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names in the package and paths of all files, hidden ones left out."""
    if not folder.is_dir():
        raise ConfigError(f"--working-dir: must be a folder, got {folder}")
    with translated(folder):
        for path in folder.iterdir():
            yield from _below(path, folder)


def _below(path: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    if path.name.startswith("."):
        return
    if path.is_dir():
        if path.is_symlink():
            raise ConfigError(
                f"--working-dir {folder}: {path} is a link to a folder; ship that folder, or remove the link"
            )
        for inner in path.iterdir():
            yield from _below(inner, folder)
    elif path.is_file():
        yield path.relative_to(folder).as_posix(), path
