"""What the report says and in which order; Markdown and HTML are two ways to set it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...methods.quantities import plural
from ..store.records import SweepResult
from ..store.trial_state import TrialState
from .comparison import comparison_table
from .details import details_table
from .feature_plots import feature_section
from .feature_views import Look
from .formats import accuracy
from .intervals import interval_table
from .learning_table import learning_table
from .main_table import DataTable, data_tables
from .ranking import left_out
from .ranks import rank_table, rankings
from .reproduction import reproduction_table
from .search import front_table, search_table
from .sections import (
    NO_REASON,
    LogLink,
    cost_table,
    datasets_table,
    environment_table,
    restarts_table,
    unfinished_table,
)
from .selected import selected_table
from .settings import BASELINES, Protocol, commonest
from .several import differences_table
from .svg import Plot
from .table import Table
from .trained import trained_table
from .trained_models import models_table

SEARCH_REMARK = (
    "Chosen and scored on a part of the training set that was held out of the pretraining. The best of many tries is "
    "better than it will be again, so none of these numbers is in the main table."
)
MOST_PICTURES = 12
"""Pictures of views in a data set's section."""


@dataclass(frozen=True)
class Picture:
    """Images of a setting: with the views that it makes of them, or with their nearest neighbours."""

    title: str
    file: str
    content: bytes
    caption: str = ""

    @property
    def address(self) -> str:
        """The picture itself, as an address that loads nothing."""
        kind = "jpeg" if self.file.endswith(".jpg") else "png"
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode()}"


@dataclass(frozen=True)
class DataSection:
    """One data set: the main table, tests, what was published, intervals and details, the plots."""

    dataset: str
    heading: str
    table: Table
    highlights: tuple[str, ...]
    comparison: Table
    models: Table
    reproduction: Table
    intervals: Table
    selected: Table
    details: Table
    trained: Table
    learning: Table
    plots: tuple[Plot, ...]
    pictures: tuple[Picture, ...]
    neighbours: tuple[Picture, ...]
    reasons: tuple[str, ...]
    """Why something of the features is not shown, as sentences."""
    curves: str = ""
    """JSON of the chart that a reader can point at, for the page alone."""


@dataclass(frozen=True)
class Document:
    title: str
    tables: tuple[DataTable, ...]
    """What the sections are made of."""
    command: str
    summary: str
    failures: str
    """One sentence, or nothing where every trial has finished."""
    sweeps: Table
    """How several sweeps differ; empty of one."""
    data: tuple[DataSection, ...]
    ranks: Table
    unfinished: Table
    restarts: Table
    search: Table
    fronts: Table
    search_plots: tuple[Plot, ...]
    cost: Table
    datasets: Table
    environment: Table
    sweep_file: str = ""
    search_remark: str = SEARCH_REMARK


def build_document(result: SweepResult, log_link: LogLink | None, look: Look | None = None) -> Document:
    """look: at kept features; None: they are not shown."""
    from .search_plots import search_plots  # matplotlib: not needed for the tables

    tables = data_tables(result)
    methods = sorted({trial.method for trial in result.trials} - set(BASELINES))
    sections = tuple(_section(data, methods, f"d{index}-", look) for index, data in enumerate(tables, start=1))
    return Document(
        result.name,
        tables,
        result.command,
        _summary(result, tables),
        _failures(result),
        differences_table(result, tables),
        sections,
        rank_table(rankings(result, tables)),
        unfinished_table(result, log_link),
        restarts_table(result),
        search_table(result),
        front_table(result),
        search_plots(result.searches) if result.searches else (),
        cost_table(result),
        datasets_table(result),
        environment_table(result),
        result.sweep_file,
    )


