import gc
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from freezing_models import NAMES, SIZES, base
from torch import nn

from autoft.cache import ActivationCache, Need, Reuse
from autoft.data.inputs import as_inputs
from autoft.data.variants import MIRRORED, PLAIN
from autoft.model import Manner, in_micro_batches, load_model, make_ready, model_input, set_eval
from autoft.recipe import ModelConfig


def opened(path, data, *, hands=1, **settings):
    told = []
    return ActivationCache(Reuse(path, 2**30, always=True, **settings), data, told.append, hands=hands), told


def keys(path):
    return {each.name for each in path.glob("activations-*")}


def prefix_of(loaded, data, boundary, *, mirrored=False):
    """What an uncached trainer computes."""
    set_eval(loaded)
    fields = data.read(np.arange(len(data)))
    fields = {name: field.flip(2) for name, field in fields.items()} if mirrored else fields
    with torch.no_grad():
        return in_micro_batches(
            lambda part: loaded.chain.run(model_input(part), 0, boundary), as_inputs(fields, data, loaded.card)
        )


@pytest.mark.parametrize("name", NAMES)
def test_rows_have_the_bits_and_the_strides_of_the_prefix_at_every_boundary(tmp_path, noise, name):
    data, loaded = noise(SIZES.get(name, 16)), base(name).reset()
    boundaries = range(1, len(loaded.chain))
    cache, told = opened(tmp_path, data, hands=2)
    found = cache.prepare(loaded, [Need(boundary, 1.0, (PLAIN, MIRRORED)) for boundary in boundaries]).activations
    assert (list(found), told) == (list(boundaries), [])
    order = np.random.default_rng(0).permutation(len(data))
    flips = np.arange(len(data)) % 3 == 0
    for boundary in boundaries:
        plain, mirrored = prefix_of(loaded, data, boundary), prefix_of(loaded, data, boundary, mirrored=True)
        for size in (1, 7, 33):
            rows = found[boundary].read(order[:size])
            assert torch.equal(rows, plain[order[:size]])
            assert rows.stride()[1:] == plain.stride()[1:]
            drawn = found[boundary].read(order[:size], (PLAIN, MIRRORED), flips[:size].astype(int))
            flipped = torch.from_numpy(flips[:size]).view(-1, *[1] * (rows.dim() - 1))
            assert torch.equal(drawn, torch.where(flipped, mirrored[order[:size]], plain[order[:size]]))


NEEDS = [Need(2, 1.0), Need(4, 1.0)]


@pytest.fixture
def built(tmp_path, noise):
    """A folder that holds the activations of the hand-written network, and their keys by boundary."""
    opened(tmp_path, noise())[0].prepare(base("hand-written").reset(), NEEDS)
    assert len(keys(tmp_path)) == 2
    return tmp_path, keys(tmp_path)


def prepare(path, data, loaded, **more):
    return opened(path, data)[0].prepare(loaded, NEEDS, **more)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda loaded: loaded.reset(seed=7), id="head"),
        pytest.param(lambda loaded: loaded.reset(drop_rate=0.4), id="drop rate"),
    ],
)
def test_another_head_or_drop_rate_finds_what_is_there(built, noise, change):
    path, before = built
    prepare(path, noise(), change(base("hand-written")))
    assert keys(path) == before


def test_other_labels_and_splits_find_what_is_there(built, noise):
    path, before = built
    data = noise(labels=2)
    parts = {"train": data.splits.val, "val": data.splits.train}
    prepare(path, replace(data, splits=replace(data.splits, **parts), fingerprint="1" * 16), base("hand-written"))
    assert keys(path) == before


def _weight(loaded):
    with torch.no_grad():
        loaded.module.stem.weight[0, 0, 0, 0] += 1e-3


def _buffer(loaded):
    loaded.module.stem_norm.running_mean[0] += 1e-3


@pytest.mark.parametrize("change", [_weight, _buffer], ids=["weight", "running mean"])
def test_one_other_number_in_the_prefix_finds_nothing(built, noise, change):
    path, before = built
    loaded = base("hand-written").reset()
    change(loaded)
    prepare(path, noise(), replace(loaded, digest="changed"))
    assert len(keys(path) - before) == 2


