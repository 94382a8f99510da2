"""A search whose study is on a PostgreSQL server that is restarted meanwhile, and that is not there."""

import json
import threading

import pytest
from commands import wait_for
from postgres import PASSWORD, serving

import autoft
from autoft.errors import StorageError
from autoft.study import read_study


@pytest.fixture(scope="module")
def postgres():
    yield from serving()


def told(process):
    out, err = process.communicate(timeout=240)
    assert PASSWORD not in out + err
    return process.returncode, out, err


@pytest.mark.slow
def test_a_search_outlives_a_restart_of_its_server_and_its_password_stays_out_of_everything(
    search_command, started, tmp_path, postgres
):
    process = started(search_command("--json", "--num-samples=2", f"--set=search.storage={postgres.url}"))

    def evaluated():
        begun = (tmp_path / "run" / "search.yaml").exists()
        return begun and any(record.curve for record in read_study(postgres.url, "run").records)

    wait_for(evaluated)
    postgres.stop()
    back = threading.Timer(1.0, postgres.start)
    back.start()
    code, out, err = told(process)
    back.join()
    assert code == 0, err
    summary = json.loads(out.splitlines()[-1])
    assert sum(summary["trials"].values()) == 2
    records = read_study(postgres.url, "run").records
    assert [record.number for record in records] == [0, 1]
    assert all(record.state.finished for record in records)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    assert f"me@127.0.0.1:{postgres.port}" in (tmp_path / "run" / "search.yaml").read_text()


def test_a_server_that_is_not_there_is_told_before_anything_is_done(tmp_path):
    url = f"postgresql+psycopg://me:{PASSWORD}@127.0.0.1:1/none"
    with pytest.raises(StorageError, match=r"me:\*\*\*@127.0.0.1:1/none.*refused; check that") as error:
        autoft.search("resnet18", "digits", storage_path=tmp_path, name="run", overrides={"search.storage": url})
    assert "\n" not in str(error.value)
    assert PASSWORD not in str(error.value)
    assert not (tmp_path / "run").exists()
