"""Which trials repeat one another, which numbers may stand in one column, and their mean and spread."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from ...evaluation.base import Metric
from ...evaluation.registry import EVALUATIONS, declared_metrics, title_of
from ...methods.quantities import integer, plural
from ..store.records import EvaluationRecord, MissingEvaluation, Scalar, TrialResult
from ..store.trial_state import TrialState
from .statistics import Spread, spread

BASELINES = ("random", "supervised")
UNTRAINED = ("random", "pretrained")
"""Methods whose backbones are evaluated as they begin."""

MOST_REMARKS = 12
"""Of remarks about departures, and of names in one."""
SHOWN_AXES = {
    *("pretrain.batch_size", "pretrain.epochs", "backbone", "backbone.name"),
    *("dataset", "dataset.name", "dataset.path", "dataset.title"),
}
"""Axes that a table shows in any case."""


@dataclass(frozen=True, order=True)
class Protocol:
    """What must be equal for two numbers to be in one column."""

    rank: int
    """Order of the evaluations in tables."""
    name: str
    known_as: str
    """What the sweep calls the evaluation."""
    protocol: str
    split: str
    settings: str
    changed: str
    """The last two as JSON with sorted keys, to be hashed and compared."""
    measures: tuple[str, ...]
    """Names of the metrics, the main one first."""

    @classmethod
    def of(cls, record: EvaluationRecord | MissingEvaluation) -> "Protocol":
        found = record.metrics if isinstance(record, EvaluationRecord) else _declared(record.name)
        settings, changed = (json.dumps(part, sort_keys=True) for part in (record.settings, record.changed))
        measures = tuple(metric.name for metric in declared_metrics(record.name, found))
        known_as = record.known_as or record.name
        rank = (*EVALUATIONS, record.name).index(record.name)
        return cls(rank, record.name, known_as, record.protocol, record.split, settings, changed, measures)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return declared_metrics(self.name, self.measures)

    @property
    def title(self) -> str:
        """In tables."""
        return title_of(self.name) if self.known_as == self.name else self.known_as

    @property
    def main(self) -> Metric:
        return self.metrics[0]


def _declared(name: str) -> list[str]:
    return [metric.name for metric in EVALUATIONS[name].metrics] if name in EVALUATIONS else []


@dataclass(frozen=True)
class Setting:
    """The trials that differ in their seed only: one row of a table, one line of a plot."""

    trials: tuple[TrialResult, ...]

    @property
    def first(self) -> TrialResult:
        return self.trials[0]

    @property
    def baseline(self) -> bool:
        return self.first.method in BASELINES

    @property
    def partial(self) -> bool:
        """Whether any of its backbones began with a part of the given weights, and at random otherwise."""
        return any(trial.pretrain is not None and trial.pretrain.weights_missing for trial in self.trials)

    @property
    def contends(self) -> bool:
        """Whether it may be marked as the best: neither a baseline, nor evaluated with weights that are partly random."""
        return not self.baseline and not (self.partial and self.first.method in UNTRAINED)

    @property
    def sweeps(self) -> str:
        """Names of the sweeps that have it, in a report of several; else empty."""
        return ", ".join(dict.fromkeys(name for trial in self.trials for name in trial.sweeps))

    @property
    def finished(self) -> int:
        return sum(trial.status is TrialState.FINISHED for trial in self.trials)

    @property
    def axes(self) -> dict[str, Scalar]:
        return {key: value for key, value in self.first.axes.items() if key not in SHOWN_AXES}

    def records(self, protocol: Protocol) -> list[EvaluationRecord]:
        """The evaluation under `protocol` of each trial that has it, the latest where there are several."""
        return [records[protocol] for records in self._by_protocol if protocol in records]

    def scores(self, protocol: Protocol) -> dict[int, float]:
        """The protocol's main metric by seed: what is paired with another setting's."""
        main = {seed: record.metrics[protocol.main.name] for seed, record in self.by_seed(protocol).items()}
        return {seed: value for seed, value in main.items() if math.isfinite(value)}

    def by_seed(self, protocol: Protocol) -> dict[int, EvaluationRecord]:
        """As `records`."""
        found = zip(self.trials, self._by_protocol, strict=True)
        return {trial.seed: own[protocol] for trial, own in found if protocol in own}

    def main(self, protocol: Protocol) -> Spread | None:
        """Of the protocol's main metric."""
        return spread([record.metrics[protocol.main.name] for record in self.records(protocol)])

    def best(self, protocol: Protocol) -> Spread | None:
        """Of the main metric's best epoch, chosen on the scored images."""
        main = protocol.main.name
        return spread([record.best[main] for record in self.records(protocol) if main in record.best])

    def protocols(self) -> set[Protocol]:
        """Under which any trial has a number, or lacks one though its pretraining is done."""
        scored = {protocol for records in self._by_protocol for protocol in records}
        lacking = zip(self.trials, self._missing, strict=True)
        return scored | {protocol for trial, missing in lacking if trial.pretrain for protocol in missing}

    def missing(self, protocol: Protocol) -> list[MissingEvaluation]:
        """What failed trials lack of a column."""
        return [missing[protocol] for missing in self._missing if protocol in missing]

    @cached_property
    def _by_protocol(self) -> list[dict[Protocol, EvaluationRecord]]:
        """Of each trial its latest evaluation under each protocol."""
        return [{Protocol.of(record): record for record in trial.evaluations} for trial in self.trials]

    @cached_property
    def _missing(self) -> list[dict[Protocol, MissingEvaluation]]:
        """Likewise of what a failed trial lacks."""
        return [{Protocol.of(one): one for one in trial.missing} for trial in self.trials]

    def seconds(self) -> float | None:
        """Mean pretraining time."""
        seconds = spread([trial.pretrain.cost.seconds for trial in self.trials if trial.pretrain])
        return seconds.mean if seconds else None

    def memory(self) -> int | None:
        """Largest peak over the trials: allocated on the GPU, or resident where there is none."""
        costs = [trial.pretrain.cost for trial in self.trials if trial.pretrain]
        peaks = [cost.resident if cost.gpu_allocated is None else cost.gpu_allocated for cost in costs]
        return max((peak for peak in peaks if peak is not None), default=None)

    def hardware(self) -> str:
        costs = {(t.pretrain.cost.workers, t.pretrain.cost.device) for t in self.trials if t.pretrain}
        return ", ".join(f"{workers} × {'CPU' if device == 'cpu' else device}" for workers, device in sorted(costs))


