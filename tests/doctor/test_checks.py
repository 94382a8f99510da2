"""What the doctor says of a machine: a table of facts and findings."""

from dataclasses import replace

import pytest

from autoft.doctor import Level, examine
from autoft.doctor.facts import Cuda, Disk, Facts, Gpu, Listener, Token

GB = 10**9
WELL = Facts(
    versions={"python": "3.11.2", "autoft": "0.1.0", "ray": "2.60.0", "torch": "2.14.1+cu130"},
    required={"python": "3.11", "ray": "2.50", "torch": "2.6"},
    disks=(
        Disk("runs", "runs", 100 * GB, 500 * GB),
        Disk("cache", "/cache", 100 * GB, 500 * GB),
        Disk("ray", "/tmp", 100 * GB, 500 * GB),
    ),
    open_files=1_048_576,
    token=Token(wanted=False, place=None),
    memory_bytes=32 * GB,
    shared_memory=Disk("shared memory", "/dev/shm", 16 * GB, 16 * GB),
    checked="2 entries of the cache and the checkpoints of 1 runs in runs",
)
GPU = Gpu("NVIDIA A10G", "550.54", 24 * GB, 23 * GB)
HEAD = Listener("Ray's head (gcs_server)", "0.0.0.0", 6379, token=True)


def disk(**changes):
    return {"disks": (replace(WELL.disks[0], **changes),)}


def with_gpus(*gpus, **cuda):
    return {"gpus": gpus, "cuda": Cuda(**({"version": "12.8", "devices": len(gpus)} | cuda))}


def listening(**changes):
    return {"listeners": (replace(HEAD, **changes),)}


def test_a_machine_that_is_well_has_no_remedy():
    findings = examine(WELL)
    assert {finding.level for finding in findings} == {Level.OK}
    assert not any(finding.remedy for finding in findings)
    assert {finding.subject for finding in findings} == {
        "versions", "gpu", "disk", "shared memory", "open files", "ports", "token", "kept files",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "level", "text", "remedy"),
    [
        pytest.param(
            {"versions": {"python": "3.11.2", "ray": None}},
            "error",
            "ray is not installed",
            "pip install",
            id="missing",
        ),
        pytest.param(
            {"versions": {"ray": "2.9.3"}},
            "error",
            "ray is 2.9.3, older than 2.50",
            "pip install 'ray>=2.50'",
            id="old",
        ),
        pytest.param(
            with_gpus(GPU, devices=0, trouble="the driver is too old"),
            "error",
            "driver 550.54 has 1 GPUs, but torch (CUDA 12.8) can use none: the driver is too old",
            "update the driver",
            id="driver",
        ),
        pytest.param(
            with_gpus(GPU, version=None, devices=0), "error", "without CUDA", "torch with CUDA", id="CPU torch"
        ),
        pytest.param(with_gpus(GPU, GPU, devices=1), "warning", "1 of 2 GPUs", "CUDA_VISIBLE_DEVICES", id="hidden"),
        pytest.param(
            with_gpus(replace(GPU, free_bytes=2 * GB)), "warning", "2.0 GB of 24.0 GB free", "nvidia-smi", id="busy"
        ),
        pytest.param(disk(writable=False), "error", "cannot be written to", "another folder", id="read-only"),
        pytest.param(disk(free_bytes=GB // 2), "error", "0.5 GB of 500.0 GB free", "free some space", id="full"),
        pytest.param(
            disk(free_bytes=6 * GB), "warning", "checkpoints of a run may take 3.0 GB", "set a quota", id="tight"
        ),
        pytest.param(
            disk(purpose="cache", network="nfs4"), "warning", "network file system (nfs4)", "AUTOFT_CACHE_DIR", id="nfs"
        ),
        pytest.param(
            disk(purpose="ray", free_bytes=20 * GB), "warning", "Ray writes nothing", "RAY_TMPDIR", id="ray's disk"
        ),
        pytest.param(
            {"shared_memory": Disk("shared memory", "/dev/shm", 64 * 10**6, 64 * 10**6)},
            "warning",
            "0.1 GB free, and a search asks for 0.2 GB",
            "--shm-size",
            id="a container's shared memory",
        ),
        pytest.param(
            {"shared_memory": Disk("shared memory", "/dev/shm", 4 * GB, 4 * GB)},
            "warning",
            "`ray start` asks for 9.6 GB",
            "--object-store-memory",
            id="little shared memory",
        ),
        pytest.param({"open_files": 1024}, "warning", "1,024 files", "65536", id="few files"),
        pytest.param(
            listening(token=False), "error", "0.0.0.0, 6379 without a token", "ray get-auth-token", id="an open Ray"
        ),
        pytest.param(
            listening(token=None), "warning", "cannot be seen", "RAY_AUTH_MODE=token", id="another user's Ray"
        ),
        pytest.param({"listeners": None}, "warning", "does not show", "as the user", id="hidden listeners"),
        pytest.param(
            {"token": Token(wanted=True, place=None)},
            "error",
            "there is none",
            "ray get-auth-token --generate",
            id="no token",
        ),
        pytest.param(
            {"token": Token(wanted=True, place="/x/auth_token", mode=0o644)},
            "warning",
            "0644",
            "chmod 600 /x/auth_token",
            id="token mode",
        ),
        pytest.param({"damaged": ("cache: a: torn",)}, "warning", "cache: a: torn", "made again", id="damage"),
    ],
)
def test_what_is_wrong_is_told_with_its_remedy(changes, level, text, remedy):
    found = [finding for finding in examine(replace(WELL, **changes)) if finding.level is not Level.OK]
    (finding,) = found
    assert finding.level == level
    assert text in finding.text
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(listening(), id="with a token"),
        pytest.param(listening(address="127.0.0.1", token=False), id="for this machine only"),
        pytest.param(listening(address="::1", token=None), id="for this machine only, IPv6"),
        pytest.param(listening(address="::ffff:127.0.0.1", token=None), id="for this machine only, IPv4 in IPv6"),
        pytest.param(with_gpus(GPU, GPU), id="GPUs"),
        pytest.param({"token": Token(wanted=True, place="/x/auth_token", mode=0o600)}, id="a token of one's own"),
        pytest.param(
            {"token": Token(wanted=True, place="the variable RAY_AUTH_TOKEN")}, id="a token in the environment"
        ),
        pytest.param(disk(network="nfs4"), id="runs on a network file system"),
        pytest.param({"shared_memory": None}, id="a system without shared memory"),
        pytest.param({"unchecked": 3}, id="not all was looked at"),
        pytest.param({"versions": {"torch": "2.10.0+cu128"}}, id="a version with two digits"),
    ],
)
def test_what_is_well_is_left_alone(changes):
    assert {finding.level for finding in examine(replace(WELL, **changes))} == {Level.OK}


def test_the_ports_of_one_program_are_one_finding():
    facts = replace(WELL, listeners=(HEAD, replace(HEAD, port=44217), replace(HEAD, program="Ray's node (raylet)")))
    told = [finding.text for finding in examine(facts) if finding.subject == "ports"]
    assert len(told) == 2
    assert "0.0.0.0, 6379, 44217" in told[0]
