"""GPUs shared by trials that take a part of one: how large a part is measured, once for each kind of trial.

A trial whose `gpus_per_worker` is `auto` waits until a probe, a few of its steps on a whole GPU, has shown how many such trials
one GPU carries. The store keeps what was measured, so later trials of the kind begin at once.
"""

import contextlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..spec.identity import kind_id
from ..spec.models import AUTO
from ..store.events import EvaluationDone, Event, PretrainingDone, StatusChanged
from ..store.fault import Fault
from ..store.files import Store, StoreError
from ..store.probe_record import ProbeRecord
from ..store.records import Cost
from ..store.trial_state import TrialState
from .faults import Action, FaultPolicy
from .protocol import Engine, Job, TrialEvent

COUNTS = (10, 8, 5, 4, 3, 2)
"""Trials to a GPU: Ray counts ten-thousandths of it, and parts of a sixth, a seventh or a ninth, rounded up, do not fit together."""
RESERVE = 0.15
"""Of a GPU's memory, left free: a trial may come to need more than its first steps did."""


def trials_on_a_gpu(probe: ProbeRecord) -> int:
    """How many such trials one GPU carries: what fits its memory, and no more than keep it busy.

    A trial that alone keeps a GPU busy for 40 % of the time gains from one other beside it and not from four, as they would
    wait for one another. What was not measured allows for none.
    """
    if probe.total is None or not probe.memory or not probe.busy:
        return 1
    room = min(int(probe.total * (1 - RESERVE) / probe.memory), round(1 / probe.busy))
    return next((count for count in COUNTS if count <= room), 1)


def share_of(probe: ProbeRecord) -> float:
    """The part of a GPU that such a trial takes, rounded as Ray does."""
    return int(10_000 / trials_on_a_gpu(probe)) / 10_000


class GpuEngine(Engine, Protocol):
    """An engine that knows what GPUs it has."""

    @property
    def gpu(self) -> str | None:
        """Their model; None if it has none, or several models. Known once it is started."""
        ...


class _Kind(NamedTuple):
    """Trials that need the same."""

    file: str
    """Of the store: their `ProbeRecord`."""
    title: str


