"""Searches that are kept at a URL: another machine goes on from what was sent, with every trial once."""

import json
import shutil
import time
from urllib.request import url2pathname

import pytest
import torch
from tiny import TinyNet, tiny_data

import autoft
from autoft.errors import ConfigError, RunError, RunLockedError
from autoft.remote import Store, joined
from autoft.tuner.observer import Silent
from autoft.tuner.place import folder_at, read_recipe
from autoft.tuner.result import SearchResult

pytestmark = pytest.mark.usefixtures("shared_ray")
SHORT = {
    "confirm": "off",
    "search.gains": "off",
    "search.forgetting": "off",
    "reuse": "off",
    "stages": [{"name": "head", "epochs": 1}, {"name": "tune", "epochs": 3, "unfreeze": 1, "lr": 1e-3}],
}
TRIALS = 4


class Copying(Silent):
    """Keeps what is at a URL at a moment in the middle of a search, as if the machine had died then."""

    def __init__(self, url, to):
        self.store, self.url, self.to = Store(url), url, to

    def trial_ended(self, trial):
        if trial.number < 2 or self.to.exists():
            return
        end = time.monotonic() + 120
        while not any(name.startswith("trials/") for name in self.sent()):
            assert time.monotonic() < end, "nothing was sent"
            time.sleep(0.05)
        shutil.copytree(url2pathname(self.url.removeprefix("file://")), self.to)

    def sent(self):
        return json.loads(self.store.read("resume/manifest.json") or b'{"files": {}}')["files"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory, shared_ray):
    """The URL of runs, with a finished one, and another one as it was in the middle of that."""
    root = tmp_path_factory.mktemp("kept")
    url = joined((root / "whole").as_uri(), "tiny")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AUTOFT_CACHE_DIR", str(root / "first"))
        result = autoft.search(
            TinyNet(),
            tiny_data(),
            num_samples=TRIALS,
            name="tiny",
            storage_path=(root / "whole").as_uri(),
            overrides=SHORT,
            observer=Copying(url, root / "half" / "tiny"),
        )
    return root, url, result


def test_a_run_at_a_url_is_read_from_anywhere(kept, monkeypatch, tmp_path):
    _, url, result = kept
    assert result.url == url
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "elsewhere"))
    read = SearchResult.load(url)
    assert read.path != result.path
    assert read.summary == result.summary
    assert read.best_recipe == result.best_recipe == read_recipe(f"{url}/best_recipe.yaml")
    assert [record.number for record in read.records] == list(range(TRIALS))
    assert not read.ledger.close()
    result.ledger.close()


def test_a_fresh_machine_goes_on_from_what_was_sent_and_comes_to_the_same_end(kept, monkeypatch, tmp_path):
    root, _, whole = kept
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "second"))
    torch.manual_seed(0)
    url = joined((root / "half").as_uri(), "tiny")
    resumed = autoft.resume(url, model=TinyNet(), data=tiny_data())
    columns = ["trial", "state", "value", "epochs"]
    assert resumed.trials_dataframe()[columns].equals(whole.trials_dataframe()[columns])
    assert resumed.summary["winner"] == whole.summary["winner"]
    assert resumed.best_recipe.stages == whole.best_recipe.stages
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "third"))
    assert SearchResult.load(url).summary == resumed.summary


def test_a_run_that_is_worked_on_is_not_begun_twice(kept, monkeypatch):
    root, url, _ = kept
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(root / "first"))
    with folder_at(url).locked(), pytest.raises(RunLockedError, match=f"^{url}: another process is searching here"):
        autoft.resume(url, model=TinyNet(), data=tiny_data())


def test_what_is_not_at_a_url_is_told(kept):
    root, _, _ = kept
    url = (root / "none" / "tiny").as_uri()
    with pytest.raises(RunError, match=f"^{url}: is not a run"):
        SearchResult.load(url)
    with pytest.raises(RunError, match=f"^{url}: is not a run"):
        autoft.resume(url)
    assert not (root / "none").exists()
    with pytest.raises(ConfigError, match="is not there; give the URL of a recipe"):
        read_recipe(f"{url}/best_recipe.yaml")
