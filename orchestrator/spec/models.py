"""The sweep file as models: what a user may write, and what one trial of it becomes."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ...datasets.config import DatasetConfig
from ...evaluation.base import EvaluationConfig
from ...evaluation.registry import DEFAULT, EVALUATIONS
from ...methods import METHODS
from ...methods.config import BackboneConfig, Config, MethodConfig, OptimizerConfig, PretrainConfig
from ...methods.quantities import plural
from ...methods.weights_config import WeightsConfig
from .changes import CHANGEABLE, Change, is_changeable, values_after
from .domains import distinct
from .errors import Misfit, show, unknown
from .search import SearchConfig, Seed

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
RecipeName = Literal["paper", "lightly"]
KeptSplits = Literal["none", "test", "all"]
RESERVED = ("pretrain", "features")
"""What logs and MLflow have beside the evaluations."""
STORES = ("file", "s3", "gs", "gcs", "az", "abfs", "abfss")
MAX_TRIALS = 10_000
AUTO = "auto"


def _auto(word: object) -> object:
    if word != AUTO:
        raise Misfit(f"got {show(word)}; must be a number, or {AUTO}")
    return word


Gpus = Annotated[
    Annotated[NonNegativeFloat, Tag("number")] | Annotated[Literal["auto"], BeforeValidator(_auto), Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "number"),
]


class ShapeConfig(Config):
    """The workers of one trial, and what each takes. Changes nothing in its numbers."""

    workers: PositiveInt = 1
    gpus_per_worker: Gpus | None = Field(
        default=None,
        description="auto: the part of one that a probe measures; unset: 1; with either 0 where the cluster has none",
    )
    cpus_per_worker: PositiveInt = 1
    decoders_per_worker: NonNegativeInt | None = Field(
        default=None,
        description="processes that decode images ahead of a worker; unset: one a CPU beside a GPU, else one for two CPUs",
    )

    @property
    def known_gpus(self) -> float | None:
        """GPUs of a worker; None if they are not set, or to be measured."""
        return None if self.gpus_per_worker == AUTO else self.gpus_per_worker

    def decoders(self, gpu: bool) -> int:
        """Decoding processes of a worker that trains on a GPU, or on its CPUs."""
        if self.decoders_per_worker is not None:
            return self.decoders_per_worker
        return self.cpus_per_worker if gpu else max(1, self.cpus_per_worker // 2)

    @field_validator("gpus_per_worker")
    @classmethod
    def whole_gpus(cls, gpus: Gpus | None, info: ValidationInfo) -> Gpus | None:
        workers = info.data.get("workers", 1)
        if gpus == AUTO and workers > 1:
            raise Misfit(f"got {AUTO} with {workers} workers; data-parallel trials take whole GPUs, so give a number")
        if gpus is not None and gpus != AUTO and gpus != int(gpus) and (gpus > 1 or workers > 1):
            rule = "a part of a GPU is for one worker" if workers > 1 else "a part of a GPU is less than 1"
            raise Misfit(f"got {gpus:g} with {plural(workers, 'worker')}; must be a whole number ({rule})")
        return gpus


class MethodEntry(Config):
    """A method by its name, with what differs for it alone. Its own settings stand beside `name`."""

    model_config = ConfigDict(extra="allow")

    name: str
    backbone: BackboneConfig | None = None
    weights: WeightsConfig | None = Field(
        default=None, description="of its backbone, in the place of `backbone.weights`"
    )
    pretrain: PretrainConfig | None = None
    resources: ShapeConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def method_exists(cls, name: str) -> str:
        if name not in METHODS:
            raise Misfit(unknown("method", name, METHODS))
        return name

    @property
    def settings(self) -> dict[str, Any]:
        """What the sweep sets of the method's own configuration."""
        return dict(self.model_extra or {})


