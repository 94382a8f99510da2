"""What is known of a machine, before anybody judges it."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU as its driver sees it."""

    name: str
    driver: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Cuda:
    """The GPUs as torch sees them."""

    version: str | None
    """Of CUDA, which torch was built for; None for a build without."""
    devices: int
    trouble: str = ""
    """What torch says when it sees fewer than there are."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder and the file system that it lies on."""

    purpose: str
    path: str
    free_bytes: int
    total_bytes: int
    writable: bool = True
    network: str | None = None
    """The kind of a network file system; None for a local one."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Something of Ray's that waits for connections."""

    program: str
    address: str
    port: int
    token: bool | None
    """Whether it wants a token; None where that cannot be seen."""

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can reach it."""
        try:
            address = ip_address(self.address)
        except ValueError:
            return True
        return not (getattr(address, "ipv4_mapped", None) or address).is_loopback


@dataclass(frozen=True, slots=True)
class Token:
    """Ray's token as this user has it."""

    wanted: bool
    """Whether RAY_AUTH_MODE asks for one."""
    place: str | None
    """The file or the variable that has it; None where there is none."""
    mode: int | None = None
    """Permissions of the file."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A machine."""

    versions: Mapping[str, str | None]
    """Python and packages; None for one that is missing."""
    required: Mapping[str, str]
    """The oldest version that autoft works with, where it is known."""
    disks: tuple[Disk, ...]
    open_files: int
    """The most that a process may have open."""
    token: Token
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    cuda: Cuda | None = None
    """None where there is no GPU to look for."""
    shared_memory: Disk | None = None
    listeners: tuple[Listener, ...] | None = ()
    """None where the system does not show them."""
    damaged: tuple[str, ...] = ()
    """Sentences about entries of the cache and checkpoints that are not what was written."""
    unchecked: int = 0
    """How many entries of the cache and runs there was no time for."""
    checked: str = ""
    """What was looked at, in words."""
