"""Average ranks over the data sets of a sweep, by Friedman's and Nemenyi's tests (Demšar 2006, JMLR 7)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ...evaluation.base import Metric
from ...methods.quantities import plural
from ..store.records import Scalar, SweepResult
from .comparison import NO_DIFFERENCE
from .formats import p_value
from .main_table import DataTable
from .settings import Protocol, Setting, commonest, labels
from .statistics import LEVEL, critical_difference, friedman, rank_rows
from .table import NONE, Table, plain_table

TITLE = "Ranks over data sets"
LEAST_DATASETS, LEAST_METHODS = 3, 3
ROUGH = 10
"""Data sets from which on Friedman's test is exact enough to say nothing of it (Demšar 2006, section 3.2.2)."""
HOW_REMARK = (
    "Rank 1 has the best mean over seeds of the main metric on a data set; equal means share their ranks. Baselines are left "
    "out. The sample is the data sets, not the seeds. The first is better than another if Friedman's test has a p below "
    f"{LEVEL} and their average ranks differ by at least the critical difference of Nemenyi's test (Demšar 2006, JMLR 7)."
)

Key = tuple[str, str, str, int, int, str, tuple[tuple[str, Scalar], ...]]
"""What a setting is on every data set."""


@dataclass(frozen=True)
class Ranking:
    """The methods that have a score on every data set, by one evaluation; the best first."""

    title: str
    metric: Metric
    methods: tuple[str, ...]
    ranks: tuple[tuple[float, ...], ...]
    """Of each method its rank on each data set."""
    datasets: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def averages(self) -> list[float]:
        return [sum(ranks) / len(ranks) for ranks in self.ranks]

    def remark(self, p: float, least: float) -> str:
        text = (
            f"{self.title} {self.metric.label}: {len(self.methods)} methods on {plural(len(self.datasets), 'data set')}"
        )
        text += f"; Friedman's test: p {p_value(p)}" if p < 0.0001 else f"; Friedman's test: p = {p_value(p)}"
        text += ", which is rough for so few" if len(self.datasets) < ROUGH else ""
        text += f"; critical difference: {least:.2f}."
        if self.left_out:
            text += f" Left out, since not every data set has one result of theirs: {', '.join(self.left_out)}."
        return text


def rankings(result: SweepResult, tables: Sequence[DataTable]) -> list[Ranking]:
    """By evaluation, each data set's commonest protocol of it; those with too few methods or data sets are left out."""
    sampled = {key for search in result.searches for point in search.points for key in point.values}
    data = _distinct(tables)
    evaluations = {(p.rank, p.name, p.title) for table in data for p in table.protocols if p.main.ranked}
    found = (_ranking(name, title, data, sampled) for _, name, title in sorted(evaluations))
    return [ranking for ranking in found if ranking]


def _distinct(tables: Sequence[DataTable]) -> list[DataTable]:
    """One table of each data set: parts of one are no other data sets. The whole one, or the one with the most rows."""
    best: dict[str, DataTable] = {}
    for table in tables:
        first = table.settings[0].first
        other = best.setdefault(first.dataset, table)
        if (first.full_dataset, len(table.settings)) > (other.settings[0].first.full_dataset, len(other.settings)):
            best[first.dataset] = table
    return list(best.values())


def _ranking(name: str, title: str, tables: Sequence[DataTable], sampled: set[str]) -> Ranking | None:
    found: dict[str, _Scored] = {}
    for table in tables:
        protocol = commonest(table.settings, name, title)
        scored = _scored(table, protocol, sampled) if protocol else None
        if scored and scored.means:
            found[table.settings[0].first.dataset] = scored
    titles = {key: title for scored in reversed(found.values()) for key, title in scored.titles.items()}
    everywhere = [key for key in titles if all(key in scored.means for scored in found.values())]
    if len(found) < LEAST_DATASETS or len(everywhere) < LEAST_METHODS:
        return None
    metric = next(iter(found.values())).metric
    rows = [[scored.means[key] for key in everywhere] for scored in found.values()]
    ranks = list(zip(*rank_rows(rows, metric.higher_is_better), strict=True))
    order = sorted(range(len(everywhere)), key=lambda i: (sum(ranks[i]), i))
    methods = tuple(titles[everywhere[i]] for i in order)
    left_out = tuple(dict.fromkeys(title for key, title in titles.items() if key not in everywhere))
    return Ranking(title, metric, methods, tuple(ranks[i] for i in order), tuple(found), left_out)


class _Scored(NamedTuple):
    """The settings of one data set that have a score."""

    metric: Metric
    means: dict[Key, float]
    """Without those that this data set has several of."""
    titles: dict[Key, str]


def _scored(table: DataTable, protocol: Protocol, sampled: set[str]) -> _Scored:
    scored = [(setting, value) for setting in table.settings if (value := setting.main(protocol))]
    scored = [(setting, value) for setting, value in scored if not setting.baseline]
    keys = [_key(setting, sampled) for setting, _ in scored]
    count = Counter(keys)
    common = [
        Setting((setting.first.model_copy(update={"axes": dict(key[-1])}),))
        for key, (setting, _) in zip(keys, scored, strict=True)
    ]
    names = dict(zip(keys, labels(common), strict=True))
    titles = {key: name if count[key] == 1 else key[1] for key, name in names.items()}
    means = {key: value.mean for key, (_, value) in zip(keys, scored, strict=True) if count[key] == 1}
    return _Scored(protocol.main, means, titles)


def _key(setting: Setting, sampled: set[str]) -> Key:
    """Values that a search found for each data set belong to the method: it is tuned on each."""
    trial = setting.first
    own = {"dataset", "dataset.name", "dataset.path", "dataset.title", *sampled}
    axes = tuple(sorted((key, value) for key, value in trial.axes.items() if key not in own))
    return (trial.method, trial.title, trial.backbone, trial.batch_size, trial.epochs, trial.recipe, axes)


def rank_table(found: Sequence[Ranking]) -> Table:
    datasets = list(dict.fromkeys(name for ranking in found for name in ranking.datasets))
    rows: list[list[str]] = []
    remarks = [HOW_REMARK]
    for ranking in found:
        averages = ranking.averages
        p = friedman(list(zip(*ranking.ranks, strict=True)))
        least = critical_difference(len(ranking.methods), len(ranking.datasets))
        remarks.append(ranking.remark(p, least))
        for place, (method, ranks) in enumerate(zip(ranking.methods, ranking.ranks, strict=True)):
            own = dict(zip(ranking.datasets, ranks, strict=True))
            cells = [f"{own[name]:g}" if name in own else NONE for name in datasets]
            better = p < LEVEL and averages[place] - averages[0] >= least
            verdict = f"{ranking.methods[0]} is better" if better else NO_DIFFERENCE if place else NONE
            rows.append([f"{ranking.title} {ranking.metric.label}", method, *cells, f"{averages[place]:.2f}", verdict])
    heads = ["evaluation", "method", *(f"rank on {name}" for name in datasets), "average rank", "against the first"]
    table = plain_table(TITLE, heads, rows, numeric="|".join(heads[2:-1]))
    return replace(table, remarks=tuple(remarks))
