"""A folder at a URL: files are written as a whole, read, and taken away; what refuses says so in one sentence."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from autoft.errors import ConfigError, StorageError
from autoft.files import replacing
from autoft.remote.address import bare, check

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_CONNECT_S, _REQUEST_S, _ATTEMPTS = 10.0, 30.0, 3
"""How long a server may take, and how often it is asked: an answer, or a sentence, within a minute or two."""
_CHUNK = 2**22
_SHORTEST_KEY = 4
"""What is shorter is a part of too many words to be taken out of a sentence."""
_OF_S3 = {"region", "scheme", "endpoint_override", "force_virtual_addressing", "tls_ca_file_path"}
_REMEDIES = {
    "access_denied": "check that the credentials in the environment (AWS_ACCESS_KEY_ID, ~/.aws, a role) may use it",
    "invalid_access_key": "check the credentials in the environment (AWS_ACCESS_KEY_ID, ~/.aws, a role)",
    "signature": "check the credentials in the environment (AWS_ACCESS_KEY_ID, ~/.aws, a role)",
    "credential": "give credentials by the environment, as the store's own tools take them",
    "no_such_bucket": "create the bucket, or mend the URL",
    "bucket does not exist": "create the bucket, or mend the URL",
    "network_connection": "check the address, and that it can be reached from here",
    "resolve host": "check the address, and that it can be reached from here",
    "timeout": "check the address, and that it can be reached from here",
    "timed out": "check the address, and that it can be reached from here",
    "libjvm": "install Java and Hadoop's libraries, which hdfs:// needs, and set JAVA_HOME and HADOOP_HOME",
    "libhdfs": "install Java and Hadoop's libraries, which hdfs:// needs, and set JAVA_HOME and HADOOP_HOME",
    "permission": "choose a place that can be written to",
    "read-only": "choose a place that can be written to",
    "no space": "free some space, then run the same command again",
}


class Store:
    """A folder at a URL.

    Args:
        url: as `pyarrow.fs.FileSystem.from_uri` takes it; user and password in it are used and never told.

    Raises:
        ConfigError: not such a URL.
        StorageError: no file system for it here, or its server cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.place = bare(check(url))
        """As it may be printed."""
        keys = urlsplit(url).netloc.rpartition("@")[0].split(":")
        self._hidden = [key for key in keys if len(key) >= _SHORTEST_KEY]
        self._files: FileSystem
        with self._translated():
            self._files, self._root = _opened(url)
        self._objects = self._files.type_name in {"s3", "gcs", "abfs"}
        """Whether a file appears at its name as a whole, and there are no folders."""

    def read(self, name: str) -> bytes | None:
        """A small file's content; None where there is no such file.

        Raises:
            StorageError: the store refuses.
        """
        with self._translated():
            try:
                with self._files.open_input_stream(self._path(name), compression=None) as stream:
                    content: bytes = stream.read()
                    return content
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file: whoever reads sees the old one or the new one.

        Raises:
            StorageError: the store refuses.
        """
        with self._writing(name) as stream:
            stream.write(content)

    def upload(self, file: Path, name: str) -> None:
        """Send a file of this machine, as `write` does.

        Raises:
            StorageError: the store refuses, or the file cannot be read.
        """
        with file.open("rb") as source, self._writing(name) as stream:
            while chunk := source.read(_CHUNK):
                stream.write(chunk)

    def download(self, name: str, file: Path) -> str | None:
        """Bring a file here, atomically; gives its digest, None where there is no such file.

        Raises:
            StorageError: the store or this disk refuses.
        """
        seen = blake2b(digest_size=16)
        with self._translated():
            try:
                stream = self._files.open_input_stream(self._path(name), compression=None)
            except (FileNotFoundError, NotADirectoryError):
                return None
        with replacing(file, durable=False) as temporary, temporary.open("wb") as target, stream:
            while True:
                with self._translated():
                    chunk = stream.read(_CHUNK)
                if not chunk:
                    break
                seen.update(chunk)
                target.write(chunk)
        return seen.hexdigest()

    def remove(self, name: str) -> None:
        """Take a file away; one that is not there is no matter.

        Raises:
            StorageError: the store refuses.
        """
        with self._translated(), suppress(FileNotFoundError):
            self._files.delete_file(self._path(name))

    def names(self, folder: str) -> list[str]:
        """The files in a folder, sorted; none where there is no such folder.

        Raises:
            StorageError: the store refuses.
        """
        from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415 - takes a while to load, and few runs need it

        with self._translated():
            found = self._files.get_file_info(FileSelector(self._path(folder), allow_not_found=True))
        return sorted(each.base_name for each in found if each.type == FileType.File)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextmanager
    def _writing(self, name: str) -> Iterator[Any]:
        """A stream whose content is at its name only once the block has ended well, where the store can do so."""
        path = self._path(name)
        with self._translated():
            if self._objects:
                with self._files.open_output_stream(path, compression=None) as stream:
                    yield stream
                return
            folder, _, base = path.rpartition("/")
            beside = f"{folder}/.{base}.tmp"
            self._files.create_dir(folder, recursive=True)
            with self._files.open_output_stream(beside, compression=None) as stream:
                yield stream
            self._files.move(beside, path)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what pyarrow raises into one sentence, without a password."""
        from pyarrow import ArrowException  # noqa: PLC0415 - as above

        try:
            yield
        except (StorageError, ConfigError):
            raise
        except (OSError, ArrowException) as error:
            reason = self._reason(error)
            remedies = (remedy for sign, remedy in _REMEDIES.items() if sign in reason.lower())
            raise StorageError(f"{self.place}: {reason}; {next(remedies, 'check the URL')}") from None

    def _reason(self, error: Exception) -> str:
        told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        told = re.sub(r" ?\(Request ID: [^)]*\)|\. Detail: .*|; Details: .*", "", told).rstrip(".;")
        for secret in self._hidden:
            told = told.replace(secret, "***").replace(unquote(secret), "***")
        return told


