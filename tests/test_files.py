"""Atomic writes and the sentences for a disk that refuses."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from autoft.errors import StorageError
from autoft.files import network_mount, patiently, replacing, storage_error, translated, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:  # noqa: PT012 - the block is what fails
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_folder_that_is_a_file_is_told_with_its_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/below\.txt"):
        write_text(tmp_path / "file" / "below.txt", "x")


def test_a_full_disk_is_told_with_a_remedy():
    with pytest.raises(StorageError, match="/data: No space left on device; free some space"):
        raise storage_error(OSError(errno.ENOSPC, "No space left on device"), "/data")


MOUNTS = {"/": "ext4", "/data": "nfs4", "/data/fast": "xfs", "/bucket": "fuse.s3fs", "/layers": "fuse.fuse-overlayfs"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/runs", None),
        ("/data", "nfs4"),
        ("/data/runs/photos/study.db", "nfs4"),
        ("/database", None),
        ("/data/fast/runs", None),
        ("/bucket/runs", "fuse.s3fs"),
        ("/layers/x", None),
    ],
)
def test_what_lies_on_a_network_file_system_is_known(path, kind, monkeypatch):
    mounts = [SimpleNamespace(mountpoint=point, fstype=fstype) for point, fstype in MOUNTS.items()]
    monkeypatch.setattr("psutil.disk_partitions", lambda **_all: mounts)
    assert network_mount(Path(path)) == kind


class Refusing:
    """A storage that refuses so many times."""

    def __init__(self, times, code):
        self.left, self.code = times, code

    def __call__(self):
        if self.left:
            self.left -= 1
            with translated("/data"):
                raise OSError(self.code, "refused")


def test_a_storage_that_is_away_for_a_moment_is_waited_for():
    storage = Refusing(3, errno.EIO)
    patiently(storage, pause_s=0.001)
    assert storage.left == 0


def test_patience_ends():
    with pytest.raises(StorageError, match="/data: refused"):
        patiently(Refusing(9, errno.ESTALE), patience_s=0.0, pause_s=0.001)


def test_a_full_disk_is_not_waited_for():
    storage = Refusing(2, errno.ENOSPC)
    with pytest.raises(StorageError):
        patiently(storage)
    assert storage.left == 1
