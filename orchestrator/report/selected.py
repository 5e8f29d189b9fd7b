"""Settings that were given as lists: which of them a number has, and how far apart the others are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..store.records import EvaluationRecord
from .formats import assignments, superscript
from .main_table import DataTable
from .ranking import left_out
from .table import Table, plain_table

TITLE = "Settings given as lists"
HOW_REMARK = (
    "Shown: what the number in the main table has, selected as its footnote says or the first of the list; with how many "
    "trials have it, if they differ. All: the lowest and the highest over all settings and trials, of the main metric on the scored "
    "images. To choose the highest would be to choose on the very images it is scored on."
)


def selected_table(data: DataTable) -> Table:
    """One row per setting and evaluation with several variants."""
    rows: list[list[str]] = []
    for number, protocol in enumerate(data.protocols, start=1):
        main = protocol.main
        for setting, name in data.detailed.values():
            records = [record for record in setting.records(protocol) if _has_variants(record, main.name)]
            if records:
                values = [one.metrics[main.name] for record in records for one in record.variants]
                reach = f"{min(values):.{main.digits}f} to {max(values):.{main.digits}f}"
                evaluation = f"{protocol.title}{superscript(number)} {main.label}"
                rows.append([evaluation, name, _shown(records), reach])
    table = plain_table(TITLE, ["evaluation", "setting", "shown", "all"], rows, numeric="all")
    return replace(table, remarks=(HOW_REMARK, *left_out(data.settings, "results.csv")))


def _has_variants(record: EvaluationRecord, metric: str) -> bool:
    """Whether its variants are of settings: the first is what is shown. Those of parts, as corruptions, are others."""
    return len(record.variants) > 1 and record.variants[0].metrics.get(metric) == record.metrics[metric]


def _shown(records: Sequence[EvaluationRecord]) -> str:
    """``lr = 0.1 (2), lr = 1 (1)``: without the settings that all variants share."""
    found: Counter[str] = Counter()
    for record in records:
        every = [one.settings for one in record.variants]
        own = {key: value for key, value in every[0].items() if any(other.get(key) != value for other in every)}
        found[assignments(own)] += 1
    return "; ".join(text if len(found) == 1 else f"{text} ({count})" for text, count in found.most_common())