class SharingEngine:
    """The `Engine` around another, to which it gives trials with `auto` once their part of a GPU is known."""

    def __init__(
        self, engine: GpuEngine, store: Store, say: Callable[[str], None], *, compiled: bool, max_failures: int
    ):
        """Args:
        engine: runs what this one gives it.
        store: has the records of probes.
        say: takes what a user should know.
        compiled: whether backbones are compiled, see `resources.compile`.
        max_failures: restarts of a probe, see `engine.faults`.
        """
        self.engine, self.store, self._say, self.compiled = engine, store, say, compiled
        self._policy = FaultPolicy(max_failures)
        self._kinds: dict[str, _Kind] = {}
        """By trial, of those with `auto`."""
        self._given: dict[str, Job] = {}
        """By trial, what the engine was given for it last."""
        self._shares: dict[_Kind, float] = {}
        """Of kinds that need not be measured."""
        self._held: dict[_Kind, list[Job]] = {}
        """Of kinds that are being measured."""
        self._probes: dict[str, tuple[_Kind, Job]] = {}
        """By the id of the job."""

    def start(self) -> None:
        """Start the engine."""
        self.engine.start()

    @property
    def room(self) -> int:
        """How many jobs run at once, as far as it is known what they take."""
        return self.engine.room

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        """Queue jobs; those of a kind that has not been measured wait for its probe, which is queued in their place."""
        ready = [admitted for job in jobs if (admitted := self._admit(job)) is not None]
        if ready:
            self.engine.submit(ready, first=first)

    def larger(self, job: Job, fault: Fault) -> Job | None:
        """As of the engine."""
        return self.engine.larger(self._given.get(job.trial_id, job), fault)

    def events(self, timeout: float) -> list[TrialEvent]:
        """What has happened to trials since the last call."""
        found: list[TrialEvent] = []
        for trial_id, event in self.engine.events(timeout):
            if trial_id in self._probes:
                self._after_probe(trial_id, event)
                continue
            if isinstance(event, PretrainingDone | EvaluationDone) and trial_id in self._kinds:
                self._learn(self._kinds[trial_id], event.cost)
            found.append(TrialEvent(trial_id, event))
        return found

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`; returns those withdrawn before they began."""
        withdrawn: list[str] = []
        for kind, jobs in self._held.items():
            withdrawn += [job.trial_id for job in jobs if trial_id in (None, job.trial_id)]
            self._held[kind] = [job for job in jobs if trial_id not in (None, job.trial_id)]
        for name in self.engine.stop(trial_id, state):
            if name in self._probes:
                del self._held[self._probes.pop(name)[0]]
            else:
                withdrawn.append(name)
        return withdrawn

    def close(self) -> None:
        """Let go of everything."""
        self.engine.close()

    # -- probes --

    def _admit(self, job: Job) -> Job | None:
        """What the engine is to be given for the job now: it with its part of a GPU, or the probe that it waits for."""
        if job.resources.gpus_per_worker != AUTO or self.engine.gpu is None:
            self._given.pop(job.trial_id, None)
            return job
        trial = job.trial
        name = kind_id(trial, job.fingerprint, job.resources, compiled=self.compiled)
        title = f"{trial.method.name} with {trial.backbone.name}"
        kind = self._kinds[job.trial_id] = _Kind(ProbeRecord.file(name, self.engine.gpu), title)
        if kind in self._held:
            self._held[kind].append(job)
            return None
        record = None if kind in self._shares else self._record(kind)
        if record is not None:
            self._shares[kind] = share_of(record)
        if kind in self._shares:
            return self._sized(job, kind)
        self._say(f"{title}: measuring how much of a GPU it needs; its trials wait")
        self._held[kind] = [job]
        whole = job.resources.model_copy(update={"gpus_per_worker": 1.0})
        probe = job._replace(trial_id=f"probe-{name}", resources=whole, probe=kind.file)
        self._probes[probe.trial_id] = kind, probe
        return probe

    def _sized(self, job: Job, kind: _Kind) -> Job:
        sized = job._replace(resources=job.resources.model_copy(update={"gpus_per_worker": self._shares[kind]}))
        self._given[job.trial_id] = sized
        return sized

    def _after_probe(self, trial_id: str, event: Event) -> None:
        if not isinstance(event, StatusChanged) or event.state is TrialState.RUNNING:
            return
        kind, probe = self._probes[trial_id]
        waits = bool(self._held[kind])
        if waits and event.fault is not None and self._policy.decide(trial_id, event.fault) is Action.RETRY:
            self.engine.submit([probe], first=True)
            return
        del self._probes[trial_id]
        record = self._record(kind) if event.state is TrialState.FINISHED else None
        self._shares[kind] = 1.0 if record is None else share_of(record)
        if record is not None:
            self._say(f"{kind.title}: {_in_words(record)}")
        elif waits:
            self._say(f"{kind.title}: not measured ({event.reason}), so each trial takes a whole GPU")
        jobs = [self._sized(job, kind) for job in self._held.pop(kind)]
        if jobs:
            self.engine.submit(jobs, first=True)

    def _learn(self, kind: _Kind, cost: Cost) -> None:
        """A trial came to need more memory than the probe saw: those that follow it shall have it."""
        record = self._record(kind)
        if record is None or cost.device != record.cost.device or not cost.gpu_reserved:
            return
        if cost.gpu_reserved <= (record.cost.gpu_reserved or 0):
            return
        memory = {"gpu_reserved": cost.gpu_reserved, "gpu_allocated": cost.gpu_allocated}
        record = record.model_copy(update={"cost": record.cost.model_copy(update=memory)})
        self._shares[kind] = share_of(record)
        with contextlib.suppress(StoreError):  # the next trial of the kind learns it again
            self.store.write_record(kind.file, record)

    def _record(self, kind: _Kind) -> ProbeRecord | None:
        with contextlib.suppress(StoreError):  # without it a trial takes a whole GPU
            return self.store.read_record(kind.file, ProbeRecord)


def _in_words(record: ProbeRecord) -> str:
    count = trials_on_a_gpu(record)
    busy = "" if record.busy is None else f", alone it keeps the GPU busy for {record.busy:.0%} of the time"
    return f"{count} to a GPU: each takes {record.memory / 1e9:.1f} of {(record.total or 0) / 1e9:.1f} GB{busy}"
