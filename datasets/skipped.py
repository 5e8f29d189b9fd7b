"""What a source leaves out of what its user has: counted by kind, with the reason and an example."""

from pathlib import Path

from .contents import Skipped
from .walk import Walked


class SkippedFiles:
    """Collects what is left out while a source is read."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Skipped] = {}

    def add(self, kind: str, reason: str, *places: Path) -> None:
        """`kind` in the plural, e.g. ``.heic files``."""
        if not places:
            return
        before = self._found.get((kind, reason))
        known = [] if before is None else [before.example]
        count = len(places) + (0 if before is None else before.count)
        example = min([*known, *map(str, places)])
        self._found[kind, reason] = Skipped(kind=kind, reason=reason, count=count, example=example)

    def add_folders(self, walked: Walked) -> None:
        """Those that were not walked."""
        where = walked.folder
        self.add("folders", "hidden, or of the system", *(where / name for name in walked.left_out))
        self.add("links", "they lead to a folder that contains them", *(where / name for name in walked.loops))

    @property
    def all(self) -> tuple[Skipped, ...]:
        """Most first."""
        return tuple(sorted(self._found.values(), key=lambda one: (-one.count, one.kind)))

    def __str__(self) -> str:
        """For the end of an error, if anything was left out."""
        return "".join(f"; skipped: {one}" for one in self.all)
