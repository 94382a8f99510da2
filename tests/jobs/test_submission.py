"""Submitting to a cluster in memory: what is checked, what is shipped, what comes back."""

import sys

import pytest

import autoft
from autoft.errors import ClusterError, ConfigError, DetachedError, RunError, UnknownNameError
from autoft.jobs.access import Access
from autoft.jobs.job import JobState
from autoft.jobs.order import CONFIG_FILE, FOLDER, Order, read_order
from autoft.jobs.package import packaged
from autoft.jobs.submission import Submission, connected, searches, submission_of
from autoft.recipe import yaml

FOUND = {
    "search.yaml": b"model: {name: m}\n",
    "best_recipe.yaml": b"model: {name: m}\n",
    "best_model.safetensors": bytes(range(256)) * 4000,
    "trials.csv": b"trial\n0\n",
}
SMALL = {"model": "test_resnet.r160_in1k", "overrides": ["model.weights=random", "data.image_size=32"]}


def submit(head, **more):
    return autoft.submit(**{"data": "digits", "name": "one", "submitter": head.submitter, **SMALL, **more})


def followed(submission):
    return "".join(submission.follow())


def test_a_search_is_shipped_with_all_names_resolved(head):
    on = head()
    submission = submit(on, name=None, space="smoke", num_samples=3)
    assert submission.id.startswith("test_resnet.r160_in1k-digits-")
    (package,) = on.packages
    assert [path.name for path in package.iterdir()] == [FOLDER]
    order, config = read_order(package), yaml.load(package / CONFIG_FILE)
    assert order.run == config["output"]["name"] == "test_resnet.r160_in1k-digits"
    assert config["search"]["num_samples"] == 3
    assert isinstance(config["space"], dict)
    assert set(order.versions) == {"autoft", "ray", "torch", "python"}


def test_a_folder_is_shipped_when_asked_and_data_are_named_within_it(head, pictures):
    on = head()
    submit(on, data="pictures.npz", working_dir=pictures)
    (package,) = on.packages
    assert (package / "pictures.npz").read_bytes() == (pictures / "pictures.npz").read_bytes()


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        pytest.param({"data": "photos"}, ConfigError, "photos is relative, and a job starts in", id="relative data"),
        pytest.param({"data": None}, ConfigError, "data.source: is required", id="no data"),
        pytest.param({"model": "resnet81"}, UnknownNameError, "resnet18", id="unknown model"),
        pytest.param({"metric": "acuracy"}, UnknownNameError, "accuracy", id="unknown metric"),
        pytest.param({"name": "a/b"}, ConfigError, "plain file name", id="bad name"),
        pytest.param({"name": "a b"}, ConfigError, "'.' or '-', for a job, got 'a b'", id="name of a folder only"),
        pytest.param({"num_samples": 0}, ConfigError, "num_samples", id="no trials"),
        pytest.param({"overrides": ["search.sed=1"]}, ConfigError, "seed", id="unknown setting"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_sent(options, error, told, head):
    on = head()
    with pytest.raises(error) as caught:
        submit(on, **options)
    assert told in str(caught.value)
    assert on.packages == []


def test_all_that_is_wrong_is_told_at_once(head, tmp_path):
    (tmp_path / "search.yaml").write_text("model: {nam: x}\ndata: {batch_size: 0}\nsearch: {seed: -1}\n")
    with pytest.raises(ConfigError) as caught:
        autoft.submit(config=tmp_path / "search.yaml", submitter=head().submitter)
    for part in ("model.nam", "data.batch_size", "search.seed"):
        assert part in str(caught.value)


@pytest.mark.parametrize("source", ["none.npz", "../shipped/pictures.npz"])
def test_data_that_are_not_in_the_shipped_folder_are_told(source, head, pictures):
    with pytest.raises(ConfigError, match="is not in --working-dir"):
        submit(head(), data=source, working_dir=pictures)


def test_another_ray_is_refused_before_anything_is_sent_unless_it_is_wished(head):
    on = head(versions={"ray": "2.9.0"})
    with pytest.raises(ClusterError, match=r"ray is .* where it was submitted and 2\.9\.0 on the cluster"):
        submit(on)
    assert on.packages == []
    submit(on, other_versions=True)
    assert read_order(on.packages[0]).versions == {}


def test_a_password_of_the_storage_stays_here(head):
    on, told = head(), []
    submit(on, overrides=[*SMALL["overrides"], "search.storage=postgresql://me:hidden@db/studies"], notify=told.append)
    assert "hidden" not in (on.packages[0] / CONFIG_FILE).read_text()
    assert any("PGPASSWORD" in sentence for sentence in told)


def test_keys_in_the_url_of_runs_stay_here_and_the_run_is_read_from_there(head, tmp_path):
    on, told = head(), []
    submission = submit(on, storage_path="s3://key:hidden@bucket/runs", notify=told.append)
    assert read_order(on.packages[0]).storage_path == "s3://bucket/runs"
    assert "hidden" not in (on.packages[0] / CONFIG_FILE).read_text()
    assert any("keys in the URL" in sentence for sentence in told)
    with pytest.raises(RunError, match="is kept at s3://bucket/runs/one, and read from there: autoft best s3://"):
        submission.fetch(tmp_path)


def test_a_cluster_that_is_open_to_all_is_told(head):
    on, told = head(), []
    on.submitter.is_open = True
    submit(on, notify=told.append)
    assert any("asks for no token" in sentence and "RAY_AUTH_MODE=token" in sentence for sentence in told)


def test_without_a_token_nothing_goes_to_another_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="is another machine, and there is no token"):
        autoft.submit(data="digits", address="http://head.example.org:8265", **SMALL)


