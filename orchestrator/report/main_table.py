"""The main table, one a data set: settings by method, every protocol in columns of its own."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

from ...evaluation.base import CONSTANT_ANSWER, Metric
from ...methods.quantities import duration, integer, noun_of
from ..published import Published
from ..store.records import EvaluationRecord, SweepResult, TrialResult
from .comparison import Comparison, compare
from .formats import NONE, accuracy, assignments, difference, memory, scalar, superscript
from .published import PublishedIndex, protocols_differ
from .ranking import MOST_CURVES, detailed, in_order
from .remarks import BEST_EPOCH, FAILED, INCOMPLETE, NOT_RUN, PARTIAL, Filled, remarks_of
from .settings import UNTRAINED, Protocol, Setting, group_settings, labels
from .statistics import Spread, spread
from .table import Cell, Column, Note, Row, Table
from .trained_models import TrainedModels, compare_models


@dataclass(frozen=True)
class DataTable:
    """One data set's settings and protocols, and the table made of them; the plots are made of the same."""

    dataset: str
    settings: tuple[Setting, ...]
    protocols: tuple[Protocol, ...]
    table: Table
    comparisons: tuple[Comparison, ...]
    """By protocol, of those under which enough seeds were scored."""
    published: PublishedIndex
    models: tuple[TrainedModels, ...] = ()
    """By protocol, of the others that have the hits of two settings with one seed."""

    @cached_property
    def names(self) -> list[str]:
        """Of the settings, as plots and the tables below the main one call them."""
        return labels(self.settings)

    @cached_property
    def detailed(self) -> dict[int, tuple[Setting, str]]:
        """By its place each setting that everything is shown of, and its name."""
        return {i: (self.settings[i], self.names[i]) for i in detailed(self.settings)}


def render_table(result: SweepResult) -> tuple[Table, ...]:
    """The main tables, one for each data set of the sweep; trials of a search are not in them."""
    return tuple(data.table for data in data_tables(result))


def _groups(result: SweepResult) -> list[tuple[tuple[str, bool, str], list[Setting]]]:
    """The settings of each data set in the order of its table: by its name, whether it is all of it, and its fingerprint."""
    fingerprints = {
        (t.dataset, t.full_dataset): t.dataset_fingerprint for t in reversed(result.trials) if t.dataset_fingerprint
    }

    def data(trial: TrialResult) -> tuple[str, bool, str]:
        name = (trial.dataset, trial.full_dataset)
        return (*name, trial.dataset_fingerprint or fingerprints.get(name, ""))  # a missing trial has read no data yet

    trials = sorted((trial for trial in result.trials if not trial.search), key=data)
    return [(key, in_order(group_settings(group))) for key, group in groupby(trials, key=data)]


def data_tables(result: SweepResult) -> tuple[DataTable, ...]:
    groups = _groups(result)
    names = [key[0] for key, _ in groups]
    published = PublishedIndex(result.published)
    tables: list[DataTable] = []
    for (dataset, full, fingerprint), settings in groups:
        title = dataset if full else f"{dataset}, a part of it"
        if names.count(dataset) > 1:
            title += f" (data {fingerprint[:8] or 'unknown'})"
        protocols = tuple(sorted({protocol for setting in settings for protocol in setting.protocols()}))
        found = {protocol: compare(settings, protocol) for protocol in protocols}
        comparisons = tuple(comparison for comparison in found.values() if comparison)
        trained = (compare_models(settings, protocol) for protocol, tested in found.items() if not tested)
        models = tuple(one for one in trained if one)
        table = _table(title, settings, protocols, published, tested=bool(comparisons))
        tables.append(DataTable(title, tuple(settings), protocols, table, comparisons, published, models))
    return tuple(tables)


def trials_with_curves(result: SweepResult) -> set[str]:
    """Ids of the trials whose histories the report shows."""
    shown: set[str] = set()
    for _, settings in _groups(result):
        drawn = [*settings[:MOST_CURVES], *(settings[place] for place in detailed(settings))]
        shown |= {trial.trial_id for setting in drawn for trial in setting.trials}
    return shown


def _table(
    title: str, settings: Sequence[Setting], protocols: Sequence[Protocol], published: PublishedIndex, *, tested: bool
) -> Table:
    filled = _identity(settings)
    same = [published.exact(setting) for setting in settings]
    notes: list[Note] = []
    for number, protocol in enumerate(protocols, start=1):
        notes.append(_note(superscript(number), protocol, settings))
        filled += _numbers(f"{_header(protocol, protocols)}{superscript(number)}", protocol, settings, same)
    filled += _costs(settings)
    rows = tuple(
        Row(
            tuple(cells[index] for _, cells in filled),
            setting.baseline,
            setting.finished < len(setting.trials),
            setting.first.title,
        )
        for index, setting in enumerate(settings)
    )
    remarks = remarks_of(settings, protocols, filled, tested=tested)
    return Table(title, tuple(column for column, _ in filled), rows, tuple(notes), remarks)