def test_another_number_above_a_boundary_finds_what_is_below_it(built, noise):
    path, before = built
    loaded = base("hand-written").reset()
    above = loaded.groups[3].parameters[0]
    with torch.no_grad():
        loaded.module.get_parameter(above).add_(1e-3)
    prepare(path, noise(), replace(loaded, digest="changed"))
    assert len(keys(path) - before) == 1


def test_other_code_with_the_same_weights_finds_nothing(built, noise):
    path, before = built
    loaded = base("hand-written").reset()
    loaded.module.stem.register_forward_hook(lambda _module, _inputs, output: output * 1.0001)
    prepare(path, noise(), replace(loaded, digest="changed"))
    assert len(keys(path) - before) == 2


def test_other_images_another_size_or_normalisation_find_nothing(built, noise):
    path, before = built
    loaded = base("hand-written").reset()
    prepare(path, noise(content="other"), loaded)
    assert len(keys(path) - before) == 2
    prepare(path, noise(24, content="larger"), loaded)
    assert len(keys(path) - before) == 4
    prepare(path, noise(), replace(loaded, card=replace(loaded.card, mean=(0.1, 0.1, 0.1))))
    assert len(keys(path) - before) == 6


def test_another_number_of_threads_or_another_precision_finds_nothing(built, noise):
    path, before = built
    torch.set_num_threads(2)
    prepare(path, noise(), base("hand-written").reset())
    assert len(keys(path) - before) == 2
    torch.set_num_threads(1)
    prepare(path, noise(), base("hand-written").reset(), manner=Manner(mixed=True))
    assert len(keys(path) - before) == 4


@pytest.mark.parametrize("manner", [Manner(channels_last=True), Manner(half=True)], ids=["layout", "rounding"])
def test_another_layout_or_rounding_finds_nothing(built, noise, manner):
    path, before = built
    loaded = base("hand-written").reset()
    make_ready(loaded.module, torch.device("cpu"), channels_last=manner.channels_last)
    prepare(path, noise(), loaded, manner=manner)
    assert len(keys(path) - before) == 2


def test_what_a_trial_reads_is_never_evicted(built, noise):
    path, before = built
    data, loaded = noise(), base("hand-written").reset()
    used = sum(file.stat().st_size for file in path.glob("activations-*/0.bin"))
    running = prepare(path, data, loaded).activations
    told = []
    other = ActivationCache(Reuse(path, used, always=True), data, told.append)
    assert other.prepare(loaded, [Need(1, 9.0), Need(3, 9.0)]).activations == {}
    assert all("beside what other processes use" in text for text in told)
    assert keys(path) == before
    order = np.arange(len(data))
    for boundary in running:
        assert torch.equal(running[boundary].read(order), prefix_of(loaded, data, boundary))
    running.clear()
    gc.collect()
    assert list(other.prepare(loaded, [Need(1, 9.0)]).activations) == [1]
    assert len(before - keys(path)) >= 1


def test_bfloat16_activations_come_back_bit_for_bit(tmp_path, noise):
    data, loaded = noise(), base("hand-written").reset()
    found = prepare(tmp_path, data, loaded, manner=Manner(mixed=True)).activations[4]
    with torch.autocast("cpu", torch.bfloat16):
        expected = prefix_of(loaded, data, 4)
    rows = found.read(np.arange(len(data)))
    assert rows.dtype == expected.dtype
    assert torch.equal(rows, expected)


@pytest.mark.parametrize("damage", ["cut short", "one bit", "manifest"])
def test_what_is_damaged_is_built_again(built, noise, damage):
    path, before = built
    for folder in path.glob("activations-*"):
        rows = folder / "0.bin"
        content = bytearray(rows.read_bytes())
        content[5] ^= 1
        match damage:
            case "cut short":
                os.truncate(rows, 100)
            case "one bit":
                rows.write_bytes(content)
            case "manifest":
                (folder / "manifest.json").write_text("{")
    data, loaded = noise(), base("hand-written").reset()
    found = prepare(path, data, loaded).activations
    assert keys(path) == before
    for boundary in found:
        assert torch.equal(found[boundary].read(np.arange(len(data))), prefix_of(loaded, data, boundary))


