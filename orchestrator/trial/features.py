"""A table of a backbone's features, for other programs: in parts that each fit into memory."""

from collections.abc import Callable, Generator, Iterator, Mapping

import pyarrow as pa
import torch
from torch import Tensor

from ...datasets.image_set import ImageSet
from ...evaluation.features import batch_size, feature_batches
from ...evaluation.task import NotFinite, Task
from ...methods.quantities import noun_of

PART_BYTES = 64 * 2**20
"""Of the features of one part."""


def feature_parts(
    task: Task, sets: Mapping[str, ImageSet], metadata: Mapping[str, str], on_images: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    """The images of each of the `sets` in their order, with the pooled features of the backbone as it is evaluated.

    Args:
        task: the backbone and how it sees images; of one rank.
        sets: by what their images have in the column ``split``; each part is of one of them.
        metadata: of the schema.
        on_images: told of each batch how many images it has.

    Raises:
        NotFinite: features are not.
    """
    for split, images in sets.items():
        for rows, features in _joined(task, images, on_images):
            bad = int((~features.isfinite()).any(dim=1).sum())
            if bad:
                raise NotFinite(
                    f"the features of {bad:,} of {len(rows):,} {noun_of(len(rows), 'image')} are not finite"
                )
            yield _part(split, images, rows, features, metadata)


def _joined(task: Task, images: ImageSet, on_images: Callable[[int], None]) -> Generator[tuple[Tensor, Tensor]]:
    """Rows (n,) and features (n, D), both on the CPU, in parts of whole batches."""
    most = max(1, PART_BYTES // (4 * task.encoder.dim * batch_size(task))) * batch_size(task)
    rows: list[Tensor] = []
    features: list[Tensor] = []
    for chunk, batch in feature_batches(task, images):
        rows.append(chunk)
        features.append(batch.float().cpu())
        on_images(len(chunk))
        if sum(map(len, rows)) >= most:
            yield torch.cat(rows), torch.cat(features)
            rows, features = [], []
    if rows:
        yield torch.cat(rows), torch.cat(features)


def _part(split: str, images: ImageSet, rows: Tensor, features: Tensor, metadata: Mapping[str, str]) -> pa.RecordBatch:
    count, width = features.shape
    labels = images.labels[rows].numpy()
    label = pa.array(labels, pa.int64(), mask=labels < 0)
    columns = {
        "split": pa.array([split] * count, pa.string()),
        "sample": pa.array(images.samples[rows].numpy(), pa.int64()),
        "label": label,
        "class": pa.array(images.classes, pa.string()).take(label),
        "feature": pa.FixedSizeListArray.from_arrays(pa.array(features.numpy().ravel()), width),
    }
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields, dict(metadata)))
