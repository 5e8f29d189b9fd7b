"""The features of a trial's backbone as one file, from the images or from those kept next to the trial."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch

from ...datasets.verified import cores
from ...evaluation.task import NotFinite
from ..spec.errors import UserError
from ..spec.models import ShapeConfig, TrialSpec
from ..store.checked import DamagedError, digest
from ..store.kept_features import FeaturesRecord, KeptFeatures, Precision, features_key
from ..store.records import PretrainRecord
from ..store.trial_folder import BACKBONE
from ..trial.features import (
    SPLITS,
    extracted_parts,
    part_as_bytes,
    part_of_bytes,
    splits_of,
    table_metadata,
    table_parts,
)
from ..trial.images import TrialImages, prepared_images
from ..trial.run import restored_encoder, task_of
from ..trial.runtime import Runtime
from .found_data import Preparing, data_errors
from .table_file import TableFile
from .trials import NamedTrial


class Exported(NamedTuple):
    """What was written."""

    images: dict[str, int]
    """By the split."""
    width: int
    """Numbers of an image."""
    was_kept: bool
    """Whether all features came from the store."""
    halves: tuple[str, ...]
    """Splits whose features are those that were kept in half precision."""


def export_features(
    trial: NamedTrial,
    out: Path,
    root: Path,
    preparing: Preparing,
    on_images: Callable[[int, int], None],
    *,
    keep: bool = False,
) -> Exported:
    """Write the features of a trial's training and test images to a file.

    Args:
        trial: with a backbone.
        out: as `table_file` returns it.
        root: of the prepared data sets.
        preparing: shows the preparation of the images, if they are not prepared.
        on_images: told of each batch how many images it has, and how many there are in all.
        keep: also keep them in the trial's folder, in full precision, where the next export finds them. Without it, what is kept in
            half precision is exported.

    Raises:
        UserError: there is no backbone, or it is damaged; there are no such images; features are not finite; or the file or
            the store cannot be written.
    """
    record, spec = trial.folder.pretrained(), trial.folder.trial()
    if record is None or spec is None:
        raise UserError(f"{trial.name}: its trial.json or pretrain.json is missing or damaged; submit its sweep again")
    source = _Source(trial, spec, record, root, preparing, on_images)
    with contextlib.suppress(DamagedError):  # which was said in a warning
        return _write(out, source.parts(keep=keep, use_kept=True))
    return _write(out, source.parts(keep=keep, use_kept=False))


class _Part(NamedTuple):
    """Rows of the table, and where they come from."""

    rows: pa.RecordBatch
    kept: Precision | None
    """In which precision the store had them; None if they were extracted."""


def _write(out: Path, parts: Generator[_Part]) -> Exported:
    images: dict[str, int] = {}
    kept: dict[str, Precision | None] = {}
    width = 0
    with TableFile(out) as file, closing(parts):
        for rows, was_kept in parts:
            file.write(rows)
            split = str(rows["split"][0])
            images[split] = images.get(split, 0) + len(rows)
            kept[split] = was_kept
            width = rows.schema.field("feature").type.list_size
    halves = tuple(split for split, precision in kept.items() if precision == "float16")
    return Exported(images, width, None not in kept.values(), halves)


class _Source:
    """Extracts the features of a trial."""

    def __init__(
        self,
        trial: NamedTrial,
        spec: TrialSpec,
        record: PretrainRecord,
        root: Path,
        preparing: Preparing,
        on_images: Callable[[int, int], None],
    ):
        self.trial, self.spec, self.root = trial, spec, root
        self.preparing, self.on_images = preparing, on_images
        self.fingerprint = trial.status.dataset_fingerprint
        self.sha256 = record.backbone_sha256 or digest(self._backbone())
        self.kept = KeptFeatures(trial.folder, features_key(self.sha256, self.fingerprint, spec.image_size))

    def parts(self, *, keep: bool, use_kept: bool) -> Generator[_Part]:
        """The table, part by part: each split from the store if it is kept there and `use_kept`, else from its images.

        Raises:
            UserError: as `export_features`.
            DamagedError: what is kept is damaged.
        """
        found = self._found(exact=keep) if use_kept else {}
        splits = next((record.splits for record in found.values()), None)
        if splits is not None and found.keys() == set(splits):
            for split in splits:
                yield from self._kept_parts(split, found[split])
            return
        with data_errors():
            yield from self._of_images(found, keep=keep)

    def _found(self, *, exact: bool) -> dict[str, FeaturesRecord]:
        """What is kept, by its split; `exact`: in full precision alone."""
        records = {split: self.kept.record(split) for split in SPLITS}
        return {
            split: record
            for split, record in records.items()
            if record and not (exact and record.precision != "float32")
        }

    def _kept_parts(self, split: str, record: FeaturesRecord) -> Generator[_Part]:
        for content in self.kept.parts(split, record):
            yield _Part(part_of_bytes(content), record.precision)

    def _of_images(self, found: Mapping[str, FeaturesRecord], *, keep: bool) -> Generator[_Part]:
        content = self._backbone()
        with self.preparing(self.spec.dataset.display_name) as on_progress:
            prepared = prepared_images(self.spec.dataset, self.fingerprint, self.root, on_progress)
        runtime = _runtime()
        images = TrialImages(self.spec, prepared, {}, runtime, self.trial.folder.store)
        train, test = images.own
        splits = splits_of(self.spec, train, test)
        task = task_of(self.spec, restored_encoder(self.spec, content, train.info), images, runtime)
        total = sum(len(images) for split, images in splits.items() if split not in found)
        metadata = table_metadata(self.spec, self.trial.folder.trial_id, self.sha256, self.fingerprint, runtime)
        for split, images in splits.items():
            if split in found:
                yield from self._kept_parts(split, found[split])
                continue
            extracted = extracted_parts(task, images, lambda count: self.on_images(count, total))
            parts = table_parts(split, images, extracted, metadata)
            record = FeaturesRecord(splits=tuple(splits))
            try:
                with closing(self.kept.keep(split, parts, part_as_bytes, record) if keep else parts) as passing:
                    yield from (_Part(rows, None) for rows in passing)
            except NotFinite as error:
                raise UserError(f"{self.trial.name}: {error}") from None

    def _backbone(self) -> bytes:
        content = self.trial.folder.backbone()
        if content is None:
            place = self.trial.folder.store.path(self.trial.folder.name(BACKBONE))
            raise UserError(f"{self.trial.name} has lost its weights: {place} is damaged; pretrain it again")
        return content


def _runtime() -> Runtime:
    """All of this machine's CPUs, and its first GPU if there is one."""
    gpu = torch.cuda.is_available()
    shape = ShapeConfig(cpus_per_worker=cores())
    return Runtime(torch.device("cuda" if gpu else "cpu"), decoders=shape.decoders(gpu))
