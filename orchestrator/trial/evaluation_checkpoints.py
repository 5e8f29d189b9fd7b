"""Checkpoints of an evaluation that trains, in its trial's folder; what each run needs to continue the one before it."""

import hashlib
import json
import logging
import time
from collections.abc import Callable

from ...evaluation.base import EvaluationConfig
from ..spec.identity import evaluation_id
from ..store.trial_folder import TrialStore
from .event_log import EventLog, TrialStopped
from .pretrain import CHECKPOINT, CONTINUE, STOP
from .runtime import Runtime

log = logging.getLogger(__name__)


class EvaluationCheckpoints:
    """Implements `evaluation.task.Checkpoints`: due after `Runtime.checkpoint_seconds`, and when the trial is asked to stop.

    A file is one line of JSON, with the seconds that the evaluation has taken and a SHA-256 of them and the rest, and the rest.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        folder: TrialStore,
        runtime: Runtime,
        events: EventLog,
    ):
        self.evaluation, self.folder, self.runtime, self.events = config.name, folder, runtime, events
        self.file = folder.name(f"evaluations/checkpoints/{evaluation_id(config)}.pt")
        self.seconds_before = 0.0
        """What earlier runs took, up to the checkpoint that this one resumes from."""
        self.start = self.saved = time.monotonic()
        self.stopping = False

    def seconds(self) -> float:
        """What the evaluation has taken so far, without what a restart repeated."""
        return self.seconds_before + time.monotonic() - self.start

    def load(self) -> bytes | None:
        """The state that was kept last, on every rank; None if there is none, or if it is damaged, which is logged."""
        content = self.folder.store.read(self.file)
        opened = None if content is None else _opened(content)
        if content is not None and opened is None:
            path = self.folder.store.path(self.file)
            log.warning("the checkpoint %s is damaged: %s starts anew", path, self.evaluation)
        absent = self.runtime.largest([float(opened is None)])[0]
        if absent or opened is None:
            return None
        self.seconds_before, state = opened
        return state

    def due(self) -> bool:
        code = self.runtime.agree(self._request())
        self.stopping = code == STOP
        return code != CONTINUE

    def _request(self) -> int:
        """What rank 0 wants done."""
        if not self.runtime.is_first:
            return CONTINUE
        if self.events.stop_requested():
            return STOP
        return CHECKPOINT if time.monotonic() - self.saved > self.runtime.checkpoint_seconds else CONTINUE

    def save(self, content: Callable[[], bytes]) -> None:
        """Keep the state, on rank 0.

        Raises:
            TrialStopped: the checkpoint was due because the trial was asked to stop.
        """
        if self.runtime.is_first:
            self.events.flush()
            self.folder.store.write(self.file, _sealed(content(), self.seconds()))
        self.saved = time.monotonic()
        if self.stopping:
            raise TrialStopped(f"stopped during {self.evaluation}")

    def discard(self) -> None:
        """Delete the checkpoint: the evaluation's record is written."""
        if self.runtime.is_first:
            self.folder.store.delete(self.file)


def _sealed(state: bytes, seconds: float) -> bytes:
    header = {"seconds": seconds, "sha256": _digest(state, seconds)}
    return json.dumps(header).encode() + b"\n" + state


def _opened(content: bytes) -> tuple[float, bytes] | None:
    """Seconds and state of a file; None if it is not what was written."""
    line, _, state = content.partition(b"\n")
    try:
        header = json.loads(line)
        seconds = float(header["seconds"])
        whole = header["sha256"] == _digest(state, seconds)
    except (ValueError, KeyError, TypeError):
        return None
    return (seconds, state) if whole else None


def _digest(state: bytes, seconds: float) -> str:
    digest = hashlib.sha256(seconds.hex().encode())
    digest.update(state)
    return digest.hexdigest()