class ResourcesConfig(ShapeConfig):
    """What a sweep takes; a method may have workers of its own."""

    concurrent_trials: PositiveInt | None = Field(
        default=None, description="at most this many at once; unset: as many as fit"
    )
    max_failures: NonNegativeInt = Field(
        default=2, description="restarts of a trial for each kind of fault, as a worker that died"
    )
    hang_minutes: PositiveFloat = Field(
        default=30, description="without progress, after which a trial is started again"
    )
    checkpoint_minutes: NonNegativeFloat = Field(default=5, description="longest work that a crash can cost")
    compile: bool = Field(default=False, description="torch.compile the backbones; changes no result")


def _evaluation_by_name(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, EvaluationConfig):
        return value
    entry = {"name": value} if isinstance(value, str) else value
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        rule = f"must be an evaluation's name ({', '.join(EVALUATIONS)}), or a mapping with `name`"
        raise Misfit(f"got {show(value)}; {rule}")
    if name not in EVALUATIONS:
        raise Misfit(unknown("name", name, EVALUATIONS), () if isinstance(value, str) else ("name",))
    strict = bool((info.context or {}).get("strict"))
    return EVALUATIONS[name].config.model_validate(entry, strict=strict, context=info.context)


EvaluationEntry = Annotated[SerializeAsAny[EvaluationConfig], BeforeValidator(_evaluation_by_name)]
"""An evaluation by its name, or a mapping with `name` and its own settings."""


def _evaluated_once(evaluations: tuple[Any, ...]) -> tuple[Any, ...]:
    names = [item.known_as for item in evaluations]
    for i, (name, item) in enumerate(zip(names, evaluations, strict=True)):
        if name in names[:i]:
            raise Misfit(
                f"duplicate evaluation '{name}'; list each once, or give this one a name of its own: `as`", (i,)
            )
        if name != item.name and (name in EVALUATIONS or name in RESERVED):
            taken = "an evaluation of its own" if name in EVALUATIONS else "taken by the pretraining"
            raise Misfit(f"got '{name}', which is {taken}; give it another name", (i, "as"))
        if item.fingerprint is not None:
            raise Misfit("unknown key 'fingerprint'", (i, "fingerprint"))
        if item.dataset is not None and item.dataset.image_size is not None:
            raise Misfit(
                "evaluations see images at the size of the pretraining; leave this out", (i, "dataset", "image_size")
            )
        if item.labels is not None and not EVALUATIONS[item.name].needs_labels:
            raise Misfit(f"'{item.name}' uses no labels; leave this out", (i, "labels"))
    return evaluations


class SweepSpec(Config):
    """A sweep file."""

    name: Name = Field(description="the sweep's name: its folder in the store and its MLflow experiment")
    dataset: DatasetConfig
    backbone: BackboneConfig
    methods: tuple[MethodEntry, ...] = Field(min_length=1)
    recipe: RecipeName = Field(default="paper", description="where unset values come from")
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(distinct)] = (0,)
    pretrain: PretrainConfig = PretrainConfig()
    evaluate: Annotated[tuple[EvaluationEntry, ...], Field(min_length=1), AfterValidator(_evaluated_once)] = tuple(
        EVALUATIONS[name].protocols[0] for name in DEFAULT
    )
    grid: dict[str, Annotated[tuple[Any, ...], Field(min_length=1), AfterValidator(distinct)]] = Field(
        default_factory=dict, description="dotted key: values, as a Cartesian product"
    )
    search: SearchConfig | None = None
    resources: ResourcesConfig = ResourcesConfig()
    features: KeptSplits = Field(
        default="all",
        description="images whose features stay next to each trial once it is evaluated, up to 256 MiB a trial, the test images"
        " first; trials of a search keep none",
    )
    storage: str = Field(
        default="runs", description="a folder, relative to this file, or s3://, gs://, az://", min_length=1
    )
    tracking: str | None = Field(
        default=None,
        description="MLflow's URI; unset: mlflow.db in the store, or next to this file if the store is remote",
        min_length=1,
    )
    published: str | None = Field(
        default=None,
        description="CSV file of published numbers of your own, relative to this file, for the report",
        min_length=1,
    )

    @field_validator("storage")
    @classmethod
    def known_store(cls, storage: str) -> str:
        scheme, separator, _ = storage.partition("://")
        if separator and scheme not in STORES:
            raise Misfit(f"got {show(storage)}; must be a folder, or one of {', '.join(f'{s}://' for s in STORES)}")
        return storage


