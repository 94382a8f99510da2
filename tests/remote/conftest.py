"""Stores on a disk and on an S3 server, and a working folder to mirror."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from pyarrow.fs import S3FileSystem

from autoft.remote import Mirror, Store
from autoft.study import copy_sqlite

SERVER = Path(__file__).parents[1] / "support" / "s3_server.py"


@pytest.fixture(scope="session")
def s3():
    """The address of an S3 server that runs; it ends with the tests, or by itself."""
    server = subprocess.Popen([sys.executable, SERVER, "1800"], stdout=subprocess.PIPE, text=True)
    try:
        address = f"127.0.0.1:{int(server.stdout.readline())}"
        files = S3FileSystem(
            access_key="key",
            secret_key="s3cret",
            region="us-east-1",
            scheme="http",
            endpoint_override=address,
            allow_bucket_creation=True,
        )
        files.create_dir("bucket")
        yield address
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
def s3_url(s3, monkeypatch):
    """Makes the URL of a path in a bucket; credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    options = f"endpoint_override={s3}&scheme=http&region=us-east-1"
    return lambda path, user="", bucket="bucket": f"s3://{user}{bucket}/{path}?{options}"


@pytest.fixture
def url(request, tmp_path):
    """The URL of a run that is not there yet: on a disk, or on an S3 server where the test asks for it."""
    if getattr(request, "param", "file") == "file":
        return (tmp_path / "kept" / "run").as_uri()
    return request.getfixturevalue("s3_url")(f"{uuid.uuid4().hex}/run")


@pytest.fixture
def store(url):
    return Store(url)


@pytest.fixture
def machine(tmp_path, store):
    """Makes a mirror with a working folder of a machine's own, by the machine's name."""

    def of(name):
        folder = tmp_path / name / "run"
        folder.mkdir(parents=True, exist_ok=True)
        return Mirror(folder, store, {"study.db": copy_sqlite})

    return of
