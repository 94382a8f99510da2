"""A search on three nodes of one machine, of which one joins late with a cache folder of its own; GPUs are invented."""

import json

import numpy as np
import pytest
import ray
import torch
from clusters import Located, cluster, marks
from commands import wait_for
from ray.experimental.internal_kv import _internal_kv_get

import autoft
from autoft.errors import ConfigError
from autoft.tuner.config import ResourcesSection
from autoft.tuner.layout import Node, Slots, room_for
from autoft.tuner.observer import Silent
from autoft.tuner.ray_session import ray_session
from autoft.tuner.session import slots_now

pytestmark = pytest.mark.slow
PLAIN = {"confirm": "off", "reuse": "off"} | {f"search.{name}": "off" for name in ("gains", "probe", "forgetting")}


class Counting(Silent):
    """Counts the trials that run at the same time, and lets a node join when the first one starts."""

    def __init__(self, join):
        self.running, self.most, self.slots, self.join, self.joined = set(), 0, 0, join, None

    def started(self, plan):
        self.slots = plan.slots

    def trial_started(self, trial):
        self.joined = self.joined or self.join()
        self.running.add(trial.number)
        self.most = max(self.most, len(self.running))

    def trial_ended(self, trial):
        self.running.discard(trial.number)


@pytest.fixture(scope="module")
def nodes():
    """A head without CPUs, and a node whose one GPU two workers can share."""
    with cluster() as found:
        yield found, found.add_node(num_cpus=4, num_gpus=1).node_id


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 8)).astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "points.npz"
    np.savez(path, x=x, y=(x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 0))
    return path


def search(address, points, path, *, model=None, **overrides):
    torch.manual_seed(0)
    return autoft.search(
        model or Located(path),
        points,
        num_samples=8,
        name="run",
        storage_path=path,
        address=address,
        observer=overrides.pop("observer", None),
        overrides={**PLAIN, **overrides},
    )


def test_trials_fill_the_nodes_also_one_that_joins_and_share_their_gpus_as_asked(nodes, points, tmp_path):
    (found, first), other = nodes, tmp_path / "other-cache"
    late = {"num_cpus": 1, "num_gpus": 1, "env_vars": {"AUTOFT_CACHE_DIR": str(other)}}
    seen = Counting(lambda: found.add_node(**late))
    resources = {"resources.gpus_per_worker": 0.5, "resources.device": "cpu", "resources.cpus_per_worker": 1}
    model = Located(tmp_path, meet=3)
    result = search(found.address, points, tmp_path, model=model, observer=seen, **resources)
    assert not ray.is_initialized()
    assert len(result.records) == 8
    assert all(record.state.finished and record.state.name != "FAIL" for record in result.records)
    assert (seen.slots, seen.most) == (2, 3)
    assert marks(tmp_path) == sorted([(first, "0"), (first, "0"), (seen.joined.node_id, "0")])
    assert list(other.glob("tensors-*")), "the other node made the data ready for itself"


@pytest.fixture
def joined(nodes):
    """This process in the cluster, which goes on when a session ends."""
    ray.init(address=nodes[0].address, log_to_driver=False)
    yield
    ray.shutdown()


def request():
    """What the cluster's autoscaler is asked for."""
    return json.loads(_internal_kv_get("autoscaler_resource_request") or "[]")


def test_an_autoscaler_is_asked_for_room_until_the_search_leaves(joined):
    with ray_session() as session:
        session.ask_for(Slots(count=2, cpus=1, gpus=0.5))
        assert request() == [{"CPU": 1.0, "GPU": 0.5}] * 2
    assert request() == []


def test_a_node_that_leaves_takes_its_slots_with_it(nodes, joined):
    room = room_for(ResourcesSection(gpus_per_worker=0.5, cpus_per_worker=1), trials=9, nodes=[Node(1, 1)])
    with ray_session() as session:
        before = slots_now(room, session, 1)
        leaving = nodes[0].add_node(num_cpus=2, num_gpus=1)
        wait_for(lambda: slots_now(room, session, 1) == before + 2)
        nodes[0].remove_node(leaving)
        wait_for(lambda: slots_now(room, session, 1) == before)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"resources.gpus_per_worker": 3}, "gpus_per_worker: 3 asked for, but the largest node has 1"),
        (
            {"resources.workers_per_trial": 3, "resources.gpus_per_worker": 1},
            "3 of 1 CPU and 1 GPU each asked for, but there is room for",
        ),
    ],
)
def test_what_the_cluster_does_not_have_is_refused_at_once(nodes, points, tmp_path, asked, told):
    with pytest.raises(ConfigError, match=told):
        search(nodes[0].address, points, tmp_path, **asked)
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_is_none_ends_the_search_with_the_remedy(nodes, points, tmp_path):
    with pytest.raises(autoft.AutoftError, match=r"was given a GPU, but torch sees none there.*resources\.device=cpu"):
        search(nodes[0].address, points, tmp_path, **{"resources.max_concurrent_trials": 1})
