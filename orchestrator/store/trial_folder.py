"""One trial's folder in the store: what it has done, and the files that a resume starts from."""

from collections.abc import Sequence

from ...evaluation.config import FinetuneConfig, KnnConfig, LinearConfig
from ..spec.identity import evaluation_id
from ..spec.models import TrialSpec
from .events import EVENT, EpochDone, Event, StageStarted, StatusChanged
from .files import Store
from .records import EpochRecord, EvaluationRecord, PretrainRecord, Record
from .trial_state import TrialState
from .trial_status import TrialStatus


class Failure(Record):
    """Why a trial of the first edition failed: its `failure.json`."""

    reason: str
    """One line."""


class TrialStore:
    """The folder of one trial."""

    def __init__(self, store: Store, trial_id: str):
        self.store = store
        self.trial_id = trial_id
        self.folder = f"trials/{trial_id}"

    def name(self, file: str) -> str:
        return f"{self.folder}/{file}"

    @property
    def log(self) -> str:
        return self.store.path(self.name("log.txt"))

    # -- what is done --

    def pretrained(self) -> PretrainRecord | None:
        """The record of the pretraining, once the backbone is kept."""
        return self.store.read_record(self.name("pretrain.json"), PretrainRecord)

    def evaluation(self, config: KnnConfig | LinearConfig | FinetuneConfig) -> EvaluationRecord | None:
        return self.store.read_record(self.name(f"evaluations/{evaluation_id(config)}.json"), EvaluationRecord)

    def status(self) -> TrialStatus:
        """Where the trial stands, as its latest process knew; of the first edition's trials, as their records tell."""
        kept = self.store.read_record(self.name("state.json"), TrialStatus)
        return self.status_of_records() if kept is None else kept

    def status_of_records(self) -> TrialStatus:
        """The status without `state.json`: that file is lost or damaged, or was not yet written in the first edition."""
        started = self.store.read_json(self.name("trial.json"))
        if started is None:
            return TrialStatus()
        status = TrialStatus(state=TrialState.INTERRUPTED, attempts=1)
        for event in self.events():
            status = status.apply(event) if isinstance(event, (StageStarted, EpochDone)) else status
        failure = self.store.read_record(self.name("failure.json"), Failure)
        names = [name.removesuffix(".json") for name in self.store.names(self.name("evaluations"))]
        records = {
            name: self.store.read_record(self.name(f"evaluations/{name}.json"), EvaluationRecord) for name in names
        }
        return status.model_copy(
            update={
                "state": TrialState.FAILED if failure else TrialState.INTERRUPTED,
                "reason": failure.reason if failure else None,
                "pretrain": self.pretrained(),
                "evaluations": {name: record for name, record in records.items() if record is not None},
                "environment": started.get("environment", {}),
                "dataset_fingerprint": started.get("dataset_fingerprint", ""),
            }
        )

    def write_status(self, status: TrialStatus) -> None:
        self.store.write_record(self.name("state.json"), status)

    def record_end(self, event: StatusChanged) -> None:
        """Record how the trial ended, if its last worker had no time to."""
        status = self.status()
        if status.state is TrialState.RUNNING:
            self.add_events([event])
            self.write_status(status.apply(event))

    def trial(self) -> TrialSpec | None:
        """The trial as it was started, or None if it never was."""
        content = self.store.read_json(self.name("trial.json"))
        return None if content is None else TrialSpec.model_validate(content["trial"])

    # -- what is written --

    def start(self, trial: TrialSpec, fingerprint: str, environment: dict[str, str]) -> None:
        """Write the resolved trial and forget an earlier failure."""
        self.store.write_json(
            self.name("trial.json"),
            {
                "id": self.trial_id,
                "trial": trial.model_dump(mode="json"),
                "dataset_fingerprint": fingerprint,
                "environment": environment,
            },
        )
        self.store.delete(self.name("failure.json"))

    def finish_pretraining(self, record: PretrainRecord, backbone: bytes) -> None:
        """Keep the backbone, then the record that says so; the checkpoints have served."""
        self.store.write(self.name("backbone.safetensors"), backbone)
        self.store.write_record(self.name("pretrain.json"), record)
        self.store.delete(self.name("checkpoints/last.pt"))

    def keep_picture(self, png: bytes) -> None:
        """Of the first images and their views."""
        self.store.write(self.name("views.png"), png)

    def picture(self) -> bytes | None:
        return self.store.read(self.name("views.png"))

    def finish_evaluation(self, config: KnnConfig | LinearConfig | FinetuneConfig, record: EvaluationRecord) -> None:
        self.store.write_record(self.name(f"evaluations/{evaluation_id(config)}.json"), record)

    def add_events(self, events: list[Event]) -> None:
        self.store.append(self.name("events.jsonl"), [event.model_dump_json(exclude_none=True) for event in events])

    def events(self) -> list[Event]:
        """All events, in the order in which they happened. A resumed trial repeats the steps since its checkpoint."""
        return [EVENT.validate_json(line) for line in self.store.lines(self.name("events.jsonl"))]

    def history(self) -> Sequence[EpochRecord]:
        """The epochs of the pretraining, in order; of one that a resumed trial repeated, the later."""
        latest = {event.epoch: event for event in self.events() if isinstance(event, EpochDone)}
        return [latest[epoch] for epoch in sorted(latest)]

    # -- checkpoints: the bytes of the newest --

    def checkpoint(self) -> bytes | None:
        return self.store.read(self.name("checkpoints/last.pt"))

    def save_checkpoint(self, content: bytes) -> None:
        self.store.write(self.name("checkpoints/last.pt"), content)

    def backbone(self) -> bytes | None:
        return self.store.read(self.name("backbone.safetensors"))
