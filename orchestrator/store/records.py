"""What a trial leaves behind, as data: the records that the store keeps and that the report and MLflow are made of."""

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...evaluation.registry import title_of
from ..published import Published
from .data_record import DataRecord
from .fault import Fault
from .trial_state import TrialState

Scalar = bool | int | float | str | None


class Record(BaseModel):
    """Base of the records. Unknown keys are let through, so that an older version can read a newer one's results."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")  # NaN comes back as NaN
    lost: ClassVar[str] = "it counts as absent"
    """What a damaged file with this record costs, as the end of a sentence."""


class Cost(Record):
    """What a stage took. Memory is the peak of the busiest worker, in bytes."""

    seconds: float
    workers: int
    device: str
    """Name of the GPU, or ``cpu``."""
    gpus: float | None = None
    """Of each worker; part of one if trials share it."""
    gpu_allocated: int | None = None
    gpu_reserved: int | None = None
    resident: int | None = None
    """Peak resident memory of the process, where there is no GPU."""


class EpochRecord(Record):
    """The end of one pretraining epoch."""

    epoch: int
    step: int
    loss: float
    lr: float
    images_per_second: float
    seconds: float
    """Training time since the start of the trial, without the evaluations and without what a restart repeated."""
    logs: dict[str, float] = {}
    """What the method logs, the feature diagnostics, and ``knn/top1``, ``knn/top5`` where the epoch was evaluated."""


class PretrainRecord(Record):
    lost: ClassVar[str] = "the pretraining will be repeated"

    cost: Cost
    epochs: int
    final_loss: float | None = None
    images_per_second: float
    attempts: int = 1
    """How often training was started or resumed."""
    parameters: int | None = None
    """Of the backbone."""
    weights: str | None = None
    """What was taken of the weights that it began with, in words."""
    weights_missing: int | None = None
    """Tensors of the backbone that were not among them, and began at random."""
    backbone_sha256: str | None = None
    """Digest of `backbone.safetensors`; records of earlier versions have none."""
    backbone_bytes: int | None = None
    """Its size, which a look at the folder can compare."""


class Variant(Record):
    """The metrics of an evaluation under one combination of settings that were given as lists, or of one of its parts."""

    settings: dict[str, Scalar]
    metrics: dict[str, float]


class Details(Record):
    """What a classifier's answers say beside its accuracy, in percent; of equal classes, the first is named."""

    balanced_top1: float
    """Mean of the recalls of the classes that have scored images."""
    ece: float | None = None
    """Expected calibration error over 15 bins of confidence; None if the scores are no probabilities."""
    worst_class: str
    worst_recall: float
    best_class: str
    best_recall: float


class EvaluationRecord(Record):
    """One evaluation of one backbone."""

    lost: ClassVar[str] = "the evaluation will be repeated"

    name: str
    known_as: str = Field(default="", exclude_if=lambda name: not name)
    """What the sweep that shows it calls it; empty in the store, where sweeps share it."""
    kept_as: str = Field(default="", exclude_if=lambda name: not name)
    """Its id, which files of the trial are named by; set in results alone, as `known_as`."""
    protocol: str
    """Name and version, e.g. ``linear/simclr@1``; settings that differ from it are in `changed`."""
    settings: dict[str, Scalar | list[Scalar]]
    changed: dict[str, Scalar | list[Scalar]] = {}
    metrics: dict[str, float] = Field(min_length=1)
    """By name, in the order of the evaluation, its main one first: ``top1`` and ``top5``, in percent, for classifiers."""
    best: dict[str, float] = {}
    """The best of each over the epochs, chosen on the scored images themselves, as published tables do."""
    counts: dict[str, int] = {}
    """Images behind the metrics: ``correct1`` and ``correct5``."""
    images: int
    """How many images were scored, each once."""
    variants: tuple[Variant, ...] = ()
    """If settings are lists: every combination, the main or selected one first, which `metrics` are of. Of an evaluation with
    parts, as corruptions: every part, of which `metrics` are the mean."""
    remarks: tuple[str, ...] = ()
    """What must be said beside the numbers, as ends of a sentence about the scored images."""
    details: Details | None = Field(default=None, exclude_if=lambda details: details is None)
    """Of classifiers; records of earlier versions have none."""
    hits: str | None = Field(default=None, exclude_if=lambda hits: hits is None)
    """As `Confusion.hits`; set for a report alone."""
    split: Literal["test", "holdout"]
    cost: Cost

    @property
    def title(self) -> str:
        """What tables call it."""
        return title_of(self.name) if self.known_as in ("", self.name) else self.known_as

    @model_validator(mode="before")
    @classmethod
    def of_earlier_versions(cls, value: Any) -> Any:
        """Version 0.1 had fields for the numbers of classifiers, and for no others."""
        if not isinstance(value, dict) or "metrics" in value:
            return value
        return value | {
            "metrics": {key: value[key] for key in ("top1", "top5") if key in value},
            "counts": {key: value[key] for key in ("correct1", "correct5") if key in value},
            "best": {key: best for key in ("top1", "top5") if (best := value.get(f"best_{key}")) is not None},
        }


