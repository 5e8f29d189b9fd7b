"""Which images come when, on which rank."""

from collections.abc import Generator, Iterator
from functools import partial

import torch
from torch import Tensor

from ..methods.base import Batch
from ..methods.config import ViewsConfig
from ..methods.parts.device import to_device
from ..methods.quantities import plural
from .ahead import made_ahead
from .encoded import Request, stream
from .errors import DataError
from .image_set import ImageSet
from .random_stream import permutation
from .views import Crops, Images, cut_evaluation_views, cut_views, evaluation_view, make_views, normalised

ORDER_KEY = -1
"""Where the hash of an image's draws has its epoch and view, that of an epoch's order has this."""


def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """The order of `n` images in an epoch, (n,) int64: a function of its arguments."""
    return torch.from_numpy(permutation(n, ORDER_KEY, seed, epoch))


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Whole batches in `n` images. Raises DataError where there is none."""
    if n < batch_size:
        raise DataError(
            f"the batch size is {batch_size}, but the data set has {plural(n, 'training image')}; it must not be more"
        )
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

    def requests() -> Iterator[Request]:
        order, ordered_epoch = torch.empty(0), -1
        for step in range(start_step, total_steps):
            epoch, position = divmod(step, per_epoch)
            if epoch != ordered_epoch:
                order, ordered_epoch = epoch_order(seed, epoch, len(images)), epoch
            whole = order[position * batch_size : (position + 1) * batch_size]
            rows = whole.view(parts, world_size, -1)[:, rank].flatten()
            yield Request(epoch, rows, images.samples[rows])

    batches = _batches(images, views, image_size, seed, requests())
    return made_ahead(batches, images.device) if images.device.type == "cuda" else batches


def view_batches(
    images: ImageSet,
    views: ViewsConfig,
    image_size: int,
    batch_size: int,
    *,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    chosen: Tensor | None = None,
) -> Generator[Batch, None, None]:
    """Views of every `world_size`-th of the `chosen` rows (N,), or of all, each once and in their order, as of the first epoch.

    In batches of up to `batch_size` images. A view of an image depends on the seed, the image and the number of the view alone.
    """
    own = (torch.arange(len(images)) if chosen is None else chosen)[rank::world_size]
    chunks = own.split(batch_size) if len(own) else ()
    requests = (Request(0, rows, images.samples[rows]) for rows in chunks)
    return _batches(images, views, image_size, seed, requests)


def _batches(
    images: ImageSet, views: ViewsConfig, image_size: int, seed: int, requests: Iterator[Request]
) -> Generator[Batch, None, None]:
    found: Iterator[tuple[Request, Images | Crops]]
    if images.encoded is None:
        found = ((request, images.whole(request.rows)) for request in requests)
    else:
        cutter = partial(_cut_views, views=views, image_size=image_size, seed=seed)
        found = stream(images.encoded, requests, cutter, workers=images.decoders, device=images.device)
    for (epoch, rows, samples), pixels in found:
        labels = to_device(images.labels[rows], images.device)
        yield make_views(pixels, labels, views, image_size, seed=seed, epoch=epoch, samples=samples)


def _cut_views(images: list[Tensor], request: Request, *, views: ViewsConfig, image_size: int, seed: int) -> Crops:
    return cut_views(images, views, image_size, seed=seed, epoch=request.epoch, samples=request.samples)


def evaluation_batches(
    images: ImageSet,
    image_size: int,
    batch_size: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    chosen: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows (b,) and, as evaluation sees them, images (b, 3, S, S), in batches of up to `batch_size`.

    Those of this rank are every `world_size`-th of the `chosen` rows (N,), or of all, each once.
    """
    own = (torch.arange(len(images)) if chosen is None else chosen)[rank::world_size]
    chunks = own.split(batch_size) if len(own) else ()
    if images.encoded is None:
        for rows in chunks:
            yield rows, evaluation_view(images.whole(rows), image_size)
        return
    requests = (Request(0, rows, images.samples[rows]) for rows in chunks)
    cutter = partial(_cut_evaluation, image_size=image_size)
    for request, crops in stream(images.encoded, requests, cutter, workers=images.decoders, device=images.device):
        yield request.rows, normalised(crops.pixels[0])


def _cut_evaluation(images: list[Tensor], _request: Request, *, image_size: int) -> Crops:
    return cut_evaluation_views(images, image_size)
