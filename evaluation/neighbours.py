"""Exact nearest neighbours by cosine similarity, block by block, on any number of ranks.

Each rank keeps its own rows of the bank. Blocks of queries go from their rank to all others, each finds the nearest among its own
rows, and what they find is merged. So a rank holds its share of the features, one block of queries and of similarities.

A neighbour is one integer, its key: the similarity in the upper half, the row in the lower. The greatest keys are those of the
nearest, and of equals those of the first in the data set, so that neither blocks nor ranks decide between equals.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from ..methods.parts.collectives import gather, rank, world_size
from .heaps import offer
from .products import similarities

QUERIES, ROWS = 1024, 1024
"""Sides of the largest block of similarities: 4 MB, so that those of a CPU are still in its caches when they are looked at."""
GPU_ROWS = 8192
"""The longer side on a GPU, which is slowed by many small calls."""
STEP = 16
"""What the sides of blocks are multiples of: a processor's vectors are full."""
LENGTH = 1e-12
"""The least that features are divided by, as of `F.normalize`."""
LAST_ROW = 2**32 - 1
NOTHING = -(2**63)
"""A key less than any neighbour's."""


class Neighbours(NamedTuple):
    """The nearest first; of equally near ones the first in the bank."""

    similarity: Tensor  # (Q, k), float32
    rows: Tensor  # (Q, k), int64: of the bank of all ranks


class Bank(NamedTuple):
    """What is searched. All ranks call for the same search, each with its own part of the features."""

    features: Tensor  # (n, D), float32: of rows r, r + W, ... on rank r of W
    size: int
    """Rows on all ranks together."""


def nearest(
    queries: Tensor,
    num_queries: int,
    bank: Bank,
    k: int,
    *,
    same: Tensor | None = None,
    is_alive: Callable[[], None] = lambda: None,
) -> Iterator[Neighbours]:
    """The k nearest rows of the bank for each of this rank's queries, block after block in their order.

    Every rank must come to the end. Blocks have one shape, whatever the number of ranks: the last bits of a matrix product
    depend on it.

    Args:
        queries: (q, D), float32: of queries r, r + W, ... on rank r of W.
        num_queries: on all ranks together.
        bank: at least k rows, besides the one that a query may be.
        k: neighbours of each.
        same: (num_queries,), the row of the bank that each query is, which is no neighbour of its own; -1 for none.
        is_alive: called after each block.
    """
    side, width = block_side(num_queries, QUERIES), bank_side(bank.size, queries.device)
    lengths = torch.linalg.vector_norm(bank.features, dim=1, keepdim=True).clamp_min(LENGTH)
    for owner in range(world_size()):
        numbers = torch.arange(owner, num_queries, world_size())
        starts = range(0, len(numbers), side)
        for start in starts:
            own = queries[start : start + side] if owner == rank() else queries[:0]
            block = on_every_rank(own, owner, side)
            itself = None if same is None else padded(same[numbers[start : start + side]], side).to(queries.device)
            found = _merged(gather(_nearest_here(block, bank.features, lengths, k, width, itself)), k)
            is_alive()
            if owner == rank():
                yield _neighbours(found[: len(own)])


def block_side(size: int, largest: int) -> int:
    """Of a block: a multiple of `STEP`, so that as few as there must be are about full; at most `largest`, which is one."""
    blocks = -(-size // largest)
    return min(largest, -(-size // (blocks * STEP)) * STEP)


def bank_side(size: int, device: torch.device) -> int:
    """Rows of a block of the bank."""
    return block_side(size, ROWS if device.type == "cpu" else GPU_ROWS)


def padded(rows: Tensor, count: int) -> Tensor:
    """`count` rows: the given ones (b, ...), and -1 or, of features, any."""
    return torch.cat([rows, rows.new_full((count - len(rows), *rows.shape[1:]), -1)]) if len(rows) < count else rows


def on_every_rank(own: Tensor, owner: int, side: int) -> Tensor:
    """The owner's queries (b, D) on every rank, of length 1, padded to (side, D)."""
    block = padded(F.normalize(own, dim=1), side)
    if world_size() > 1:
        dist.broadcast(block, owner)
    return block


def _nearest_here(
    queries: Tensor, features: Tensor, lengths: Tensor, k: int, width: int, itself: Tensor | None
) -> Tensor:
    """Keys (Q, k) of the queries' (Q, D) nearest among this rank's features (n, D) of lengths (n, 1), the greatest first.

    NOTHING where there are fewer.
    """
    found = torch.full((len(queries), k), NOTHING, device=queries.device)
    block = queries.new_zeros(width, queries.shape[1])
    for start in range(0, len(features), width):
        part = slice(start, start + width)
        count = len(features[part])
        torch.div(features[part], lengths[part], out=block[:count])
        near, first = similarities(queries, block)[:, :count], rank() + world_size() * start
        if queries.device.type == "cpu":
            offer(found, near, first, world_size(), LAST_ROW, itself)
        else:
            found = nearer(found, near, first, itself)
    return found.sort(dim=1, descending=True).values


def nearer(found: Tensor, similarity: Tensor, first: int, itself: Tensor | None) -> Tensor:
    """What `heaps.offer` makes of the keys (Q, k) found so far and the similarities (Q, n) of this rank's rows from `first` on."""
    rows = first + world_size() * torch.arange(similarity.shape[1], device=similarity.device)
    if itself is not None:
        similarity.masked_fill_(rows == itself[:, None], -torch.inf)
    k = found.shape[1]
    return torch.cat([found, _best(similarity, rows, k)], dim=1).topk(k, dim=1).values


def _best(similarity: Tensor, rows: Tensor, k: int) -> Tensor:
    """Keys (Q, k) of the greatest similarities (Q, n), or all of fewer. Of those as great as the k-th, the first rows'.

    `topk` does not promise which of these it takes: queries that have more of them than places are looked at again by key.
    """
    if similarity.shape[1] <= k:
        return keys_of(similarity, rows)
    values, columns = similarity.topk(k + 1, dim=1)
    found = keys_of(values[:, :k], rows[columns[:, :k]])
    undecided = (values[:, k - 1] == values[:, k]) & (values[:, k] > -torch.inf)
    if undecided.any():
        found[undecided] = keys_of(similarity[undecided], rows).topk(k, dim=1).values
    return found


def keys_of(similarity: Tensor, rows: Tensor) -> Tensor:
    """Keys of finite or infinite similarities (Q, n), and rows (n,) or (Q, n): ordered as the first, and against the second."""
    bits = (similarity + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()  # negative floats are ordered against their bits
    return (ordered << 32) + (LAST_ROW - rows)


def _neighbours(keys: Tensor) -> Neighbours:
    """What `keys_of` was given."""
    ordered = (keys >> 32).int()
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return Neighbours(bits.view(torch.float32), LAST_ROW - (keys & LAST_ROW))


def _merged(keys: Tensor, k: int) -> Tensor:
    """The greatest k keys of each query, (Q, k), of those that the ranks found, (W * Q, k)."""
    if world_size() == 1:
        return keys
    return torch.cat(keys.chunk(world_size()), dim=1).topk(k, dim=1).values
