"""Random numbers of a training step: a function of (seed, purpose, step, sample), and of nothing else.

What is drawn for an image depends neither on the rank that holds it, nor on its place in a batch, nor on the part of an
accumulated batch. Integers are hashed by wrap-around arithmetic on the device of the samples, so that a GPU and a CPU draw the
same and nothing waits for a GPU. `datasets/random_stream.py` is the same function in NumPy, for views.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

WORD = 1 << 64


class Purpose(IntEnum):
    """What a number is drawn for. The values are part of the draws: they never change."""

    PRETRAIN = 1  # drop path and dropout
    FINETUNE = 2
    MIXING = 3
    ERASING = 4
    RANDAUGMENT = 5
    CORRUPTION = 6  # of test images
    SHOTS = 7  # the training images of few-shot classifiers
    CLUSTERING = 8  # where k-means begins


def hash64(first: int, *parts: int | Tensor) -> Tensor:
    """Hash of integers and at least one int64 tensor, which broadcast: the values of ``random_stream.hash64``, as int64."""
    state: int | Tensor = _mixed_integer(first)  # integers that come first are hashed without a device
    for part in parts:
        if isinstance(state, int) and isinstance(part, int):
            state = _mixed_integer(state ^ part)
        else:
            mixed = _signed(state) ^ _signed(part)
            assert isinstance(mixed, Tensor)
            state = _mixed(mixed)
    assert isinstance(state, Tensor)
    return state


def step_key(seed: int, purpose: Purpose, step: int) -> int:
    """A key, in [0, 2^64), for what all images of a step share."""
    return _mixed_integer(_mixed_integer(_mixed_integer(seed) ^ purpose) ^ step)


def sample_keys(seed: int, purpose: Purpose, step: int, samples: Tensor) -> Tensor:
    """A key (B,), int64, for each of the samples (B,), int64."""
    return hash64(seed, purpose, step, samples)


def uniforms(keys: Tensor, count: int) -> Tensor:
    """Numbers (n, count) in [0, 1), float32, for each of the keys (n,)."""
    return _bits(keys, count).to(torch.float32).mul_(2.0**-24)


def normals(keys: Tensor, count: int) -> Tensor:
    """Numbers (n, count) from the standard normal distribution, float32, for each of the keys (n,)."""
    centred = (_bits(keys, count) >> 1).to(torch.float32).add_(0.5).mul_(2.0**-22).sub_(1)  # exact, in (-1, 1)
    return centred.erfinv_().mul_(2**0.5)


def _bits(keys: Tensor, count: int) -> Tensor:
    """Integers (n, count) in [0, 2^24): as many as float32 tells apart."""
    return (_mixed(keys[:, None] ^ torch.arange(count, device=keys.device)) >> 40).bitwise_and_((1 << 24) - 1)


# SplitMix64 (Steele et al., 2014), whose constants are written as int64: torch's integers are signed, and wrap around.


def _mixed(z: Tensor) -> Tensor:
    z = z + -0x61C8864680B583EB
    z.bitwise_xor_(_shifted(z, 30)).mul_(-0x40A7B892E31B1A47)  # in place: dropout hashes as many as it drops
    z.bitwise_xor_(_shifted(z, 27)).mul_(-0x6B2FB644ECCEEE15)
    return z.bitwise_xor_(_shifted(z, 31))


def _shifted(z: Tensor, bits: int) -> Tensor:
    """Without the sign that torch's shift repeats."""
    return (z >> bits).bitwise_and_((1 << 64 - bits) - 1)


def _mixed_integer(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) % WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB % WORD
    return z ^ z >> 31


def _signed(value: int | Tensor) -> int | Tensor:
    if isinstance(value, Tensor):
        return value
    value %= WORD
    return value - WORD if value >= WORD // 2 else value


# ---- the step that modules draw for ----


class PassKeys(NamedTuple):
    """Of one pass of a network."""

    rows: Tensor  # (n,), int64: a key for each row
    shared: Tensor  # (1,), int64: for what is drawn once for all rows


class StepDraws:
    """The keys of a step, for networks that do not know of samples."""

    def __init__(self, seed: int, purpose: Purpose, step: int, samples: Tensor):
        self.samples = sample_keys(seed, purpose, step, samples)  # (B,), int64
        self.shared = step_key(seed, purpose, step)
        self.passes = 0

    def next_pass(self, rows: int) -> PassKeys:
        """Of a network's next pass over n = V * B `rows`; row j is of sample j mod B.

        Every rank must make the same passes in the same order.
        """
        count, device = len(self.samples), self.samples.device
        assert rows % count == 0, f"{rows} rows are no views of {count} images"
        self.passes += 1
        views = torch.arange(rows // count, device=device)[:, None]
        shared = hash64(self.passes, self.shared, torch.zeros(1, dtype=torch.int64, device=device))
        return PassKeys(hash64(self.passes, self.samples, views).flatten(), shared)


_CURRENT: ContextVar[StepDraws | None] = ContextVar("step_draws", default=None)


@contextmanager
def drawing(seed: int, purpose: Purpose, step: int, samples: Tensor) -> Generator[None]:
    """Within this block, networks draw for the `samples` (B,), int64, of a step."""
    token = _CURRENT.set(StepDraws(seed, purpose, step, samples))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_draws() -> StepDraws:
    """Of the innermost `drawing`; a network that draws outside of any is a mistake in the code that calls it."""
    draws = _CURRENT.get()
    assert draws is not None, "a network with drop path or dropout is trained outside of `drawing`"
    return draws
