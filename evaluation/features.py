"""Features of a frozen backbone, each image once, on any number of ranks."""

from collections.abc import Generator, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from ..datasets.batches import evaluation_batches
from ..datasets.image_set import ImageSet
from ..methods.parts.collectives import total_over_ranks
from .readout import Readout
from .task import FeaturesNotFinite, Task

BATCH = 512


def batch_size(task: Task) -> int:
    """Images of an evaluation without gradients: many enough that a GPU's time is not the CPU's of handing them out."""
    return BATCH if task.device.type == "cpu" else BATCH * min(8, max(1, (224 // task.image_size) ** 2))


@torch.no_grad()
def feature_batches(
    task: Task, images: ImageSet, chosen: Tensor | None = None, readout: Readout | None = None
) -> Generator[tuple[Tensor, Tensor]]:
    """Rows (b,) of this rank's share, and their features (b, D), batch by batch: for what may be too large for the memory."""
    task.encoder.eval()
    extract = readout or Readout(task.encoder)
    batches = evaluation_batches(
        images, task.image_size, batch_size(task), rank=task.rank, world_size=task.world_size, chosen=chosen
    )
    for chunk, view in batches:
        with task.autocast():
            features = extract(view)
        yield chunk, features
        task.is_alive()


@torch.no_grad()
def own_features(
    task: Task, images: ImageSet, chosen: Tensor | None = None, readout: Readout | None = None
) -> tuple[Tensor, Tensor]:
    """Features (n, D) in float32 and labels (n,) of this rank's share: every W-th of the `chosen` rows (N,), or of all.

    They are the pooled ones, or those of a `readout`. Those of all may be shared with other evaluations: they are not to be
    written to.
    """
    task.encoder.eval()
    extract = readout or Readout(task.encoder)
    memory = task.extracted if chosen is None else None
    kept = memory.of(images, extract.features) if memory is not None else None
    if kept is not None:
        return kept.to(task.device), images.labels[task.rank :: task.world_size].to(task.device)
    rows = (torch.arange(len(images)) if chosen is None else chosen)[task.rank :: task.world_size]
    features = torch.empty(len(rows), extract.width, device=task.device)
    done = 0
    for chunk, batch in feature_batches(task, images, chosen, extract):
        features[done : done + len(chunk)] = batch
        done += len(chunk)
    if memory is not None:
        memory.keep(images, extract.features, features)
    return features, images.labels[rows].to(task.device)


def all_features(
    task: Task, images: ImageSet, chosen: Tensor | None = None, readout: Readout | None = None
) -> tuple[Tensor, Tensor]:
    """Features (N, D) and labels (N,) of the `chosen` rows (N,), or of all in their order, on every rank."""
    features, labels = own_features(task, images, chosen, readout)
    if task.world_size == 1:
        return features, labels
    count = len(images) if chosen is None else len(chosen)
    return interleaved(features, count, task.world_size), interleaved(labels, count, task.world_size)


def refuse_not_finite(features: Mapping[str, Tensor]) -> None:
    """Refuse features (n, D) of this rank, by what all ranks together have, as ``50,000 training``.

    Raises:
        FeaturesNotFinite: any are not; on every rank.
    """
    lengths = [torch.linalg.vector_norm(own, dim=1) for own in features.values()]
    bad = total_over_ranks(torch.stack([(~length.isfinite()).sum() for length in lengths])).tolist()
    if any(bad):
        parts = [f"{count:,} of {images}" for count, images in zip(bad, features, strict=True)]
        raise FeaturesNotFinite(f"the features of {' and '.join(parts)} images are not finite")


def interleaved(shard: Tensor, size: int, world_size: int) -> Tensor:
    """Rows of all ranks in their order: rank r has rows r, r + W, ...; the shorter shards are padded on the way."""
    longest = -(-size // world_size)
    padded = shard.new_zeros(longest, *shard.shape[1:])
    padded[: len(shard)] = shard
    shards = [torch.empty_like(padded) for _ in range(world_size)]
    dist.all_gather(shards, padded)
    return torch.stack(shards, dim=1).flatten(0, 1)[:size]
