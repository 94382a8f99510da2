import pytest

from autoft.cache.measure import MeasurementError, Setting, Speed
from autoft.errors import ConfigError
from autoft.recipe import Recipe
from autoft.tuner import layout
from autoft.tuner.config import ResourcesSection
from autoft.tuner.layout import Node, Room, Slots, check_device, choose_layout, device_here, room_for, wanted


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
        recipe(memory_format),
        ResourcesSection(**(resources or {})),
        Room((Node(cores, int(gpus)),), gpus, most),
        measured,
        stored=stored,
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
        (
            {"workers_per_trial": 3},
            "3 of 1 CPU each asked for, but there is room for 2: this machine has 2 CPUs",
        ),
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
        recipe(),
        ResourcesSection(cpus_per_worker=1),
        Room((Node(2),), 0.0, 9),
        Known(cont1=1.0, chan1=0.1),
        stored=None,
    )
    assert found.plain() == {"memory_format": "channels_last", "threads": 1, "slots": 2}
    assert found.setting == Setting("channels_last", 1)


class TestOnACluster:
    NODES = (Node(0), Node(4, 2), Node(8, 1))

    def test_trials_fill_all_nodes(self):
        assert room_for(ResourcesSection(gpus_per_worker=0), trials=99, nodes=self.NODES).slots(2).count == 2 + 4
        assert room_for(ResourcesSection(), trials=99, nodes=self.NODES).slots(1) == Slots(3, 1, 1.0)

    @pytest.mark.parametrize(("share", "expected"), [(0.5, 6), (0.3, 7), (1.0, 3), (2.0, 1)])
    def test_a_share_of_a_gpu_is_of_one_gpu(self, share, expected):
        nodes = (Node(4, 2), Node(8, 1))  # the first has too few CPUs for six shares
        assert room_for(ResourcesSection(gpus_per_worker=share), trials=99, nodes=nodes).slots(1).count == expected

    def test_workers_of_one_trial_may_be_on_several_nodes(self):
        slots = room_for(ResourcesSection(workers_per_trial=3), trials=99, nodes=self.NODES).slots(1)
        assert slots == Slots(1, 1, 1.0, workers=3)

    @pytest.mark.parametrize(
        ("asked", "told"),
        [
            ({"gpus_per_worker": 3}, "gpus_per_worker: 3 asked for, but the largest node has 2; ask for less"),
            ({"cpus_per_worker": 9}, "cpus_per_worker: 9 asked for, but the largest node has 8; ask for less"),
            (
                {"cpus_per_worker": 8, "gpus_per_worker": 2},
                "room for 0: the cluster of nodes with 0 CPUs, 4 CPUs and 2 GPUs, 8 CPUs and 1 GPU; ask for less",
            ),
            ({"workers_per_trial": 4, "gpus_per_worker": 1}, "4 of 1 CPU and 1 GPU each asked for"),
        ],
        ids=["gpus", "cpus", "both at once", "workers"],
    )
    def test_what_no_node_has_is_refused_with_what_there_is(self, asked, told):
        with pytest.raises(ConfigError, match=told):
            room_for(ResourcesSection(**asked), trials=1, nodes=self.NODES)

    def test_threads_that_this_machine_cannot_try_are_no_candidates(self, machine):
        machine(cores=2)
        room = room_for(ResourcesSection(), trials=1, nodes=[Node(64)])
        measured = Known(cont1=1.0, cont2=0.4)
        assert choose_layout(recipe("contiguous"), ResourcesSection(), room, measured, stored=None).threads == 2
        assert {setting.threads for setting in measured.asked} == {1, 2}


def test_gpus_above_one_are_whole():
    with pytest.raises(ConfigError, match=r"gpus_per_worker: must be a share below one or a whole number, got 1\.5"):
        ResourcesSection.parse({"gpus_per_worker": 1.5}, where="resources")


def test_a_worker_trains_on_the_gpu_that_it_was_given_unless_told_otherwise(machine):
    machine(cores=2, cards=1)
    devices = [
        room_for(ResourcesSection(**asked), trials=1).slots(1).runs_on
        for asked in ({}, {"device": "cpu"}, {"gpus_per_worker": 0})
    ]
    assert devices == ["cuda", "cpu", "cpu"]
    machine(cores=2)
    assert device_here("cuda") == "cpu"
    check_device("cpu")
    with pytest.raises(ConfigError, match="was given a GPU, but torch sees none there"):
        check_device("cuda")


@pytest.mark.parametrize(
    ("asked", "bundles"),
    [
        pytest.param({}, None, id="no number is asked for"),
        pytest.param({"max_concurrent_trials": 2}, [{"CPU": 1.0}] * 2, id="two trials"),
        pytest.param({"max_concurrent_trials": 99}, [{"CPU": 1.0}] * 5, id="no more than there are trials"),
        pytest.param(
            {"max_concurrent_trials": 2, "workers_per_trial": 2, "gpus_per_worker": 1, "cpus_per_worker": 4},
            [{"CPU": 4.0, "GPU": 1.0}] * 4,
            id="of two workers with a GPU each",
        ),
    ],
)
def test_a_cluster_is_to_grow_to_the_trials_that_are_asked_for(asked, bundles):
    slots = wanted(ResourcesSection(**asked), 5)
    assert (slots and slots.bundles * slots.count) == bundles
