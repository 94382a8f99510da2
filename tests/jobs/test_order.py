import pytest

from autoft.errors import ClusterError, ConfigError
from autoft.jobs.job import check_id, new_id
from autoft.jobs.order import ENTRYPOINT, ORDER_FILE, Order, check_versions, read_order, versions

ORDER = Order(verb="search", run="photos", storage_path="runs", versions={"ray": "2.60.0"})
OWN = {"autoft": "0.1.0", "ray": "2.60.0", "torch": "2.15.0", "python": "3.11.4"}


def test_an_order_is_read_as_it_was_written(tmp_path):
    for name, text in ORDER.files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read_order(tmp_path) == ORDER


def test_a_folder_without_an_order_is_told(tmp_path):
    with pytest.raises(ConfigError, match=f"no {ORDER_FILE}; use autoft submit"):
        read_order(tmp_path)


def test_the_command_is_the_same_for_all_jobs():
    assert ENTRYPOINT == "exec python -P -m autoft job"


def test_a_relative_storage_path_begins_in_the_home_folder_and_others_stay(tmp_path):
    assert ORDER.place(tmp_path) == str(tmp_path / "runs" / "photos")
    assert ORDER.model_copy(update={"storage_path": "/data"}).place(tmp_path) == "/data/photos"
    at_url = ORDER.model_copy(update={"storage_path": "s3://bucket/runs?region=r"})
    assert (at_url.kept_in(tmp_path), at_url.place(tmp_path)) == (
        "s3://bucket/runs?region=r",
        "s3://bucket/runs/photos?region=r",
    )


@pytest.mark.parametrize("run", ["", "a/b", "..", "a b", "a;b", "$(a)", "a\n", "-x", "x" * 129])
def test_the_name_of_a_run_is_a_plain_file_name(run):
    with pytest.raises(ConfigError, match="run"):
        Order.parse({"verb": "search", "run": run, "storage_path": "runs"}, where="job")


@pytest.mark.parametrize("job", ["", "a/b", "../a", "a b", "a?b", "a\n", "-x", "x" * 201])
def test_the_id_of_a_job_is_plain_too(job):
    with pytest.raises(ConfigError, match="must be an id"):
        check_id(job)


def test_ids_differ_and_are_plain():
    ids = {new_id("photos") for _ in range(5)}
    assert len(ids) == 5
    assert {check_id(each) for each in ids} == ids


@pytest.mark.parametrize(
    "change", [{}, {"python": "3.11.9"}, {"torch": "2.15.1+cpu"}, {"torch": ""}, {"ray": "2.60.0+x"}], ids=str
)
def test_versions_that_agree_in_what_counts_are_let_through(change):
    check_versions(OWN, {**OWN, **change})


@pytest.mark.parametrize(
    "change", [{"python": "3.12.0"}, {"torch": "2.14.0"}, {"ray": "2.60.1"}, {"autoft": "0.1.1"}], ids=str
)
def test_others_are_refused_with_both_sides(change):
    ((name, version),) = change.items()
    with pytest.raises(ClusterError) as error:
        check_versions(OWN, {**OWN, **change})
    told = (
        f"versions differ: {name} is {OWN[name]} where it was submitted and {version} on the cluster; install the same"
    )
    assert str(error.value).startswith(told)


def test_own_versions_are_known():
    assert set(versions()) == set(OWN)
    assert "missing" not in versions().values()
