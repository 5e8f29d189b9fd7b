"""What happens to a trial, as it happens: the one vocabulary of workers, store, engine, live table, MLflow and searches."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from .fault import Fault
from .records import EpochRecord, EvaluationRecord, FailedEvaluation, PretrainRecord, Record
from .trial_state import TrialState


class _Happened(Record):
    time: float = 0.0
    """Seconds since the epoch."""


class StatusChanged(_Happened):
    """The trial is in another state, or begins a new attempt in the same one."""

    kind: Literal["status"] = "status"
    state: TrialState
    reason: str | None = None
    """Why it failed, was stopped or waits, in one line."""
    fault: Fault | None = None
    """What kind of failure it is; unset in events of earlier versions."""
    attempt: int | None = None
    """How often it has been started, this time included; set when it starts."""
    environment: dict[str, str] | None = None
    """Versions, hardware and git commit; set when it starts."""
    dataset_fingerprint: str | None = None
    """Set when it starts."""


class AttemptLost(_Happened):
    """An attempt ended by a fault; another follows, from the checkpoint."""

    kind: Literal["lost"] = "lost"
    fault: Fault
    reason: str
    """One line."""


class StageStarted(_Happened):
    """Pretraining or an evaluation begins, or resumes."""

    kind: Literal["stage"] = "stage"
    stage: str
    """``pretrain``, or the name of an evaluation."""
    chance: float | None = None
    """Set when the pretraining of images with labels begins: the top-1, in percent, up to which nothing is learnt."""


class StepDone(_Happened):
    """One of a few steps in each epoch of the pretraining."""

    kind: Literal["step"] = "step"
    stage: str = "pretrain"
    step: int
    """Steps that are done, this one included."""
    loss: float
    """Of this step's global batch."""
    lr: float
    images_per_second: float


class EpochDone(_Happened, EpochRecord):
    """The end of one epoch of the pretraining."""

    kind: Literal["epoch"] = "epoch"
    stage: str = "pretrain"
    epochs: int
    """In all."""
    memory: int | None = None
    """Bytes in use now."""


class PretrainingDone(_Happened, PretrainRecord):
    """The backbone is stored."""

    kind: Literal["pretrained"] = "pretrained"
    stage: str = "pretrain"


class ScoreDone(_Happened):
    """The end of one epoch of an evaluation that trains."""

    kind: Literal["score"] = "score"
    stage: str
    epoch: int
    epochs: int
    metrics: dict[str, float] = Field(default_factory=dict)
    """By name, as in the evaluation's record; empty in events of the first edition."""
    seconds: float
    """That the evaluation has taken, without what a restart repeated."""


class EvaluationDone(_Happened, EvaluationRecord):
    """An evaluation's result."""

    kind: Literal["evaluation"] = "evaluation"
    stage: str
    evaluation_id: str = ""
    """Its protocol and the hash of its settings; empty in events of the first edition."""


class EvaluationFailed(_Happened, FailedEvaluation):
    """An evaluation failed by itself; the trial goes on with the others, and fails at its end."""

    kind: Literal["evaluation_failed"] = "evaluation_failed"
    stage: str
    evaluation_id: str


class Warned(_Happened):
    """Something that the user should know and that ends nothing."""

    kind: Literal["warning"] = "warning"
    message: str


Event = Annotated[
    StatusChanged
    | AttemptLost
    | StageStarted
    | StepDone
    | EpochDone
    | PretrainingDone
    | ScoreDone
    | EvaluationDone
    | EvaluationFailed
    | Warned,
    Field(discriminator="kind"),
]
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
