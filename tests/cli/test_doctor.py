"""``autoft doctor`` on this machine, on a real cluster, and where nobody answers."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from postgres import free_port

from autoft.cli.edge import guarded
from autoft.cli.main import app
from autoft.doctor.cluster import reports_of
from autoft.errors import RunError

SUBJECTS = {"versions", "gpu", "disk", "open files", "ports", "token", "kept files"}


@pytest.fixture
def doctor(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)

    def run(*arguments):
        by_http = any("http://" in argument for argument in arguments)
        given = ["doctor", *([] if by_http else [f"--storage-path={tmp_path / 'runs'}"]), *arguments]
        code = guarded(lambda: app(given, standalone_mode=False))
        return code, *capsys.readouterr()

    return run


def test_a_machine_without_faults_is_told_so_by_the_exit_code_too(doctor):
    code, out, err = doctor("--json")
    told = json.loads(out)
    (node,) = told["nodes"]
    assert {finding["subject"] for finding in node["findings"]} >= SUBJECTS
    assert (told["cluster"], err) == ([], "")
    assert code == (1 if told["counts"]["error"] else 0)
    assert node["versions"]["ray"]
    listed = doctor()[1]
    assert listed.splitlines()[-1] == f"{told['counts']['error']} errors, {told['counts']['warning']} warnings"


def test_a_fault_has_a_remedy_and_exit_code_1(doctor, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    code, out, _ = doctor()
    assert code == 1
    assert "  error    token: RAY_AUTH_MODE is token and there is none\n" in out
    assert "           do: ray get-auth-token --generate\n" in out


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "nobody answers at 127.0.0.1:1"),
        ("ray://127.0.0.1:1", "nobody answers at ray://127.0.0.1:1"),
        ("ftp://head:8265", "must be auto, HOST:PORT, ray://HOST:PORT or http://HOST:PORT"),
        ("http://head:8265", "write the cluster's token there"),
        ("head", "must be auto, HOST:PORT"),
        ("head:port", "must be auto, HOST:PORT"),
    ],
)
def test_an_address_where_nobody_is_is_one_sentence(doctor, address, told):
    code, out, err = doctor("--address", address)
    assert (code, out) == (2, "")
    assert told in err
    assert err.count("\n") == 1


def test_what_is_no_ray_is_not_waited_for_without_end(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(RunError, match=f"no Ray cluster answers at {address}: no answer within 1 s"):
            reports_of(address, tmp_path, join_s=1.0)


@pytest.fixture(scope="module")
def cluster():
    """A head with a token and a second node, on loopback; its address and its environment."""
    folder = Path(tempfile.mkdtemp(prefix="autoft-ray-", dir="/tmp"))
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
        "AUTOFT_CACHE_DIR": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    alike = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", f"--temp-dir={folder}"]
    head = ["--head", "--node-ip-address=127.0.0.1", f"--port={address.partition(':')[2]}", "--include-dashboard=false"]
    for own in (head, ["--node-ip-address=127.0.0.1", f"--address={address}"]):
        given = [each for each in alike if own is head or not each.startswith("--temp-dir")]
        command = [Path(sys.executable).parent / "ray", "start", *own, *given]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
    yield address, environment
    _end([one for one in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(one.info["cmdline"] or [])])
    shutil.rmtree(folder, ignore_errors=True)


def _end(processes):
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=60)


@pytest.mark.slow
def test_every_node_of_a_cluster_is_asked(cluster, tmp_path):
    address, environment = cluster
    command = [sys.executable, "-m", "autoft", "doctor", "--json", f"--address={address}", f"--storage-path={tmp_path}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=280)
    told = json.loads(done.stdout)
    assert len(told["nodes"]) == 2
    assert len({node["node"] for node in told["nodes"]}) == 2
    assert told["cluster"] == [
        {"level": "ok", "subject": "versions", "text": "the same on 2 nodes", "remedy": ""},
    ]
    for node in told["nodes"]:
        assert {finding["subject"] for finding in node["findings"]} >= SUBJECTS
        ports = [finding for finding in node["findings"] if finding["subject"] == "ports"]
        assert any("Ray's head" in finding["text"] and "with a token" in finding["text"] for finding in ports)
    assert done.returncode == (1 if told["counts"]["error"] else 0)


def test_a_folder_that_a_job_would_not_look_at_is_refused(doctor):
    code, _, err = doctor("--address=http://127.0.0.1:1", "--storage-path=elsewhere")
    assert code == 2
    assert "--storage-path elsewhere: has no effect by http" in err
