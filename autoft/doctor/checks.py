"""What is wrong with a machine: each check is a pure function of the facts."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from autoft.doctor.facts import Disk, Facts, Gpu, Listener
from autoft.doctor.finding import Finding, error, ok, warning

GB = 10**9
_FULL_BYTES, _TIGHT_BYTES = GB, 10 * GB
_SPILL_SHARE = 0.05
"""Of a disk that must be free: with less Ray does not write to it any more."""
_OBJECT_STORE_BYTES = 200 * 2**20
"""What a search asks shared memory for."""
_OBJECT_STORE_SHARE = 0.3
"""Of a machine's memory, which `ray start` takes for its object store unless told otherwise."""
_OPEN_FILES, _OPEN_FILES_OF_A_HEAD = 4096, 65536
_BUSY_GPU = 0.5


def examine(facts: Facts) -> tuple[Finding, ...]:
    """All findings about a machine."""
    checks = (versions, gpus, disks, shared_memory, open_files, ports, token, health)
    return tuple(finding for check in checks for finding in check(facts))


def versions(facts: Facts) -> Iterator[Finding]:
    """Whether all is there and new enough."""
    for name, version in facts.versions.items():
        oldest = facts.required.get(name)
        if version is None:
            yield error("versions", f"{name} is not installed", "pip install autoft, into this Python")
        elif oldest and _parts(version) < _parts(oldest):
            yield error("versions", f"{name} is {version}, older than {oldest}", f"pip install '{name}>={oldest}'")
    yield ok("versions", ", ".join(f"{name} {version}" for name, version in facts.versions.items() if version))


def gpus(facts: Facts) -> Iterator[Finding]:
    """Whether torch can use the GPUs that are there."""
    if not facts.gpus:
        yield ok("gpu", "no NVIDIA GPU: trials run on the CPU")
        return
    for number, gpu in enumerate(facts.gpus):
        yield from _gpu(number, gpu)
    cuda, count = facts.cuda, len(facts.gpus)
    if cuda is None or cuda.devices >= count:
        return
    if cuda.version is None:
        yield error("gpu", "this torch was built without CUDA", "install a build of torch with CUDA")
    elif cuda.devices == 0:
        yield error(
            "gpu",
            f"driver {facts.gpus[0].driver} has {count} GPUs, but torch (CUDA {cuda.version}) can use none"
            f"{f': {cuda.trouble}' if cuda.trouble else ''}",
            "update the driver, or install a torch for the CUDA version that nvidia-smi shows",
        )
    else:
        yield warning("gpu", f"torch sees {cuda.devices} of {count} GPUs", "look at CUDA_VISIBLE_DEVICES")


def _gpu(number: int, gpu: Gpu) -> Iterator[Finding]:
    told = f"{number}: {gpu.name}, driver {gpu.driver}, {_gb(gpu.free_bytes)} of {_gb(gpu.total_bytes)} free"
    if gpu.free_bytes < (1 - _BUSY_GPU) * gpu.total_bytes:
        yield warning("gpu", told, "nvidia-smi shows who uses it; trials that do not fit crash")
    else:
        yield ok("gpu", told)


def disks(facts: Facts) -> Iterator[Finding]:
    """Whether there is room, and whether it is where it should be."""
    for disk in facts.disks:
        yield from _disk(disk)
        if disk.network and disk.purpose == "cache":
            yield warning(
                "disk",
                f"cache: {disk.path} is on a network file system ({disk.network}), which is slower than a local disk",
                "set AUTOFT_CACHE_DIR to a folder on a local disk of each node",
            )


def _disk(disk: Disk) -> Iterator[Finding]:
    told = f"{disk.purpose}: {disk.path}: {_gb(disk.free_bytes)} of {_gb(disk.total_bytes)} free"
    tight = disk.free_bytes < _TIGHT_BYTES
    if not disk.writable:
        yield error("disk", f"{disk.purpose}: {disk.path} cannot be written to", "choose another folder, or its owner")
    elif disk.free_bytes < _FULL_BYTES:
        yield error("disk", told, "free some space, or choose a folder on another disk")
    elif disk.purpose == "ray" and disk.free_bytes < _SPILL_SHARE * disk.total_bytes:
        yield warning("disk", f"{told}: Ray writes nothing to a disk so full", "free some space, or set RAY_TMPDIR")
    elif disk.purpose == "runs":
        quota = f"checkpoints of a run may take {_gb(disk.free_bytes // 2)} (output.max_checkpoint_bytes)"
        remedy = "free some space, or set a quota"
        yield warning("disk", f"{told}; {quota}", remedy) if tight else ok("disk", f"{told}; {quota}")
    elif tight:
        yield warning("disk", told, "free some space: autoft cache clear, or old runs")
    else:
        yield ok("disk", told)