def _section(data: DataTable, methods: Sequence[str], prefix: str, look: Look | None) -> DataSection:
    from .chart import curve_data  # matplotlib, as the plots: not needed for the tables
    from .plots import draw_plots

    features = feature_section(data, f"{prefix}features", look)
    sheets = enumerate(features.sheets, start=1)
    return DataSection(
        data.dataset,
        f"Results on {data.dataset}",
        data.table,
        tuple(_highlights(data)),
        _partly(comparison_table(data.comparisons, data.protocols, data.names, data.detailed), data),
        _partly(models_table(data.models, data.protocols, data.names, data.detailed), data),
        reproduction_table(data),
        interval_table(data),
        selected_table(data),
        details_table(data),
        trained_table(data),
        learning_table(data),
        draw_plots(data, methods, prefix) + ((features.maps,) if features.maps.drawings else ()),
        _pictures(data, prefix),
        tuple(Picture(s.title, f"views/{prefix}neighbours-{i}.jpg", s.jpeg, s.caption) for i, s in sheets),
        features.reasons,
        curve_data(data, methods),
    )


def _partly(table: Table, data: DataTable) -> Table:
    return replace(table, remarks=(*table.remarks, *left_out(data.settings, "statistics.csv"))) if table.rows else table


def _pictures(data: DataTable, prefix: str) -> tuple[Picture, ...]:
    """Of the first settings that have one: in a page, many would be many megabytes."""
    found = (
        (label, next((trial.views for trial in setting.trials if trial.views), None))
        for setting, label in data.detailed.values()
    )
    shown = [(label, png) for label, png in found if png][:MOST_PICTURES]
    return tuple(Picture(label, f"views/{prefix}{i}.png", png) for i, (label, png) in enumerate(shown, start=1))


def _summary(result: SweepResult, tables: Sequence[DataTable]) -> str:
    trials = [trial for trial in result.trials if not trial.search]
    sampled = len(result.trials) - len(trials)
    if not result.trials:
        return "No trials."
    parts = [plural(len({trial.method for trial in result.trials} - set(BASELINES)), "method")]
    parts += [plural(sum(len(data.settings) for data in tables), "setting")] if trials else []
    parts += [plural(len({trial.seed for trial in trials}), "seed")] if trials else []
    finished = sum(trial.status is TrialState.FINISHED for trial in trials)
    done = f"{finished} of {plural(len(trials), 'trial')} finished" if trials else ""
    search = f"{plural(sampled, 'search trial')} besides" if sampled and trials else plural(sampled, "search trial")
    return f"{', '.join(parts)}; " + ", ".join(text for text in (done, search if sampled else "") if text) + "."


def _failures(result: SweepResult) -> str:
    counts = {state: sum(trial.status is state for trial in result.trials) for state in NO_REASON}
    parts = [f"{count} {state.words}" for state, count in counts.items() if count]
    return f"Trials without a result: {', '.join(parts)}." if parts else ""


def _highlights(data: DataTable) -> list[str]:
    """By each evaluation the setting with the highest mean, and what tests say of it; for several settings only."""
    names = data.names
    found: list[str] = []
    for name, title in dict.fromkeys((protocol.name, protocol.title) for protocol in data.protocols):
        protocol = commonest(data.settings, name, title)
        if protocol is None:
            continue
        main = protocol.main
        rows = [(label, s.main(protocol)) for s, label in zip(data.settings, names, strict=True) if s.contends]
        scored = [(label, score) for label, score in rows if score]
        if len(scored) > 1:
            best = main.best([score.mean for _, score in scored])
            label, score = next(entry for entry in scored if entry[1].mean == best)
            several = sum(other.title == title for other in data.protocols) > 1
            by = f" by {protocol.protocol}" if several else ""
            text = accuracy(score, digits=main.digits)
            first = "Highest" if main.higher_is_better else "Lowest"
            tested = _tested(data, protocol, names.index(label), len(scored) - 1)
            found.append(f"{first} {title} {main.label}{by}: {label}, {text}{tested}")
    return found


def _tested(data: DataTable, protocol: Protocol, setting: int, others: int) -> str:
    """End of a sentence about the setting with the best mean; nothing if it is not the one that was tested."""
    comparison = next((found for found in data.comparisons if found.protocol == protocol), None)
    if comparison is None or comparison.best != setting:
        return ""
    worse = sum(map(comparison.better_than, comparison.rivals))
    which = (
        "the other"
        if others == 1
        else f"each of the {others} others"
        if worse == others
        else f"{worse} of {others} others"
    )
    return f"; better than {which}, by paired tests" if worse else "; no difference to others shown"
