"""The main table, one a data set: settings by method, every protocol in columns of its own."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from ...evaluation.base import CONSTANT_ANSWER, Metric
from ..store.records import EvaluationRecord, SweepResult, TrialResult
from .comparison import Comparison, compare
from .formats import NONE, accuracy, assignments, difference, duration, integer, memory, scalar, superscript
from .published import exact_match, same_protocol
from .settings import Protocol, Setting, departure_remarks, group_settings
from .statistics import LEAST_SEEDS, spread
from .table import Cell, Column, Note, Row, Table

INCOMPLETE = "▲"
UNTRAINED = ("random", "pretrained")
BEST_EPOCH = "best epoch*"
SEEDS_REMARK = (
    "n: number of seeds. A number is their mean ± sample standard deviation, or the only value if n = 1; the report has 95 % "
    "intervals."
)
BOLD_REMARK = "Bold: the best of its column, baselines left out."
TESTED_REMARK = (
    "Whether it is better than others by more than chance is tested in “Comparison of methods” of the report."
)
ONE_SEED_REMARK = "No difference between rows is claimed from one seed."
FEW_SEEDS_REMARK = (
    f"No difference between rows is claimed: a test takes at least {LEAST_SEEDS} seeds that two rows share."
)
UNLABELLED_REMARK = "No labels found: evaluations that need them were skipped."
BEST_EPOCH_REMARK = (
    "* {} over the epochs, chosen on the very images it is scored on, as many published tables do: "
    "optimistically biased, and not to be compared with the other columns."
)
PUBLISHED_REMARK = (
    "Lightly: the figure published for this data set, method, backbone, batch size and number of epochs (one run, "
    "Lightly's own recipe), and in brackets ours less theirs; with one run of theirs, no test can tell it from chance. ‡ No "
    "difference is given: theirs is the best epoch on the test set and ours is not, or the protocols differ."
)


@dataclass(frozen=True)
class DataTable:
    """One data set's settings and protocols, and the table made of them; the plots are made of the same."""

    dataset: str
    settings: tuple[Setting, ...]
    protocols: tuple[Protocol, ...]
    table: Table
    comparisons: tuple[Comparison, ...]
    """By protocol, of those under which enough seeds were scored."""


def render_table(result: SweepResult) -> tuple[Table, ...]:
    """The main tables, one for each data set of the sweep; trials of a search are not in them."""
    return tuple(data.table for data in data_tables(result))


def data_tables(result: SweepResult) -> tuple[DataTable, ...]:
    fingerprints = {
        (t.dataset, t.full_dataset): t.dataset_fingerprint for t in reversed(result.trials) if t.dataset_fingerprint
    }

    def data(trial: TrialResult) -> tuple[str, bool, str]:
        name = (trial.dataset, trial.full_dataset)
        return (*name, trial.dataset_fingerprint or fingerprints.get(name, ""))  # a missing trial has read no data yet

    trials = sorted((trial for trial in result.trials if not trial.search), key=data)
    groups = [(key, group_settings(group)) for key, group in groupby(trials, key=data)]
    names = [key[0] for key, _ in groups]
    tables: list[DataTable] = []
    for (dataset, full, fingerprint), settings in groups:
        title = dataset if full else f"{dataset}, a part of it"
        if names.count(dataset) > 1:
            title += f" (data {fingerprint[:8] or 'unknown'})"
        protocols = tuple(sorted({protocol for setting in settings for protocol in setting.protocols()}))
        found = (compare(settings, protocol) for protocol in protocols)
        comparisons = tuple(comparison for comparison in found if comparison)
        table = _table(title, settings, protocols, tested=bool(comparisons))
        tables.append(DataTable(title, tuple(settings), protocols, table, comparisons))
    return tuple(tables)


Filled = tuple[Column, list[Cell]]


def _table(title: str, settings: Sequence[Setting], protocols: Sequence[Protocol], *, tested: bool) -> Table:
    filled = _identity(settings)
    notes: list[Note] = []
    for number, protocol in enumerate(protocols, start=1):
        notes.append(_note(superscript(number), protocol, settings))
        filled += _numbers(f"{_header(protocol, protocols)}{superscript(number)}", protocol, settings)
    filled += _costs(settings)
    rows = tuple(
        Row(tuple(cells[index] for _, cells in filled), setting.baseline, setting.finished < len(setting.trials))
        for index, setting in enumerate(settings)
    )
    remarks = _remarks(settings, protocols, filled, tested=tested)
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

    columns = [column("backbone", lambda s: s.first.backbone, numeric=False)]
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
    where = "test images" if protocol.split == "test" else "images held out from the training set"
    text = f"scored on {' or '.join(integer(count) for count in scored)} {where}"
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


