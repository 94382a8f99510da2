"""Ranks: the processes that train one trial together, and what they say to each other.

Rank 0 decides; the others do what they are told. Everything goes over the torch.distributed process group of these
processes (gloo for what lies on the CPU, nccl for what lies on GPUs), so all ranks must say the same things in the same
order.
"""

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from autoft.data.metrics import Array

PATIENCE = timedelta(days=1)
"""A lost rank is seen by its closed connections, or by Ray, never by waiting: a cache may be building meanwhile."""


class Word(IntEnum):
    """What rank 0 tells the others to do."""

    REST = 0
    """Stop listening until they are called again."""
    OPEN = 1
    """Open a stage; its index and step follow, then weights and optimizer state."""
    STEP = 2
    """Take the gradients of the next batch."""
    UPDATE = 3
    """Take the optimizer's step on them."""
    EVALUATE = 4
    """Compute outputs on the validation split; averaged weights follow, where there are any."""


@dataclass(frozen=True, slots=True)
class Share:
    """A rank's part of a batch: ``whole[first:first + size]``."""

    first: int
    size: int
    """May be zero, where a batch has fewer items than there are ranks."""
    whole: int
    smallest: int
    """Size of the smallest part of any rank."""


class Ranks:
    """One process's place among those that train a trial.

    Args:
        rank: of this process; 0 decides.
        world: how many there are. Where it is one, nothing is sent.
        call: entered on rank 0 before it speaks: makes the others listen (`Ranks.hear`).
    """

    def __init__(
        self, rank: int = 0, world: int = 1, *, call: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self.rank, self.world, self._call = rank, world, call

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.world == 1

    def share(self, count: int) -> Share:
        """This rank's part of ``count`` items: all ranks' together are all of them, each once."""
        size, rest = divmod(count, self.world)
        first = self.rank * size + min(self.rank, rest)
        return Share(first, size + (self.rank < rest), count, size)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """On rank 0: within the block the others do what they are told."""
        if self.alone:
            yield
            return
        with self._call():
            yield
            self.tell(Word.REST)

    def tell(self, word: Word, *numbers: int) -> None:
        """On rank 0: tell the others what to do, with up to three numbers."""
        if not self.alone:
            dist.broadcast(torch.tensor([word, *numbers, *[0] * (3 - len(numbers))]), 0)

    def hear(self) -> tuple[Word, list[int]]:
        """On the other ranks: what rank 0 tells."""
        heard = torch.zeros(4, dtype=torch.int64)
        dist.broadcast(heard, 0)
        word, *numbers = heard.tolist()
        return Word(word), numbers

    def send(self, tensors: Mapping[str, Tensor]) -> None:
        """On rank 0: give the others copies of tensors."""
        if self.alone:
            return
        named = {name: (str(each.dtype).removeprefix("torch."), list(each.shape)) for name, each in tensors.items()}
        header = torch.frombuffer(bytearray(json.dumps(named).encode()), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(header)]), 0)
        dist.broadcast(header, 0)
        for tensor in tensors.values():
            dist.broadcast(tensor.detach().cpu().contiguous(), 0)

    def receive(self) -> dict[str, Tensor]:
        """On the other ranks: what rank 0 sends, on the CPU."""
        length = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(length, 0)
        header = torch.zeros(int(length), dtype=torch.uint8)
        dist.broadcast(header, 0)
        found = {}
        for name, (dtype, shape) in json.loads(bytes(header.numpy())).items():
            found[name] = torch.zeros(shape, dtype=getattr(torch, dtype))
            dist.broadcast(found[name], 0)
        return found

    def total(self, value: float) -> float:
        """The sum over all ranks, the same bits on each."""
        if self.alone:
            return value
        summed = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(summed)
        return float(summed)

    @torch.no_grad()
    def average(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace each tensor by its mean over all ranks."""
        for tensor in tensors.values() if not self.alone else ():
            mean = tensor.detach().cpu().contiguous()
            dist.all_reduce(mean)
            tensor.copy_(mean / self.world)

    def gathered(self, rows: Tensor, count: int) -> Tensor:
        """On rank 0 all ranks' rows in order, (count, ...); on the others their own.

        Args:
            rows: of this rank's share of ``count`` items, on the CPU.
            count: of all.
        """
        if self.alone:
            return rows
        most = -(-count // self.world)
        padded = torch.zeros((most, *rows.shape[1:]), dtype=rows.dtype)
        padded[: len(rows)] = rows
        found = [torch.zeros_like(padded) for _ in range(self.world)] if self.rank == 0 else None
        dist.gather(padded, found)
        if found is None:
            return rows
        sizes = [Ranks(rank, self.world).share(count).size for rank in range(self.world)]
        return torch.cat([part[:size] for part, size in zip(found, sizes, strict=True)])


ALONE = Ranks()


def part_of(items: Array, share: Share) -> Array:
    """The items of a share; the first of all stands in where it is empty, and counts for nothing."""
    return items[share.first : share.first + share.size] if share.size else np.asarray(items[:1])


def join(meeting: str, rank: int, world: int, *, cards: bool) -> None:
    """Meet the other ranks; returns when all are there.

    Args:
        meeting: where: ``file://PATH`` of a file that is not there yet, or ``tcp://HOST:PORT`` of rank 0.
        rank: of this process.
        world: of how many.
        cards: whether each rank has a GPU of its own, so that nccl can serve them.
    """
    if meeting.startswith("file://") and any(name == "lo" for _, name in socket.if_nameindex()):
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # all are on this machine: nothing is to be heard beyond it
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cards else "gloo", init_method=meeting, rank=rank, world_size=world, timeout=PATIENCE
    )


def leave() -> None:
    """Part from the other ranks: whoever waits for this one has an error."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_lost_connection(error: BaseException) -> bool:
    """Whether a rank fails only because another one has."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())
