"""The examples for clusters, as far as they can be checked here: schemas, structure, a Slurm job on stubs."""

import json
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import jsonschema
import psutil
import pytest
import ray
import yaml

STUBS = {
    "scontrol": "printf 'node1\\nnode2\\n'",
    "hostname": "echo 127.0.0.1",
    "srun": 'echo "srun $*" >>"$LOG"; while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "ray": """
case $1 in
  health-check) [ -e "$LOG.asked" ] && exit 0; touch "$LOG.asked"; exit 1 ;;
  *) token=$(stat -c '%a %s' "$RAY_AUTH_TOKEN_PATH")
     echo "ray $* mode=$RAY_AUTH_MODE token=$token" >>"$LOG"
     exec sleep 600 ;;
esac""",
    "autoft": """
trap 'echo stopped >>"$LOG"; exit 130' TERM
until [ "$(grep -c '^ray start' "$LOG")" = 2 ]; do sleep 0.05; done
echo "autoft $*" >>"$LOG"
while [ -n "${STAY:-}" ]; do sleep 0.1; done
exit 3""",
}


@pytest.fixture(scope="module")
def folder(root):
    return root / "examples" / "cluster"


@pytest.fixture
def slurm(folder, tmp_path):
    """Start the Slurm script where all that it calls is a stub which writes down what it was asked."""
    (tmp_path / "bin").mkdir()
    for name, body in STUBS.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LOG": str(tmp_path / "log"),
        "SLURM_JOB_ID": "4711",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
    }

    def start(**more):
        command = ["bash", folder / "slurm.sh", "my search.yaml", "--set", "search.seed=1"]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment | more, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return start


def said(tmp_path):
    log = tmp_path / "log"
    return log.read_text().splitlines() if log.exists() else []


def still_there(session):
    """Processes of a session that have not ended."""
    found = []
    for process in psutil.process_iter(["pid", "status", "cmdline"]):
        with suppress(OSError):
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.info["cmdline"])
    return found


def test_every_example_is_explained(folder):
    text = (folder / "README.md").read_text()
    files = {path.name for path in folder.iterdir() if path.name != "README.md"}
    assert files == {"aws.yaml", "rayjob.yaml", "slurm.sh"}
    assert {name for name in files if f"]({name})" not in text} == set()


def test_the_cloud_example_is_what_ray_up_takes(folder):
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((folder / "aws.yaml").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["head_node_type"] in cluster["available_node_types"]
    assert cluster["max_workers"] >= sum(one.get("max_workers", 0) for one in cluster["available_node_types"].values())
    assert cluster["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert "chmod 600 ~/.ray/auth_token" in cluster["setup_commands"]
    for commands in (cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token ray start" in commands[-1]
        assert "--disable-usage-stats" in commands[-1]
    assert "--dashboard-host=127.0.0.1" in cluster["head_start_ray_commands"][-1]


def test_the_kubernetes_example_is_a_rayjob_that_exposes_nothing(folder):
    job = yaml.safe_load((folder / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]["rayClusterSpec"]
    assert isinstance(spec["rayVersion"], str)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert all(isinstance(value, str) for value in spec["headGroupSpec"]["rayStartParams"].values())
    assert job["spec"]["entrypoint"].startswith("autoft search ")
    pods = [spec["headGroupSpec"]["template"]["spec"], *(one["template"]["spec"] for one in spec["workerGroupSpecs"])]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        environment = {one["name"]: one for one in container["env"]}
        assert environment["RAY_USAGE_STATS_ENABLED"]["value"] == "0"
        assert "secretKeyRef" in environment["PGPASSWORD"]["valueFrom"]
        mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
        assert mounted["shared-memory"] == "/dev/shm"
        assert mounted.keys() == {volume["name"] for volume in pod["volumes"]}


def test_all_examples_use_one_image_and_one_version_of_ray(folder, root):
    image, project = re.compile(r"image: (\S+)"), (root / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.*)"', project, re.MULTILINE)[1]
    named = {name for file in folder.glob("*.yaml") for name in image.findall(file.read_text())}
    assert named == {f"autoft:{version}"}


def test_a_slurm_job_searches_on_its_nodes_with_a_token_of_its_own(slurm, tmp_path):
    process = slurm()
    _, told = process.communicate(timeout=120)
    assert process.returncode == 3, told
    lines = said(tmp_path)
    starts = [line for line in lines if line.startswith("ray start")]
    assert len(starts) == 2
    assert all("mode=token token=600 64" in line and "--disable-usage-stats" in line for line in starts)
    assert any("--head --block --node-ip-address=127.0.0.1 --port=24711" in line for line in starts)
    assert any("--block --address=127.0.0.1:24711" in line for line in starts)
    assert "autoft search --config my search.yaml --address 127.0.0.1:24711 --set search.seed=1" in lines
    assert any("--nodes=1 --ntasks=1 --ntasks-per-node=1 --exclude=node1" in line for line in lines)
    assert not (tmp_path / ".autoft-4711").exists()
    assert still_there(process.pid) == []


def test_a_slurm_job_whose_time_is_up_lets_the_search_end_well(slurm, tmp_path):
    process = slurm(STAY="1")
    end = time.monotonic() + 120
    while not any(line.startswith("autoft") for line in said(tmp_path)):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert said(tmp_path)[-1] == "stopped"
    assert still_there(process.pid) == []
