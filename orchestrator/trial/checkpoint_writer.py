"""When a training keeps a checkpoint, and how: copied at once, and written while the training continues."""

import time
from collections.abc import Callable
from typing import NamedTuple

from ...methods.snapshot import Snapshot
from .journal import Journal


class _Held(NamedTuple):
    step: int
    snapshot: Snapshot
    header: bytes


class CheckpointWriter:
    """Writes the checkpoints of one training, one at a time; every rank has one, and the first rank's writes.

    A checkpoint waits for the one before it. Were it skipped instead, a slow store could cost any number of intervals; so it
    costs at most one and the time of a write, never takes more memory than one copy, and shows in the images per second.
    """

    def __init__(self, journal: Journal, write: Callable[[int, bytes], None]):
        """`write` keeps the content of the checkpoint after so many steps; the background thread calls it."""
        self.journal, self.write = journal, write
        self.saved = time.monotonic()
        self._held: _Held | None = None

    def request(self) -> int:
        """As `Journal.request`, which every rank calls, with a checkpoint each `Runtime.checkpoint_seconds`."""
        return self.journal.request(time.monotonic() - self.saved > self.journal.runtime.checkpoint_seconds)

    def save(self, step: int, snapshot: Callable[[], Snapshot], header: bytes = b"") -> None:
        """Keep the state after `step` steps, on rank 0: `snapshot` is called at once, and written after `header` later.

        The events so far are written before it, for a resume will not tell them again.
        """
        if self.journal.runtime.is_first:
            self.wait()
            self._held = _Held(step, snapshot(), header)
            self.journal.write_soon()
            self.journal.background.within(0, self._write)
        self.saved = time.monotonic()

    def wait(self) -> None:
        """Until the checkpoint is written that was saved last."""
        self.journal.background.wait(self._write)

    def _write(self) -> None:
        held, self._held = self._held, None
        assert held is not None, "asked for once for each checkpoint"
        self.write(held.step, held.snapshot.to_bytes(held.header))
