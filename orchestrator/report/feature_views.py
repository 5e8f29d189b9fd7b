"""What a report shows of a trial's kept features: places on a map, and a sheet of nearest neighbours. Made once, and kept beside them."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...datasets.errors import DataError
from ..store.checked import DamagedError, digest
from ..store.files import Store, StoreError
from ..store.kept_features import FOLDER, FeaturesRecord, KeptFeatures, features_key
from ..store.records import Record, TrialResult
from ..store.trial_folder import TrialStore

if TYPE_CHECKING:
    import pyarrow as pa

    from ...datasets.prepared import Prepared

VERSION = 1
"""Raised whenever maps or sheets change: kept ones are then made again."""
NEIGHBOURS, QUERIES = 6, 12
NO_FEATURES = "its features are not kept (`features: none`, an earlier version, or too many for the limit)"


class FeatureViews(Record):
    """The map and the sheet of one trial."""

    lost: ClassVar[str] = "the map of its features is made again"

    made_of: str
    """Digest of the features."""
    places: tuple[tuple[int, int], ...] = ()
    """x and y from 0 to 1000, of some test images."""
    labels: tuple[int, ...] = ()
    """Of each; -1 for none."""
    classes: tuple[str, ...] = ()
    no_map: str = ""
    """Why there are no places, as the end of a sentence."""
    sheet: str = ""
    """A JPEG in base 64."""
    neighbours: str = ""
    """Which images they are: ``training`` or ``test``."""
    no_sheet: str = ""
    """Why there is no sheet, as the end of a sentence."""
    lacks_images: bool = False
    """Whether that is because the images were not there: elsewhere, or later, they may be."""

    @property
    def jpeg(self) -> bytes:
        return base64.b64decode(self.sheet)


Look = Callable[[TrialResult], FeatureViews | str]
"""The views of a trial's features, or why there are none, as the end of a sentence."""


def feature_views(trial: TrialResult, store: Store, root: Path) -> FeatureViews | str:
    """The map and the sheet of a trial, or why there are none, as the end of a sentence. root: of the prepared data sets.

    What was made before is read; only a sheet that lacked its images is tried again.
    """
    folder = TrialStore(store, trial.trial_id)
    try:
        record = folder.pretrained()
        if record is None or record.backbone_sha256 is None:
            return NO_FEATURES
        key = features_key(record.backbone_sha256, trial.dataset_fingerprint, trial.image_size)
        kept = KeptFeatures(folder, key)
        tables = {split: found for split in ("test", "train") if (found := kept.record(split))}
        if "test" not in tables:
            return NO_FEATURES
        made_of = digest(repr([VERSION, *((split, table.parts) for split, table in tables.items())]).encode())
        file = folder.name(f"{FOLDER}/{key}-views.json")
        before = store.read_record(file, FeatureViews)
        if before is not None and before.made_of != made_of:
            before = None
        if before is not None and not before.lacks_images:
            return before
        looked = _Looked(trial, folder, kept, tables, root)
        views = looked.sheet(before or looked.map(made_of))
        if views != before:
            store.write_record(file, views)
    except (DamagedError, StoreError, DataError) as error:
        return f"its features or images cannot be read: {error}"
    return views


class _Table(NamedTuple):
    """Some rows of the test images' table."""

    labels: NDArray[np.int64]  # (N,), of all; -1 for none
    samples: NDArray[np.int64]  # (N,)
    classes: dict[int, str]


_Chosen = tuple[_Table, NDArray[np.int64]]
"""A table, and rows of it."""


