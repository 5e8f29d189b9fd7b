"""The greatest keys among similarities on a CPU, compiled by Numba: of most similarities one comparison is all that is done.

Each query has a heap of the keys (see `neighbours`) of the nearest rows so far, the least of them on top. A row that is not
nearer than that one is passed over; another one takes its place.
"""
# pyright: basic, reportMissingParameterType=false, reportPrivateImportUsage=false
# Numba infers the types.

import numpy as np
from torch import Tensor

from ..datasets.kernels import exact
from ..datasets.threads import on_all_threads


def offer(heaps: Tensor, similarity: Tensor, first: int, step: int, last: int, itself: Tensor | None) -> None:
    """Put what is near enough of a block of the bank into the heaps.

    Args:
        heaps: (Q, k), int64, heaps of keys, which change. Any equal keys are a heap.
        similarity: (Q, n), float32, finite, its rows contiguous: with rows `first`, `first + step`, ... of the bank.
        first, step: of the rows.
        last: the row whose key has a lower half of zero.
        itself: (Q,), the row of the bank that each query is, which is passed over; -1 for none.
    """
    near, own = similarity.numpy(), None if itself is None else itself.numpy()
    bits, kept = near.view(np.int32), heaps.numpy()
    nowhere = np.full(len(kept) if own is None else 0, -1)

    def work(part: slice) -> None:
        _offer(kept[part], near[part], bits[part], first, step, last, (nowhere if own is None else own)[part])

    on_all_threads(len(kept), work)


@exact
def _offer(heaps, similarity, bits, first, step, last, itself):
    word = np.empty(1, np.int32)
    number = word.view(np.float32)  # the same memory
    for q in range(len(heaps)):
        heap, near = heaps[q], similarity[q]
        least = _least(heap, word, number)
        for j in range(len(near)):
            if near[j] >= least:
                row = first + step * j
                key = (np.int64(_ordered(bits[q, j])) << 32) + (last - row)
                if key > heap[0] and row != itself[q]:
                    _replace_top(heap, key)
                    least = _least(heap, word, number)


@exact
def _ordered(bits):
    """Integers as ordered as the floats of these bits: -0.0 is 0.0, and negative floats are ordered against their bits."""
    if bits == np.int32(-0x80000000):
        return np.int32(0)
    return bits if bits >= 0 else np.int32(bits ^ 0x7FFFFFFF)


@exact
def _least(heap, word, number):
    """The similarity on top of a heap."""
    ordered = np.int32(heap[0] >> 32)
    word[0] = ordered if ordered >= 0 else ordered ^ 0x7FFFFFFF
    return number[0] if number[0] == number[0] else np.float32(-np.inf)  # the bits of no neighbour are those of a NaN


@exact
def _replace_top(heap, key):
    i, child = 0, 1
    while child < len(heap):
        if child + 1 < len(heap) and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[i] = heap[child]
        i, child = child, 2 * child + 1
    heap[i] = key