def test_what_a_search_found_is_fetched_and_only_once(head, tmp_path):
    on = head(files=FOUND)
    submission = submit(on)
    assert "wrote trials.csv" in followed(submission)
    submission.wait()
    folder, found = submission.fetch(tmp_path / "here")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FOUND
    assert found.nbytes == sum(map(len, FOUND.values()))
    again = submission.fetch(tmp_path / "here")[1]
    assert (again.files, set(again.same)) == ((), set(FOUND))
    assert len(on.submitter.jobs()) == 2, "of the jobs that sent the last one alone is still listed"


def test_by_default_a_run_is_fetched_to_where_runs_are(head, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    submission = submit(head(files=FOUND))
    followed(submission)
    assert submission.fetch()[0].resolve() == tmp_path / "runs" / "one"


def test_a_run_of_this_machine_is_not_written_over(head, tmp_path):
    (tmp_path / "study.db").touch()
    with pytest.raises(RunError, match="is the run of a search on this machine; give another folder: --to"):
        submit(head(files=FOUND)).fetch(tmp_path)


def test_a_run_that_has_not_begun_cannot_be_fetched_and_the_reason_is_told(head, tmp_path):
    on = head()
    with pytest.raises(ClusterError, match=r"could not be sent: .* is not a run"):
        submit(on).fetch(tmp_path / "here")


def test_ctrl_c_while_the_job_starts_names_the_job_that_is_there(head):
    on = head()
    on.submitter.info = raising(KeyboardInterrupt())
    with pytest.raises(
        DetachedError, match=r"one-\w+: is submitted, and starts unwatched; .*autoft stop one-"
    ) as error:
        submit(on)
    assert error.value.exit_code == 130


def raising(error):
    def fail(_job):
        raise error

    return fail


def test_without_rays_job_client_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "autoft.jobs.ray_submitter", raising=False)
    with pytest.raises(ClusterError, match=r"jobs need aiohttp, .*: pip install 'autoft\[cluster\]'"):
        connected(Access("http://127.0.0.1:9"))


def test_only_searches_are_listed_and_fetched(head, tmp_path):
    on = head()
    order = Order(verb="send", run="one", storage_path="runs")
    other = Submission("other", on.submitter)
    first, second = submit(on), submit(on)
    with packaged(order.files()) as package:
        on.submitter.submit("other", "exec python -P -m autoft job", package, order.metadata())
    assert [job.id for job in searches(on.submitter)] == [second.id, first.id]
    with pytest.raises(RunError, match="other: is no search of autoft"):
        other.fetch(tmp_path)


def test_a_job_is_found_again_by_its_id_and_stopped(head):
    on = head(files=FOUND)
    submission = submission_of(submit(on).id, submitter=on.submitter)
    assert submission.stop().state is JobState.STOPPED
    with pytest.raises(autoft.AutoftError, match="was stopped; nothing is lost"):
        submission.wait()
