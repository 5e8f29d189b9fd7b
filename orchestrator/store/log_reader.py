"""A trial's log as it grows: each look gives what is new."""

from pathlib import Path

from .segments import segment_names
from .trial_folder import TrialStore


class LogReader:
    """Reads the log of one trial, piece after piece."""

    def __init__(self, folder: TrialStore):
        self.folder = folder
        self._read = 0
        """Bytes of the file that were returned."""
        self._seen: set[str] = set()
        """Segments that were returned."""

    def new(self) -> bytes:
        """What was written since the last call; first, everything."""
        store = self.folder.store
        names = [name for name in segment_names(store, self.folder.name("log")) if name not in self._seen]
        self._seen |= set(names)
        return self._rest_of_file() + b"".join(content or b"" for content in store.read_many(names))

    def _rest_of_file(self) -> bytes:
        """On a disk, the lines that were added; a bucket has such a file only if a folder was copied to it, and complete."""
        store, name = self.folder.store, self.folder.name("log.txt")
        size = store.size(name)
        if size is None or size <= self._read:
            return b""
        if store.is_local:
            with Path(store.path(name)).open("rb") as stream:
                stream.seek(self._read)
                found = stream.read()
        else:
            found = (store.read(name) or b"")[self._read :]
        self._read += len(found)
        return found
