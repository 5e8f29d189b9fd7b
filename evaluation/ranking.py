"""The place of every relevant image in the whole ranking by cosine similarity, block by block, on any number of ranks.

As in `neighbours.py` each rank keeps its own rows of the bank, blocks of queries go to all ranks, and an image of the bank is one
integer for a query, its key: the greatest key is in the first place, and of equals the first of the data set. The keys of the
relevant images go to all ranks, and each counts how many of its own are greater.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..methods.parts.collectives import gather, rank, total_over_ranks, world_size
from .neighbours import NOTHING, QUERIES, Bank, bank_side, block_side, keys_of, on_every_rank, padded
from .products import similarities

KEYS = 2**25
"""Of a block of queries, on all ranks together: 256 MB, and as much again while they are sorted. One query may have more."""


class Places(NamedTuple):
    """Of a block of queries, the same on every rank."""

    queries: Tensor  # (b,), their numbers, on the CPU
    places: Tensor  # (b, R), int64, ascending from 1: of each image of the query's class
    found: Tensor  # (b, R), bool: False behind the last image of a class that has fewer than the largest


class _Shard(NamedTuple):
    """This rank's part of the bank, class by class."""

    features: Tensor  # (n, D)
    rows: Tensor  # (n,), of the bank
    starts: Tensor  # (C,), where a class begins
    counts: Tensor  # (C,)
    most: int
    """Images of one class on one rank, on whichever rank it is."""
    largest: int
    """Images of the largest class on all ranks together."""


def relevant_places(
    queries: Tensor,
    truth: Tensor,
    bank: Bank,
    classes: Tensor,
    *,
    same: Tensor | None = None,
    is_alive: Callable[[], None] = lambda: None,
) -> Iterator[Places]:
    """Where the images of each query's own class are in the ranking of the bank, block after block, on every rank.

    Every rank must come to the end. Blocks have one shape, whatever the number of ranks: the last bits of a matrix product
    depend on it.

    Args:
        queries: (q, D), float32: of queries r, r + W, ... on rank r of W.
        truth: (Q,), int64: the classes of all queries, on the CPU.
        bank: what is ranked.
        classes: (N,), int64: of the whole bank, on the CPU.
        same: (Q,), the row of the bank that each query is, which is not in its ranking; -1 for none.
        is_alive: called after each block.
    """
    shard = _by_class(bank, classes, 1 + int(torch.cat([truth, classes]).max()))
    side = min(block_side(len(truth), QUERIES), max(1, KEYS // block_side(bank.size, KEYS)))
    for owner in range(world_size()):
        for start, numbers in enumerate(torch.arange(owner, len(truth), world_size()).split(side)):
            own = queries[start * side : start * side + side] if owner == rank() else queries[:0]
            itself = None if same is None else padded(same[numbers], side).to(queries.device)
            keys = _keys(on_every_rank(own, owner, side), shard, bank.size, itself)
            labels = padded(truth[numbers], side).to(queries.device)
            places, found = _places(keys, _relevant(keys, shard, labels), shard.largest)
            is_alive()
            yield Places(numbers, places[: len(numbers)], found[: len(numbers)])


def _by_class(bank: Bank, classes: Tensor, num_classes: int) -> _Shard:
    device = bank.features.device
    shares = [classes[r :: world_size()].bincount(minlength=num_classes) for r in range(world_size())]
    own, order = classes[rank() :: world_size()].sort(stable=True)
    return _Shard(
        bank.features[order.to(device)],
        (rank() + world_size() * order).to(device),
        torch.searchsorted(own, torch.arange(num_classes)).to(device),
        shares[rank()].to(device),
        max(int(share.max()) for share in shares),
        int(torch.stack(shares).sum(dim=0).max()),
    )


def _keys(queries: Tensor, shard: _Shard, size: int, itself: Tensor | None) -> Tensor:
    """Keys (Q, n + 1) of this rank's rows for queries (Q, D); NOTHING for the query itself, and in the last column."""
    width, count = bank_side(size, queries.device), len(shard.features)
    keys = torch.full((len(queries), count + 1), NOTHING, device=queries.device)
    for start in range(0, count, width):
        block = F.normalize(shard.features[start : start + width], dim=1)
        similarity = similarities(queries, padded(block, width))[:, : len(block)]
        keys[:, start : start + len(block)] = keys_of(similarity, shard.rows[start : start + width])
    if itself is not None:
        keys[:, :count].masked_fill_(shard.rows == itself[:, None], NOTHING)
    return keys


def _relevant(keys: Tensor, shard: _Shard, labels: Tensor) -> Tensor:
    """Keys (Q, r) of this rank's rows of the class of each query, labels (Q,); NOTHING where there are fewer."""
    place = torch.arange(shard.most, device=keys.device)
    own = labels.clamp(min=0)  # what pads a block of queries has no class
    columns = shard.starts[own][:, None] + place
    return keys.gather(1, torch.where(place < shard.counts[own][:, None], columns, keys.shape[1] - 1))


def _places(keys: Tensor, relevant: Tensor, largest: int) -> tuple[Tensor, Tensor]:
    """Places (Q, R) of the relevant keys (Q, r) of all ranks among all of their keys (Q, n), and which of them there are."""
    together = torch.cat(gather(relevant).chunk(world_size()), dim=1)
    wanted = together.sort(dim=1, descending=True).values[:, :largest].contiguous()
    behind = torch.searchsorted(keys.sort(dim=1).values, wanted, right=True)  # not greater, on this rank
    return 1 + total_over_ranks(keys.shape[1] - behind), wanted > NOTHING
