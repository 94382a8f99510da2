"""The facts of the machine that the tests run on, and what is read out of other programs' answers."""

import socket

import numpy as np
import pytest
import torch

from autoft.doctor.facts import Listener, Token
from autoft.doctor.gather import facts_here
from autoft.doctor.graphics import gpu_of
from autoft.doctor.listeners import asks_for_token, listeners_here, program_of
from autoft.shards import Field, ShardStore, look
from autoft.training.checkpoint import damaged_checkpoints, write_checkpoint


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "cache"))
    store = ShardStore(tmp_path / "cache", 10**6)
    rows = {"x": np.zeros((3, 500), np.uint8)}
    for key in ("whole", "torn"):
        store.get_or_build(key, {"x": Field((500,), "uint8")}, 3, lambda w: w.put(slice(None), rows)).close()
    (tmp_path / "cache" / "torn" / "0.bin").write_bytes(bytes(1499))
    return store


@pytest.fixture
def runs(tmp_path):
    trial = tmp_path / "runs" / "photos" / "trials" / "0000" / "checkpoint"
    (tmp_path / "runs" / "photos").mkdir(parents=True)
    (tmp_path / "runs" / "photos" / "search.yaml").touch()
    for _ in range(2):
        write_checkpoint(trial, {"model": {"w": torch.zeros(3)}}, {"best": "model"})
    (trial / "checkpoint-000002.safetensors").write_bytes(b"half")
    return tmp_path / "runs"


def test_the_facts_of_this_machine_are_all_there(cache, runs):
    facts = facts_here(runs)
    assert all(facts.versions.values())
    assert facts.required["ray"] == "2.50"
    assert [disk.purpose for disk in facts.disks] == ["runs", "cache", "ray"]
    assert all(0 < disk.free_bytes < disk.total_bytes and disk.writable for disk in facts.disks)
    assert facts.open_files > 0
    assert facts.memory_bytes > 10**9
    assert facts.checked == f"2 entries of the cache and the checkpoints of 1 runs in {runs}"
    assert (len(facts.damaged), facts.unchecked) == (2, 0)
    assert "torn" in facts.damaged[0]
    assert "checkpoint-000002.json is not what was written" in facts.damaged[1]


def test_looking_changes_nothing(cache, runs):
    def state():
        return {path: (round(path.stat().st_mtime, 3), path.stat().st_size) for path in cache.root.rglob("*")}

    before = state()
    facts_here(runs)
    assert state() == before


def test_what_there_is_no_time_for_is_counted(cache, runs):
    found, left = look(cache, seconds=0.0)
    assert (found, left) == ([], 2)
    facts = facts_here(runs, seconds=-1.0)
    assert (facts.damaged, facts.unchecked) == ((), 3)


def test_a_checkpoint_that_is_being_replaced_is_not_damaged(runs):
    trial = runs / "photos" / "trials" / "0000" / "checkpoint"
    assert [path.name for path in damaged_checkpoints(trial)] == ["checkpoint-000002.json"]
    write_checkpoint(trial, {"model": {"w": torch.zeros(3)}}, {"best": "model"})
    (trial / "checkpoint-000004.safetensors").write_bytes(b"no description yet")
    assert [path.name for path in damaged_checkpoints(trial)] == ["checkpoint-000002.json"]


@pytest.mark.parametrize(
    ("mode", "variables", "expected"),
    [
        pytest.param(None, {}, (False, None), id="none"),
        pytest.param(None, {"RAY_AUTH_MODE": "token"}, (True, None), id="wanted"),
        pytest.param(0o644, {}, (False, 0o644), id="a file"),
        pytest.param(0o600, {"RAY_AUTH_TOKEN": "secret"}, (False, None), id="the variable comes first"),
    ],
)
def test_the_token_is_found_where_ray_finds_it(tmp_path, monkeypatch, mode, variables, expected):
    file = tmp_path / "auth_token"
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"RAY_AUTH_TOKEN_PATH": str(file)} | variables).items():
        monkeypatch.setenv(name, value)
    if mode is not None:
        file.write_text("secret")
        file.chmod(mode)
    token = facts_here(tmp_path, seconds=0.0).token
    assert (token.wanted, token.mode) == expected
    assert isinstance(token, Token)
    assert "secret" not in repr(token)


@pytest.mark.parametrize(
    ("line", "name", "free"),
    [
        ("NVIDIA H100 80GB HBM3, 550.54.15, 81559, 81003", "NVIDIA H100 80GB HBM3", 81003 * 2**20),
        ("NVIDIA A10G, 550.54.15, [N/A], [N/A]", None, None),
        ("Failed to initialize NVML: Driver/library version mismatch", None, None),
    ],
)
def test_a_line_of_nvidia_smi_is_a_gpu_or_nothing(line, name, free):
    gpu = gpu_of(line)
    assert (gpu.name if gpu else None) == name
    assert (gpu.free_bytes if gpu else None) == free


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["/x/ray/core/src/ray/gcs/gcs_server", "--log_dir=/tmp"], "Ray's head (gcs_server)"),
        (["/x/ray/core/src/ray/raylet/raylet"], "Ray's node (raylet)"),
        (["python", "-u", "/x/ray/dashboard/dashboard.py", "--port=8265"], "Ray's dashboard and job server"),
        (["python", "-m", "ray.util.client.server"], "Ray's client server"),
        (["python", "dashboard.py"], None),
        (["redis-server", "*:6379"], None),
        ([], None),
    ],
)
def test_rays_programs_are_known_by_their_command(command, program):
    assert program_of(command) == program


def test_a_program_asks_for_a_token_if_it_was_started_so():
    assert asks_for_token({"RAY_AUTH_MODE": "Token"})
    assert not asks_for_token({"RAY_AUTH_MODE": "disabled"})
    assert not asks_for_token({})


def test_a_listener_that_is_not_rays_is_left_out():
    with socket.create_server(("127.0.0.1", 0)) as own:
        port = own.getsockname()[1]
        found = listeners_here()
        assert found is None or port not in {listener.port for listener in found}
        assert found is None or all(isinstance(listener, Listener) for listener in found)
