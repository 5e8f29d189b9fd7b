"""Plan, status and sweeps as tables in the terminal."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ...methods.quantities import duration, plural
from ..store.trial_state import TrialState
from ..sweep.status import PlanRow, StatusRow, SweepRow
from .trial_table import ORDER

if TYPE_CHECKING:
    from rich.console import Console

R = TypeVar("R", PlanRow, StatusRow)

MOST_ROWS = 100
"""Rows that are printed; `--json` prints them all."""
MOST_NAMED = 3
"""Trials that an advice names."""
UNFOLDED = 10_000
"""Columns of what is no terminal."""


def print_plan(rows: Sequence[PlanRow], price: float | None = None) -> None:
    """What would run, and what it takes; `price` is of an hour of a device."""
    from rich.text import Text

    done = sum(not row.missing for row in rows)
    shown = [
        (*_called(row), ", ".join(row.missing) or "done", row.needs, *_expected(row))
        for row in _first(rows, lambda row: not row.missing)
    ]
    columns = ("trial", "id", "to do", "takes", "time", "memory")
    count = f"{plural(len(rows), 'trial')}, {done} done"
    print_table(columns, shown, "; ".join([count, *_total(rows, price)]) + _hidden(len(rows)))
    for note in dict.fromkeys(note for row in rows for note in row.notes):
        unfolded_console().print(Text(f"note: {note}"), soft_wrap=True)


def _expected(row: PlanRow) -> tuple[str, str]:
    if row.device_hours is None:
        return "", ""
    return duration(3600 * row.device_hours), "" if row.memory is None else f"{row.memory / 1e9:.1f} GB"


def _total(rows: Sequence[PlanRow], price: float | None) -> list[str]:
    """Of all that is missing, as far as it is known."""
    missing = [row for row in rows if row.missing]
    told = [row for row in missing if row.device_hours is not None]
    known = [row.device_hours or 0.0 for row in told]
    if not known:
        return ["nothing similar has run, so times are not known"] if price is not None else []
    devices = ", ".join(sorted({row.device for row in told}))
    sources = ["similar trials took"] if any(row.like for row in told) else []
    sources += [] if all(row.like for row in told) else ["probes measured, without evaluations"]
    text = f"about {duration(3600 * sum(known))} on {devices}, as {' and '.join(sources)}"
    text += f", at {price:g} an hour {sum(known) * price:.4g}" if price is not None else ""
    unknown = len(missing) - len(known)
    return [text + (f" (without {plural(unknown, 'row')} of which nothing similar has run)" if unknown else "")]


def print_status(rows: Sequence[StatusRow]) -> None:
    """The state of each trial; and whether it learns, if that is known of any."""
    told = any(row.learning for row in rows)
    print_table(
        ("trial", "id", "status", *(["learning"] if told else []), "stage", "epoch", "to do"),
        [
            (
                *_called(row),
                row.status.words + (f": {row.reason}" if row.reason else "") + _restarts(row),
                *([row.learning] if told else []),
                row.stage if row.missing else "",
                f"{row.epoch}/{row.epochs}" if row.missing else "",
                ", ".join(row.missing),
            )
            for row in _first(rows, lambda row: ORDER.index(row.status))
        ],
        f"{sum(row.status is TrialState.FINISHED for row in rows)} of"
        f" {plural(sum(row.is_trial for row in rows), 'trial')} finished" + _hidden(len(rows)),
    )
    _print_advice(rows)


def _print_advice(rows: Sequence[StatusRow]) -> None:
    """Each sentence once, with the trials that it is of."""
    from rich.text import Text

    found: dict[str, list[str]] = {}
    for row in rows:
        if row.advice:
            found.setdefault(row.advice, []).append(row.label)
    for text, labels in found.items():
        more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
        unfolded_console().print(Text(f"advice: {', '.join(labels[:MOST_NAMED])}{more}: {text}"), soft_wrap=True)


def print_sweeps(rows: Sequence[SweepRow], storage: str) -> None:
    """The sweeps of a store."""
    print_table(
        ("sweep", "trials", "status"),
        [(row.sweep, str(row.trials), row.status) for row in rows],
        f"{plural(len(rows), 'sweep')} in {storage}",
    )


def _restarts(row: StatusRow) -> str:
    return f" (restart {row.restarts}: {row.last_restart})" if row.restarts and row.missing else ""


def _called(row: PlanRow | StatusRow) -> tuple[str, str]:
    """Label and id."""
    return (row.label, row.trial) if row.label else (row.trial, "")


def _first(rows: Sequence[R], order: Callable[[R], int]) -> Sequence[R]:
    """All rows; of more than are printed, those that are first by `order`: what needs attention is not hidden by what does not."""
    return rows if len(rows) <= MOST_ROWS else sorted(rows, key=order)[:MOST_ROWS]


def _hidden(count: int) -> str:
    return f"; {MOST_ROWS} shown, --json prints all" if count > MOST_ROWS else ""


def print_table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str) -> None:
    """A table of texts, as they are, with a line below it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = unfolded_console()
    console.print(table)
    console.print(Text(caption, style="dim"), soft_wrap=True)


def unfolded_console() -> "Console":
    """Where to print a table: what is no terminal gets each row on one line, whole, so that it can be searched."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNFOLDED)
