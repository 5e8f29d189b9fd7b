"""What MLflow already has of each trial, kept in the store: a sweep that is submitted again asks neither events nor MLflow."""

from collections.abc import Iterable

from pydantic import Field

from ..spec.secrets import without_passwords
from ..store.checked import digest, digest_of_record
from ..store.events import EpochDone, EvaluationDone, Event, PretrainingDone, StepDone
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.records import Record
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus


class Tracked(Record):
    """One trial's run."""

    run_id: str
    parameters: str
    """Digest of those that the run has: MLflow never changes one."""
    settled: str = ""
    """Digest of the status that the run shows in full; empty while it does not."""


class Written(Record):
    """Which metrics of a trial its run has: a fold over its events. A resumed trial repeats steps; each is written once."""

    step: int = 0
    """Steps of the pretraining."""
    epoch: int = 0
    """Epochs of the pretraining."""
    stages: tuple[str, ...] = ()
    """Evaluation ids whose results are written, and ``pretrain`` once its costs are."""

    def after(self, event: Event) -> "Written":
        """With the metrics of `event` written; unchanged if they are written already, or it has none."""
        match event:
            case StepDone() if event.step > self.step:
                return self.model_copy(update={"step": event.step})
            case EpochDone() if event.epoch > self.epoch:
                return self.model_copy(update={"epoch": event.epoch})
            case PretrainingDone() if event.stage not in self.stages:
                return self.model_copy(update={"stages": (*self.stages, event.stage)})
            case EvaluationDone() if event.evaluation_id not in self.stages:
                return self.model_copy(update={"stages": (*self.stages, event.evaluation_id)})
            case _:
                return self


class Ledger(Record):
    """The runs of a sweep."""

    uri: str = ""
    """Without its password."""
    parent: str = ""
    complete: bool = False
    """Whether these are all the runs that MLflow has: the process that wrote it ended well, and no other began since."""
    shown: str = ""
    """Digest of what the sweep's own run shows: file, report and end."""
    trials: dict[str, Tracked] = Field(default_factory=dict)

    @classmethod
    def name(cls, sweep: str) -> str:
        """Its place in the store."""
        return f"sweeps/{sweep}/mlflow.json"

    @classmethod
    def read(cls, store: Store, sweep: str, uri: str) -> "Ledger":
        """The ledger of this MLflow; an empty one if there is none, or it is of another MLflow."""
        found, shown = store.read_record(cls.name(sweep), cls), without_passwords(uri)
        return found if found is not None and found.uri == shown else cls(uri=shown)

    def has_all(self, trials: Iterable[tuple[PlannedTrial, TrialStatus]], shown: str) -> bool:
        """Whether MLflow has the whole sweep, unless somebody removed something there."""
        return self.complete and self.shown == shown and not any(self.misses(*trial) for trial in trials)

    def misses(self, item: PlannedTrial, status: TrialStatus) -> bool:
        """Whether MLflow does not show all of a trial that has begun."""
        tracked = self.trials.get(item.trial_id)
        return status.attempts > 0 and (
            tracked is None or tracked.settled != settled_digest(status, item.evaluation_ids, item.trial.dataset.title)
        )


def shown_digest(store: Store, sweep: str, end: TrialState) -> str:
    """What the sweep's own run shows once it is whole."""
    folder = f"sweeps/{sweep}"
    parts = [digest(store.read(f"{folder}/{name}") or b"") for name in ("sweep.yaml", "report/digest")]
    return digest(" ".join([*parts, end]).encode())[:16]


def settled_digest(status: TrialStatus, evaluation_ids: list[str], title: str | None = None) -> str:
    """What a trial's run shows once it is whole: state, records and attempts, and the title that its data set was given."""
    shown = status.model_copy(
        update={"evaluations": {k: v for k, v in status.evaluations.items() if k in evaluation_ids}}
    )
    found = digest_of_record(shown, {"progress"})
    return (found if title is None else digest(f"{found} {title}".encode()))[:16]
