"""The next batch, made in a thread and a stream of its own while a GPU trains on this one."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from ..methods.base import Batch


def made_ahead(batches: Generator[Batch, None, None], device: torch.device) -> Generator[Batch, None, None]:
    """The same batches, each begun when the one before it is handed out. Closing this closes `batches`.

    To make views is many small kernels, which cost the CPU more time than the GPU: in the training's own thread its GPU would
    wait for them at every step.
    """
    stream = torch.cuda.Stream(device)

    def make() -> tuple[Batch, torch.cuda.Event] | None:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            batch = next(batches, None)
            made = torch.cuda.Event()
            made.record(stream)
        return None if batch is None else (batch, made)

    with ThreadPoolExecutor(1, "views") as thread:  # leaving it waits for the batch that is under way
        try:
            waiting = thread.submit(make)
            while (found := waiting.result()) is not None:
                waiting = thread.submit(make)
                batch, made = found
                training = torch.cuda.current_stream(device)
                training.wait_event(made)
                for tensor in _tensors(batch):
                    tensor.record_stream(training)  # its memory is not used anew before the training is done with it
                yield batch
        finally:
            thread.submit(batches.close).result()


def _tensors(batch: Batch) -> Iterator[Tensor]:
    for view in (*batch.global_views, *batch.local_views):
        yield from view
    yield from (batch.labels, batch.samples)