def _opened(url: str) -> tuple["FileSystem", str]:
    from pyarrow.fs import FileSystem  # noqa: PLC0415 - as above

    if url.startswith("s3:"):
        return _s3(url)
    if url.startswith(("gs:", "gcs:")) and "retry_limit_seconds" not in url:
        url = f"{url}{'&' if '?' in url else '?'}retry_limit_seconds={_REQUEST_S:.0f}"
    files, root = FileSystem.from_uri(url)
    return files, root.rstrip("/")


def _s3(url: str) -> tuple["FileSystem", str]:
    """As `from_uri` does, but never waiting long."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region  # noqa: PLC0415 - as above

    place = urlsplit(url)
    options: dict[str, Any] = dict(parse_qsl(place.query))
    if unknown := sorted(options.keys() - _OF_S3):
        raise ConfigError(f"{bare(url)}: there is no option {unknown[0]}; there are: {', '.join(sorted(_OF_S3))}")
    if "force_virtual_addressing" in options:
        options["force_virtual_addressing"] = options["force_virtual_addressing"].lower() == "true"
    if place.username is not None:
        options |= {"access_key": unquote(place.username), "secret_key": unquote(place.password or "")}
    bucket = place.netloc.rpartition("@")[2]
    if own := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        options.setdefault("endpoint_override", own)
    if not options.keys() & {"region", "endpoint_override"} and not _region_is_set():
        options["region"] = resolve_s3_region(bucket)
    files = S3FileSystem(
        **options,
        connect_timeout=_CONNECT_S,
        request_timeout=_REQUEST_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
        allow_delayed_open=True,
    )
    return files, f"{bucket}{unquote(place.path)}".rstrip("/")


def _region_is_set() -> bool:
    return bool(os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"))
