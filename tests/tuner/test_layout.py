import pytest

from autoft.cache.measure import MeasurementError, Setting, Speed
from autoft.errors import ConfigError
from autoft.recipe import Recipe
from autoft.tuner import layout
from autoft.tuner.config import ResourcesSection
from autoft.tuner.layout import Room, choose_layout, room_for


def recipe(memory_format="auto"):
    stages = [{"name": "head", "epochs": 1}]
    return Recipe.parse({"model": "m", "stages": stages, "optimisation": {"memory_format": memory_format}}, where="t")


class Known:
    """Measurements by a table of seconds per row; what is not in it does not run."""

    def __init__(self, formats=("contiguous", "channels_last"), **row_s):
        self.formats, self.row_s, self.asked = formats, row_s, []

    def few_rows(self, setting: Setting, *, at_most_s=float("inf")):
        self.asked.append(setting)
        seconds = self.row_s.get(f"{setting.memory_format[0:4]}{setting.threads}")
        if seconds is None:
            raise MeasurementError("does not run")
        return Speed(8, (0.0,), (seconds,), (0.0,), (0,)) if seconds <= at_most_s else None


def chosen(measured, *, cores=2, most=99, gpus=0.0, resources=None, memory_format="auto", stored=None):
    found = choose_layout(
        recipe(memory_format), ResourcesSection(**(resources or {})), Room(cores, gpus, most), measured, stored=stored
    )
    return found.memory_format, found.threads, found.slots.count


@pytest.mark.parametrize(
    ("row_s", "case", "expected"),
    [
        pytest.param({"cont1": 2.0, "chan1": 1.0, "chan2": 0.6}, {}, ("channels_last", 1, 2), id="side by side wins"),
        pytest.param({"cont1": 1.0, "chan1": 0.95, "cont2": 0.6}, {}, ("contiguous", 1, 2), id="no clear gain"),
        pytest.param({"cont1": 1.0, "chan1": 2.0, "cont2": 0.4}, {}, ("contiguous", 2, 1), id="threads that pay"),
        pytest.param(
            {"cont1": 1.0, "chan1": 2.0, "cont2": 0.6}, {"most": 1}, ("contiguous", 2, 1), id="one trial, all cores"
        ),
        pytest.param(
            {"cont1": 8.0, "chan1": 9.0, "cont2": 3.0, "cont4": 1.9, "cont8": 1.9},
            {"cores": 8},
            ("contiguous", 2, 4),
            id="eight cores",
        ),
        pytest.param({}, {}, ("contiguous", 1, 2), id="a model that does not run"),
    ],
)
def test_what_gets_more_done_is_taken(row_s, case, expected):
    assert chosen(Known(**row_s), **case) == expected


def test_what_is_asked_for_is_obeyed_and_not_measured():
    measured = Known()
    asked = {"resources": {"cpus_per_worker": 2}, "memory_format": "channels_last"}
    assert chosen(measured, cores=4, **asked) == ("channels_last", 2, 2)
    assert measured.asked == []


def test_a_study_goes_on_as_it_began():
    measured = Known()
    stored = {"memory_format": "channels_last", "threads": 8, "slots": 1}
    assert chosen(measured, cores=2, stored=stored) == ("channels_last", 8, 1)
    assert chosen(measured, cores=2, stored=stored, memory_format="contiguous") == ("contiguous", 8, 1)
    assert measured.asked == []


def test_a_gpu_trial_has_one_thread():
    assert chosen(Known(cont1=1.0, chan1=0.5), cores=16, gpus=1.0, most=1) == ("channels_last", 1, 1)


def test_all_cores_and_powers_of_two_are_candidates():
    assert [layout._powers(cores) for cores in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]


@pytest.fixture
def machine(monkeypatch):
    def machine(cores, cards=0):
        monkeypatch.setattr(layout, "core_count", lambda: cores)
        monkeypatch.setattr(layout, "card_count", lambda: cards)

    return machine


def test_there_are_never_more_slots_than_trials(machine):
    machine(cores=8)
    assert room_for(ResourcesSection(), trials=3).slots(1).count == 3
    assert room_for(ResourcesSection(max_concurrent_trials=2), trials=3).slots(1).count == 2
    assert room_for(ResourcesSection(), trials=99).slots(3).count == 2


def test_fractions_share_a_gpu(machine):
    machine(cores=8, cards=1)
    assert room_for(ResourcesSection(gpus_per_worker=0.25), trials=99).slots(1).count == 4
    assert room_for(ResourcesSection(), trials=99).slots(1) == layout.Slots(1, 1, 1.0)


def test_a_trial_of_several_workers_takes_as_many_times_its_share(machine):
    machine(cores=8, cards=4)
    slots = room_for(ResourcesSection(workers_per_trial=2), trials=99).slots(1)
    assert slots == layout.Slots(2, 1, 1.0, workers=2)
    assert slots.gpus_per_trial == 2.0
    machine(cores=8)
    assert room_for(ResourcesSection(workers_per_trial=2, cpus_per_worker=2), trials=99).slots(2).count == 2
    assert room_for(ResourcesSection(workers_per_trial=4), trials=99).slots(8) == layout.Slots(1, 2, 0.0, workers=4)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"cpus_per_worker": 4}, "cpus_per_worker: 4 asked for, but this machine has 2"),
        ({"workers_per_trial": 3}, "cpus_per_worker: 1 asked for for each of 3 workers, but this machine has 2"),
        ({"gpus_per_worker": 1.0}, "gpus_per_worker: 1 asked for, but this machine has 0"),
    ],
    ids=["cores", "workers", "gpus"],
)
def test_a_demand_that_the_machine_cannot_meet_is_told(machine, asked, told):
    machine(cores=2)
    with pytest.raises(ConfigError, match=told):
        room_for(ResourcesSection(**asked), trials=1)


def test_the_layout_is_kept_as_plain_data():
    found = choose_layout(
        recipe(), ResourcesSection(cpus_per_worker=1), Room(2, 0.0, 9), Known(cont1=1.0, chan1=0.1), stored=None
    )
    assert found.plain() == {"memory_format": "channels_last", "threads": 1, "slots": 2}
    assert found.setting == Setting("channels_last", 1)
