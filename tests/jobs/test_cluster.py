"""A real head node with a token: who is let in, and a search submitted, stopped, submitted again and fetched."""

import json
import re
import signal
import sqlite3
from contextlib import closing
from dataclasses import dataclass

import pytest
from submitter_contract import SubmitterContract

from autoft.cli.edge import guarded
from autoft.cli.main import app
from autoft.jobs import handover
from autoft.jobs.access import Access
from autoft.jobs.order import TAKEN, versions
from autoft.jobs.ray_submitter import connect
from autoft.jobs.submission import submission_of
from autoft.jobs.transfer import FILES
from autoft.recipe import Recipe

pytestmark = pytest.mark.slow

OPTIONS = (
    "--model=test_resnet.r160_in1k",
    "--data=pictures.npz",
    "--name=one",
    "--set=model.weights=random",
    "--set=data.image_size=32",
    "--set=resources.max_concurrent_trials=1",
    "--set=search.scheduler=none",
    "--set=search.probe=off",
    "--set=search.portfolio=off",
    "--set=search.gains=off",
    "--set=search.forgetting=off",
    "--set=stages.head.epochs=1",
    "--set=stages.tune.epochs=1",
    "--set=confirm=off",
    "--set=reuse=off",
)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(cluster, capfd, monkeypatch, tmp_path):
    """The command line, in this process, of a person whose home folder is empty; by default with the token."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)

    def run(*arguments, token=cluster.token):
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        verb, *options = map(str, arguments)
        code = guarded(lambda: app([verb, *options, f"--address={cluster.address}"], standalone_mode=False))
        told = capfd.readouterr()
        assert cluster.token not in told.out + told.err
        return Done(code, told.out, told.err)

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("token", "told"),
    [("", "asks for a token, and there is none here; write"), ("f" * 64, "refuses the token from RAY_AUTH_TOKEN")],
)
@pytest.mark.parametrize("arguments", [("jobs",), ("submit", "--working-dir=.", "--data=digits", "--model=resnet18")])
def test_nobody_is_let_in_without_the_clusters_token(arguments, token, told, cli, cluster):
    done = cli(*arguments, token=token)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {cluster.address}: {told}")
    assert done.err.count("\n") == 1


@pytest.fixture(scope="module")
def submitter(cluster):
    return connect(Access(cluster.address, cluster.token))


class TestRaySubmitter(SubmitterContract):
    pass


def test_other_versions_on_the_cluster_are_told_by_submit_itself_and_by_jobs(cli, cluster, monkeypatch):
    monkeypatch.setattr(handover, "versions", lambda: {**versions(), "torch": "1.0.0"})
    done = cli("submit", *OPTIONS, "--data=digits", "--name=old")
    assert done.code == 2
    assert re.fullmatch(
        r"error: old-\w+: failed .*: versions differ: torch is 1\.0\.0 where .*\n", done.err.partition("\n")[2]
    )
    (line,) = [each for each in cli("jobs").out.splitlines() if each.startswith("old-")]
    assert "failed" in line
    assert "versions differ: torch is 1.0.0 where it was submitted and" in line
    assert not (cluster.home / "runs" / "old").exists()


def test_the_doctor_is_asked_by_http_and_leaves_no_job(cli, cluster, submitter):
    done = cli("doctor", "--json")
    told = json.loads(done.out)
    assert done.code == int(told["counts"]["error"] > 0), done.err
    (node,) = told["nodes"]
    assert node["versions"]["ray"] == submitter.ray_version()
    assert {"versions", "disk", "token"} <= {finding["subject"] for finding in node["findings"]}, node
    assert str(cluster.home / "runs") in done.out
    assert [job.id for job in submitter.jobs() if job.verb == "doctor"] == []


def states(run):
    with closing(sqlite3.connect(f"file:{run / 'study.db'}?mode=ro", uri=True)) as database:
        return dict(database.execute("select number, state from trials").fetchall())


def test_a_search_is_submitted_stopped_submitted_again_and_fetched(cli, cluster, pictures, tmp_path):
    run = cluster.home / "runs" / "one"
    begun = cli("submit", *OPTIONS, f"--working-dir={pictures}", "--num-samples=40")
    assert begun.code == 0, begun.err
    job = begun.out.split()[1]
    submission = submission_of(job, cluster.address)
    with closing(submission.follow()) as pieces:
        log = ""
        while "trial 1 started" not in log:
            log += next(pieces)
    assert f"{TAKEN}{run}" in log

    stopped = cli("stop", job)
    assert (stopped.code, stopped.out) == (0, f"{job}: stopped\n")
    assert "interrupted; nothing is lost" in submission.log()
    before = states(run)
    assert "RUNNING" not in before.values()

    done = cli("submit", *OPTIONS, f"--working-dir={pictures}", f"--num-samples={len(before)}", "--wait", "--json")
    assert done.code == 0, done.err
    again = json.loads(done.out)
    assert (again["state"], again["exit_code"], again["run"]) == ("SUCCEEDED", 0, "one")
    assert "trial 0 started" not in done.err
    assert set(states(run)) == set(before)

    listed = [each for each in json.loads(cli("jobs", "--json").out)["jobs"] if each["run"] == "one"]
    assert [(each["id"], each["state"]) for each in listed] == [(again["id"], "SUCCEEDED"), (job, "STOPPED")]
    summary = json.loads((run / "summary.json").read_text())
    assert (listed[0]["trials_ended"], listed[0]["metric"]) == (len(before), "accuracy")
    assert listed[0]["best"] == pytest.approx(summary["best_value"], rel=1e-3)

    fetched = cli("fetch", again["id"], f"--to={tmp_path / 'here'}")
    assert fetched.code == 0, fetched.err
    assert {path.name for path in (tmp_path / "here").iterdir()} == set(FILES)
    assert {name: (tmp_path / "here" / name).read_bytes() for name in FILES} == {
        name: (run / name).read_bytes() for name in FILES
    }
    assert Recipe.load(tmp_path / "here" / "best_recipe.yaml").provenance.search == "one"
    assert f"autoft best {tmp_path / 'here'}" in fetched.out
    assert cluster.token not in json.dumps([dict(each.metadata) for each in submission.submitter.jobs()])
