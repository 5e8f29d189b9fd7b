"""The features of a trial's backbone as one file, from the images or from those kept next to the trial."""

import contextlib
import json
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch

from ...datasets.image_set import ImageSet
from ...datasets.verified import cores
from ...evaluation.task import NotFinite
from ..spec.errors import UserError
from ..spec.models import ShapeConfig, TrialSpec
from ..store.checked import DamagedError, digest
from ..store.kept_features import KeptFeatures
from ..store.records import PretrainRecord
from ..store.trial_folder import BACKBONE
from ..store.version import package_version
from ..trial.features import feature_parts
from ..trial.images import TrialImages, prepared_images
from ..trial.run import restored_encoder, task_of
from ..trial.runtime import Runtime
from .found_data import Preparing, data_errors
from .table_file import TableFile
from .trials import NamedTrial

LAYOUT = 1
"""Raised whenever the table changes its meaning; kept ones are then extracted again."""
DESCRIPTION = "pooled features of the frozen backbone, not normalised; images resized, center-cropped and normalised, not augmented"


class Exported(NamedTuple):
    """What was written."""

    images: dict[str, int]
    """By the split."""
    width: int
    """Numbers of an image."""
    was_kept: bool
    """Whether the features came from the store."""


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
        keep: also keep them in the trial's folder, where the next export finds them.

    Raises:
        UserError: there is no backbone, or it is damaged; there are no such images; features are not finite; or the file or
            the store cannot be written.
    """
    record, spec = trial.folder.pretrained(), trial.folder.trial()
    if record is None or spec is None:
        raise UserError(f"{trial.name}: its trial.json or pretrain.json is missing or damaged; submit its sweep again")
    source = _Source(trial, spec, record, root, preparing, on_images)
    kept = KeptFeatures(trial.folder, source.key)
    found = kept.record()
    if found is not None:
        with contextlib.suppress(DamagedError):  # which was said in a warning
            return _write(out, map(_opened, kept.parts(found)), was_kept=True)
    parts = source.parts()
    with closing(kept.keep(parts, _as_bytes) if keep else parts) as passing:
        return _write(out, passing, was_kept=False)


def _write(out: Path, parts: Iterable[pa.RecordBatch], *, was_kept: bool) -> Exported:
    images: dict[str, int] = {}
    width = 0
    with TableFile(out) as file:
        for part in parts:
            file.write(part)
            split = str(part["split"][0])
            images[split] = images.get(split, 0) + len(part)
            width = part.schema.field("feature").type.list_size
    return Exported(images, width, was_kept)


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

    @property
    def key(self) -> str:
        """Hash of what the features depend on."""
        values = [LAYOUT, package_version(), self.sha256, self.fingerprint, self.spec.image_size]
        return digest(json.dumps(values).encode())[:16]

    def parts(self) -> Generator[pa.RecordBatch]:
        """The table, part by part. Raises UserError as `export_features`."""
        content = self._backbone()
        with data_errors():
            with self.preparing(self.spec.dataset.display_name) as on_progress:
                prepared = prepared_images(self.spec.dataset, self.fingerprint, self.root, on_progress)
            runtime = _runtime()
            images = TrialImages(self.spec, prepared, {}, runtime, self.trial.folder.store)
            train, test = images.own
            names = ("fit", "holdout") if self.spec.split == "holdout" else ("train", "test")
            sets: dict[str, ImageSet] = {names[0]: train}
            if test is not train:
                sets[names[1]] = test
            task = task_of(self.spec, restored_encoder(self.spec, content, train.info), images, runtime)
            total = sum(map(len, sets.values()))
            try:
                yield from feature_parts(
                    task, sets, self._metadata(runtime), lambda count: self.on_images(count, total)
                )
            except NotFinite as error:
                raise UserError(f"{self.trial.name}: {error}") from None

    def _backbone(self) -> bytes:
        content = self.trial.folder.backbone()
        if content is None:
            place = self.trial.folder.store.path(self.trial.folder.name(BACKBONE))
            raise UserError(f"{self.trial.name} has lost its weights: {place} is damaged; pretrain it again")
        return content

    def _metadata(self, runtime: Runtime) -> dict[str, str]:
        values = {
            "trial": self.trial.folder.trial_id,
            "label": self.trial.label,
            "backbone": self.spec.backbone.name,
            "backbone_sha256": self.sha256,
            "dataset": self.spec.dataset.display_name,
            "dataset_fingerprint": self.fingerprint,
            "image_size": str(self.spec.image_size),
            "precision": self.spec.pretrain.precision,
            "device": torch.cuda.get_device_name(runtime.device) if runtime.device.type == "cuda" else "cpu",
            "description": DESCRIPTION,
            "version": package_version(),
        }
        return {f"ssl_sweep.{key}": value for key, value in values.items()}


def _runtime() -> Runtime:
    """All of this machine's CPUs, and its first GPU if there is one."""
    gpu = torch.cuda.is_available()
    shape = ShapeConfig(cpus_per_worker=cores())
    return Runtime(torch.device("cuda" if gpu else "cpu"), decoders=shape.decoders(gpu))


def _as_bytes(part: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, part.schema) as writer:
        writer.write_batch(part)
    return sink.getvalue().to_pybytes()


def _opened(content: bytes) -> pa.RecordBatch:
    return pa.ipc.open_file(content).get_batch(0)
