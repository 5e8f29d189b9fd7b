"""The table of a sweep's trials in a terminal: as many columns as its width has room for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...evaluation.registry import EVALUATIONS, MONITOR
from ...methods.quantities import duration
from ..store.planned import StoredTrial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus

if TYPE_CHECKING:
    from rich.table import Table

ROWS = 20
"""Trials that the table shows; the rest is counted."""
LINES = 9
"""Of the terminal, that are for other things."""
GAP = 2
LEAST_NAME = 12
"""Characters of a trial's label that stay, however narrow the terminal is."""
ORDER = (
    TrialState.RUNNING,
    TrialState.FAILED,
    TrialState.INTERRUPTED,
    TrialState.WAITING,
    TrialState.STOPPED_EARLY,
    TrialState.FINISHED,
)
DISPENSABLE = ("memory", "images/s", "id", "loss")
"""Columns that a narrow terminal does without, the first first."""


class Row(NamedTuple):
    """A trial as the table has it."""

    id: str
    """The end of the trial's id."""
    label: str
    item: StoredTrial
    status: TrialStatus

    @property
    def name(self) -> str:
        """What lines about the trial begin with."""
        return f"{self.label} [{self.id}]"


def trial_table(rows: Sequence[Row], width: int, height: int) -> "Table":
    """The running trials first, then those that failed, then those that wait; in a terminal of this size."""
    from rich import box
    from rich.table import Table

    shown = sorted(rows, key=lambda row: ORDER.index(row.status.state))[: max(1, min(ROWS, height - LINES))]
    cells = [_cells(row) for row in shown]
    columns = fitting(cells, width)
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, GAP - 1, 0, 0))
    for name in columns:
        if name == "trial":
            drawn.add_column(name, no_wrap=True)
            continue
        needed = _width(name, cells)
        drawn.add_column(name, no_wrap=True, min_width=needed, justify="left" if name in ("id", "stage") else "right")
    for row, values in zip(shown, cells, strict=True):
        dim = row.status.state is not TrialState.RUNNING
        drawn.add_row(*(values.get(name, "") for name in columns), style="dim" if dim else None)
    return drawn


def fitting(cells: Sequence[dict[str, str]], width: int) -> list[str]:
    """The columns that fit side by side, of rows that have them by name; without those that are empty in all rows."""
    columns = list(dict.fromkeys(name for row in cells for name in row if any(other.get(name) for other in cells)))
    scores = [name for name in columns if name not in FIXED]
    for name in (*DISPENSABLE, *reversed(scores[1:])):
        taken = sum(GAP + (LEAST_NAME if column == "trial" else _width(column, cells)) for column in columns)
        whole = taken - LEAST_NAME + _width("trial", cells)
        if (whole if name in DISPENSABLE else taken) <= width:
            break
        columns = [column for column in columns if column != name]
    return columns


def _width(name: str, cells: Sequence[dict[str, str]]) -> int:
    return max(len(name), *(len(row.get(name, "")) for row in cells), 0)


FIXED = ("trial", "id", "stage", "epoch", "loss", "left", "images/s", "memory")


def _cells(row: Row) -> dict[str, str]:
    status = row.status
    running = status.state is TrialState.RUNNING
    progress = status.progress
    left = progress.seconds_left
    epoch = f"{progress.epoch}/{progress.epochs}" if progress.epoch and status.state is not TrialState.FINISHED else ""
    return {
        "trial": row.label,
        "id": row.id,
        "stage": (progress.stage if running and progress.stage else status.state.words) + restarts(status),
        "epoch": epoch,
        "loss": "" if progress.loss is None else f"{progress.loss:.4f}",
        **scores(row.item, status),
        "left": duration(left) if left and running else "",
        "images/s": "" if progress.images_per_second is None else f"{progress.images_per_second:,.0f}",
        "memory": "" if progress.memory is None else f"{progress.memory / 1e9:.1f} GB",
    }


def scores(item: StoredTrial, status: TrialStatus) -> dict[str, str]:
    """The main metric of each evaluation, by its title; of the one that monitors, the last between the epochs until it is made."""
    monitor = EVALUATIONS[MONITOR]
    monitored = status.progress.monitored
    found = {} if monitored is None else {monitor.title: monitor.main.quantity(monitored)}
    for config, name in zip(item.trial.evaluate, item.evaluation_ids, strict=True):
        title = EVALUATIONS[config.name].title if config.known_as == config.name else config.known_as
        record = status.evaluations.get(name)
        metric = EVALUATIONS[config.name].main
        if record is not None and metric.name in record.metrics:
            found[title] = metric.quantity(record.metrics[metric.name])
        else:
            found.setdefault(title, "")
    return found


def restarts(status: TrialStatus) -> str:
    """How often it began again, and by which fault the last time."""
    count = len(status.restarts)
    return f" (restart {count}: {status.restarts[-1].fault})" if count and not status.state.is_over else ""
