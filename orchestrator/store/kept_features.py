"""Features of a trial's backbone, kept next to it on request, so that they are extracted once."""

from collections.abc import Callable, Generator, Iterable
from typing import ClassVar, TypeVar

from .checked import DamagedError
from .records import Record
from .trial_folder import TrialStore

G = TypeVar("G")

FOLDER = "features"


class FeaturesRecord(Record):
    """The parts of a table of features, written after the last of them."""

    lost: ClassVar[str] = "the features are extracted again"

    parts: tuple[str, ...]
    """SHA-256 of each part, in order."""


class KeptFeatures:
    """The folder ``features`` of a trial: one table, in parts that each fit into memory, and the record that it is whole."""

    def __init__(self, folder: TrialStore, key: str):
        """`key`: hash of all that the features depend on."""
        self.store, self.key = folder.store, key
        self.folder = folder.name(FOLDER)

    def record(self) -> FeaturesRecord | None:
        """None if this table is not kept."""
        return self.store.read_record(f"{self.folder}/{self.key}.json", FeaturesRecord)

    def parts(self, record: FeaturesRecord) -> Generator[bytes]:
        """The content of each part, in order.

        Raises:
            DamagedError: a part is missing or damaged; a damaged one is named in a warning.
        """
        for number, sha256 in enumerate(record.parts):
            content = self.store.read_blob(self._part(number), sha256, record.lost)
            if content is None:
                raise DamagedError(f"{self.store.path(self._part(number))} is missing or damaged")
            yield content

    def keep(self, parts: Iterable[G], as_bytes: Callable[[G], bytes]) -> Generator[G]:
        """Write each part while it passes by, then the record; other tables of the trial are deleted.

        If it is closed before the end, or fails, nothing is kept.
        """
        written: list[str] = []
        try:
            for part in parts:
                written.append(self.store.write_blob(self._part(len(written)), as_bytes(part)))
                yield part
        except BaseException:
            for number in range(len(written)):
                self.store.delete(self._part(number))
            raise
        self.store.write_record(f"{self.folder}/{self.key}.json", FeaturesRecord(parts=tuple(written)))
        own = {f"{self.key}.json", *(self._part(number).rpartition("/")[2] for number in range(len(written)))}
        for name in self.store.names(self.folder):
            if name not in own:
                self.store.delete(f"{self.folder}/{name}")

    def _part(self, number: int) -> str:
        return f"{self.folder}/{self.key}-{number:05d}.arrow"
