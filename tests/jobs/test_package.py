import hashlib
import zipfile

import pytest

from autoft.errors import ConfigError
from autoft.jobs.package import packaged


@pytest.fixture
def folder(tmp_path):
    for name in ("photos/cat/1.png", "photos/dog/2.png", "labels.csv", ".git/config", ".env", "photos/.cache/x"):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_text(name)
    return tmp_path / "work"


def contents(package):
    with zipfile.ZipFile(package) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_a_package_holds_the_order_and_the_folder_without_what_is_hidden(folder):
    with packaged({".autoft/job.yaml": "order"}, folder) as package:
        assert contents(package) == {
            ".autoft/job.yaml": "order",
            "labels.csv": "labels.csv",
            "photos/cat/1.png": "photos/cat/1.png",
            "photos/dog/2.png": "photos/dog/2.png",
        }
    assert not package.exists()


def test_equal_contents_make_equal_packages(folder):
    with packaged({"a": "b"}, folder) as first, packaged({"a": "b"}, folder) as second:
        assert first.read_bytes() == second.read_bytes()


def test_the_content_of_a_linked_file_is_shipped_and_a_linked_folder_refused(folder):
    (folder / "linked.csv").symlink_to(folder / "labels.csv")
    with packaged({}, folder) as package:
        assert contents(package)["linked.csv"] == "labels.csv"
    (folder / "more").symlink_to(folder / "photos")
    with pytest.raises(ConfigError, match="more is a link to a folder; ship that folder"), packaged({}, folder):
        pass


def test_what_is_too_large_is_refused_before_it_is_sent(folder):
    (folder / "large.bin").write_bytes(hashlib.shake_256(b"").digest(5000))
    with (
        pytest.raises(ConfigError, match=r"must be below 1,000 bytes when packed; leave large data"),
        packaged({}, folder, max_bytes=1000),
    ):
        pass


def test_a_folder_must_be_one(tmp_path):
    with pytest.raises(ConfigError, match="--working-dir: must be a folder, got"), packaged({}, tmp_path / "none"):
        pass
