"""What an evaluation declares, beside the function that scores a backbone. Free of torch.

A protocol's settings never change: a changed setting is a new version. What a sweep sets by hand is kept beside the
protocol's name as `changed`, so that a report cannot mistake one for the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, PlainSerializer, PositiveInt
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from ..datasets.config import DatasetConfig
from ..methods.config import BackboneConfig, Config
from .labels import LabelList, Labels, labels_text

if TYPE_CHECKING:
    from .task import Score, Task


Scalar = bool | int | float | str | None
Settings = dict[str, Scalar | list[Scalar]]
"""As JSON values."""


class EvaluationConfig(Config):
    """Base of every evaluation's configuration. The class defaults are those of its first protocol."""

    version: ClassVar[int] = 1
    """Raised by a change of the evaluation that moves its numbers under unchanged settings."""
    internal: ClassVar[frozenset[str]] = frozenset({"fingerprint"})
    """Fields that no sweep file sets."""

    name: str
    protocol: str
    """Name and version, e.g. ``linear/simclr@1``: the settings that differ from it are reported as changed."""
    as_name: str | None = Field(
        default=None,
        alias="as",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="its name in this sweep, if it evaluates in one way more than once",
        exclude_if=lambda name: name is None,
    )
    labels: Labels | None = Field(
        default=None,
        description="the training images that it uses with their labels: a share, e.g. 1%, or {list: FILE}; unset: all",
        exclude_if=lambda labels: labels is None,
    )

    every: PositiveInt | None = Field(
        default=None,
        description="also between the epochs of pretraining, after each so many; unset: as pretrain.knn_every, if it is kNN or ridge",
        exclude_if=lambda every: every is None,
    )
    dataset: DatasetConfig | None = Field(
        default=None,
        description="images that it trains and scores on; unset: those of the pretraining",
        exclude_if=lambda dataset: dataset is None,
    )
    fingerprint: SkipJsonSchema[str | None] = Field(default=None, exclude_if=lambda fingerprint: fingerprint is None)
    """Of the content of `dataset`, once it is known. No setting of a sweep file."""

    @property
    def known_as(self) -> str:
        """What the sweep calls it, in tables, logs, MLflow and `search.metric`: its own name, unless it is told another."""
        return self.as_name or (f"{self.name}-{self.dataset.slug}" if self.dataset is not None else self.name)

    @property
    def all_settings(self) -> Settings:
        """Of the protocol and of the sweep, as JSON values."""
        hidden = {"name", "protocol", "as_name", "labels", "every", "dataset", "fingerprint"}
        shown: Settings = {} if self.dataset is None else {"dataset": self.dataset.display_name}
        shown |= {} if self.labels is None else {"labels": labels_text(self.labels)}
        return shown | self.model_dump(mode="json", exclude=hidden)

    @property
    def settings(self) -> Settings:
        """What is printed beside its numbers: the same for all that share an `identity`, whichever version made them."""
        return {key: value for key, value in self.all_settings.items() if key not in self.late}

    @property
    def draws(self) -> bool:
        """Whether a training draws anything but crops and flips: then its numbers depend on the version of the draws."""
        return False

    @property
    def identity(self) -> dict[str, object]:
        """The settings as JSON values: two evaluations that share them are the same one."""
        hidden: dict[str, Any] = dict.fromkeys(("as_name", "every", *self.late), True)
        # The same images, wherever they lie and whatever they are called.
        hidden["dataset"] = {"title"} if self.fingerprint is None else True
        content = self.model_dump(mode="json", exclude=hidden)
        if isinstance(self.labels, LabelList):
            content["labels"] = self.labels.identity
        return content


C = TypeVar("C", bound=EvaluationConfig)
V = TypeVar("V")


def listed(value: Any) -> Any:
    """One value, or a list, as a tuple."""
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("list each value once")
    return values