def group_settings(trials: Iterable[TrialResult]) -> list[Setting]:
    """Trials by setting, in the order of the tables: by method and size, baselines last.

    Two trials of one setting with the same seed differ in something that was not recorded. They are no repeats, so such
    a setting is taken apart into its trials rather than averaged.
    """
    settings: list[Setting] = []
    for _, group in groupby(sorted(trials, key=_order), key=_order):
        members = tuple(group)
        repeats = len({trial.seed for trial in members}) == len(members)
        settings += [Setting(members)] if repeats else [Setting((trial,)) for trial in members]
    return [Setting(tuple(sorted(setting.trials, key=lambda trial: trial.seed))) for setting in settings]


def _order(trial: TrialResult) -> tuple[object, ...]:
    baseline = BASELINES.index(trial.method) + 1 if trial.method in BASELINES else 0
    size = (trial.backbone, trial.image_size, trial.batch_size, trial.epochs, trial.recipe)
    axes = tuple((key, *_sortable(value)) for key, value in sorted(trial.axes.items()))
    return (baseline, trial.title.casefold(), trial.title, trial.method, *size, axes, trial.setting)


def _sortable(value: Scalar) -> tuple[bool, float, str]:
    number = isinstance(value, (bool, int, float))
    return (not number, float(value) if number else 0.0, "" if number else str(value))


def labels(settings: Sequence[Setting]) -> list[str]:
    """A name for each setting, no longer than it takes to tell them apart: the title, and what varies under it."""
    same = Counter(setting.first.title for setting in settings)
    having = Counter((setting.first.title, text) for setting in settings for text in set(_traits(setting)))
    names: list[str] = []
    for setting in settings:
        title = setting.first.title
        telling = [text for text in _traits(setting) if having[title, text] < same[title]]
        names.append(", ".join([title, *telling]))
    count = Counter(names)
    return [
        f"{name} #{(setting.first.setting or setting.first.trial_id)[:6]}" if count[name] > 1 else name
        for name, setting in zip(names, settings, strict=True)
    ]


def departure_remarks(settings: Sequence[Setting]) -> list[str]:
    """For each list of settings that differ from a recipe, the rows that have it."""
    rows: dict[tuple[str, str], list[str]] = {}
    for setting, name in zip(settings, labels(settings), strict=True):
        if setting.first.departures:
            rows.setdefault((setting.first.recipe, ", ".join(setting.first.departures)), []).append(name)
    said = [f"Differs from recipe {recipe}: {_some(names)}: {text}." for (recipe, text), names in rows.items()]
    if len(said) <= MOST_REMARKS:
        return said
    left = integer(len(said) - MOST_REMARKS)
    return [
        *said[:MOST_REMARKS],
        f"{left} further lists of settings differ from a recipe: `departures` in results.csv.",
    ]


def _some(names: Sequence[str]) -> str:
    more = len(names) - MOST_REMARKS
    return "; ".join(names) if more <= 1 else f"{'; '.join(names[:MOST_REMARKS])} and {integer(more)} others"


def _traits(setting: Setting) -> list[str]:
    trial = setting.first
    axes = [f"{key.rsplit('.', 1)[-1]} {value}" for key, value in setting.axes.items()]
    sizes = [
        f"{trial.image_size} px",
        f"batch {trial.batch_size}",
        plural(trial.epochs, "epoch"),
        f"recipe {trial.recipe}",
    ]
    return [trial.backbone, *sizes, *axes, *([setting.sweeps] if setting.sweeps else [])]


def commonest(settings: Sequence[Setting], name: str, title: str | None = None) -> Protocol | None:
    """The protocol of evaluation `name` that most settings have: what a plot shows, since it may not mix them.

    title: of one of several entries of a sweep; None: of any.
    """
    counts: dict[Protocol, int] = {}
    for setting in settings:
        for protocol in setting.protocols():
            if protocol.name == name and title in (None, protocol.title) and setting.records(protocol):
                counts[protocol] = counts.get(protocol, 0) + 1
    return min(counts, key=lambda protocol: (-counts[protocol], protocol), default=None)
