"""Which images come when, on which rank."""

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from ..methods.base import Batch
from ..methods.config import ViewsConfig
from ..methods.parts.device import to_device
from .ahead import made_ahead
from .errors import DataError
from .image_set import ImageSet
from .random_stream import permutation
from .views import Images, make_views

ORDER_KEY = -1
"""Where the hash of an image's draws has its epoch and view, that of an epoch's order has this."""


def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of `n` images in an epoch, (n,) int64: a function of its arguments."""
    return torch.from_numpy(permutation(n, ORDER_KEY, seed, epoch))


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Whole batches in `n` images. Raises DataError where there is none."""
    if n < batch_size:
        raise DataError(f"the batch size is {batch_size}, but there are {n} training images; it must not be more")
    return n // batch_size


def training_batches(
    images: ImageSet,
    views: ViewsConfig,
    image_size: int,
    *,
    seed: int,
    batch_size: int,
    rank: int = 0,
    world_size: int = 1,
    parts: int = 1,
    start_step: int = 0,
    total_steps: int,
) -> Generator[Batch, None, None]:
    """The batches of this rank for the steps from `start_step` to `total_steps`; close it to end it early.

    `batch_size` is global: of each of the equal `parts` of a batch, rank r has the r-th of `world_size` equal blocks. The
    last images of an epoch that do not fill a batch are left out. Raises DataError where blocks would be unequal.
    """
    if batch_size % (world_size * parts):
        raise DataError(
            f"the batch size {batch_size} must be a multiple of the number of workers, {world_size}, times that of its"
            f" parts, {parts}"
        )
    per_epoch = steps_per_epoch(len(images), batch_size)

    def rows() -> Iterator[tuple[int, Tensor]]:
        order, ordered_epoch = torch.empty(0), -1
        for step in range(start_step, total_steps):
            epoch, position = divmod(step, per_epoch)
            if epoch != ordered_epoch:
                order, ordered_epoch = epoch_order(seed, epoch, len(images)), epoch
            whole = order[position * batch_size : (position + 1) * batch_size]
            yield epoch, whole.view(parts, world_size, -1)[:, rank].flatten()

    batches = _batches(images, views, image_size, seed, rows())
    return made_ahead(batches, images.device) if images.device.type == "cuda" else batches


def _batches(
    images: ImageSet, views: ViewsConfig, image_size: int, seed: int, rows: Iterator[tuple[int, Tensor]]
) -> Generator[Batch, None, None]:
    for epoch, chosen, pixels in _fetched(images, rows):
        labels = to_device(images.labels[chosen], images.device)
        yield make_views(pixels, labels, views, image_size, seed=seed, epoch=epoch, samples=images.samples[chosen])


def _fetched(images: ImageSet, rows: Iterator[tuple[int, Tensor]]) -> Iterator[tuple[int, Tensor, Images]]:
    """Pixels for the rows; where they have to be decoded, a thread is one batch ahead, and here they go to the device."""
    if not images.decodes:
        for epoch, chosen in rows:
            yield epoch, chosen, images.pixels(chosen)
        return
    with ThreadPoolExecutor(1) as ahead:  # leaving it, also by `close`, waits for the batch that is under way
        waiting: tuple[int, Tensor, Future[Images]] | None = None
        for epoch, chosen in rows:
            current, waiting = waiting, (epoch, chosen, ahead.submit(images.loaded, chosen))
            if current is not None:
                yield current[0], current[1], images.on_device(current[2].result())
        if waiting is not None:
            yield waiting[0], waiting[1], images.on_device(waiting[2].result())


def evaluation_shards(n: int, batch_size: int, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
    """Rows of `n` images in chunks of up to `batch_size`: those of this rank are every `world_size`-th, each once."""
    yield from torch.arange(rank, n, world_size).split(batch_size) if rank < n else ()
