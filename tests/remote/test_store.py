"""Stores, on a disk and on an S3 server: one contract."""

import socket

import pytest

from autoft.errors import ConfigError, StorageError
from autoft.remote import Store

both = pytest.mark.parametrize("url", ["file", "s3"], indirect=True)


@both
def test_what_was_written_is_read_and_replaced_and_taken_away(store):
    assert store.read("a/b.txt") is None
    store.write("a/b.txt", b"one")
    store.write("a/b.txt", b"two")
    store.write("a/c.txt", b"")
    assert (store.read("a/b.txt"), store.read("a/c.txt")) == (b"two", b"")
    assert store.names("a") == ["b.txt", "c.txt"]
    store.remove("a/b.txt")
    store.remove("a/b.txt")
    assert (store.read("a/b.txt"), store.names("a"), store.names("none")) == (None, ["c.txt"], [])


@both
def test_a_file_comes_back_as_it_was_sent(store, tmp_path):
    sent, back = tmp_path / "sent", tmp_path / "far" / "back"
    sent.write_bytes(bytes(range(256)) * 40_000)
    store.upload(sent, "x/big")
    assert store.download("x/big", back)
    assert back.read_bytes() == sent.read_bytes()
    assert store.download("x/none", tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_keys_in_a_url_are_used_and_never_told(s3_url):
    store = Store(s3_url("x", user="key:s3cret@"))
    store.write("y", b"1")
    assert "s3cret" not in store.place
    with pytest.raises(StorageError, match="create the bucket, or mend the URL") as refused:
        Store(s3_url("x", user="key:s3cret@", bucket="none")).write("y", b"1")
    assert "s3cret" not in str(refused.value)


def test_a_server_that_is_not_there_is_told_in_one_sentence(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"s3://k:s@bucket/x?endpoint_override=127.0.0.1:{taken.getsockname()[1]}&scheme=http&region=r"
        with pytest.raises(StorageError, match=r"^s3://bucket/x.*NETWORK_CONNECTION.*; check the address") as refused:
            Store(url).read("y")
    assert "\n" not in str(refused.value)


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"there is no option regoin; there are: endpoint_override, .*region"):
        Store("s3://bucket/x?regoin=r")


def test_a_disk_that_refuses_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"^file:///.*/file"):
        Store((tmp_path / "file").as_uri()).write("x", b"1")
