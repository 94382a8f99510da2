"""A folder at a URL, through pyarrow's file systems, and the mirror that keeps a run there."""

from autoft.remote.address import bare, check, digest, is_url, joined, parted
from autoft.remote.mirror import Mirror, reading_copy
from autoft.remote.pulse import Pulse
from autoft.remote.store import Store

__all__ = ["Mirror", "Pulse", "Store", "bare", "check", "digest", "is_url", "joined", "parted", "reading_copy"]
