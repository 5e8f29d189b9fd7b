"""What an evaluation declares, beside the function that scores a backbone. Free of torch.

A protocol's settings never change: a changed setting is a new version. What a sweep sets by hand is kept beside the
protocol's name as `changed`, so that a report cannot mistake one for the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from ..methods.config import Config

if TYPE_CHECKING:
    from .task import Score, Task


class EvaluationConfig(Config):
    """Base of every evaluation's configuration. The class defaults are those of its first protocol."""

    name: str
    protocol: str
    """Name and version, e.g. ``linear/simclr@1``: the settings that differ from it are reported as changed."""

    @property
    def draws(self) -> bool:
        """Whether a training draws anything but crops and flips: then its numbers depend on the version of the draws."""
        return False


C = TypeVar("C", bound=EvaluationConfig)


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

    def text(self, value: float) -> str:
        """``top-1 44.0 %``."""
        return f"{self.title} {self.quantity(value)}"

    def quantity(self, value: float) -> str:
        """``44.0 %``."""
        return f"{value:.{self.digits}f}{f' {self.unit}' if self.unit else ''}"

    @property
    def label(self) -> str:
        """Head of a table's column."""
        return f"{self.title}, {self.unit}" if self.unit not in ("", "%") else self.title

    def best(self, values: list[float]) -> float:
        return max(values) if self.higher_is_better else min(values)


ACCURACY = (Metric("top1", "top-1", "%"), Metric("top5", "top-5", "%"))
"""What a classifier returns; the backbone's rank among others is that of the first."""


def _fits(_config: EvaluationConfig, _images: int) -> None:
    return None


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
    vit_protocol: str | None = None
    """The default for vision transformers, if it is another one."""
    needs_labels: bool = True
    monitors: bool = False
    """Whether it is quick enough to be run between the epochs of pretraining (`pretrain.knn_every`)."""
    batch_size: Callable[[C], int] | None = None
    """For what trains: the global batch, of which every worker takes an equal part."""
    misfit: Callable[[C, int], str | None] = _fits
    """Why a configuration cannot be used with so many training images, e.g. ``k = 200``; None if it can."""

    def protocol(self, name: str) -> C:
        """The settings of a protocol. Raises KeyError if there is none of this name."""
        return {config.protocol: config for config in self.protocols}[name]

    def default_protocol(self, is_vit: bool) -> str:
        """The protocol that the benchmark tables use for this kind of backbone."""
        return self.vit_protocol if is_vit and self.vit_protocol else self.protocols[0].protocol

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