def shared_memory(facts: Facts) -> Iterator[Finding]:
    """Whether Ray's object store fits."""
    shared = facts.shared_memory
    if shared is None:
        return
    told, remedy = (
        f"{shared.path} has {_gb(shared.free_bytes)} free",
        "in a container: --shm-size, or an emptyDir of Memory",
    )
    if shared.free_bytes < _OBJECT_STORE_BYTES:
        yield warning(
            "shared memory",
            f"{told}, and a search asks for {_gb(_OBJECT_STORE_BYTES)}: Ray takes a disk, slowly",
            remedy,
        )
    elif shared.total_bytes < _OBJECT_STORE_SHARE * facts.memory_bytes:
        asked = _gb(int(_OBJECT_STORE_SHARE * facts.memory_bytes))
        yield warning(
            "shared memory",
            f"{told}: enough for a search, but `ray start` asks for {asked} and takes a disk instead",
            f"ray start --object-store-memory={_OBJECT_STORE_BYTES}; {remedy}",
        )
    else:
        yield ok("shared memory", told)


def open_files(facts: Facts) -> Iterator[Finding]:
    """Whether Ray may open as many files as it needs."""
    told = f"a process may open {facts.open_files:,} files"
    if facts.open_files < _OPEN_FILES:
        remedy = f"raise the hard limit (ulimit -Hn) to {_OPEN_FILES_OF_A_HEAD}"
        yield warning("open files", f"{told}, few for Ray", remedy)
    else:
        yield ok("open files", told)


def ports(facts: Facts) -> Iterator[Finding]:
    """Whether others can reach a Ray that asks for no token: whoever does can run any program."""
    if facts.listeners is None:
        yield warning("ports", "this system does not show who listens", "run autoft doctor as the user who started Ray")
        return
    if not facts.listeners:
        yield ok("ports", "no Ray runs here")
        return
    alike: dict[Listener, list[int]] = {}
    for listener in facts.listeners:
        alike.setdefault(replace(listener, port=0), []).append(listener.port)
    for listener, numbers in alike.items():
        yield from _listener(listener, numbers)


def _listener(listener: Listener, numbers: Sequence[int]) -> Iterator[Finding]:
    told = f"{listener.program} listens at {listener.address}, {', '.join(str(number) for number in numbers)}"
    remedy = "ray stop, then RAY_AUTH_MODE=token, `ray get-auth-token --generate`, and start it again"
    if listener.token:
        yield ok("ports", f"{told}, with a token")
    elif not listener.beyond_loopback:
        yield ok("ports", f"{told}, for this machine only")
    elif listener.token is None:
        yield warning("ports", f"{told}; whether it asks for a token cannot be seen", f"if it does not: {remedy}")
    else:
        yield error("ports", f"{told} without a token: whoever reaches it can run any program here", remedy)


def token(facts: Facts) -> Iterator[Finding]:
    """Whether there is a token where one is needed, and whether others can read it."""
    found = facts.token
    if found.place is None:
        if found.wanted:
            yield error("token", "RAY_AUTH_MODE is token and there is none", "ray get-auth-token --generate")
        else:
            yield ok("token", "none: a Ray that autoft starts for itself makes one")
    elif found.mode is not None and found.mode & 0o077:
        told = f"{found.place} has mode {found.mode:04o}: others can read it"
        yield warning("token", told, f"chmod 600 {found.place}")
    else:
        yield ok("token", f"{found.place}, for its owner only")


def health(facts: Facts) -> Iterator[Finding]:
    """Whether what was kept is what was written."""
    for sentence in facts.damaged:
        yield warning(
            "kept files",
            sentence,
            "nothing: it is not used; activations are made again, a trial goes on from the checkpoint before",
        )
    left = f"; {facts.unchecked} were left out for want of time" if facts.unchecked else ""
    yield ok("kept files", f"{facts.checked}, {len(facts.damaged)} damaged{left}")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def _gb(nbytes: int) -> str:
    return f"{nbytes / GB:,.1f} GB"
