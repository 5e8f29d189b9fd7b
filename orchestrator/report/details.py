"""Table of what classifiers' answers say beside their accuracy."""

from collections.abc import Sequence
from dataclasses import replace

from ..store.records import Details
from .formats import NONE, accuracy, superscript
from .main_table import DataTable
from .ranking import left_out
from .statistics import spread
from .table import Table, plain_table

TITLE = "Classification details"
REMARK = (
    "Of the last epoch, in %, as mean ± standard deviation over the seeds. Balanced accuracy: mean of the classes' recalls. ECE: "
    "expected calibration error over 15 bins of confidence; ridge has no probabilities. Worst and best class: by recall, "
    "and of several seeds each seed's own."
)
MOST_NAMED = 3
"""Classes in a cell."""


def details_table(data: DataTable) -> Table:
    """A row for each setting under each protocol of a classifier; none if all are of earlier versions, which kept no details."""
    rows: list[list[str]] = []
    for number, protocol in enumerate(data.protocols, start=1):
        scored = [
            (name, [record.details for record in setting.records(protocol)]) for setting, name in data.detailed.values()
        ]
        if not any(detail for _, details in scored for detail in details):
            continue
        title = f"{protocol.title}{superscript(number)}"
        rows += [
            [title, name, *_cells([detail for detail in details if detail], len(details))]
            for name, details in scored
            if details
        ]
    heads = ["evaluation", "setting", "balanced accuracy", "ECE", "worst class", "best class"]
    return replace(
        plain_table(TITLE, heads, rows, numeric="balanced accuracy|ECE"),
        remarks=(REMARK, *left_out(data.settings, "results.csv")),
    )


def _cells(details: Sequence[Details], seeds: int) -> list[str]:
    eces = [detail.ece for detail in details if detail.ece is not None]
    return [
        accuracy(spread([detail.balanced_top1 for detail in details]), seeds),
        accuracy(spread(eces), seeds),
        _extreme([detail.worst_class for detail in details], [detail.worst_recall for detail in details], seeds),
        _extreme([detail.best_class for detail in details], [detail.best_recall for detail in details], seeds),
    ]


def _extreme(classes: Sequence[str], recalls: Sequence[float], seeds: int) -> str:
    """``cat 31.0``; of several seeds ``cat, dog 33.0 ± 2.8``."""
    named = list(dict.fromkeys(classes))
    if not named:
        return NONE
    shown = ", ".join(named[:MOST_NAMED]) + (", …" if len(named) > MOST_NAMED else "")
    return f"{shown} {accuracy(spread(recalls), seeds)}"