def _identity(settings: Sequence[Setting]) -> list[Filled]:
    """What a row is: the columns that Lightly's tables have, and whatever else tells the rows apart."""

    def column(label: str, value: Callable[[Setting], str], numeric: bool = True) -> Filled:
        return Column(label, numeric=numeric), [Cell(value(setting)) for setting in settings]

    def varies(value: Callable[[TrialResult], object]) -> bool:
        return len({value(setting.first) for setting in settings}) > 1

    def trained(setting: Setting, value: int) -> str:
        return NONE if setting.first.method in UNTRAINED else integer(value)

    def axis(key: str) -> Callable[[Setting], str]:
        return lambda setting: scalar(setting.axes[key]) if key in setting.axes else NONE

    columns = [column("sweep", lambda s: s.sweeps, numeric=False)] if any(s.sweeps for s in settings) else []
    columns.append(column("backbone", lambda s: s.first.backbone, numeric=False))
    if varies(lambda trial: trial.image_size):
        columns.append(column("image size", lambda s: f"{s.first.image_size} px"))
    columns.append(column("batch size", lambda s: trained(s, s.first.batch_size)))
    columns.append(column("epochs", lambda s: trained(s, s.first.epochs)))
    if varies(lambda trial: trial.recipe):
        columns.append(column("recipe", lambda s: s.first.recipe, numeric=False))
    keys = sorted({key for setting in settings for key in setting.axes})
    shorts = [key.rsplit(".", 1)[-1] for key in keys]
    for key, short in zip(keys, shorts, strict=True):
        columns.append(column(short if shorts.count(short) == 1 else key, axis(key)))
    columns.append(column("n", _repeats))

    seen = [(s.first.title, *(cells[i].text for _, cells in columns[:-1])) for i, s in enumerate(settings)]
    count = Counter(seen)
    names = [
        setting.first.title if count[seen[i]] == 1 else f"{setting.first.title} #{_handle(setting)}"
        for i, setting in enumerate(settings)
    ]
    names = [f"{name} {PARTIAL}" if s.partial else name for name, s in zip(names, settings, strict=True)]
    return [(Column("method"), [Cell(name) for name in names]), *columns]


def _handle(setting: Setting) -> str:
    return setting.first.setting[:6] or setting.first.trial_id


def _repeats(setting: Setting) -> str:
    total = len(setting.trials)
    return str(total) if setting.finished == total else f"{setting.finished} of {total} {INCOMPLETE}"


def _header(protocol: Protocol, protocols: Sequence[Protocol]) -> str:
    """Name of the evaluation; where several columns share it, with the settings that tell them apart."""
    label = protocol.title + (" (held-out part)" if protocol.split == "holdout" else "")
    kind = (protocol.title, protocol.protocol, protocol.split)
    rivals = [other for other in protocols if (other.title, other.protocol, other.split) == kind]
    every = [json.loads(other.settings) for other in rivals]
    own = json.loads(protocol.settings)
    differing = {key: own[key] for key in own if any(other.get(key) != own[key] for other in every)}
    return f"{label}, {assignments(differing)} " if differing else label


def _note(mark: str, protocol: Protocol, settings: Sequence[Setting]) -> Note:
    records = [record for setting in settings for record in setting.records(protocol)]
    scored = sorted({record.images for record in records})
    images = noun_of(scored[-1] if scored else 0, "image")
    where = f"test {images}" if protocol.split == "test" else f"{images} held out from the training set"
    text = f"scored on {' or '.join(integer(count) for count in scored)} {where}" if scored else "no trial has a number"
    remarks = sorted({text for record in records for text in record.remarks})
    text = "; ".join([text, *remarks, *_balanced(records)])
    own = json.loads(protocol.settings)
    changed = json.loads(protocol.changed)
    return Note(mark, protocol.protocol, f"{text}; {assignments(own)}" if own else text, assignments(changed))


def _balanced(records: Sequence[EvaluationRecord]) -> list[str]:
    """The balanced accuracy, if most images are of one class, whose recall is then most of the top-1."""
    told = [record for record in records if any(text.endswith(CONSTANT_ANSWER) for text in record.remarks)]
    found = sorted({f"{record.details.balanced_top1:.1f}" for record in told if record.details}, key=float)
    return [f"balanced accuracy {' to '.join(dict.fromkeys((found[0], found[-1])))} %"] if found else []


