"""A table of a backbone's features, in parts that each fit into memory: what is kept and what is exported."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

import pyarrow as pa
import torch
from torch import Tensor

from ...datasets.image_set import ImageSet
from ...evaluation.features import batch_size, feature_batches
from ...evaluation.task import NotFinite, Task
from ...methods.quantities import noun_of
from ..spec.label import label_of
from ..spec.models import TrialSpec
from ..store.version import package_version
from .runtime import Runtime

PART_BYTES = 64 * 2**20
"""Of the features of one part, in float32."""
DESCRIPTION = "pooled features of the frozen backbone, not normalised; images resized, center-cropped and normalised, not augmented"

SPLITS = ("train", "fit", "test", "holdout")
"""Names that a split may have."""

Rows = tuple[Tensor, Tensor]
"""Rows (n,) of an image set and their features (n, D), both on the CPU."""


def splits_of(trial: TrialSpec, train: ImageSet, test: ImageSet) -> dict[str, ImageSet]:
    """The trial's images by their split, the training images first; tuning has parts of the training set."""
    names = ("fit", "holdout") if trial.split == "holdout" else ("train", "test")
    return {names[0]: train} if test is train else dict(zip(names, (train, test), strict=True))


def extracted_parts(task: Task, images: ImageSet, on_images: Callable[[int], None]) -> Iterator[Rows]:
    """The features of all `images`, in parts of whole batches; by one rank.

    Args:
        task: the backbone and how it sees images.
        images: in their order.
        on_images: told of each batch how many images it has.

    Raises:
        NotFinite: features are not.
    """
    for rows, features in _joined(task, images, on_images):
        bad = int((~features.isfinite()).any(dim=1).sum())
        if bad:
            raise NotFinite(f"the features of {bad:,} of {len(rows):,} {noun_of(len(rows), 'image')} are not finite")
        yield rows, features


def _joined(task: Task, images: ImageSet, on_images: Callable[[int], None]) -> Generator[Rows]:
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


def table_parts(
    split: str, images: ImageSet, parts: Iterable[Rows], metadata: Mapping[str, str]
) -> Generator[pa.RecordBatch]:
    """The parts as rows of a table; numbers have the type that the features have. metadata: of the schema."""
    for rows, features in parts:
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
        yield pa.RecordBatch.from_arrays(list(columns.values()), schema=pa.schema(fields, dict(metadata)))


def table_metadata(trial: TrialSpec, trial_id: str, sha256: str, fingerprint: str, runtime: Runtime) -> dict[str, str]:
    """What the schema says of the features."""
    on_gpu = runtime.device.type == "cuda"
    values = {
        "trial": trial_id,
        "label": label_of(trial),
        "backbone": trial.backbone.name,
        "backbone_sha256": sha256,
        "dataset": trial.dataset.display_name,
        "dataset_fingerprint": fingerprint,
        "image_size": str(trial.image_size),
        "precision": trial.pretrain.precision,
        "device": torch.cuda.get_device_name(runtime.device) if on_gpu else "cpu",
        "description": DESCRIPTION,
        "version": package_version(),
    }
    return {f"ssl_sweep.{key}": value for key, value in values.items()}


def part_as_bytes(part: pa.RecordBatch) -> bytes:
    """An Arrow file of one part."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, part.schema) as writer:
        writer.write_batch(part)
    return sink.getvalue().to_pybytes()


def part_of_bytes(content: bytes) -> pa.RecordBatch:
    """The part of such a file; its features in float32."""
    part = pa.ipc.open_file(content).get_batch(0)
    feature = part.column("feature")
    if feature.type.value_type == pa.float32():
        return part
    numbers = pa.array(feature.flatten().to_numpy(zero_copy_only=False).astype("float32"))
    wide = pa.FixedSizeListArray.from_arrays(numbers, feature.type.list_size)
    index = part.schema.get_field_index("feature")
    return part.set_column(index, "feature", wide)
