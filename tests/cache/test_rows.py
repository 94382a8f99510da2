import numpy as np
import pytest
import torch
from freezing_models import base

from autoft.cache import ActivationCache, Need, Reuse
from autoft.cache.rows import FIELD, DeviceRows, HostRows, stays_on_device
from autoft.data.variants import MIRRORED, PLAIN
from autoft.shards import Field, ShardStore

CPU = torch.device("cpu")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")],
    ),
]


@pytest.mark.parametrize(
    ("nbytes", "free", "taken", "expected"),
    [
        pytest.param(25, 100, 0, True, id="exactly the share"),
        pytest.param(26, 100, 0, False, id="one byte more"),
        pytest.param(10, 85, 15, True, id="with what is there the share of what was free"),
        pytest.param(11, 85, 15, False, id="with what is there more"),
        pytest.param(1, 0, 0, False, id="no memory at all, as on the CPU"),
    ],
)
def test_rows_stay_on_a_device_while_all_of_them_take_a_quarter_of_what_was_free(nbytes, free, taken, expected):
    assert stays_on_device(nbytes, free=free, taken=taken) is expected


@pytest.fixture
def shards(tmp_path):
    def fill(writer):
        writer.put(slice(None), {FIELD: np.random.default_rng(0).normal(size=(600, 3, 2)).astype(np.float16)})

    return ShardStore(tmp_path, 10**6).get_or_build("rows", {FIELD: Field((3, 2), "float16")}, 600, fill)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["mapped", "whole", "pinned", "device"])
def test_rows_are_the_same_wherever_they_lie(shards, kind, device):
    if kind == "pinned" and device == "cpu":
        pytest.skip("memory is pinned for a GPU")
    place = torch.device(device)
    rows = DeviceRows(shards, place) if kind == "device" else HostRows(shards, whole=kind == "whole")
    rows = HostRows(shards, whole=False, pinned=True) if kind == "pinned" else rows
    items = np.array([599, 0, 256, 255, 0])
    expected = torch.from_numpy(np.array(shards.fields[FIELD])[items])
    assert torch.equal(rows.take(items).to(place).cpu(), expected)
    batch = rows.empty(5)
    for places in (np.array([0, 3]), np.array([1, 2, 4])):
        rows.put(batch, places, items[places])
    assert torch.equal(batch.cpu(), expected)
    assert batch.device.type == rows.device.type


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("free", [0, 2**30, 4 * 327_680], ids=["none on the device", "all", "some"])
def test_batches_are_equal_wherever_the_cache_puts_them(tmp_path, noise, monkeypatch, device, free):
    data, loaded = noise(), base("hand-written").reset()
    loaded.module.to(device)
    needs = [Need(2, 1.0, (PLAIN, MIRRORED))]
    found = []
    for there in (0, free):
        monkeypatch.setattr("autoft.cache.rows.free_bytes", lambda _device, there=there: there)
        cache = ActivationCache(Reuse(tmp_path, 2**30, always=True), data, pytest.fail)
        activations = cache.prepare(loaded, needs).activations[2]
        kinds = [type(rows) for rows in activations.rows.values()]
        assert kinds.count(DeviceRows) == {0: 0, 4 * 327_680: 1, 2**30: 2}[there]
        choice = np.arange(20) % 2
        rows = activations.read(np.arange(20), (PLAIN, MIRRORED), choice)
        assert rows.device.type == device
        found.append(rows.cpu())
    assert torch.equal(*found)
