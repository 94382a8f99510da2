"""Random streams: every draw comes from a stream keyed by what it is for, so no generator carries state.

Same seed and same key, same numbers: nothing needs saving, sharing or broadcasting.
"""

import hashlib

import numpy as np


def stream_seed(seed: int, *key: str | int) -> int:
    """A 63-bit seed for the stream named by ``key``, for example ``(seed, "augment", stage, epoch, step)``."""
    text = repr((seed, *key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def stream(seed: int, *key: str | int) -> np.random.Generator:
    """A fresh numpy generator for the stream named by ``key``."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, *key)))
