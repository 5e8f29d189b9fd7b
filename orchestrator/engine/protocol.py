"""What an engine is: it takes jobs, runs each on workers of a shape, and hands back what happens."""

from collections.abc import Container
from typing import NamedTuple, Protocol

from ...datasets.config import DatasetConfig
from ...methods.quantities import noun_of
from ..spec.models import KeptSplits, ShapeConfig, TrialSpec
from ..store.events import Event
from ..store.fault import Fault
from ..store.trial_state import TrialState


class Shape(NamedTuple):
    """The workers that one trial takes."""

    workers: int
    cpus: int
    """Of each worker."""
    gpus: float
    """Of each worker."""
    threads: int
    """Of each worker that compute: fewer than `cpus` where a trial has a machine to itself."""
    decoders: int
    """Processes of each worker that decode images."""

    @classmethod
    def of(cls, resources: ShapeConfig, *, cluster_has_gpus: bool) -> "Shape":
        """As the sweep asks; unset, or not measured, a worker takes a GPU if the cluster has any."""
        gpus = resources.known_gpus
        gpus = float(cluster_has_gpus) if gpus is None else gpus
        cpus = resources.cpus_per_worker
        return cls(resources.workers, cpus, gpus, cpus, resources.decoders(gpus > 0))

    def __str__(self) -> str:
        """``2 workers × (4 CPUs, 1 GPU)``."""
        parts = [_count(self.cpus, "CPU")] + ([_count(self.gpus, "GPU")] if self.gpus else [])
        return f"{_count(self.workers, 'worker')} × ({', '.join(parts)})"


def _count(number: float, noun: str) -> str:
    return f"{number:g} {noun_of(number, noun)}"


class Job(NamedTuple):
    """One trial to run, as it travels to a worker."""

    trial_id: str
    trial_json: str
    """A `TrialSpec`: the same text on every machine, whichever plug-ins it has."""
    fingerprint: str
    """Of the data: a worker refuses other images."""
    resources: ShapeConfig = ShapeConfig()
    alone: bool = False
    """Whether each worker is to have a machine to itself, for its memory."""
    probe: str | None = None
    """The trial is measured instead, and this is the file of the store that gets its `ProbeRecord`."""
    keep_every: int = 0
    """See `TrialSpec.keep_every`."""
    features: KeptSplits = "none"
    """See `TrialSpec.features`."""

    @property
    def trial(self) -> TrialSpec:
        """The trial. Raises ValidationError if a plug-in that it names is missing here."""
        trial = TrialSpec.model_validate_json(self.trial_json)
        return trial.model_copy(update={"keep_every": self.keep_every, "features": self.features})

    def datasets(self, but: Container[str] = ()) -> dict[str, DatasetConfig]:
        """By fingerprint, the data sets that the trial needs. It is read only if it may need others than those in `but`."""
        if self.fingerprint in but and '"fingerprint"' not in self.trial_json:
            return {}
        trial = self.trial
        return {self.fingerprint: trial.dataset} | {key: dataset for dataset, key in trial.other_datasets}


class TrialEvent(NamedTuple):
    """An event, and whose it is."""

    trial_id: str
    event: Event


class EngineLost(Exception):
    """A part of the engine that all trials need has ended; another engine can continue them from the store."""


class Engine(Protocol):
    """Runs jobs. Everything in it can be lost at any time: what is complete is in the store.

    Any method but `start` and `close` may raise EngineLost.
    """

    def start(self) -> None:
        """Acquire what jobs run on.

        Raises:
            UserError: it cannot be had.
        """
        ...

    @property
    def room(self) -> int:
        """How many jobs run at once; known once it is started."""
        ...

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        """Queue jobs; they start in this order as workers become free, before all that wait if they are to be `first`."""
        ...

    def larger(self, job: Job, fault: Fault) -> Job | None:
        """The job with more of the memory that `fault` says was too little; None if there is no more."""
        ...

    def events(self, timeout: float) -> list[TrialEvent]:
        """What has happened since the last call, in order for each trial; waits up to `timeout` seconds for something.

        A `StatusChanged` to anything but running is the last event of a job. To waiting: another sweep is computing the trial.
        A job that failed may be submitted again.

        Raises:
            UserError: no worker can be kept running.
        """
        ...

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to keep a checkpoint and end in `state`; returns those withdrawn before they began."""
        ...

    def close(self) -> None:
        """Let go of everything; running trials end without a checkpoint."""
        ...
