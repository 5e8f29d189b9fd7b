"""Checkpoints of an evaluation that trains, in its trial's folder; what each run needs to continue the one before it."""

import json
import time
from collections.abc import Callable

from ...evaluation.base import EvaluationConfig
from ...methods.snapshot import Snapshot
from ..store.trial_folder import TrialStore
from .checkpoint_writer import CheckpointWriter
from .journal import CONTINUE, STOP, Journal


class EvaluationCheckpoints:
    """Implements `evaluation.task.Checkpoints`: due after `Runtime.checkpoint_seconds`, and when the trial is asked to stop.

    A file is one line of JSON with the seconds that the evaluation has taken, and the evaluation's own state.
    """

    def __init__(self, config: EvaluationConfig, folder: TrialStore, journal: Journal):
        self.evaluation, self.runtime, self.journal = config.known_as, journal.runtime, journal
        self.files = folder.evaluation_checkpoints(config)
        self.writer = CheckpointWriter(journal, self.files.save)
        self.seconds_before = 0.0
        """What earlier runs took, up to the checkpoint that this one resumes from."""
        self.start = time.monotonic()
        self.stopping = False

    def seconds(self) -> float:
        """What the evaluation has taken so far, without what a restart repeated."""
        return self.seconds_before + time.monotonic() - self.start

    def load(self) -> bytes | None:
        """The newest intact state, on every rank; None if there is none."""
        content = self.files.newest()
        absent = self.runtime.largest([float(content is None)])[0]
        if absent or content is None:
            return None
        header, _, state = content.partition(b"\n")
        self.seconds_before = json.loads(header)["seconds"]
        return state

    def due(self) -> bool:
        """Whether to keep a checkpoint now; the ranks agree. Raises TrialFailed on all of them if writing has failed."""
        code = self.writer.request()
        self.stopping = code == STOP
        return code != CONTINUE

    def save(self, step: int, snapshot: Callable[[], Snapshot]) -> None:
        """Keep the state after `step` steps, on rank 0, while the evaluation continues.

        Raises:
            TrialStopped: the checkpoint was due because the trial was asked to stop; it is written.
            TrialFailed: that one could not be written.
        """
        header = json.dumps({"seconds": self.seconds()}).encode() + b"\n"
        self.writer.save(step, snapshot, header)
        if self.stopping:
            raise self.journal.stopped(f"after step {step} of {self.evaluation}")

    def discard(self) -> None:
        """Delete the checkpoints, the one that is being written too: the evaluation's record is written."""
        if self.runtime.is_first:
            self.writer.wait()
            self.files.clear()
