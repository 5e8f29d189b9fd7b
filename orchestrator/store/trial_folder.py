"""One trial's folder in the store: what it has done, and the files that a resume starts from."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import ValidationError

from ...evaluation.base import EvaluationConfig
from ..spec.identity import evaluation_id
from ..spec.models import TrialSpec
from .checkpoints import Checkpoints
from .confusion import Confusion
from .events import EVENT, AttemptLost, EpochDone, Event, StageStarted, StatusChanged
from .files import Store
from .records import EpochRecord, EvaluationRecord, PretrainRecord, Record
from .segments import Segments, add_segment, segment_names
from .trial_state import TrialState
from .trial_status import TrialStatus

BACKBONE = "backbone.safetensors"


class Failure(Record):
    """Why a trial of the first edition failed: its `failure.json`."""

    lost: ClassVar[str] = "why the trial failed is not known"

    reason: str
    """One line."""


class TrialStore:
    """The folder of one trial."""

    def __init__(self, store: Store, trial_id: str):
        self.store = store
        self.trial_id = trial_id
        self.folder = f"trials/{trial_id}"
        self._events = Segments(store, self.name("events"))
        self._checkpoints = Checkpoints(store, self.name("checkpoints"))
        self._kept = Checkpoints(store, self.name("checkpoints/kept"))

    def name(self, file: str) -> str:
        return f"{self.folder}/{file}"

    @property
    def log(self) -> str:
        """Where the log is: a file on a disk, a folder of segments on an object store."""
        return self.store.path(self.name("log.txt" if self.store.is_local else "log/"))

    # -- what is done --

    def pretrained(self) -> PretrainRecord | None:
        """The record of the pretraining, once the backbone is kept; None if the backbone is missing or cut short.

        Its bytes are compared with their digest when they are read, by `backbone`.
        """
        record = self.store.read_record(self.name("pretrain.json"), PretrainRecord)
        if record is None:
            return None
        size = self.store.size(self.name(BACKBONE))
        if size is None or size == 0:
            how = "it is missing" if size is None else "it is empty"
        elif record.backbone_bytes is not None and size != record.backbone_bytes:
            how = f"{size} bytes instead of {record.backbone_bytes}"
        else:
            return record
        self.store.report_damage(self.name(BACKBONE), how, record.lost)
        return None

    def evaluation(self, config: EvaluationConfig) -> EvaluationRecord | None:
        return self.store.read_record(self.name(f"evaluations/{evaluation_id(config)}.json"), EvaluationRecord)

    def confusion(self, config: EvaluationConfig) -> Confusion | None:
        """The confusion matrix of a classifier; earlier versions kept none."""
        return self.confusion_of(evaluation_id(config))

    def confusion_of(self, evaluation: str) -> Confusion | None:
        """Likewise, by the evaluation's id."""
        return self.store.read_record(self.name(f"confusion/{evaluation}.json"), Confusion)

    def status(self) -> TrialStatus:
        """The trial's state, as its latest process knew; of the first edition's trials, as their records tell."""
        kept = self.store.read_record(self.name("state.json"), TrialStatus)
        return self._status_of_records() if kept is None else kept

    def _status_of_records(self) -> TrialStatus:
        """The status without `state.json`: that file is damaged, or the trial is of the first edition, which had none."""
        started = self.store.read_json(self.name("trial.json"))
        if started is None:
            return TrialStatus()
        status = TrialStatus(attempts=1)
        for event in self.events():
            status = status.apply(event) if isinstance(event, (StageStarted, EpochDone)) else status
        failure = self.store.read_record(self.name("failure.json"), Failure)
        files = self.store.names(self.name("evaluations"))
        names = [name.removesuffix(".json") for name in files if name.endswith(".json")]
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

    def trial(self) -> TrialSpec | None:
        """The trial as it was started; None if it never was, or if its file is damaged."""
        content = self.store.read_json(self.name("trial.json"), "the trial's settings are read from the sweep alone")
        try:
            return None if content is None else TrialSpec.model_validate(content["trial"])
        except (ValidationError, KeyError, TypeError):
            self.store.report_damage(self.name("trial.json"), "it holds no trial", "it counts as absent")
            return None

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
        """Keep the backbone, then the record that says so, with its digest; the checkpoints have served."""
        written = {"backbone_sha256": self.store.write_blob(self.name(BACKBONE), backbone)}
        self.store.write_record(
            self.name("pretrain.json"), record.model_copy(update={**written, "backbone_bytes": len(backbone)})
        )
        self._checkpoints.clear()

    def keep_picture(self, png: bytes) -> None:
        """Of the first images and their views."""
        self.store.write(self.name("views.png"), png)

    def picture(self) -> bytes | None:
        return self.store.read(self.name("views.png"))

    def finish_evaluation(
        self, config: EvaluationConfig, record: EvaluationRecord, confusion: Confusion | None = None
    ) -> None:
        """Keep the record, and before it the confusion matrix, so that a record that is there has its own."""
        if confusion is not None:
            self.store.write_record(self.name(f"confusion/{evaluation_id(config)}.json"), confusion)
        self.store.write_record(self.name(f"evaluations/{evaluation_id(config)}.json"), record)

    def write_status(self, status: TrialStatus) -> None:
        """Not synced: what it sums up is in files that are, and should it be lost or old the trial finds them there."""
        self.store.write_record(self.name("state.json"), status, durable=False)

    def record_end(self, event: StatusChanged | AttemptLost) -> None:
        """Record how the trial, or an attempt at it, ended: what its last worker had no time for, or could not know."""
        status = self.status()
        if status.state is TrialState.RUNNING or isinstance(event, AttemptLost):
            self.add_events([event])
            self.write_status(status.apply(event))

    def add_events(self, events: list[Event]) -> None:
        self._events.add([event.model_dump_json(exclude_none=True) for event in events])

    def events(self) -> list[Event]:
        """All events, in the order in which they happened. A resumed trial repeats the steps since its checkpoint."""
        found: list[Event] = []
        for line in self._events.lines():
            try:
                found.append(EVENT.validate_json(line))
            except ValidationError:
                self.store.report_damage(self.name("events"), "a line holds no event", "the line is left out")
        return found

    def history(self) -> Sequence[EpochRecord]:
        """The epochs of the pretraining, in order; of one that a resumed trial repeated, the later."""
        latest = {event.epoch: event for event in self.events() if isinstance(event, EpochDone)}
        return [latest[epoch] for epoch in sorted(latest)]

    # -- the log --

    def add_log(self, lines: list[str]) -> None:
        """Add lines to the log; several ranks may."""
        if self.store.is_local:
            self.store.append(self.name("log.txt"), lines)
        else:
            add_segment(self.store, self.name("log"), ".txt", lines)

    def log_content(self) -> bytes | None:
        """All of the log, or None if there is none."""
        names = [self.name("log.txt"), *segment_names(self.store, self.name("log"))]
        found = [content for content in self.store.read_many(names) if content is not None]
        return b"".join(found) if found else None

    # -- what a resume starts from --

    def checkpoint(self) -> bytes | None:
        """The newest intact checkpoint of the pretraining."""
        return self._checkpoints.newest()

    def save_checkpoint(self, step: int, content: bytes) -> None:
        self._checkpoints.save(step, content)

    def kept_checkpoint(self, step: int) -> bytes | None:
        """What was kept after `step` steps for trials that are the same until then; None if it is not there, or not intact."""
        return self._kept.at(step)

    def keep_checkpoint(self, step: int, content: bytes) -> None:
        self._kept.keep(step, content)

    def drop_kept_checkpoints(self) -> None:
        self._kept.clear()

    def evaluation_checkpoints(self, config: EvaluationConfig) -> Checkpoints:
        """Those of an evaluation that trains."""
        return Checkpoints(self.store, self.name(f"evaluations/checkpoints/{evaluation_id(config)}"))

    def backbone(self) -> bytes | None:
        """The weights; None if there are none yet, or if they are damaged: then pretraining is repeated."""
        record = self.pretrained()
        if record is None:
            return None
        if record.backbone_sha256 is not None:
            return self.store.read_blob(self.name(BACKBONE), record.backbone_sha256, record.lost)
        content = self.store.read(self.name(BACKBONE))
        if content is not None and not _is_whole_safetensors(content):
            self.store.report_damage(self.name(BACKBONE), "it is cut short or no safetensors file", record.lost)
            return None
        return content


def _is_whole_safetensors(content: bytes) -> bool:
    """Whether a file has the length that its header promises: all that can be asked of one without a digest."""
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header: dict[str, Any] = json.loads(content[8:start])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False
    return len(content) == start + max(ends, default=0)
