"""The rows of label lists in the store: workers have neither the list nor, perhaps, the names of the images."""

from collections.abc import Sequence
from typing import ClassVar

from .files import Store
from .records import Record


class ListedRows(Record):
    """Rows of the training split of a data set."""

    lost: ClassVar[str] = "the list is read again with the next submit"

    source: str
    """Where the list was."""
    rows: tuple[int, ...]


class LabelListStore:
    """The folder ``labels``: by the digest of the list and the fingerprint of the images."""

    def __init__(self, store: Store):
        self.store = store

    def keep(self, sha256: str, fingerprint: str, source: str, rows: Sequence[int]) -> None:
        """Write the rows, unless they are there already."""
        if self.read(sha256, fingerprint) is None:
            self.store.write_record(_name(sha256, fingerprint), ListedRows(source=source, rows=tuple(rows)))

    def read(self, sha256: str, fingerprint: str) -> tuple[int, ...] | None:
        """The rows; None if they are not there, or damaged (with a warning)."""
        record = self.store.read_record(_name(sha256, fingerprint), ListedRows)
        return None if record is None else record.rows


def _name(sha256: str, fingerprint: str) -> str:
    return f"labels/{sha256}-{fingerprint}.json"
