"""The sweep file as models: what a user may write, and what one trial of it becomes."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, SerializeAsAny, model_validator

from ..datasets.config import DatasetConfig
from ..evaluation.config import EvaluationConfig, FinetuneConfig, KnnConfig, LinearConfig
from ..methods import METHODS
from ..methods.config import BackboneConfig, Config, MethodConfig, PretrainConfig
from .problems import unknown

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
RecipeName = Literal["paper", "lightly"]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class MethodEntry(Config):
    """A method by its name, with what differs for it alone. Its own settings stand beside `name`."""

    model_config = ConfigDict(extra="allow")

    name: str
    backbone: BackboneConfig | None = None
    pretrain: PretrainConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def method_exists(self) -> "MethodEntry":
        if self.name not in METHODS:
            raise ValueError(unknown("method", self.name, METHODS))
        return self

    @property
    def settings(self) -> dict[str, Any]:
        """What the sweep sets of the method's own configuration."""
        return dict(self.model_extra or {})


class Uniform(Config):
    uniform: tuple[float, float]


class LogUniform(Config):
    loguniform: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class IntegerRange(Config):
    randint: tuple[int, int] = Field(description="both ends are included")


class Choice(Config):
    choice: tuple[bool | int | float | str, ...] = Field(min_length=1)


Domain = Uniform | LogUniform | IntegerRange | Choice


def _space_by_kind(value: Any) -> Any:
    kinds = {"uniform", "loguniform", "randint", "choice"}
    if isinstance(value, dict) and len(value) == 1 and set(value) <= kinds:
        bounds = next(iter(value.values()))
        if "choice" not in value and isinstance(bounds, (list, tuple)) and len(bounds) == 2 and bounds[0] >= bounds[1]:
            raise ValueError(f"the range is empty: {bounds[0]} is not below {bounds[1]}")
        return value
    raise ValueError(f"a search axis is one of {', '.join(f'{{{kind}: [...]}}' for kind in sorted(kinds))}")


class EarlyStopping(Config):
    """Asynchronous successive halving: of each rung's trials, one in `reduction` goes on."""

    grace_epochs: PositiveInt = 10
    reduction: Annotated[int, Field(ge=2)] = 3


class SearchConfig(Config):
    """Sampled axes, per method; scored on a held-out part of the training set, never on the test set."""

    space: dict[str, Annotated[Domain, Field(union_mode="left_to_right")]] = Field(min_length=1)
    algorithm: Literal["random", "optuna"] = "random"
    trials: PositiveInt = 16
    metric: Literal["knn/top1", "linear/top1", "finetune/top1"] = "knn/top1"
    early_stopping: EarlyStopping | None = None
    seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def known_domains(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("space"), dict):
            for axis in value["space"].values():
                _space_by_kind(axis)
        return value


class ResourcesConfig(Config):
    """What one trial takes. Changes nothing in its numbers."""

    workers: PositiveInt = 1
    gpus_per_worker: NonNegativeFloat | None = Field(None, description="unset: 1 where the cluster has GPUs, else 0")
    cpus_per_worker: PositiveInt = 1
    concurrent_trials: PositiveInt | None = Field(None, description="at most this many at once; unset: as many as fit")
    max_failures: NonNegativeInt = Field(2, description="restarts of a trial whose worker or node died")
    checkpoint_minutes: NonNegativeFloat = Field(5, description="longest work that a crash can cost")
    compile: bool = Field(False, description="torch.compile the method; changes no result")

    @model_validator(mode="after")
    def whole_gpus(self) -> "ResourcesConfig":
        gpus = self.gpus_per_worker
        if gpus is not None and gpus != int(gpus) and (gpus > 1 or self.workers > 1):
            raise ValueError(
                f"gpus_per_worker is {gpus:g} with {self.workers} workers; a part of a GPU is for trials of one worker,"
                " data-parallel workers take whole GPUs"
            )
        return self


class SweepSpec(Config):
    """A sweep file."""

    name: Name = Field(description="the sweep's name: its folder in the store and its MLflow experiment")
    dataset: DatasetConfig
    backbone: BackboneConfig
    methods: tuple[MethodEntry, ...] = Field(min_length=1)
    recipe: RecipeName = Field("paper", description="where unset values come from")
    seeds: tuple[Seed, ...] = Field((0,), min_length=1)
    pretrain: PretrainConfig = PretrainConfig()
    evaluate: tuple[EvaluationConfig, ...] = Field((KnnConfig(), LinearConfig(), FinetuneConfig()), min_length=1)
    grid: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="dotted key: values, as a Cartesian product"
    )
    search: SearchConfig | None = None
    resources: ResourcesConfig = ResourcesConfig()
    storage: str = Field("runs", description="a folder, or s3://, gs://", min_length=1)
    tracking: str | None = Field(None, description="MLflow's URI; unset: mlflow.db in the store")

    @model_validator(mode="after")
    def fits_together(self) -> "SweepSpec":
        for key, values in (("seeds", self.seeds), ("evaluate", [item.name for item in self.evaluate])):
            for i, value in enumerate(values):
                if value in values[:i]:
                    raise ValueError(f"`{key}` has {value} twice")
        if self.search is not None and self.search.early_stopping is not None:
            if self.search.metric != "knn/top1":
                raise ValueError("search.early_stopping compares epochs, so search.metric must be 'knn/top1'")
            if not self.pretrain.knn_every:
                raise ValueError("search.early_stopping compares epochs, so pretrain.knn_every must be at least 1")
        for key, values in self.grid.items():
            if not values:
                raise ValueError(f"the grid axis '{key}' has no values")
        return self


def _method_by_name(value: Any) -> Any:
    from ..methods import load_config_class

    if isinstance(value, dict):
        return load_config_class(value["name"]).model_validate(value)
    return value


class TrialSpec(Config):
    """One trial, resolved: every value that its numbers depend on, wherever it came from."""

    dataset: DatasetConfig
    image_size: PositiveInt
    backbone: BackboneConfig
    method: SerializeAsAny[MethodConfig]
    pretrain: PretrainConfig
    evaluate: tuple[EvaluationConfig, ...]
    seed: Seed
    split: Literal["test", "holdout"] = "test"
    recipe: RecipeName = "paper"
    axes: dict[str, bool | int | float | str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def method_config(cls, value: Any) -> Any:
        if isinstance(value, dict) and "method" in value:
            return value | {"method": _method_by_name(value["method"])}
        return value


def data_root() -> Path:
    """Where prepared data sets are kept: ``SSL_SWEEP_DATA``, or a folder in the user's cache."""
    return Path(os.environ.get("SSL_SWEEP_DATA") or Path.home() / ".cache" / "ssl-sweep" / "data")