def _written(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else values


class _OneOrSeveral:
    """In the JSON Schema."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        several = handler(core)
        return {"anyOf": [several["items"], several]}


Values = Annotated[
    tuple[V, ...],
    Field(min_length=1),
    _OneOrSeveral,
    BeforeValidator(listed),
    AfterValidator(_distinct),
    PlainSerializer(_written),
]
"""A setting that takes one value, which is written as itself, or a list: its first is the main one, unless one is selected."""


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation returns."""

    name: str
    """In records, MLflow and `search.metric`, e.g. ``top1``."""
    title: str
    """In tables, e.g. ``top-1``."""
    unit: str = ""
    """Printed after the number; tables do not repeat ``%``."""
    higher_is_better: bool = True
    digits: int = 1
    """Printed after the decimal point."""
    ranked: bool = True
    """Whether tables mark the best value and settings are compared. Off for what is neither better nor worse for being large."""

    def text(self, value: float) -> str:
        """``top-1 44.0 %``."""
        return f"{self.title} {self.quantity(value)}"

    def quantity(self, value: float) -> str:
        """``44.0 %``."""
        text = f"{value:.{self.digits}f}"
        text = text if float(text) else text.removeprefix("-")  # no sign of what is rounded to zero
        return f"{text} {self.unit}" if self.unit else text

    @property
    def label(self) -> str:
        """Head of a table's column."""
        return f"{self.title}, {self.unit}" if self.unit not in ("", "%") else self.title

    def best(self, values: list[float]) -> float:
        return max(values) if self.higher_is_better else min(values)


ACCURACY = (Metric("top1", "top-1", "%"), Metric("top5", "top-5", "%"))
"""What a classifier returns; the backbone's rank among others is that of the first."""


CONSTANT_ANSWER = "a constant answer"
"""Ends the remark on images of which most are of one class."""


class Sizes(NamedTuple):
    """How many images an evaluation has, before any of them is read."""

    train_images: int
    """Of those whose labels it uses."""
    test_images: int
    classes: tuple[str, ...] = ()
    """Names; empty without labels."""
    train: tuple[int, ...] = ()
    """Of each class."""
    test: tuple[int, ...] = ()


class Lack(NamedTuple):
    """Why an evaluation cannot be made of so few images, as parts of one sentence."""

    setting: str
    """What takes more, and what can be done: ``k = 200 (write 100 or less)``."""
    has: str | None = None
    """What there is instead, as ``3 training images of class 'cat'``; None: the number of training images says it."""


def _fits(_config: EvaluationConfig, _sizes: Sizes) -> None:
    return None


def _unrefused(_config: EvaluationConfig, _backbone: BackboneConfig) -> None:
    return None


def _well_named(_config: EvaluationConfig, _backbone: BackboneConfig, _image_size: int) -> None:
    return None


def _as_it_is(config: C, _images: int) -> C:
    return config


@dataclass(frozen=True)
class Evaluation(Generic[C]):
    """An evaluation: a backbone and data in, named numbers out."""

    name: str
    """In sweep files and records."""
    title: str
    """In tables."""
    config: type[C]
    protocols: tuple[C, ...]
    """Every protocol with its settings; the first one is the default."""
    run: "Callable[[Task, C], Score]"
    """Every rank calls it and returns the same. It imports torch inside, so that sweep files validate quickly."""
    metrics: tuple[Metric, ...]
    """All that `run` returns. The first is the main one: searches maximise it, and plots show it."""
    default: Callable[[str, str], str] | None = None
    """The protocol that published tables use, by the names of the backbone and the data set; None: always the first one."""
    needs_labels: bool = True
    monitors: bool = False
    """Whether it is quick enough to be run between the epochs of pretraining (`pretrain.knn_every`, `every`)."""
    batch_size: Callable[[C], int] | None = None
    """For what trains: the global batch, of which every worker takes an equal part."""
    misfit: Callable[[C, Sizes], Lack | None] = _fits
    """Why a configuration cannot be used with so many images; None if it can."""
    refusal: Callable[[C, BackboneConfig], tuple[str, str] | None] = _unrefused
    """A setting that cannot be used with the others or with this backbone, and why, as ``got 'cls'; must be 'pooled', …``."""
    misnamed: Callable[[C, BackboneConfig, int], tuple[str, str] | None] = _well_named
    """As `refusal`, of settings that name parts of the backbone for images of this size, which it builds: with torch. Raises
    ValueError for a backbone that cannot be built."""
    fitting: Callable[[C, int], C] = _as_it_is
    """For what monitors: the configuration nearest to the given one that can be used with so many training images."""

    def protocol(self, name: str) -> C:
        """The settings of a protocol. Raises KeyError if there is none of this name."""
        return {config.protocol: config for config in self.protocols}[name]

    def default_protocol(self, backbone: str, dataset: str) -> str:
        """The protocol that published tables use for this backbone and data set, given by their names."""
        return self.protocols[0].protocol if self.default is None else self.default(backbone, dataset)

    @property
    def main(self) -> Metric:
        return self.metrics[0]

    @property
    def main_key(self) -> str:
        """As searches and logs name it: ``knn/top1``."""
        return f"{self.name}/{self.main.name}"

    def text(self, values: Mapping[str, float]) -> str:
        """``top-1 44.0 %, top-5 90.0 %``."""
        return ", ".join(metric.text(values[metric.name]) for metric in self.metrics)
