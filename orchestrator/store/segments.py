"""Growing files without rewriting them: numbered segments, each of one writer.

    events/000001.jsonl  events/000002.jsonl  …      beside an `events.jsonl` of an earlier version, which is read first

On a disk a writer appends to the segment that it created; objects cannot grow, so there every `add` makes a segment.
Segments are only ever created, so two writers never overwrite each other's lines.
"""

from collections.abc import Iterator, Sequence

from .checked import is_json, sealed_line, unsealed_line
from .files import Store

LOST = "the line is left out"


class Segments:
    """Lines that each are one JSON object, in the folder `folder` of a store. One instance is for one thread."""

    def __init__(self, store: Store, folder: str):
        self.store, self.folder = store, folder
        self.number = 0
        """Of the newest segment that this writer has made."""
        self.own: str | None = None
        """The segment on a disk that this writer may append to."""

    def add(self, lines: Sequence[str]) -> None:
        """Add lines; each gets a checksum."""
        sealed = [sealed_line(line) for line in lines]
        own, self.own = self.own, None  # should this write fail half-way, the next goes to a segment of its own
        if own is None:
            self.number = add_segment(self.store, self.folder, ".jsonl", sealed, self.number)
            own = f"{self.folder}/{self.number:06d}.jsonl"
        else:
            self.store.append(own, sealed)
        self.own = own if self.store.is_local else None

    def lines(self) -> list[str]:
        """The lines as they were added, by segment. A damaged one is left out, with a warning that names its file."""
        names = segment_names(self.store, self.folder)
        legacy = f"{self.folder}.jsonl"
        contents = self.store.read_many([legacy, *names])
        found = list(self._intact(legacy, contents[0], sealed=False))
        for name, content in zip(names, contents[1:], strict=True):
            found += self._intact(name, content, sealed=True)
        return found

    def _intact(self, name: str, content: bytes | None, *, sealed: bool) -> Iterator[str]:
        *whole, rest = (content or b"").split(b"\n")
        for number, raw in enumerate(whole, 1):
            line = raw.decode(errors="replace")
            plain = unsealed_line(line) if sealed else line if is_json(line) else None
            if plain is None:
                self.store.report_damage(name, f"line {number}", LOST)
            else:
                yield plain
        if rest:
            self.store.report_damage(name, "its last line is cut short", LOST)


def add_segment(store: Store, folder: str, suffix: str, lines: Sequence[str], after: int = 0) -> int:
    """Create the next segment of `folder`, with a number greater than `after`; returns its number."""
    content = "".join(f"{line}\n" for line in lines).encode()
    number = after + 1 if after else _highest(store, folder) + 1
    while not store.create(f"{folder}/{number:06d}{suffix}", content):
        number = max(number, _highest(store, folder)) + 1
    return number


def segment_names(store: Store, folder: str) -> list[str]:
    """Names of the segments, in the order of their numbers."""
    found = [name for name in store.names(folder) if name.split(".")[0].isdecimal()]
    return [f"{folder}/{name}" for name in sorted(found, key=_number)]


def _highest(store: Store, folder: str) -> int:
    return max((_number(name) for name in segment_names(store, folder)), default=0)


def _number(name: str) -> int:
    return int(name.rsplit("/", 1)[-1].split(".")[0])
