"""Interruptions wait for what must not be torn."""

import signal
import sqlite3
import threading
from contextlib import suppress

import pytest

from autoft.interrupts import held_back, remembered, unbroken


@pytest.fixture
def steps():
    return []


@unbroken()
def interrupted(steps):
    signal.raise_signal(signal.SIGINT)
    steps.append("through")


@unbroken()
def interrupted_inside(steps):
    interrupted(steps)
    steps.append("outer")


@unbroken()
def interrupted_and_failed():
    signal.raise_signal(signal.SIGINT)
    raise ValueError


@unbroken()
def interrupted_in_a_transaction(database):
    database.execute("BEGIN IMMEDIATE")
    signal.raise_signal(signal.SIGINT)
    database.execute("INSERT INTO rows VALUES (1)")
    database.execute("COMMIT")


def test_an_interruption_comes_when_the_step_is_through(steps):
    with pytest.raises(KeyboardInterrupt):
        interrupted(steps)
    assert steps == ["through"]


def test_it_comes_at_the_end_of_the_outermost_step(steps):
    with pytest.raises(KeyboardInterrupt):
        interrupted_inside(steps)
    assert steps == ["through", "outer"]


def test_what_only_waits_can_see_that_an_interruption_is_held_back():
    seen = []
    with pytest.raises(KeyboardInterrupt), unbroken():  # noqa: PT012 - it comes at the end
        seen.append(held_back())
        with unbroken():
            signal.raise_signal(signal.SIGINT)
        seen.append(held_back())
    assert [*seen, held_back()] == [False, True, False]


def test_it_comes_also_when_the_step_fails():
    with pytest.raises(KeyboardInterrupt):
        interrupted_and_failed()


def test_handlers_are_what_they_were():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with suppress(ValueError), unbroken():
        raise ValueError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_are_left_alone():
    seen = []

    def body():
        with unbroken():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_a_transaction_is_not_torn(tmp_path):
    database = sqlite3.connect(tmp_path / "one.db", isolation_level=None)
    database.execute("CREATE TABLE rows (number)")
    with pytest.raises(KeyboardInterrupt):
        interrupted_in_a_transaction(database)
    other = sqlite3.connect(tmp_path / "one.db", timeout=0)
    other.execute("INSERT INTO rows VALUES (2)")
    assert other.execute("SELECT count(*) FROM rows").fetchone() == (2,)


class Lost:
    """Is interrupted where Python prints what is raised, and goes on."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_was_lost_is_told_to_who_asks():
    with remembered() as ask:
        ask()
        one = Lost()
        del one
        with pytest.raises(KeyboardInterrupt):
            ask()


def test_what_is_remembered_is_raised_at_once_too(steps):
    with remembered() as ask:
        with pytest.raises(KeyboardInterrupt):
            interrupted(steps)
        with pytest.raises(KeyboardInterrupt):
            ask()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
