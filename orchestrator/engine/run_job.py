"""One job on one worker: check the data, run the trial under its lease, say how it ended, keep its log."""

import contextlib
import logging
import traceback
from collections.abc import Generator
from pathlib import Path

import torch.distributed as dist

from ...datasets.config import DatasetConfig
from ...datasets.prepared import Prepared
from ..spec.models import TrialSpec
from ..store.events import Event, StatusChanged
from ..store.files import Store, StoreError
from ..store.lease import Lease, held
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from ..trial.background import Background
from ..trial.failures import fault_of, is_in_words, reason_of
from ..trial.images import prepared_images
from ..trial.journal import OBJECT_SECONDS, Listener, TrialFailed, TrialStopped, tell_failure
from ..trial.probe import probe_trial
from ..trial.run import run_trial
from ..trial.runtime import Runtime
from .protocol import Job

log = logging.getLogger(__name__)

BUSY = "another sweep is computing it"


class WorkerSpoiled(Exception):
    """The trial failed in a way that may have left ranks at different places, or a GPU in a bad state."""


def run_job(job: Job, store: Store, data_root: Path, runtime: Runtime, listener: Listener) -> None:
    """Run one trial, or measure it; its last event says how it ended.

    Raises:
        WorkerSpoiled: this process is not fit for another trial.
        Exception: another rank is lost, and it or the engine knows why; the trial has no last event.
    """
    if job.probe is not None:
        _measure(job, job.probe, store, data_root, runtime, listener)
        return
    folder = TrialStore(store, job.trial_id)
    with contextlib.ExitStack() as stack:
        lease, otherwise = _leased(stack, folder) if runtime.is_first else (None, None)
        if not runtime.agree(int(lease is not None)):
            if otherwise is not None:
                listener.on_event(otherwise)
            return
        background = stack.enter_context(contextlib.closing(Background()))
        stack.enter_context(_logging_to(folder, runtime, background))
        try:
            trial = job.trial
            watched = listener if lease is None else _WhileHeld(listener, lease)
            prepared, elsewhere = _images(trial, job, data_root, runtime)
            run_trial(trial, folder, prepared, runtime, watched, background, elsewhere)
        except TrialStopped as stop:
            log.info("%s", stop)
        except TrialFailed as failure:
            log.error("%s", failure)
        except Exception as error:
            in_words, reason = is_in_words(error), reason_of(error)
            log.error("%s", reason if in_words else traceback.format_exc())
            if _lost_a_peer(error):
                raise
            # Of the ranks that fail together each says so: whichever rank failed alone, its reason is told.
            tell_failure(folder, listener, reason, fault_of(error), background)
            if runtime.world_size > 1 or (runtime.device.type == "cuda" and not in_words):
                raise WorkerSpoiled(reason) from error


def _measure(job: Job, file: str, store: Store, data_root: Path, runtime: Runtime, listener: Listener) -> None:
    """Probe the job's trial. The record is in the store before the end is told."""
    spoiled: Exception | None = None
    try:
        trial = job.trial
        images = _images(trial, job, data_root, runtime)
        store.write_record(file, probe_trial(trial, *images, store, runtime, listener))
        end = StatusChanged(state=TrialState.FINISHED)
    except TrialStopped as stop:
        end = StatusChanged(state=stop.state, reason=str(stop))
    except Exception as error:
        log.error("%s", traceback.format_exc())
        end = StatusChanged(state=TrialState.FAILED, reason=reason_of(error), fault=fault_of(error))
        spoiled = error if runtime.device.type == "cuda" else None
    listener.on_event(end)
    if spoiled is not None:
        raise WorkerSpoiled(end.reason) from spoiled


def _leased(stack: contextlib.ExitStack, folder: TrialStore) -> tuple[Lease | None, StatusChanged | None]:
    """The trial's lease until `stack` unwinds; otherwise what ends the job."""
    try:
        lease = stack.enter_context(held(folder.store, folder.folder))
    except StoreError as error:
        return None, StatusChanged(state=TrialState.FAILED, reason=str(error), fault=error.fault)
    return lease, None if lease is not None else StatusChanged(state=TrialState.WAITING, reason=BUSY)


class _WhileHeld:
    """A listener that also ends the trial once its lease is lost: then another sweep computes it."""

    def __init__(self, listener: Listener, lease: Lease):
        self.listener, self.lease = listener, lease

    def on_event(self, event: Event) -> None:
        self.listener.on_event(event)

    def stop_requested(self) -> TrialState | None:
        return TrialState.INTERRUPTED if self.lease.lost else self.listener.stop_requested()


def _images(trial: TrialSpec, job: Job, data_root: Path, runtime: Runtime) -> tuple[Prepared, dict[str, Prepared]]:
    """Those of the trial, and by fingerprint those of its evaluations on other data sets."""
    others = {fingerprint: dataset for dataset, fingerprint in trial.other_datasets}
    elsewhere = {key: _prepared(config, key, data_root, runtime) for key, config in others.items()}
    return _prepared(trial.dataset, job.fingerprint, data_root, runtime), elsewhere


def _prepared(config: DatasetConfig, fingerprint: str, data_root: Path, runtime: Runtime) -> Prepared:
    # Preparing takes hours, which is no sign of a trial that hangs.
    return prepared_images(config, fingerprint, data_root, lambda _done, _total: runtime.pulse.beat())


def _lost_a_peer(error: Exception) -> bool:
    """Whether a collective failed because another rank has gone. Gloo says so in words alone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error).lower())


@contextlib.contextmanager
def _logging_to(folder: TrialStore, runtime: Runtime, background: Background) -> Generator[None]:
    """Send what this process logs to the trial's log; each rank's lines carry its number."""
    handler = _StoreHandler(folder, runtime.rank, background)
    logger = logging.getLogger("ssl_sweep")
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):  # and left so: a change of level empties the caches of all loggers
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _StoreHandler(logging.Handler):
    """Adds to the trial's log, in the background: the first rank everything, the others what went wrong."""

    def __init__(self, folder: TrialStore, rank: int, background: Background):
        super().__init__(logging.INFO if rank == 0 else logging.ERROR)
        self.folder, self.background = folder, background
        self.delay = 0.0 if folder.store.is_local else OBJECT_SECONDS
        self._waiting: list[str] = []
        """Added to by any thread, taken from by the one that writes."""
        self.setFormatter(logging.Formatter(f"%(asctime)s rank {rank} %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Have one record written soon."""
        lines = self.format(record).splitlines()
        if not self.background.is_here:  # a process that decodes images, forked from this one
            self.folder.add_log(lines)
            return
        self._waiting += lines
        self.background.within(self.delay, self._write)

    def _write(self) -> None:
        lines = list(self._waiting)
        if lines:
            self.folder.add_log(lines)
            del self._waiting[: len(lines)]
