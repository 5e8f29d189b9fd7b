"""Features of a trial's backbone, kept next to it, so that they are extracted once."""

import json
from collections.abc import Callable, Generator, Iterable
from typing import ClassVar, Literal, TypeVar

from .checked import DamagedError, digest
from .records import Record
from .trial_folder import TrialStore
from .version import package_version

G = TypeVar("G")
Precision = Literal["float16", "float32"]

FOLDER = "features"
LAYOUT = 2
"""Raised whenever the tables change their meaning; kept ones are then not used any more."""


def features_key(backbone_sha256: str, fingerprint: str, image_size: int) -> str:
    """Hash of what the features of a trial depend on: its weights, its images, and the version of ssl-sweep."""
    return digest(json.dumps([LAYOUT, package_version(), backbone_sha256, fingerprint, image_size]).encode())[:16]


class FeaturesRecord(Record):
    """The parts of a table of features, written after the last of them."""

    lost: ClassVar[str] = "the features are extracted again"

    splits: tuple[str, ...]
    """All that the trial has, in the order of an export; this table is of one of them."""
    precision: Precision = "float32"
    parts: tuple[str, ...] = ()
    """SHA-256 of each part, in order."""


class KeptFeatures:
    """The folder ``features`` of a trial: for each split a table, in parts that each fit into memory, and the record that it is whole."""

    def __init__(self, folder: TrialStore, key: str):
        """`key`: see `features_key`."""
        self.store, self.key = folder.store, key
        self.folder = folder.name(FOLDER)

    def record(self, split: str) -> FeaturesRecord | None:
        """None if the table of this split is not kept."""
        return self.store.read_record(self._record(split), FeaturesRecord)

    def parts(self, split: str, record: FeaturesRecord) -> Generator[bytes]:
        """The content of each part, in order.

        Raises:
            DamagedError: a part is missing or damaged; a damaged one is named in a warning.
        """
        for number, sha256 in enumerate(record.parts):
            content = self.store.read_blob(self._part(split, number), sha256, record.lost)
            if content is None:
                raise DamagedError(f"{self.store.path(self._part(split, number))} is missing or damaged")
            yield content

    def keep(
        self, split: str, parts: Iterable[G], as_bytes: Callable[[G], bytes], record: FeaturesRecord
    ) -> Generator[G]:
        """Write each part while it passes by, then the `record` with their digests; tables of other weights or images are deleted.

        If it is closed before the end, or fails, nothing is kept.
        """
        self.store.delete(self._record(split))  # first: its parts are about to be replaced
        written: list[str] = []
        try:
            for part in parts:
                written.append(self.store.write_blob(self._part(split, len(written)), as_bytes(part)))
                yield part
        except BaseException:
            for number in range(len(written)):
                self.store.delete(self._part(split, number))
            raise
        self.store.write_record(self._record(split), record.model_copy(update={"parts": tuple(written)}))
        own = {self._record(split), *(self._part(split, number) for number in range(len(written)))}
        for name in self.store.names(self.folder):
            is_of_split = name.startswith(f"{self.key}-{split}")
            if f"{self.folder}/{name}" not in own and (is_of_split or not name.startswith(f"{self.key}-")):
                self.store.delete(f"{self.folder}/{name}")

    def _record(self, split: str) -> str:
        return f"{self.folder}/{self.key}-{split}.json"

    def _part(self, split: str, number: int) -> str:
        return f"{self.folder}/{self.key}-{split}-{number:05d}.arrow"
