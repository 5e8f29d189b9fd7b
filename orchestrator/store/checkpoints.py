"""Checkpoints of one training: the two newest, each with its digest in its name, so that one damaged file costs little."""

import io
import zipfile

from .checked import digest
from .files import Store

KEPT = 2
LEGACY = "last.pt"
"""The only checkpoint of earlier versions; it has no digest."""


class Checkpoints:
    """``<step>-<digest>.pt`` in the folder `folder` of a store."""

    def __init__(self, store: Store, folder: str):
        self.store, self.folder = store, folder

    def newest(self) -> bytes | None:
        """The newest intact checkpoint, or None: then training starts from the beginning.

        A damaged one is reported with its file's name, and the one before it is taken.
        """
        names = self._names()
        for name in reversed(names):
            first = name == names[0]
            lost = "training starts from the beginning" if first else "training resumes from the checkpoint before it"
            content = self._intact(name, lost)
            if content is not None:
                return content
        return None

    def save(self, step: int, content: bytes) -> None:
        """Keep the state after `step` steps, and of the older ones the newest."""
        name = _name(step, content)
        older = [other for other in self._names() if other != name]
        self.store.write(f"{self.folder}/{name}", content)
        # Those of later steps are damaged, or training would have resumed from them.
        kept = [other for other in older if other != LEGACY and _step(other) < step][-(KEPT - 1) :]
        self._delete([other for other in older if other not in kept and (other != LEGACY or kept)])

    def keep(self, step: int, content: bytes) -> None:
        """Keep the state after `step` steps beside those of all others."""
        name = _name(step, content)
        older = [other for other in self._names() if _step(other) == step and other != name]
        self.store.write(f"{self.folder}/{name}", content)
        self._delete(older)

    def at(self, step: int) -> bytes | None:
        """The state after `step` steps; None if there is none, or if it is damaged, which is reported."""
        for name in self._names():
            if _step(name) == step:
                return self._intact(name, "training starts from the beginning")
        return None

    def clear(self) -> None:
        self._delete(self._names())

    def _names(self) -> list[str]:
        """From the oldest to the newest."""
        found = [name for name in self.store.names(self.folder) if name == LEGACY or name.split("-")[0].isdecimal()]
        return sorted(found, key=lambda name: -1 if name == LEGACY else _step(name))

    def _intact(self, name: str, lost: str) -> bytes | None:
        place = f"{self.folder}/{name}"
        if name != LEGACY:
            return self.store.read_blob(place, name.removesuffix(".pt").split("-")[1], lost)
        content = self.store.read(place)
        if content is not None and not _is_intact_archive(content):
            self.store.report_damage(place, "it is cut short or its checksums differ", lost)
            return None
        return content

    def _delete(self, names: list[str]) -> None:
        for name in names:
            self.store.delete(f"{self.folder}/{name}")


def _name(step: int, content: bytes) -> str:
    return f"{step:09d}-{digest(content)[:16]}.pt"


def _step(name: str) -> int:
    return int(name.split("-")[0])


def _is_intact_archive(content: bytes) -> bool:
    """Whether a file of `torch.save` is whole: it is a ZIP archive, with a checksum of each of its members."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError):
        return False