class _Looked:
    """Features of a trial, read part by part."""

    def __init__(
        self, trial: TrialResult, folder: TrialStore, kept: KeptFeatures, tables: dict[str, FeaturesRecord], root: Path
    ):
        self.trial, self.folder, self.kept, self.tables, self.root = trial, folder, kept, tables, root

    def map(self, made_of: str) -> FeatureViews:
        """Places of the test images; no sheet yet."""
        from ...evaluation.feature_map import LEAST, MOST, drawn_rows, plane

        table = self._table("test")
        rows = drawn_rows(len(table.labels), MOST)
        if len(rows) < LEAST:
            return FeatureViews(made_of=made_of, no_map=f"there are fewer than {LEAST} test images", lacks_images=True)
        placed = plane(self._features("test", rows))
        if placed is None:
            return FeatureViews(made_of=made_of, no_map="all its features are alike", lacks_images=True)
        classes = tuple(table.classes.get(label, "") for label in range(max(table.classes, default=-1) + 1))
        return FeatureViews(
            made_of=made_of,
            places=tuple((int(x), int(y)) for x, y in placed),
            labels=tuple(map(int, table.labels[rows])),
            classes=classes,
            lacks_images=True,
        )

    def sheet(self, views: FeatureViews) -> FeatureViews:
        """The views with a sheet, if the images are here."""
        from ...evaluation.feature_map import nearest, one_of_each_class

        table = self._table("test")
        queries = one_of_each_class(table.labels, QUERIES)
        if not len(queries):
            return views.model_copy(update={"no_sheet": "its images have no labels"})
        prepared = self._prepared()
        if prepared is None:
            lack = f"the images of '{self.trial.dataset}' are not on this machine"
            return views.model_copy(update={"no_sheet": lack, "lacks_images": True})
        bank = "train" if "train" in self.tables else "test"
        vectors = self._features("test", queries)
        itself = queries if bank == "test" else None
        found = nearest(vectors, (self._unit(part) for part in self._parts(bank)), NEIGHBOURS, itself)
        content = self._drawn(prepared, (table, queries), (self._table(bank), found), bank)
        which = {"train": "training", "test": "test"}[bank]
        sheet = base64.b64encode(content).decode()
        return views.model_copy(update={"sheet": sheet, "neighbours": which, "no_sheet": "", "lacks_images": False})

    def _prepared(self) -> "Prepared | None":
        from ...datasets.prepared import find_known

        spec = self.folder.trial()
        return None if spec is None else find_known(spec.dataset, self.trial.dataset_fingerprint, self.root)

    def _drawn(
        self, prepared: "Prepared", queries: _Chosen, neighbours: _Chosen, bank: Literal["train", "test"]
    ) -> bytes:
        """The sheet as JPEG. queries: rows (q,); neighbours: rows (q, k) of the bank."""
        from ...datasets.image_set import ImageSet  # torch
        from ...datasets.neighbour_sheet import SheetRow, neighbour_sheet

        (test, own), (others, near) = queries, neighbours
        rows = [
            SheetRow(
                test.classes[int(test.labels[query])],
                int(test.samples[query]),
                [int(number) for number in others.samples[found]],
                [bool(right) for right in others.labels[found] == test.labels[query]],
            )
            for query, found in zip(own, near, strict=True)
        ]
        images = ImageSet.open(prepared, "test")
        of_bank = images if bank == "test" else ImageSet.open(prepared, "train")
        return neighbour_sheet(rows, images, of_bank, self.trial.image_size)

    def _parts(self, split: str) -> "Iterator[pa.RecordBatch]":
        from ..trial.features import part_of_bytes  # torch

        yield from map(part_of_bytes, self.kept.parts(split, self.tables[split]))

    def _table(self, split: str) -> _Table:
        labels: list[NDArray[np.int64]] = []
        samples: list[NDArray[np.int64]] = []
        classes: dict[int, str] = {}
        for part in self._parts(split):
            own = part["label"].fill_null(-1).to_numpy(zero_copy_only=False)
            labels.append(own)
            samples.append(part["sample"].to_numpy(zero_copy_only=False))
            for label, row in zip(*np.unique(own, return_index=True), strict=True):
                if label >= 0:
                    classes[int(label)] = part["class"][int(row)].as_py()
        return _Table(np.concatenate(labels), np.concatenate(samples), classes)

    def _features(self, split: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Of some rows (n,) that rise or do not, (n, D), of length 1."""
        found: list[NDArray[np.float32]] = []
        order = np.argsort(rows, kind="stable")
        start = 0
        for part in self._parts(split):
            within = rows[order][(rows[order] >= start) & (rows[order] < start + len(part))] - start
            found.append(self._unit(part)[within])
            start += len(part)
        rising = np.concatenate(found)
        given = np.empty_like(rising)
        given[order] = rising
        return given

    @staticmethod
    def _unit(part: "pa.RecordBatch") -> NDArray[np.float32]:
        from ...evaluation.feature_map import unit

        return unit(part["feature"].flatten().to_numpy(zero_copy_only=False).reshape(len(part), -1))
