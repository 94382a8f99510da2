import io
import json

import numpy as np
import pytest

from autoft.cli.edge import guarded
from autoft.cli.main import app
from autoft.shards import Field, ShardStore

FIELDS = {"x": Field((500,), "uint8")}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A cache with an entry of each kind."""
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path))
    for folder, key in ((tmp_path, "photos-1"), (tmp_path / "activations", "activations-2")):
        store = ShardStore(folder, 10**6)
        store.get_or_build(key, FIELDS, 3, lambda w: w.put(slice(None), {"x": np.zeros((3, 500), np.uint8)})).close()
    return tmp_path


@pytest.fixture
def autoft(capsys):
    def run(*arguments, code=0):
        assert guarded(lambda: app(["cache", *arguments], standalone_mode=False)) == code
        return capsys.readouterr()

    return run


def test_info_names_every_entry_and_the_totals(root, autoft):
    told = json.loads(autoft("info", "--json").out)
    assert told["total"] == {"entries": 2, "bytes": 3000}
    items, activations = told["stores"]
    assert (items["kind"], items["root"], activations["kind"]) == ("items", str(root), "activations")
    (entry,) = activations["entries"]
    assert (entry["key"], entry["nbytes"], entry["rows"], entry["in_use"]) == ("activations-2", 1500, 3, False)
    text = autoft("info").out
    assert "photos-1  1.5 kB  3 rows  last used" in text
    assert "total: 2 entries, 3.0 kB" in text


def test_verify_says_what_is_damaged_by_its_exit_code_too(root, autoft):
    assert "2 entries, 0 damaged" in autoft("verify").out
    (root / "photos-1" / "0.bin").write_bytes(bytes(1499))
    told = autoft("verify", code=1).out
    assert "photos-1" in told
    assert "1499 bytes, must be 1500: removed" in told
    assert "1 entries, 0 damaged" in autoft("verify").out


def test_clear_removes_one_kind_or_all_and_says_what_stays(root, autoft):
    assert autoft("clear", "--yes", "--kind", "items").out == "items: 1 entries removed, 1.5 kB freed\n"
    held = ShardStore(root / "activations", 10**6).get("activations-2")
    assert "activations-2 is in use and stays" in autoft("clear", "--yes").out
    held.close()
    assert "activations: 1 entries removed" in autoft("clear", "--yes").out
    assert json.loads(autoft("info", "--json").out)["total"] == {"entries": 0, "bytes": 0}


def test_without_an_answer_nothing_is_removed(root, autoft, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    told = autoft("clear", code=2)
    assert "give --yes" in told.err
    assert (root / "photos-1").exists()


def test_another_kind_is_refused(autoft):
    assert "pixels" in autoft("clear", "--kind", "pixels", code=2).err
