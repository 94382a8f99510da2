import os
import signal

import pytest

from autoft.errors import StorageError
from autoft.interrupts import unbroken
from autoft.study.patience import Patience
from autoft.study.storage import ServerAwayError


class Server:
    """Answers from a moment on; time passes when somebody sleeps."""

    def __init__(self, back_at):
        self.now, self.back_at, self.asked = 0.0, back_at, 0

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds

    def ask(self):
        self.asked += 1
        if self.now < self.back_at:
            raise ServerAwayError("away")
        return "answer"

    def patience(self, most_s):
        return Patience(most_s, sleep=self.sleep, now=lambda: self.now)


@pytest.mark.parametrize("back_at", [0, 0.1, 3, 29.9])
def test_who_comes_back_in_time_is_heard(back_at):
    server = Server(back_at)
    assert server.patience(30)(server.ask) == "answer"
    assert server.now <= 30


def test_the_wait_is_bounded_and_not_repeated_until_there_was_an_answer():
    server = Server(back_at=100)
    patience = server.patience(30)
    with pytest.raises(ServerAwayError):
        patience(server.ask)
    assert (server.now, server.asked) == (pytest.approx(30), pytest.approx(12, abs=3))
    with pytest.raises(ServerAwayError):
        patience(server.ask)
    assert server.now == pytest.approx(30)
    server.now = server.back_at
    assert patience(server.ask) == "answer"
    server.back_at = server.now + 5
    assert patience(server.ask) == "answer"


def test_an_interruption_ends_the_wait():
    server = Server(back_at=100)

    def ask():
        with unbroken():  # as a transaction is
            if server.now > 1:
                os.kill(os.getpid(), signal.SIGINT)
            server.ask()

    with pytest.raises(KeyboardInterrupt), unbroken():
        server.patience(30)(ask)
    assert server.now < 5


def test_other_refusals_are_not_repeated():
    asked = []

    def refuse():
        asked.append(1)
        raise StorageError("the disk is full")

    with pytest.raises(StorageError, match="full"):
        Server(0).patience(30)(refuse)
    assert asked == [1]
