"""The background thread of a mirror: it keeps up, has patience, and says what is the matter."""

import time

import pytest
from remote_runs import trials_in, write_run

from autoft.errors import RunError, StorageError
from autoft.remote import Mirror, Pulse, Store
from autoft.study import copy_sqlite


class Away(Store):
    """A store that can be away."""

    away = False

    def read(self, name):
        if self.away:
            raise StorageError(f"{self.place}: is away")
        return super().read(name)


@pytest.fixture
def mirrors(tmp_path):
    """Those of two machines."""
    store = Away((tmp_path / "kept" / "run").as_uri())
    folders = [tmp_path / name / "run" for name in ("first", "second")]
    for folder in folders:
        folder.mkdir(parents=True)
    return [Mirror(folder, store, {"study.db": copy_sqlite}) for folder in folders]


@pytest.fixture
def beating(mirrors):
    """Makes a pulse that beats; it is ended with the test."""
    pulses = []

    def make(patience_s):
        mirrors[0].update(pytest.fail)
        mirrors[0].claim()
        pulses.append(Pulse(mirrors[0], pause_s=0.02, patience_s=patience_s))
        pulses[0].start()
        return pulses[0]

    yield make
    mirrors[0].store.away = False
    for pulse in pulses:
        try:
            pulse.stop(patience_s=0)
        except RunError:
            continue


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_what_is_new_is_sent_while_the_search_runs_and_the_rest_in_the_end(mirrors, beating):
    pulse = beating(30)
    write_run(mirrors[0].local)
    wait_for(lambda: mirrors[0].store.read("best_recipe.yaml"))
    write_run(mirrors[0].local, trials=3)
    assert pulse.stop() is None
    mirrors[1].update(pytest.fail)
    assert trials_in(mirrors[1].local) == [0, 1, 2]


def test_a_store_that_is_away_is_told_once_and_again_when_it_is_back(mirrors, beating):
    pulse, told = beating(0), []
    mirrors[0].store.away = True
    write_run(mirrors[0].local)

    def news(count):
        pulse.check(told.append)
        return len(told) >= count

    wait_for(lambda: news(1))
    mirrors[0].store.away = False
    wait_for(lambda: news(2))
    assert "the search goes on in" in told[0]
    assert "is back, and has all of the run again" in told[1]
    assert pulse.stop() is None


def test_who_ends_with_the_store_away_is_told_how_to_send_the_rest(mirrors, beating):
    pulse = beating(0)
    mirrors[0].store.away = True
    write_run(mirrors[0].local)
    told = pulse.stop(patience_s=0)
    assert told.startswith(f"{mirrors[0].store.place}: is away; what is there is behind: ")
    assert f"all of the run is in {mirrors[0].local}" in told
    assert f"autoft resume {mirrors[0].store.place}" in told


def test_a_search_that_is_overtaken_by_another_machine_ends(mirrors, beating):
    pulse = beating(30)
    mirrors[1].update(pytest.fail)
    mirrors[1].claim()
    write_run(mirrors[0].local)

    def is_overtaken():
        try:
            pulse.check(pytest.fail)
        except RunError:
            return True
        return False

    wait_for(is_overtaken)
    with pytest.raises(RunError, match="another machine goes on with this run"):
        pulse.stop()
