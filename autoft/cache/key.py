"""Keys of activations: whatever changes a bit of them changes the key, and nothing else does."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import blake2b
from importlib.metadata import version

import torch

from autoft.cache.probe import Probe
from autoft.data import DataHandle
from autoft.data.variants import Variant
from autoft.model import MICRO_BATCH, LoadedModel, Manner, state_digest
from autoft.record import ModelCard

_FORMAT = 2


@cache
def _timm_version() -> str:
    return version("timm")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What activations depend on besides the prefix and the items."""

    device: str
    threads: int
    mixed: bool
    torch: str
    timm: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    micro_batch: int = MICRO_BATCH
    memory_format: str = "contiguous"
    format: int = _FORMAT


def surroundings(card: ModelCard, device: torch.device, manner: Manner) -> Surroundings:
    """Those of this process."""
    kind = device.type if device.type == "cpu" else f"{device.type}: {torch.cuda.get_device_name(device)}"
    threads = torch.get_num_threads() if device.type == "cpu" else 0
    layout = "channels_last" if manner.channels_last else "contiguous"
    return Surroundings(
        kind, threads, manner.mixed, torch.__version__, _timm_version(), card.mean, card.std, memory_format=layout
    )


def group_digests(loaded: LoadedModel, count: int) -> tuple[str, ...]:
    """Digests of the parameters and buffers of each of the first ``count`` groups."""
    return tuple(state_digest(loaded.module, [group]) for group in loaded.groups[:count])


def entry_key(prefix: Sequence[str], probe: Probe, data: DataHandle, around: Surroundings, variant: Variant) -> str:
    """The key of the activations of all items at one boundary.

    Args:
        prefix: digests of the groups below the boundary; head, drop rates and classes are not among them.
        probe: of the boundary; its bits stand for the code of the prefix and for the machine.
        data: the items, by content, order, size and decoding; not by label or split.
        around: everything else.
        variant: the images that the items enter as.
    """
    form = [probe.form.shape, str(probe.form.dtype), probe.form.channels_last, probe.form.half]
    parts = [list(prefix), probe.digest, form, data.content, len(data), asdict(around), asdict(variant)]
    return f"activations-{blake2b(json.dumps(parts).encode(), digest_size=20).hexdigest()}"