class Measure(NamedTuple):
    """A column of a protocol: a metric of the last epoch, or of the best one."""

    metric: Metric
    best_epoch: bool = False

    @property
    def label(self) -> str:
        return BEST_EPOCH if self.best_epoch else self.metric.label

    def values(self, records: Sequence[EvaluationRecord]) -> list[float]:
        found = [record.best if self.best_epoch else record.metrics for record in records]
        return [numbers[self.metric.name] for numbers in found if self.metric.name in numbers]


def _numbers(
    group: str, protocol: Protocol, settings: Sequence[Setting], published: Sequence[Sequence[Published]]
) -> list[Filled]:
    """Every metric and, where measured, the main one's best epoch; a published figure beside the one it compares with."""
    columns: list[Filled] = []
    records = [setting.records(protocol) for setting in settings]
    best_epoch = any(protocol.main.name in record.best for row in records for record in row)
    measures = [Measure(metric) for metric in protocol.metrics]
    if best_epoch:
        measures.insert(1, Measure(protocol.main, best_epoch=True))
    for measure in measures:
        columns.append((Column(measure.label, group, numeric=True), _measured(measure, protocol, records, settings)))
        if measure != Measure(protocol.main) or not best_epoch:
            found = [_comparable(measure, protocol, rows) for rows in published]
            sources = dict.fromkeys(row.source for row in found if row)
            if sources:
                label = f"{next(iter(sources)) if len(sources) == 1 else 'published'} {measure.label.removesuffix('*')}"
                cells = [_published(measure, protocol, *pair) for pair in zip(records, found, strict=True)]
                columns.append((Column(label, group, numeric=True, beside=measure.label.removesuffix("*")), cells))
    return columns


def _comparable(measure: Measure, protocol: Protocol, rows: Sequence[Published]) -> Published | None:
    """The published figure of this measure, of the same protocol if there is one; of equals, the first."""
    found = [row for row in rows if (row.evaluation, row.metric) == (protocol.name, measure.metric.name)]
    return min(found, key=lambda row: len(protocols_differ(row, protocol)), default=None)


def _measured(
    measure: Measure, protocol: Protocol, records: Sequence[list[EvaluationRecord]], settings: Sequence[Setting]
) -> list[Cell]:
    spreads = [spread(measure.values(row)) for row in records]
    digits = measure.metric.digits
    means = [
        round(value.mean, digits)
        for value, setting in zip(spreads, settings, strict=True)
        if value is not None and setting.contends
    ]
    top = measure.metric.best(means) if measure.metric.ranked and len(means) > 1 else None
    return [
        Cell(
            _number(value, setting, protocol, digits),
            best=value is not None and setting.contends and round(value.mean, digits) == top,
        )
        for value, setting in zip(spreads, settings, strict=True)
    ]


def _number(value: Spread | None, setting: Setting, protocol: Protocol, digits: int) -> str:
    """The mean of the seeds or, without any, why there is none."""
    missing = setting.missing(protocol)
    if value is None and missing:
        return FAILED if any(one.reason for one in missing) else NOT_RUN
    return accuracy(value, setting.finished, digits)


def _published(measure: Measure, protocol: Protocol, records: list[EvaluationRecord], row: Published | None) -> Cell:
    """Compares like with like only: the best epoch with the best epoch, the last with the last."""
    if row is None:
        return Cell(NONE)
    ours = spread(measure.values(records))
    if ours is None:
        return Cell(row.text)
    like = row.best_epoch == measure.best_epoch and not protocols_differ(row, protocol)
    return Cell(f"{row.text} ({difference(ours.mean, row.value)})" if like else f"{row.text} ‡")


def _costs(settings: Sequence[Setting]) -> list[Filled]:
    seconds = [setting.seconds() for setting in settings]
    peaks = [setting.memory() for setting in settings]
    columns: list[Filled] = [
        (
            Column("run time", numeric=True),
            [Cell(NONE) if s is None else Cell(duration(s), value=round(s, 1)) for s in seconds],
        ),
        (
            Column("peak memory", numeric=True),
            [Cell(NONE) if peak is None else Cell(memory(peak), value=peak) for peak in peaks],
        ),
    ]
    hardware = [setting.hardware() for setting in settings]
    if len(set(hardware) - {""}) > 1:
        columns.append((Column("hardware"), [Cell(text or NONE) for text in hardware]))
    return columns