def _numbers(group: str, protocol: Protocol, settings: Sequence[Setting]) -> list[Filled]:
    """Every metric and, where measured, the main one's best epoch; a published figure beside the one it compares with."""
    columns: list[Filled] = []
    records = [setting.records(protocol) for setting in settings]
    best_epoch = any(protocol.main.name in record.best for row in records for record in row)
    measures = [Measure(metric) for metric in protocol.metrics]
    if best_epoch:
        measures.insert(1, Measure(protocol.main, best_epoch=True))
    for measure in measures:
        columns.append((Column(measure.label, group, numeric=True), _measured(measure, records, settings)))
        if measure != Measure(protocol.main) or not best_epoch:
            published = [
                _published(measure, protocol, row, setting) for setting, row in zip(settings, records, strict=True)
            ]
            if any(cell.text != NONE for cell in published):
                label = f"Lightly {measure.label.removesuffix('*')}"
                columns.append((Column(label, group, numeric=True), published))
    return columns


def _measured(measure: Measure, records: Sequence[list[EvaluationRecord]], settings: Sequence[Setting]) -> list[Cell]:
    spreads = [spread(measure.values(row)) for row in records]
    digits = measure.metric.digits
    means = [
        round(value.mean, digits)
        for value, setting in zip(spreads, settings, strict=True)
        if value is not None and not setting.baseline
    ]
    top = measure.metric.best(means) if measure.metric.ranked and len(means) > 1 else None
    return [
        Cell(
            accuracy(value, setting.finished, digits),
            best=value is not None and not setting.baseline and round(value.mean, digits) == top,
        )
        for value, setting in zip(spreads, settings, strict=True)
    ]


def _published(measure: Measure, protocol: Protocol, records: list[EvaluationRecord], setting: Setting) -> Cell:
    """Compares like with like only: the best epoch with the best epoch, the last with the last."""
    run = exact_match(setting)
    figure = run.figures.get(f"{protocol.name}_{measure.metric.name}") if run else None
    if run is None or figure is None:
        return Cell(NONE)
    ours = spread(measure.values(records))
    if ours is None:
        return Cell(f"{figure:.1f}")
    like = (protocol.name in run.best_epoch) == measure.best_epoch and same_protocol(run, protocol)
    return Cell(f"{figure:.1f} ({difference(ours.mean, figure)})" if like else f"{figure:.1f} ‡")


def _costs(settings: Sequence[Setting]) -> list[Filled]:
    seconds = [setting.seconds() for setting in settings]
    peaks = [setting.memory() for setting in settings]
    columns: list[Filled] = [
        (Column("run time", numeric=True), [Cell(NONE if s is None else duration(s)) for s in seconds]),
        (Column("peak memory", numeric=True), [Cell(NONE if peak is None else memory(peak)) for peak in peaks]),
    ]
    hardware = [setting.hardware() for setting in settings]
    if len(set(hardware) - {""}) > 1:
        columns.append((Column("hardware"), [Cell(text or NONE) for text in hardware]))
    return columns


def _remarks(
    settings: Sequence[Setting], protocols: Sequence[Protocol], filled: Sequence[Filled], *, tested: bool
) -> tuple[str, ...]:
    labels = {column.label for column, _ in filled}
    hardware = {setting.hardware() for setting in settings} - {""}
    remarks = [SEEDS_REMARK]
    said = [BOLD_REMARK] if any(cell.best for _, cells in filled for cell in cells) else []
    if len(settings) > 1 and protocols:
        several = any(len(setting.records(protocol)) > 1 for setting in settings for protocol in protocols)
        said.append(TESTED_REMARK if tested else FEW_SEEDS_REMARK if several else ONE_SEED_REMARK)
    remarks += [" ".join(said)] if said else []
    if any(setting.finished < len(setting.trials) for setting in settings):
        remarks.append(f"{INCOMPLETE} Not every trial of this row has finished; the others are listed below the table.")
    if not all(setting.first.labelled for setting in settings):
        remarks.append(UNLABELLED_REMARK)
    if BEST_EPOCH in labels:
        mains = dict.fromkeys(protocol.main for protocol in protocols if any(s.best(protocol) for s in settings))
        chosen = [f"{'largest' if metric.higher_is_better else 'smallest'} {metric.title}" for metric in mains]
        remarks.append(BEST_EPOCH_REMARK.format(" or ".join(chosen).capitalize()))
    if any(label.startswith("Lightly") for label in labels):
        remarks.append(PUBLISHED_REMARK)
    remarks += departure_remarks(settings)
    on = f" on {next(iter(hardware))}" if len(hardware) == 1 else ""
    remarks.append(
        f"Run time: mean of the pretraining{on}, evaluations not counted. Peak memory: of the busiest worker."
    )
    return tuple(remarks)
