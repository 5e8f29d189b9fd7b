"""Many threads of several processes that try the same thing at the same moment."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

from ssl_sweep.orchestrator.store.files import Store

ROUNDS = 4
THREADS = 16
PROCESSES = 2

Attempt = Callable[[Store, int], bool]
"""What is tried in one round; returns whether it was won."""


def winners(location: str, attempt: Attempt, threads: int = THREADS) -> list[int]:
    """How many won each round, of so many threads in this process and in two more."""
    context = multiprocessing.get_context("spawn")
    ready, go, done, results = context.Queue(), context.Event(), context.Event(), context.Queue()
    arguments = (location, attempt, threads, ready, go, done, results)
    processes = [context.Process(target=_racer, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for _ in processes:
        ready.get(timeout=120)
    go.set()
    counts = [_tries(location, attempt, threads), *(results.get(timeout=120) for _ in processes)]
    done.set()
    for process in processes:
        process.join()
    return [sum(won) for won in zip(*counts, strict=True)]


def _racer(
    location: str,
    attempt: Attempt,
    threads: int,
    ready: "Queue[bool]",
    go: Event,
    done: Event,
    results: "Queue[list[int]]",
) -> None:
    ready.put(True)
    go.wait(120)
    results.put(_tries(location, attempt, threads))
    done.wait(120)  # a process that ends gives its leases away


def _tries(location: str, attempt: Attempt, threads: int) -> list[int]:
    store = Store(location)
    gate = threading.Barrier(threads)

    def one_thread(_: int) -> list[bool]:
        won = []
        for number in range(ROUNDS):
            gate.wait()
            won.append(attempt(store, number))
        return won

    with ThreadPoolExecutor(threads) as pool:
        return [sum(won) for won in zip(*pool.map(one_thread, range(threads)), strict=True)]
