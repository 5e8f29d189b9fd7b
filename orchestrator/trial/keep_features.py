"""Features that stay next to a trial once it is evaluated: those that its evaluations share, gathered from all ranks."""

import logging
from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
import torch
from torch import Tensor

from ...evaluation.features import all_features, batch_size
from ...evaluation.task import Task
from ..spec.models import TrialSpec
from ..store.kept_features import FeaturesRecord, KeptFeatures, features_key
from ..store.trial_folder import TrialStore
from .features import PART_BYTES, Rows, part_as_bytes, splits_of, table_metadata, table_parts
from .journal import STOP, Journal

log = logging.getLogger(__name__)

LIMIT = 256 * 2**20
"""Bytes of the features that a trial keeps, test and training images together."""


def keep_features(trial: TrialSpec, folder: TrialStore, task: Task, journal: Journal) -> None:
    """Keep what `trial.features` asks for as far as `LIMIT` allows; every rank calls it, and the first has it written.

    What an evaluation has extracted already is not extracted again. A trial that is asked to stop keeps no more.
    """
    record = folder.pretrained() if journal.runtime.is_first else None
    sha256 = "" if record is None else record.backbone_sha256 or ""
    kept = KeptFeatures(folder, features_key(sha256, task.train.origin[0], trial.image_size))
    splits = splits_of(trial, task.train, task.test)
    left = LIMIT
    for split, images in reversed(splits.items()):  # the test images first
        if trial.features == "none" or (trial.features == "test" and images is not task.test):
            continue
        size = 2 * task.encoder.dim * len(images)
        if size > left:
            log.info("the features of the %s images are not kept: %d MB are over the limit", split, size // 10**6)
            continue
        left -= size
        is_missing = bool(sha256) and kept.record(split) is None
        if not journal.runtime.agree(int(is_missing)) or journal.request() == STOP:
            continue
        features = all_features(task, images)[0]  # (N, D)
        if journal.runtime.is_first and (halves := _halves(features, split)) is not None:
            rows = max(1, PART_BYTES // (4 * task.encoder.dim * batch_size(task))) * batch_size(task)
            metadata = table_metadata(trial, folder.trial_id, sha256, images.origin[0], journal.runtime)
            parts = table_parts(split, images, _cut(halves, rows), metadata)
            journal.background.within(0, partial(_write, kept, split, parts, tuple(splits)))


def _halves(features: Tensor, split: str) -> Tensor | None:
    """The features (N, D) in float16 on the CPU; None, with a warning, if they are out of its range or not finite."""
    halves = features.half().cpu()
    if halves.isfinite().all():
        return halves
    log.warning("the features of the %s images are not kept: some are beyond the range of float16", split)
    return None


def _cut(features: Tensor, rows: int) -> Iterator[Rows]:
    """Parts of so many rows, with their numbers."""
    for start in range(0, len(features), rows):
        part = features[start : start + rows]
        yield torch.arange(start, start + len(part)), part


def _write(kept: KeptFeatures, split: str, parts: Iterable[pa.RecordBatch], splits: tuple[str, ...]) -> None:
    for _ in kept.keep(split, parts, part_as_bytes, FeaturesRecord(splits=splits, precision="float16")):
        pass
