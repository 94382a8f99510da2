"""URLs of folders."""

import pytest

from autoft.errors import ConfigError
from autoft.remote import bare, check, digest, is_url, joined, parted

S3 = "s3://bucket/runs?region=eu-west-1&endpoint_override=localhost%3A9000"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/x", True),
        ("file:///x", True),
        ("runs", False),
        ("/data/runs", False),
        (r"C:\runs", False),
        ("a:b", False),
    ],
)
def test_what_is_a_url_and_what_is_a_path(text, expected):
    assert is_url(text) is expected


@pytest.mark.parametrize("url", [S3, "s3://bucket", "gs://b/x/", "file:///data/runs", "hdfs://host:9000/user/me"])
def test_a_name_put_to_a_url_is_found_again(url):
    assert parted(joined(url, "run"))[1] == "run"
    assert joined(parted(joined(url, "run"))[0], "run") == joined(url, "run")


def test_options_stay_behind_the_path():
    assert joined(S3, "photos") == "s3://bucket/runs/photos?region=eu-west-1&endpoint_override=localhost%3A9000"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("s3://key:s3cret@bucket/x", "s3://bucket/x", id="keys of S3"),
        pytest.param("hdfs://me:pw@host:9/x", "hdfs://host:9/x", id="user of HDFS"),
        pytest.param("abfs://box:pw@acc.dfs.core/x", "abfs://box@acc.dfs.core/x", id="container of Azure stays"),
        pytest.param("s3://b/x?session_token=abc&region=r", "s3://b/x?region=r", id="token among options"),
        pytest.param(S3, S3, id="nothing to hide"),
    ],
)
def test_what_is_shown_of_a_url_has_no_secrets(url, shown):
    assert bare(url) == shown


def test_a_place_has_one_working_folder_whoever_comes_to_it():
    assert digest("s3://key:s3cret@bucket/x") == digest("s3://bucket/x/") != digest("s3://bucket/y")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        pytest.param("http://me:pw@host/x", "begins with file, s3, .* got http://host/x", id="scheme"),
        pytest.param(
            "s3:/bucket/x", "two slashes after s3:, .*give a URL as text, not as a path", id="a path of a URL"
        ),
        pytest.param("s3:///x", "must name a bucket, as in s3://bucket/runs", id="no bucket"),
        pytest.param("s3://b/x#y", "must end before #y", id="fragment"),
        pytest.param("s3://[b/x", "must be a URL", id="brackets"),
    ],
)
def test_what_is_no_url_of_a_folder_is_refused_in_one_sentence(url, told):
    with pytest.raises(ConfigError, match=told) as refused:
        check(url)
    assert "pw" not in str(refused.value)
