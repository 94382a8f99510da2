import base64
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.errors import ClusterError, RunError
from autoft.jobs.transfer import FILES, digests, received, sent


def make_run(folder, **more):
    contents = {"search.yaml": b"model: m\n", "trials.csv": b"", "summary.json": b"{}", **more}
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return contents


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def log_of(folder, have=()):
    return "".join(f"{line}\n" for line in sent(folder, dict(have)))


@given(
    model=st.binary(max_size=2000), cuts=st.lists(st.integers(1, 300), max_size=40), repeat=st.sampled_from([1, 300])
)
def test_what_is_sent_is_received_however_the_log_is_cut(tmp_path_factory, model, cuts, repeat):
    folder = tmp_path_factory.mktemp("runs")
    contents = make_run(folder / "run", **{"best_model.safetensors": model * repeat})
    log, pieces = "noise\n" + log_of(folder / "run"), []
    for cut in cuts:
        pieces, log = [*pieces, log[:cut]], log[cut:]
    found = received([*pieces, log], folder / "here")
    assert read(folder / "here") == contents
    assert set(found.files) == set(contents)
    assert found.nbytes == sum(map(len, contents.values()))


def test_only_the_files_of_a_run_that_are_asked_for_are_sent(tmp_path):
    make_run(tmp_path / "run", **{"study.db": b"x", ".lock": b""})
    assert set(received([log_of(tmp_path / "run")], tmp_path / "here").files) < set(FILES)
    assert "study.db" not in read(tmp_path / "here")


def test_what_is_there_already_is_not_sent_again(tmp_path):
    make_run(tmp_path / "run", **{"best_model.safetensors": b"\0" * 10_000})
    received([log_of(tmp_path / "run")], tmp_path / "here")
    (tmp_path / "run" / "trials.csv").write_text("more")
    log = log_of(tmp_path / "run", digests(tmp_path / "here"))
    assert len(log) < 2000
    found = received([log], tmp_path / "here")
    assert found.files == ("trials.csv",)
    assert found.names == tuple(name for name in FILES if (tmp_path / "run" / name).exists())
    assert read(tmp_path / "here") == read(tmp_path / "run")


def test_a_log_that_ends_early_changes_nothing(tmp_path):
    make_run(tmp_path / "run")
    log = log_of(tmp_path / "run")
    assert received([log[: log.rindex("autoft-end")]], tmp_path / "here") is None
    assert read(tmp_path / "here") == {}


def header(name="trials.csv", content=b"abc", **more):
    told = {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "same": False, **more}
    return f"autoft-file {json.dumps(told)}\n"


def data(content=b"abc"):
    return f"autoft-data {base64.b64encode(content).decode()}\n"


@pytest.mark.parametrize(
    ("log", "told"),
    [
        pytest.param(header("../evil") + data(), "'../evil', which was not asked for", id="another folder"),
        pytest.param(header("/etc/passwd") + data(), "which was not asked for", id="an absolute path"),
        pytest.param(header() + data() + header() + data(), "which was not asked for", id="twice"),
        pytest.param(header() + data(b"abd"), "came damaged", id="another content"),
        pytest.param(header() + data(b"ab"), "came damaged: 2 bytes", id="too short"),
        pytest.param(header() + data(b"abcd"), "is longer than its 3 bytes", id="too long"),
        pytest.param(header() + "autoft-data !!!\n", "came damaged", id="no base64"),
        pytest.param(data(), "data without a file", id="no header"),
        pytest.param("autoft-file [1]\n", "header that is none", id="a header of another kind"),
        pytest.param("autoft-file {\n", "header that is none", id="half a header"),
        pytest.param(header(bytes="3"), "header that is none", id="a size of another kind"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_changed(log, told, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "trials.csv").write_text("before")
    with pytest.raises(ClusterError, match=r"^[^\n]*$") as error:
        received([log, header("search.yaml") + data(), "autoft-end\n"], tmp_path / "here")
    assert told in str(error.value)
    assert read(tmp_path / "here") == {"trials.csv": b"before"}


def test_a_folder_without_a_search_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"is not a run: it has no search\.yaml"):
        log_of(tmp_path)
