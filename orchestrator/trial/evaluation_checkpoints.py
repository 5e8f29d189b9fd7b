"""Checkpoints of an evaluation that trains, in its trial's folder; what each run needs to continue the one before it."""

import json
import time
from collections.abc import Callable

from ...evaluation.base import EvaluationConfig
from ..store.trial_folder import TrialStore
from .journal import Journal
from .pretrain import CHECKPOINT, CONTINUE, STOP
from .runtime import Runtime


class EvaluationCheckpoints:
    """Implements `evaluation.task.Checkpoints`: due after `Runtime.checkpoint_seconds`, and when the trial is asked to stop.

    A file is one line of JSON with the seconds that the evaluation has taken, and the evaluation's own state.
    """

    def __init__(self, config: EvaluationConfig, folder: TrialStore, runtime: Runtime, journal: Journal):
        self.evaluation, self.runtime, self.journal = config.name, runtime, journal
        self.files = folder.evaluation_checkpoints(config)
        self.seconds_before = 0.0
        """What earlier runs took, up to the checkpoint that this one resumes from."""
        self.start = self.saved = time.monotonic()
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
        """Whether to keep a checkpoint now; the ranks agree."""
        code = self.runtime.agree(self._request())
        self.stopping = code == STOP
        return code != CONTINUE

    def _request(self) -> int:
        """What rank 0 wants done."""
        if not self.runtime.is_first:
            return CONTINUE
        if self.journal.stop_requested():
            return STOP
        return CHECKPOINT if time.monotonic() - self.saved > self.runtime.checkpoint_seconds else CONTINUE

    def save(self, step: int, content: Callable[[], bytes]) -> None:
        """Keep the state after `step` steps, on rank 0.

        Raises:
            TrialStopped: the checkpoint was due because the trial was asked to stop.
        """
        if self.runtime.is_first:
            self.journal.flush()
            header = json.dumps({"seconds": self.seconds()}).encode()
            self.files.save(step, header + b"\n" + content())
        self.saved = time.monotonic()
        if self.stopping:
            raise self.journal.stopped(f"after step {step} of {self.evaluation}")

    def discard(self) -> None:
        """Delete the checkpoints: the evaluation's record is written."""
        if self.runtime.is_first:
            self.files.clear()
