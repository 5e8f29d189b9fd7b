"""Compiled work on as many threads as torch uses."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def on_all_threads(n: int, work: Callable[[slice], None]) -> None:
    """`work` on parts of n rows, which are independent of each other; it does not hold the interpreter's lock."""
    threads = min(torch.get_num_threads(), n)
    if threads <= 1:
        work(slice(0, n))
        return
    bounds = [n * i // threads for i in range(threads + 1)]
    list(_pool(threads).map(work, map(slice, bounds[:-1], bounds[1:])))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "compiled")