class BatchStatistics(nn.Module):
    """In eval mode too, each row depends on its companions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(self.stem(x)).mean((2, 3)))


def test_rows_that_depend_on_more_than_their_sample_are_never_kept(tmp_path, noise):
    example = {"input": torch.zeros(2, 3, 16, 16)}
    loaded = load_model(ModelConfig(name="own"), num_outputs=3, module=BatchStatistics(), example=example)
    cache, told = opened(tmp_path, noise())
    top = len(loaded.chain) - 1
    assert cache.prepare(loaded, [Need(top, 9.0)]).activations == {}
    assert "not a function of the item alone" in told[0]
    assert keys(tmp_path) == set()


def test_boundaries_that_the_search_will_ask_for_are_built_in_the_same_pass(tmp_path, noise):
    data, loaded = noise(), base("hand-written").reset()
    calls = []
    loaded.module.stem.register_forward_hook(lambda *_: calls.append(1))
    first = opened(tmp_path, data, passes={1: 5.0, 3: 5.0})[0].prepare(loaded, [Need(4, 1.0)])
    assert list(first.activations) == [4]
    assert len(keys(tmp_path)) == 3
    assert len(calls) == 2 + 2  # the probe's two micro-batches, the two of the items
    again = opened(tmp_path, data)[0].prepare(loaded, [Need(1, 1.0), Need(3, 1.0)])
    assert (list(again.activations), again.seconds, len(calls)) == ([1, 3], 0.0, 6)


BUILD = """
import sys, time, pathlib
sys.path.insert(0, {support!r}); sys.path.insert(0, {here!r})
import torch; torch.set_num_threads(1)
import autoft.cache.cache as room; room._LEAST_WAIT_S = 600.0  # whatever else runs here
import conftest, test_cache as t
data = conftest.noise_of()
path = pathlib.Path(sys.argv[1])
loaded = t.base("hand-written").reset()
slow = float(sys.argv[2])
read = data.items.read
def counted(indices):
    with open(path / "reads", "a") as file:
        file.write(f"{{len(indices)}}\\n")
    time.sleep(slow)
    return read(indices)
data.items.read = counted
def passed(*_):
    with open(path / "passes", "a") as file:
        file.write("1\\n")
loaded.module.stem.register_forward_hook(passed)
found = t.prepare(path, data, loaded).activations
print(sorted(found), found[4].read(t.np.arange(len(data))).double().sum().item())
"""


def start(path, slow):
    here = Path(__file__).parent
    program = BUILD.format(here=str(here), support=str(here.parent / "support"))
    return subprocess.Popen([sys.executable, "-c", program, str(path), str(slow)], stdout=subprocess.PIPE, text=True)


def test_two_processes_build_once_and_agree(tmp_path):
    workers = [start(tmp_path, 0.3) for _ in range(2)]
    told = [worker.communicate(timeout=120)[0] for worker in workers]
    assert told[0] == told[1] != ""
    reads = [int(line) for line in (tmp_path / "reads").read_text().split()]
    # Each process probes (32 items) and measures (40, twice); the pass (32 and 8) is done once.
    assert sorted(reads) == sorted([32, 40, 40] * 2 + [32, 8])
    # Forward passes: two micro-batches of each probe, and the two of the items once.
    assert len((tmp_path / "passes").read_text().split()) == 2 * 2 + 2


def test_what_a_killed_builder_left_is_neither_trusted_nor_in_the_way(tmp_path, noise):
    worker = start(tmp_path, 1.0)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".building-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert list(tmp_path.glob(".building-*"))
    assert keys(tmp_path) == set()
    data, loaded = noise(), base("hand-written").reset()
    found = prepare(tmp_path, data, loaded).activations
    assert torch.equal(found[4].read(np.arange(len(data))), prefix_of(loaded, data, 4))
    assert not list(tmp_path.glob(".building-*"))
