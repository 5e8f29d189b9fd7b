"""One published figure, with all that its source says of how it was made."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Scalar = bool | int | float | str


class Run(NamedTuple):
    """What the figures of one published training share."""

    source: str
    reference: str
    title: str
    dataset: str
    backbone: str
    image_size: int | None
    epochs: int | None
    batch_size: int | None


class Published(BaseModel):
    """A row of a file. Method, data set, backbone, evaluation and metric go by the names that sweep files use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    title: str
    """The method as the source prints it."""
    dataset: str
    backbone: str
    image_size: int | None = Field(default=None, gt=0)
    """At which it was evaluated; None where the source does not say, as for the two below."""
    epochs: int | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, gt=0)
    """Over all workers."""
    evaluation: str
    metric: str
    value: float = Field(allow_inf_nan=False)
    """In the metric's unit: percent for ``top1``."""
    protocol: str = ""
    """Ours that the figure was made by; empty if none of ours is it."""
    protocol_settings: dict[str, Scalar] = {}
    """What is known of the evaluation's settings: ``k`` and ``temperature`` of kNN."""
    best_epoch: bool = False
    """The best of all epochs on the test set, and not the last one's."""
    differs: str = ""
    """In words, how it was evaluated if by no protocol of ours."""
    recipe: Literal["", "paper", "lightly"] = ""
    """Our recipe that is meant to be the source's."""
    settings: dict[str, Scalar] = {}
    """What is known of the training, by the dotted keys of a sweep file: ``pretrain.optimizer.lr``."""
    source: str
    reference: str = ""
    """Where in the source: a file, a table, a paper."""
    version: str = ""
    """Commit in which it was read."""
    date: str = Field(default="", pattern=r"^(\d{4}(-\d{2}(-\d{2})?)?)?$")
    """Of the run or of its publication, as far as it is known: 2023, 2023-04 or 2023-04-28."""
    notes: str = ""
    superseded: str = ""
    """Why the source no longer stands by it; empty if it does."""
    hardware: str = ""
    runtime_min: float | None = Field(default=None, ge=0)
    memory_gb: float | None = Field(default=None, ge=0)

    @property
    def run(self) -> Run:
        return Run(
            self.source,
            self.reference,
            self.title,
            self.dataset,
            self.backbone,
            self.image_size,
            self.epochs,
            self.batch_size,
        )

    @property
    def text(self) -> str:
        """The figure as it is printed, with one decimal place at least."""
        short = f"{self.value:.12g}"
        return f"{self.value:.1f}" if float(f"{self.value:.1f}") == self.value else short

    @property
    def how(self) -> str:
        """The evaluation in words: the protocol with what is known of its settings, or what differs from all of ours."""
        known = settings_text(self.protocol_settings, ", ", " ")
        parts = [self.protocol or self.differs or "protocol not stated", f"({known})" if known else ""]
        return " ".join(part for part in parts if part)


COLUMNS = tuple(Published.model_fields)
"""Of a file, in this order where we write one."""


def settings_text(settings: Mapping[str, Scalar], between: str = " ", equals: str = "=") -> str:
    """``k=20 temperature=0.1``, as in a cell of a file."""
    return between.join(f"{key}{equals}{_scalar_text(value)}" for key, value in settings.items())


def _scalar_text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def write_published(rows: Iterable[Published]) -> str:
    """The rows as the text of a file that `read_published` reads."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for _, value in row] for row in rows)
    return stream.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return settings_text(value)
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if value is None else f"{value:.12g}" if isinstance(value, float) else str(value)
