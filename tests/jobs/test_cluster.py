"""A real head node with a token: who is let in, and its jobs."""

import signal
from dataclasses import dataclass

import pytest
from submitter_contract import SubmitterContract

from autoft.cli.edge import guarded
from autoft.cli.main import app
from autoft.jobs.access import Access
from autoft.jobs.ray_submitter import connect

pytestmark = pytest.mark.slow


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