class Restart(Record):
    """An attempt that ended by a fault, and was followed by another; the time in seconds since the epoch."""

    fault: Fault
    reason: str
    time: float


class FailedEvaluation(Record):
    """Why an evaluation failed, in a trial that went on without it; the reason in one line."""

    fault: Fault
    reason: str


class MissingEvaluation(Record):
    """An evaluation that a failed trial does not have."""

    name: str
    known_as: str
    protocol: str
    settings: dict[str, Scalar | list[Scalar]]
    changed: dict[str, Scalar | list[Scalar]] = {}
    split: Literal["test", "holdout"]
    reason: str | None = None
    """Why it failed, in one line; None: it was not run."""


class TrialResult(Record):
    """Everything a report says about one trial."""

    trial_id: str
    method: str
    title: str
    """The method's name in tables, e.g. ``SimCLR``."""
    backbone: str
    dataset: str
    dataset_kind: str = ""
    """Which one it is, e.g. ``cifar10`` or ``folder``; empty: as `dataset`."""
    dataset_fingerprint: str
    full_dataset: bool = True
    """No image is left out or missing: only then do published numbers compare."""
    labelled: bool = True
    """Without labels nothing is evaluated."""
    damaged_images: int = 0
    """Images that are left out because they cannot be read."""
    weights: str | None = None
    """SHA-256 of the file that the backbone began with; None: it began at random."""
    image_size: int
    batch_size: int
    epochs: int
    seed: int
    recipe: str
    departures: tuple[str, ...] = ()
    """Settings that differ from the recipe's, in words."""
    setting: str = ""
    """Hash of everything resolved but the seed: trials that share it are repeats of one another."""
    axes: dict[str, Scalar] = {}
    """Dotted key to value, for the axes of `grid` and `search`."""
    trained_with: dict[str, Scalar] = {}
    """Settings of the method, its views and the optimisation by their dotted keys."""
    sweeps: tuple[str, ...] = Field(default=(), exclude_if=lambda sweeps: not sweeps)
    """Names of the sweeps that have it, in a report of several."""
    crops: str = ""
    """Number and size of the views of an image, in words; empty for what is not trained."""
    weights_file: str | None = None
    """Where the trained backbone is, once there is one."""
    search: bool = False
    """A trial of a search: scored on the held-out part of the training set, never in the main table."""
    status: TrialState
    reason: str | None = None
    """Why a failed trial failed, in one line."""
    log: str | None = None
    """Where the trial's log is."""
    restarts: tuple[Restart, ...] = ()
    parameters: int | None = None
    """Parameters of the backbone."""
    pretrain: PretrainRecord | None = None
    history: tuple[EpochRecord, ...] = ()
    chance: float | None = Field(default=None, exclude_if=lambda chance: chance is None)
    """Top-1, in percent, up to which nothing is learnt."""
    evaluations: tuple[EvaluationRecord, ...] = ()
    missing: tuple[MissingEvaluation, ...] = ()
    """Of a failed trial."""
    environment: dict[str, str] = {}
    """Versions, hardware, git commit."""
    views: bytes | None = None
    """PNG of a few images and their views; of repeats, the first alone has it."""


class SearchPoint(Record):
    """A point of a search, with its scores on the held-out part of the training set."""

    values: dict[str, Scalar]
    scores: dict[str, float] = {}
    """By objective, as the mean over the seeds; empty for one that failed."""
    seeds: int = 0
    """How many were scored."""
    stopped: bool = False
    """Ended early: its scores are of an unfinished training."""


class SearchRecord(Record):
    """The search of one row of the table."""

    title: str
    """Of the method."""
    backbone: str
    dataset: str
    axes: dict[str, Scalar] = {}
    """Of the grid."""
    objectives: tuple[str, ...]
    """The first decides."""
    protocol: str = ""
    """Of the evaluation that decides."""
    points: tuple[SearchPoint, ...] = ()
    best: SearchPoint | None = None
    front: tuple[SearchPoint, ...] = ()
    """With several objectives: points than which no other is better in one and as good in all."""
    reason: str | None = None
    """Why there is nothing to train; None while the search goes on, and if it has found something."""

    @property
    def label(self) -> str:
        """``SimCLR image_size=8``."""
        return " ".join([self.title, *(f"{key.rpartition('.')[2]}={value}" for key, value in self.axes.items())])


class SweepResult(Record):
    name: str
    created: str
    """ISO 8601, UTC."""
    version: str
    """Of ssl-sweep."""
    command: str
    trials: tuple[TrialResult, ...]
    searches: tuple[SearchRecord, ...] = ()
    published: tuple[Published, ...] = ()
    """The user's own rows of published numbers."""
    datasets: tuple[DataRecord, ...] = ()
    """Of the trials and of their evaluations."""
    sweep_file: str = ""
    """The sweep file as it was submitted last, without passwords."""

    @property
    def undecided(self) -> list[SearchRecord]:
        """Rows of the table whose search has found nothing to train."""
        return [search for search in self.searches if search.reason is not None]