def _method_by_name(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, dict) and value.get("name") in METHODS:
        strict = bool((info.context or {}).get("strict"))
        return METHODS[value["name"]].model_validate(value, strict=strict, context=info.context)
    return value


class TrialSpec(Config):
    """One trial, resolved: every value that its numbers depend on, wherever it came from."""

    dataset: DatasetConfig
    image_size: PositiveInt
    backbone: BackboneConfig
    method: Annotated[SerializeAsAny[MethodConfig], BeforeValidator(_method_by_name)]
    pretrain: PretrainConfig
    evaluate: tuple[EvaluationEntry, ...]
    seed: Seed
    split: Literal["test", "holdout"] = "test"
    recipe: RecipeName = "paper"
    axes: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Dotted key to value, for the axes of `grid` and `search`; of one that changes, its schedule in words."""
    changes: tuple[Change, ...] = Field(default=(), exclude_if=lambda changes: not changes)
    """Of settings while it is pretrained, in order."""
    resources: ShapeConfig = Field(default=ShapeConfig(), exclude=True)
    """Of this sweep: no part of the trial's identity, nor of what the store keeps of it."""
    keep_every: NonNegativeInt = Field(default=0, exclude=True)
    """Epochs between two checkpoints that trials with further changes may begin from; 0: none. Of this sweep, as `resources`."""
    features: KeptSplits = Field(default="none", exclude=True)
    """Images whose features stay next to the trial. Of this sweep, as `resources`."""

    @property
    def other_datasets(self) -> list[tuple[DatasetConfig, str]]:
        """Those of evaluations, with the fingerprints of their contents once these are known."""
        return [(item.dataset, item.fingerprint or "") for item in self.evaluate if item.dataset is not None]

    @model_validator(mode="after")
    def changes_are_possible(self) -> "TrialSpec":
        epochs = [change.after_epoch for change in self.changes]
        if epochs != sorted(set(epochs)) or (epochs and epochs[-1] >= self.pretrain.epochs):
            raise ValueError(f"settings change after epochs {epochs}; must rise, and be before the last")
        for change in self.changes:
            for key in change.values:
                if not is_changeable(key, type(self.method)):
                    raise ValueError(f"'{key}' cannot change while a trial is pretrained; what can is {CHANGEABLE}")
            self.after(change.after_epoch)
        return self

    def after(self, epochs: int) -> "TrialSpec":
        """The trial with the settings that it has once so many epochs are complete.

        Raises:
            ValidationError: they do not fit together.
        """
        found: dict[str, dict[str, float]] = {"method": {}, "pretrain.optimizer": {}}
        for key, value in values_after(self.changes, epochs).items():
            root, _, name = key.rpartition(".")
            found[root][name] = value
        if not any(found.values()):
            return self
        method, pretrain = self.method, self.pretrain
        optimizer = OptimizerConfig.model_validate(pretrain.optimizer.model_dump() | found["pretrain.optimizer"])
        return self.model_copy(
            update={
                "method": type(method).model_validate(method.model_dump() | found["method"]),
                "pretrain": pretrain.model_copy(update={"optimizer": optimizer}),
            }
        )


def data_root() -> Path:
    """Where prepared data sets are kept: ``SSL_SWEEP_DATA``, or a folder in the user's cache."""
    return Path(os.environ.get("SSL_SWEEP_DATA") or Path.home() / ".cache" / "ssl-sweep" / "data")
