"""The state of a trial: a fold over its events, kept in the store as `state.json` and by whoever follows a sweep."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from ...evaluation.registry import EVALUATIONS, MONITOR
from .events import (
    AttemptLost,
    EpochDone,
    EvaluationDone,
    EvaluationFailed,
    Event,
    PretrainingDone,
    ScoreDone,
    StageStarted,
    StatusChanged,
    StepDone,
)
from .learning import Learning
from .records import EvaluationRecord, FailedEvaluation, PretrainRecord, Record, Restart
from .trial_state import TrialState


class Progress(Record):
    """How far the current stage has come."""

    stage: str = ""
    """``pretrain`` or the name of an evaluation; empty before the first."""
    epoch: int = 0
    """Epochs of the stage that are complete."""
    epochs: int = 0
    """In all."""
    seconds: float = 0.0
    """That the complete epochs took."""
    loss: float | None = None
    images_per_second: float | None = None
    memory: int | None = None
    """Bytes in use."""
    monitored: float | None = None
    """The main metric of the last quick evaluation during the pretraining, if there was any."""

    @property
    def seconds_left(self) -> float | None:
        """Of the stage, if each epoch takes as long as those so far; None before the first."""
        if not self.epoch or self.epoch >= self.epochs:
            return None
        return self.seconds / self.epoch * (self.epochs - self.epoch)

    def apply(self, event: Event) -> "Progress":
        """The progress after `event`."""
        match event:
            case StageStarted():
                begins = {"stage": event.stage, "epoch": 0, "epochs": 0, "seconds": 0.0}
                return self.model_copy(update=begins)
            case StepDone():
                return self.model_copy(update={"loss": event.loss, "images_per_second": event.images_per_second})
            case EpochDone():
                return self.model_copy(
                    update={
                        "epoch": event.epoch,
                        "epochs": event.epochs,
                        "seconds": event.seconds,
                        "loss": event.loss,
                        "images_per_second": event.images_per_second,
                        "memory": event.memory,
                        "monitored": event.logs.get(EVALUATIONS[MONITOR].main_key, self.monitored),
                    }
                )
            case ScoreDone():
                return self.model_copy(update={"epoch": event.epoch, "epochs": event.epochs, "seconds": event.seconds})
            case _:
                return self


class TrialStatus(Record):
    """A trial's state, its progress, and the records of what is complete."""

    lost: ClassVar[str] = "the trial's state is read from its other files"

    state: TrialState = TrialState.WAITING
    reason: str | None = None
    attempts: int = 0
    """How often it was started."""
    restarts: tuple[Restart, ...] = ()
    """Of any submission: attempts that a fault ended."""
    progress: Progress = Progress()
    pretrain: PretrainRecord | None = None
    learning: Learning | None = Field(default=None, exclude_if=lambda learning: learning is None)
    """What the epochs of the pretraining tell; None before the first, and of earlier versions."""
    chance: float | None = Field(default=None, exclude_if=lambda chance: chance is None)
    """See `StageStarted`; None if it is not known."""
    evaluations: dict[str, EvaluationRecord] = Field(default_factory=dict)
    """By evaluation id; also those that only other sweeps ask for."""
    failed: dict[str, FailedEvaluation] = Field(default_factory=dict)
    """Likewise: those that failed when they were run last."""
    dataset_fingerprint: str = ""
    environment: dict[str, str] = Field(default_factory=dict)
    """Versions, hardware, git commit of the latest attempt."""
    began: float | None = None
    """Seconds since the epoch: the first event."""
    ended: float | None = None
    """The latest event."""

    def apply(self, event: Event) -> "TrialStatus":
        """The status after `event`."""
        changes: dict[str, object] = {"progress": self.progress.apply(event)}
        if event.time:
            changes |= {"began": self.began or event.time, "ended": event.time}
        match event:
            case StatusChanged():
                changes.update(self._changed(event))
            case AttemptLost():
                restart = Restart(fault=event.fault, reason=event.reason, time=event.time)
                changes |= {
                    "state": TrialState.INTERRUPTED,
                    "reason": event.reason,
                    "restarts": (*self.restarts, restart),
                }
            case StageStarted() if event.chance is not None:
                changes["chance"] = event.chance
            case EpochDone():
                changes["learning"] = (self.learning or Learning()).apply(event)
            case PretrainingDone():
                changes["pretrain"] = PretrainRecord.model_validate(event.model_dump())
            case EvaluationDone() if event.evaluation_id:
                record = EvaluationRecord.model_validate(event.model_dump())
                changes["evaluations"] = {**self.evaluations, event.evaluation_id: record}
                changes["failed"] = {key: why for key, why in self.failed.items() if key != event.evaluation_id}
            case EvaluationFailed():
                why = FailedEvaluation(fault=event.fault, reason=event.reason)
                changes["failed"] = {**self.failed, event.evaluation_id: why}
            case _:
                pass
        return self.model_copy(update=changes)

    def _changed(self, event: StatusChanged) -> Mapping[str, object]:
        assert self.state.may_become(event.state), f"a trial that is {self.state} cannot become {event.state}"
        given = {
            "attempts": event.attempt,
            "environment": event.environment,
            "dataset_fingerprint": event.dataset_fingerprint,
        }
        return {"state": event.state, "reason": event.reason} | {k: v for k, v in given.items() if v is not None}
