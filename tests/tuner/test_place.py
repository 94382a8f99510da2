"""Where runs are kept, and what becomes of a URL while a run is worked on."""

import pytest
from remote_runs import trials_in, write_run

from autoft.errors import SearchInterruptedError
from autoft.remote import Pulse, Store
from autoft.tuner.place import brought, folder_at, folder_of, place_of, read_folder, worked_on


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "cache"))
    return (tmp_path / "kept" / "photos").as_uri()


def broken(begin, *arguments):
    begin(*arguments)
    raise ValueError("it broke")


@pytest.mark.parametrize("run", ["runs/photos", "s3://bucket/runs/photos?region=r", "file:///runs/photos"])
def test_a_run_is_found_by_where_it_is_kept_and_its_name(run):
    folder = folder_at(run)
    assert folder.name == "photos"
    assert folder.place == run
    assert folder_of(*place_of(folder)).path == folder.path


def test_a_command_that_names_a_url_can_be_pasted_into_a_shell():
    assert folder_at("s3://b/x?region=r&scheme=http").resuming == "autoft resume 's3://b/x?region=r&scheme=http'"
    assert folder_at("runs/x").resuming == "autoft resume runs/x"


def test_what_was_worked_on_is_at_the_url_in_the_end(url, tmp_path, monkeypatch):
    folder = folder_at(url)
    with worked_on(folder, pytest.fail):
        write_run(folder.path)
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert trials_in(brought(url, pytest.fail).path) == [0, 1]


def test_a_search_that_fails_sends_what_it_has_and_one_that_never_began_leaves_nothing(url):
    folder = folder_at(url)
    with pytest.raises(ValueError, match="no data"), worked_on(folder, pytest.fail):
        raise ValueError("no data")
    assert Store(url).read("resume/manifest.json") is None
    assert not folder.path.exists()
    with pytest.raises(ValueError, match="it broke"), worked_on(folder, pytest.fail):
        broken(write_run, folder.path)
    assert read_folder(url).exists
    assert Store(url).read("best_recipe.yaml")


def test_who_does_not_wait_for_the_sending_is_told_that_nothing_is_lost(url, monkeypatch):
    def impatient(pulse, *, patience_s=None):
        stop(pulse, patience_s=0)
        raise KeyboardInterrupt

    stop = Pulse.stop
    monkeypatch.setattr(Pulse, "stop", impatient)
    folder = folder_at(url)
    told = "interrupted before all was sent; nothing is lost"
    with pytest.raises(SearchInterruptedError, match=told), worked_on(folder, pytest.fail):
        write_run(folder.path)
    assert trials_in(folder.path) == [0, 1]
