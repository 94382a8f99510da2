"""What is made of processes that are ended while they train."""

import json

import pytest

from autoft.tuner import demise
from autoft.tuner.demise import forget, kernel_kills, mourn, noted
from autoft.tuner.micro_batches import MicroBatches


@pytest.fixture
def known(tmp_path):
    return MicroBatches(tmp_path / "micro_batches.json")


def left_behind(folder, rows=32):
    """The folder of a trial whose process was killed."""
    folder.mkdir(exist_ok=True)
    with noted(folder, (3, rows)):
        (path,) = folder.iterdir()
        text = path.read_text()
    assert list(folder.iterdir()) == []
    path.write_text(text)
    return folder


def count(path, kills, monkeypatch):
    """What the kernel tells."""
    (path / "vmstat").write_text(f"oom_kill_x 9\noom_kill {kills}\nnr_free 1\n")
    monkeypatch.setattr(demise, "_COUNTS", path / "vmstat")


def test_a_trial_needs_less_when_the_kernel_has_ended_a_process_meanwhile(tmp_path, known, monkeypatch):
    count(tmp_path, 4, monkeypatch)
    folder = left_behind(tmp_path / "0007")
    count(tmp_path, 5, monkeypatch)
    assert "trial 7 ran out of memory with 32 items at once where it trains 3 layer groups" in mourn(folder, 7, known)
    assert known.of(3) == 16
    assert mourn(folder, 7, known) is None, "a death is mourned once"


def test_a_process_killed_for_another_reason_changes_nothing(tmp_path, known):
    assert mourn(left_behind(tmp_path / "0007"), 7, known) is None
    assert known.of(3) is None


def test_what_ray_says_is_believed(tmp_path, known):
    assert mourn(left_behind(tmp_path / "0007"), 7, known, said=True)
    assert known.of(3) == 16


def test_kills_of_another_machine_are_no_evidence(tmp_path, known, monkeypatch):
    count(tmp_path, 4, monkeypatch)
    folder = left_behind(tmp_path / "0007")
    (note,) = folder.iterdir()
    note.write_text(json.dumps({**json.loads(note.read_text()), "host": "another"}))
    count(tmp_path, 5, monkeypatch)
    assert mourn(folder, 7, known) is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"depth": 3}'])
def test_a_process_that_did_not_train_needs_no_less(tmp_path, known, text):
    if text is not None:
        (tmp_path / "in_training.json").write_text(text)
    assert mourn(tmp_path, 7, known, said=True) is None


def test_a_single_item_cannot_be_halved(tmp_path, known):
    assert mourn(left_behind(tmp_path / "0007", rows=1), 7, known, said=True) is None
    assert known.of(3) is None


def test_deaths_of_an_earlier_start_are_forgotten(tmp_path, known):
    folder = left_behind(tmp_path / "0007")
    forget(tmp_path)
    assert mourn(folder, 7, known, said=True) is None


def test_a_machine_that_does_not_count_is_no_evidence(tmp_path, monkeypatch):
    monkeypatch.setattr(demise, "_COUNTS", tmp_path / "none")
    assert kernel_kills() == 0
