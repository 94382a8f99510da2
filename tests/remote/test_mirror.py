"""A mirror's laws: what it tells is there, another machine goes on from it, and nobody's work is overwritten."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from remote_runs import content, trials_in, write_run

from autoft.errors import RunError, StorageError
from autoft.remote import Mirror, Store, reading_copy
from autoft.study import copy_sqlite


@pytest.fixture
def told():
    return []


@pytest.fixture
def first(machine, told):
    """A machine whose run is at the URL as a whole."""
    mirror = machine("first")
    mirror.update(told.append)
    mirror.claim()
    write_run(mirror.local)
    mirror.push()
    return mirror


def objects(store):
    return set(store.names("resume/objects"))


def needed(store):
    """The digests of what lies under its digest."""
    return {each["digest"] for name, each in manifest(store)["files"].items() if name != "best_recipe.yaml"}


def manifest(store):
    return json.loads(store.read("resume/manifest.json"))


@pytest.mark.parametrize("url", ["file", "s3"], indirect=True)
def test_a_fresh_machine_gets_the_run_as_it_was(first, machine, told):
    second = machine("second")
    second.update(told.append)
    assert content(second.local) == content(first.local)
    assert trials_in(second.local) == [0, 1]
    assert told == []


def test_results_have_their_own_names_at_the_url(first, store):
    assert store.read("best_recipe.yaml") == b"search: best\n"


def test_nothing_is_sent_twice_and_what_is_not_needed_goes(first, store):
    before = objects(store)
    assert not first.is_behind()
    shutil.rmtree(first.local / "trials/0000")
    write_run(first.local, trials=1, text="search")
    assert first.is_behind()
    first.push()
    assert objects(store) == needed(store)
    assert len(objects(store) & before) >= 3


def test_of_a_study_that_is_written_to_a_whole_copy_is_sent(first, machine, told):
    with closing(sqlite3.connect(first.local / "study.db")) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("insert into trials values (2)")
        database.commit()
        database.execute("insert into trials values (3)")  # not committed
        first.push()
    second = machine("second")
    second.update(told.append)
    assert trials_in(second.local) == [0, 1, 2]


class Dying(Store):
    """Dies after so many files."""

    left = 10**9

    def upload(self, file, name):
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        super().upload(file, name)

    def write(self, name, content):
        if not self.left:
            raise KeyboardInterrupt
        super().write(name, content)


@pytest.mark.parametrize("sent", range(8))
def test_killed_at_any_point_of_a_push_the_url_has_the_state_before_or_after(sent, tmp_path):
    url = (tmp_path / "kept" / "run").as_uri()
    store, folders = Dying(url), [tmp_path / name / "run" for name in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    first, second = (Mirror(folder, store, {"study.db": copy_sqlite}) for folder in folders)
    first.update(pytest.fail)
    first.claim()
    write_run(first.local)
    first.push()
    before = content(first.local)
    write_run(first.local, trials=3, text="more")
    store.left = sent
    try:
        first.push()
    except KeyboardInterrupt:
        after, trials = before, [0, 1]
    else:
        after, trials = content(first.local), [0, 1, 2]
    store.left = 10**9
    second.update(pytest.fail)
    found = content(second.local)
    assert trials_in(second.local) == trials
    assert {**found, "best_recipe.yaml": after["best_recipe.yaml"]} == after
    assert found.get("best_recipe.yaml") in {None, after["best_recipe.yaml"]}, "half of it was trusted"


def test_who_was_killed_goes_on_with_what_only_it_has(first, machine, told, store):
    write_run(first.local, trials=3, text="not sent")
    again = machine("first")
    again.update(told.append)
    assert trials_in(again.local) == [0, 1, 2]
    again.claim()
    again.push()
    assert len(manifest(store)["files"]) == len(content(again.local)) + 1
    assert told == []


def test_what_a_killed_process_left_at_the_url_is_taken_away(first, machine, told, store):
    store.write("resume/objects/0123456789abcdef", b"half of something")
    again = machine("first")
    again.update(told.append)
    again.claim()
    assert objects(store) == needed(store)


def test_a_machine_that_comes_back_takes_up_what_another_one_has_done_since(first, machine, told):
    first.leave()
    second = machine("second")
    second.update(told.append)
    second.claim()
    write_run(second.local, trials=4, text="second")
    second.push()
    assert told == []
    again = machine("first")
    again.update(told.append)
    assert content(again.local) == content(second.local)
    assert len(told) == 1
    assert "another machine went on with this run, and so does this one from there" in told[0]
    assert not list(again.local.parent.glob("*.aside-*"))


def test_what_only_a_killed_machine_had_is_put_aside_where_another_one_went_on(first, machine, told):
    write_run(first.local, trials=3, text="not sent")
    second = machine("second")
    second.update(told.append)
    second.claim()
    machine("first").update(told.append)
    [aside] = first.local.parent.glob("run.aside-*")
    assert trials_in(aside) == [0, 1, 2]
    assert trials_in(first.local) == [0, 1]
    assert told[0].endswith(f"what only this one had is in {aside}")


def test_a_machine_that_is_overtaken_writes_nothing_more(first, machine, told, store):
    second = machine("second")
    second.update(told.append)
    second.claim()
    write_run(first.local, trials=5, text="late")
    before = manifest(store)
    with pytest.raises(RunError, match="another machine goes on with this run; nothing of it was overwritten"):
        first.push()
    assert manifest(store) == before
    second.update(pytest.fail)


@pytest.mark.parametrize("spoil", [lambda store, at: store.remove(at), lambda store, at: store.write(at, b"half")])
def test_a_checkpoint_that_is_not_what_was_written_is_not_used(spoil, first, machine, told, store):
    digest = manifest(store)["files"]["trials/0001/checkpoint/checkpoint-000001.json"]["digest"]
    spoil(store, f"resume/objects/{digest}")
    second = machine("second")
    second.update(told.append)
    assert set(content(first.local)) - set(content(second.local)) == {"trials/0001/checkpoint/checkpoint-000001.json"}


def test_without_its_study_a_run_is_not_gone_on_with(first, machine, told, store):
    store.write(f"resume/objects/{manifest(store)['files']['study.db']['digest']}", b"half")
    with pytest.raises(StorageError, match=r"study.db is missing or damaged there"):
        machine("second").update(told.append)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is damaged"),
        (b'{"format": 9}', "was written by another version"),
        (b'{"format": 1, "writer": "00000000", "generation": 1, "files": {"../x": {}}}', "names '../x'"),
        (b'{"format": 1, "writer": "00000000", "generation": 1, "files": {".lock": {}}}', "names '.lock'"),
        (
            b'{"format": 1, "writer": "00000000", "generation": 1, "files": {"x": {"size": 1, "digest": "../x"}}}',
            "is no digest",
        ),
    ],
    ids=["half", "version", "path", "hidden", "digest"],
)
def test_a_manifest_that_cannot_be_right_is_refused(text, said, store, machine, told):
    store.write("resume/manifest.json", text)
    with pytest.raises(StorageError, match=said):
        machine("first").update(told.append)


def test_the_url_of_an_ordinary_run_folder_is_refused(store, machine, told):
    store.write("search.yaml", b"model: x\n")
    with pytest.raises(RunError, match="is a run kept in a folder; give its path"):
        machine("first").update(told.append)


def test_what_was_taken_away_at_the_url_is_sent_again_and_told(first, machine, told, store):
    store.remove("resume/manifest.json")
    again = machine("first")
    again.update(told.append)
    again.claim()
    again.push()
    assert "what was there is gone; it is sent again" in told[0]
    assert "study.db" in manifest(store)["files"]


def test_a_start_that_came_to_nothing_leaves_nothing_at_the_url(store, machine, told):
    mirror = machine("first")
    mirror.update(told.append)
    mirror.claim()
    mirror.give_up()
    assert store.read("resume/manifest.json") is None


def test_a_reader_gets_results_and_study_but_no_checkpoints(first, store, tmp_path):
    copies = tmp_path / "copies"
    copy = reading_copy(store, tmp_path / "reader" / "run", copies)
    assert set(content(copy)) == {"search.yaml", "split.json", "best_recipe.yaml"}
    assert trials_in(copy) == [0, 1]
    assert reading_copy(store, tmp_path / "reader" / "run", copies) == copy
    assert [path.name for path in copies.iterdir()] == [copy.parent.name]


def test_a_reader_on_the_machine_that_searches_reads_there(first, store, tmp_path):
    assert reading_copy(store, first.local, tmp_path / "copies") == first.local


def test_a_reader_of_nothing_gets_nothing(store, tmp_path):
    assert reading_copy(store, tmp_path / "run", Path("copies")) is None
