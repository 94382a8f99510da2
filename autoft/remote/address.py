"""URLs of folders: which there are, how one is put together, and what of it may be written or printed."""

import re
from hashlib import blake2b
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from autoft.errors import ConfigError

SCHEMES = ("file", "s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
"""Those that `pyarrow.fs.FileSystem.from_uri` takes."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_SECRETS = ("password", "secret", "token", "sig", "account_key")


def is_url(text: str) -> bool:
    """Whether a storage path, or a run, is a URL and not a path. A drive's letter makes none."""
    return _URL.match(text) is not None


def check(url: str) -> str:
    """The URL, if it is one of a folder.

    Raises:
        ConfigError: another scheme, or not the form of a URL.
    """
    scheme = url.partition(":")[0].lower()
    if scheme not in SCHEMES:
        raise ConfigError(
            f"must be a folder, or a URL that begins with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}, got {bare(url)}"
        )
    if not url[len(scheme) :].startswith("://"):
        raise ConfigError(f"must have two slashes after {scheme}:, got {bare(url)}; give a URL as text, not as a path")
    try:
        place = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"must be a URL, got {bare(url)}: {error}") from None
    if scheme in {"s3", "gs", "gcs"} and not place.hostname:
        raise ConfigError(f"must name a bucket, as in {scheme}://bucket/runs, got {bare(url)}")
    if place.fragment:
        raise ConfigError(f"must end before #{place.fragment}: a folder's URL has no fragment")
    return url


def joined(url: str, name: str) -> str:
    """The URL of a name in the folder; what follows a question mark stays behind."""
    place = urlsplit(url)
    return urlunsplit(place._replace(path=f"{place.path.rstrip('/')}/{name}"))


def parted(url: str) -> tuple[str, str]:
    """The URL of the folder that something lies in, and its name there."""
    place = urlsplit(url)
    folder, _, name = place.path.rstrip("/").rpartition("/")
    return urlunsplit(place._replace(path=folder or "/")), name


def bare(url: str) -> str:
    """The URL as it may be written and printed: without passwords and keys, which come from the environment."""
    try:
        place = urlsplit(url)
    except ValueError:
        return f"{url.partition(':')[0]}://..."
    user, _, host = place.netloc.rpartition("@")
    if place.scheme.startswith("abfs") and user and not user.startswith(":"):
        host = f"{user.partition(':')[0]}@{host}"  # the container
    pairs = parse_qsl(place.query, keep_blank_values=True)
    harmless = [pair for pair in pairs if not any(secret in pair[0].lower() for secret in _SECRETS)]
    query = place.query if len(harmless) == len(pairs) else urlencode(harmless)
    return urlunsplit(place._replace(netloc=host, query=query))


def digest(url: str) -> str:
    """A name for the place, the same for every way to be let in."""
    return blake2b(bare(url).rstrip("/").encode(), digest_size=8).hexdigest()
