"""Random numbers that are a function of what they are for, not of how many were drawn before.

Drawn with NumPy on the CPU, in integers: the same on every device, in any batch, on any number of ranks, in any version.
"""

import numpy as np
from numpy.typing import NDArray

UInts = NDArray[np.uint64]


def hash64(*parts: int | NDArray[np.int64]) -> UInts:
    """Hash of integers and integer arrays, which broadcast: a chain of SplitMix64 finalisers (Steele et al., 2014)."""
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        key = np.asarray(part).astype(np.int64).view(np.uint64)  # two's complement: any 64-bit integer is a key
        z = (state ^ key) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = z ^ (z >> np.uint64(31))
    return state


def uniforms(seed: int, epoch: int, samples: NDArray[np.int64], view: int, slots: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) for each of the `samples` (B,), one for each of the `slots`. (B, slots)."""
    bits = hash64(seed, epoch, view, samples[:, None], np.arange(slots, dtype=np.int64)[None])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(n: int, *key: int) -> NDArray[np.int64]:
    """A permutation of ``range(n)`` that depends on `key` alone. (n,)."""
    return np.argsort(hash64(*key, np.arange(n, dtype=np.int64)), kind="stable").astype(np.int64)
