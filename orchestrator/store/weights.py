"""Given weights in the store: copied there once, so that every worker reads the same, wherever the file was and is.

They are kept under the digest of the file that they are of, as safetensors: workers unpickle nothing.
"""

from typing import ClassVar

from .checked import digest
from .files import Store
from .records import Record


class WeightsRecord(Record):
    """A copy of a file of weights."""

    lost: ClassVar[str] = "the file is read again with the next submit"

    source: str
    """Where the file was."""
    copy_sha256: str
    """Of the copy, which has the file's tensors alone."""


class WeightsStore:
    """The folder ``weights``."""

    def __init__(self, store: Store):
        self.store = store

    def has(self, sha256: str) -> bool:
        """Whether there is a copy of the file with this digest."""
        return self._record(sha256) is not None and self.store.exists(_copy(sha256))

    def keep(self, sha256: str, source: str, safetensors: bytes) -> None:
        """Write a copy, then the record that says so. Any number of sweeps may, at once."""
        self.store.write(_copy(sha256), safetensors)
        self.store.write_record(f"weights/{sha256}.json", WeightsRecord(source=source, copy_sha256=digest(safetensors)))

    def read(self, sha256: str) -> bytes | None:
        """The copy, a safetensors file; None if there is none, or a damaged one (with a warning)."""
        record = self._record(sha256)
        return None if record is None else self.store.read_blob(_copy(sha256), record.copy_sha256, record.lost)

    def _record(self, sha256: str) -> WeightsRecord | None:
        return self.store.read_record(f"weights/{sha256}.json", WeightsRecord)


def _copy(sha256: str) -> str:
    return f"weights/{sha256}.safetensors"
