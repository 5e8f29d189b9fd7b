"""A few steps of a trial, for what it needs of a GPU: its memory, and the share of the time in which it keeps the GPU busy.

The trial trains as it will, on its own images, in a store that is deleted afterwards. So nothing that is measured is a model
of the training, and nothing of the training has to know that it is measured.
"""

import contextlib
import gc
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from ...datasets.batches import steps_per_epoch
from ...datasets.image_set import ImageSet
from ...datasets.prepared import Prepared
from ...evaluation.registry import EVALUATIONS
from ...evaluation.task import NoCheckpoints, NotFinite, Refused
from ...methods import build_method
from ..spec.models import TrialSpec
from ..store.events import Event
from ..store.files import Store
from ..store.probe_record import ProbeRecord
from ..store.scratch import prefix
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from .background import Background
from .images import TrialImages
from .journal import Journal, Listener, TrialStopped
from .learner import new_encoder
from .pretrain import pretrain
from .run import task_of
from .runtime import Runtime, measured

WARM_UP, TIMED, PROFILED = 5, 20, 5
"""Steps: before anything is measured, for the time, and for the work of the GPU, which takes time to be written down."""
TRAINED = 3
"""Steps of an evaluation that trains: after the first one the optimizer has all its memory."""
LOOK_SECONDS = 10.0
"""For an evaluation that does not train: enough for all of it on small data sets."""


def probe_trial(
    trial: TrialSpec,
    prepared: Prepared,
    elsewhere: Mapping[str, Prepared],
    store: Store,
    runtime: Runtime,
    listener: Listener,
) -> ProbeRecord:
    """Measure `trial` on the device of `runtime`, which it has for itself; nothing is kept.

    `elsewhere` as for `run_trial`; `store` has the label lists.

    Raises:
        TrialStopped: the listener asked for it.
        Exception: as the trial itself would.
    """
    trial = trial.model_copy(
        update={"backbone": trial.backbone.model_copy(update={"weights": None})}
    )  # any cost the same
    watch = _Watch(runtime, listener)
    images = TrialImages(trial, prepared, elsewhere, runtime, store)
    with measured(runtime) as meter:
        _train(trial, *images.own, runtime, watch)
        gc.collect()
        _evaluate(trial, images, runtime, watch)
        outside, total = _beside_torch(runtime.device)
    seconds = watch.seconds / TIMED if watch.seconds else None
    return ProbeRecord(
        cost=meter.cost,
        outside=outside,
        total=total,
        images_per_second=trial.pretrain.batch_size / seconds if seconds else None,
        busy=min(1.0, watch.computed / PROFILED / seconds) if seconds and watch.computed else None,
    )


def _train(trial: TrialSpec, train: ImageSet, test: ImageSet, runtime: Runtime, watch: "_Watch") -> None:
    """Train for as many steps as the watch wants, without what comes between epochs: the evaluations have their own turn."""
    steps = steps_per_epoch(len(train), trial.pretrain.batch_size) if trial.method.trains else 1
    epochs = watch.last // steps + 2
    changes = {"epochs": epochs, "knn_every": 0, "diagnose_every": 0, "stop_collapsed": None}
    trial = trial.model_copy(update={"pretrain": trial.pretrain.model_copy(update=changes)})
    with tempfile.TemporaryDirectory(prefix=prefix()) as scratch, closing(Background()) as writes:
        folder = TrialStore(Store(scratch), "probe")
        try:
            pretrain(trial, folder, train, test, runtime, Journal(folder, runtime, watch, writes))
        except TrialStopped:
            watch.refuse_stopped()


def _evaluate(trial: TrialSpec, images: TrialImages, runtime: Runtime, watch: "_Watch") -> None:
    """Begin each evaluation, of an untrained backbone."""
    encoder = build_method(trial.method, new_encoder(trial), images.own[0].info).backbone
    task = task_of(trial, encoder, images, runtime)
    for config in trial.evaluate:
        begun = _Begun(runtime, watch)
        train, test = images.of(config)
        begins = task._replace(train=train, test=test, checkpoints=begun, is_alive=begun.is_alive)
        with contextlib.suppress(_Enough, Refused, NotFinite):  # the trial itself will say so
            EVALUATIONS[config.name].run(begins, config)


def _beside_torch(device: torch.device) -> tuple[int, int | None]:
    """Bytes of the GPU that are taken and not by torch's allocator, and all that it has."""
    if device.type != "cuda":
        return 0, None
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device), total


class _Watch:
    """The listener of a training, which asks it once after each step whether to stop."""

    def __init__(self, runtime: Runtime, listener: Listener):
        self.listener = listener
        self.device = runtime.device if runtime.device.type == "cuda" else None
        self.last = WARM_UP + TIMED + (PROFILED if self.device else 0)
        self.seconds = 0.0
        """That the timed steps took."""
        self.computed = 0.0
        """Seconds in which the GPU computed during the profiled steps."""
        self._steps = 0
        self._began = 0.0
        self._profile: profile | None = None

    def on_event(self, event: Event) -> None:
        """Nobody is told of what is not kept."""

    def stop_requested(self) -> TrialState | None:
        """Count a step; after the last one, and if the user wants it, the training ends."""
        self._steps += 1
        if self._steps == WARM_UP:
            self._began = self._now()
        elif self._steps == WARM_UP + TIMED:
            self.seconds = self._now() - self._began
            if self.device:
                self._profile = profile(activities=[ProfilerActivity.CUDA])
                self._profile.start()
        elif self._steps == self.last and self._profile is not None:
            self._now()
            self._profile.stop()
            self.computed = _gpu_seconds(self._profile)
        return TrialState.INTERRUPTED if self._steps >= self.last else self.listener.stop_requested()

    def refuse_stopped(self) -> None:
        """Raise TrialStopped if the user wants an end."""
        wanted = self.listener.stop_requested()
        if wanted is not None:
            raise TrialStopped(wanted, "while it was measured")

    def _now(self) -> float:
        if self.device:
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class _Enough(Exception):
    """An evaluation has shown what it needs."""


class _Begun(NoCheckpoints):
    """Ends an evaluation after its first steps."""

    def __init__(self, runtime: Runtime, watch: _Watch):
        self.runtime, self.watch = runtime, watch
        self._steps = 0
        self._began = time.monotonic()

    def due(self) -> bool:
        """Asked after each step of a training."""
        self._steps += 1
        self._refuse(self._steps >= TRAINED)
        return False

    def is_alive(self) -> None:
        """Told between batches of what has no steps."""
        self._refuse(time.monotonic() - self._began > LOOK_SECONDS)

    def _refuse(self, enough: bool) -> None:
        self.runtime.pulse.beat()
        self.watch.refuse_stopped()
        if enough:
            raise _Enough


def _gpu_seconds(profiled: profile) -> float:
    """The time in which any kernel or copy ran, in seconds."""
    events: Iterable[Any] = profiled.events() or ()
    on_gpu = [event for event in events if event.device_type is DeviceType.CUDA and not event.is_user_annotation]
    return covered((event.time_range.start, event.time_range.end) for event in on_gpu) / 1e6


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of spans: kernels of several streams run side by side."""
    length, end = 0.0, float("-inf")
    for first, last in sorted(spans):
        length += max(0.0, last - max(first, end))
        end = max(end, last)
    return length
