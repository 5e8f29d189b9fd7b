"""Which published figures a row of a table may be compared with, and what differs where it may not."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ...methods.quantities import integer
from ..published import Published, library
from ..store.records import EvaluationRecord, Scalar
from .formats import assignments, scalar
from .settings import Protocol, Setting
from .statistics import Interval, Spread, next_interval, spread

ROUNDING = 0.05
"""Published figures are rounded, most to one decimal place."""


class PublishedIndex:
    """The user's own rows, then the library's, by what a trial has to share with them."""

    def __init__(self, own: Sequence[Published] = ()):
        self._rows: dict[tuple[str, str, str], list[Published]] = {}
        for row in (*own, *library()):
            self._rows.setdefault((row.dataset, row.method, row.backbone), []).append(row)

    def of(self, setting: Setting) -> list[Published]:
        """Figures of the same data, method, backbone and image size. None of them is of a backbone with given weights."""
        trial = setting.first
        if not trial.full_dataset or trial.weights is not None:
            return []
        found = self._rows.get((trial.dataset_kind or trial.dataset, trial.method, trial.backbone.split(".")[0]), [])
        return [row for row in found if row.image_size in (None, trial.image_size)]

    def exact(self, setting: Setting) -> list[Published]:
        """Those whose batch size and epochs are the same too."""
        return [row for row in self.of(setting) if not sizes_differ(row, setting)]

    def nearest(self, setting: Setting) -> list[Published]:
        """Of each source the figures of one training: of the same batch size and epochs, or the nearest in both."""
        groups: dict[str, list[Published]] = {}
        for row in self.of(setting):
            groups.setdefault(row.source, []).append(row)
        nearest = {source: min(rows, key=lambda row: _distance(row, setting)).run for source, rows in groups.items()}
        return [row for source, rows in groups.items() for row in rows if row.run == nearest[source]]


def _distance(row: Published, setting: Setting) -> tuple[float, bool, bool]:
    trial = setting.first
    pairs = ((row.epochs, trial.epochs), (row.batch_size, trial.batch_size))
    far = sum(abs(math.log(theirs / max(ours, 1))) for theirs, ours in pairs if theirs is not None)
    unknown = any(theirs is None for theirs, _ in pairs)
    return far, unknown, bool(row.superseded)


def sizes_differ(row: Published, setting: Setting) -> list[str]:
    """In words; a row of a grid over anything else is never the same: which value was theirs?"""
    trial = setting.first
    found: list[str] = []
    pairs = (("epochs", row.epochs, trial.epochs), ("batch size", row.batch_size, trial.batch_size))
    for name, theirs, ours in pairs:
        if theirs is None:
            found.append(f"{name} not stated, ours {integer(ours)}")
        elif theirs != ours:
            found.append(f"{name} {integer(theirs)}, ours {integer(ours)}")
    if setting.axes:
        found.append(f"ours is of a grid over {', '.join(sorted(setting.axes))}")
    return found


def protocols_differ(row: Published, protocol: Protocol) -> list[str]:
    """In words, why the figure was not made as ours: by another protocol or settings, or not on the whole test set."""
    own: dict[str, Scalar] = json.loads(protocol.settings)
    found: list[str] = []
    if row.protocol != protocol.protocol:
        found.append(f"published with {row.how}, ours {protocol.protocol}" + _known(row, own))
    elif differing := {key: value for key, value in row.protocol_settings.items() if own.get(key, value) != value}:
        ours = {key: own[key] for key in differing}
        found.append(f"published with {assignments(differing)}, ours {assignments(ours)}")
    if protocol.changed != "{}":
        found.append(f"ours changes its protocol: {assignments(json.loads(protocol.changed))}")
    if protocol.split != "test":
        found.append("ours on images held out from the training set")
    return found


def _known(row: Published, own: dict[str, Scalar]) -> str:
    ours = [f"{key} {scalar(own[key])}" for key in row.protocol_settings if key in own]
    return f" ({', '.join(ours)})" if ours else ""


def training_differs(row: Published, setting: Setting) -> list[str]:
    """In words, what the source is known to have set otherwise in the training. No reason not to compare: it is the question."""
    trial = setting.first
    found = [f"recipe {row.recipe}, ours {trial.recipe}"] if row.recipe not in ("", trial.recipe) else []
    for key, theirs in row.settings.items():
        ours = trial.trained_with.get(key, theirs)
        if not _same(theirs, ours):
            name = key.removeprefix("pretrain.").removeprefix("method.")
            found.append(f"{name} {scalar(theirs)}, ours {scalar(ours)}")
    return found


def _same(theirs: Scalar, ours: Scalar) -> bool:
    if isinstance(theirs, (int, float)) and isinstance(ours, (int, float)):
        return math.isclose(theirs, ours)
    return theirs == ours


class Match(NamedTuple):
    """A published figure beside ours."""

    row: Published
    protocol: Protocol
    """Ours."""
    ours: Spread
    best_epoch: bool
    """Whether `ours` are of the best epoch."""
    obstacles: tuple[str, ...]
    """Why no difference is given; empty if the two were measured alike."""
    training: tuple[str, ...]
    """What is known to differ in the training."""

    @property
    def difference(self) -> float | None:
        """Ours less theirs."""
        return None if self.obstacles else self.ours.mean - self.row.value

    @property
    def reach(self) -> Interval | None:
        """Where one more seed of ours would lie."""
        return None if self.obstacles else next_interval(self.ours)

    @property
    def within(self) -> bool | None:
        """Whether theirs could be one more seed of ours; None if there is no difference, or one seed alone."""
        reach = self.reach
        return None if reach is None else reach.low - ROUNDING <= self.row.value <= reach.high + ROUNDING


def matched(index: PublishedIndex, setting: Setting, protocols: Iterable[Protocol]) -> list[Match]:
    """Every source's figures for the evaluations that the setting has results of."""
    own = [protocol for protocol in protocols if setting.records(protocol)]
    found = (_match(row, setting, own) for row in index.nearest(setting))
    return [match for match in found if match is not None]


def _match(row: Published, setting: Setting, own: Sequence[Protocol]) -> Match | None:
    """Beside the protocol of ours that differs least from theirs."""
    fitting = [protocol for protocol in own if protocol.name == row.evaluation and row.metric in protocol.measures]
    if not fitting:
        return None
    protocol = min(fitting, key=lambda each: (each.protocol != row.protocol, len(protocols_differ(row, each))))
    obstacles = [*sizes_differ(row, setting), *protocols_differ(row, protocol)]
    records = setting.records(protocol)
    ours = spread(figures(records, row)) if row.best_epoch else None
    best_epoch = ours is not None
    if ours is None:
        ours = spread([record.metrics[row.metric] for record in records if row.metric in record.metrics])
        if row.best_epoch:
            obstacles.append("published: the best epoch on the test set, ours the last")
    if ours is None:
        return None
    return Match(row, protocol, ours, best_epoch, tuple(obstacles), tuple(training_differs(row, setting)))


def figures(records: Iterable[EvaluationRecord], row: Published) -> list[float]:
    """Of ours what the published figure is of: the best epoch or the last one."""
    numbers = [record.best if row.best_epoch else record.metrics for record in records]
    return [values[row.metric] for values in numbers if row.metric in values]
