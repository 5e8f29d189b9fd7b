"""Progress in the terminal: one live table, or plain lines if there is no terminal."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...datasets.prepared import Prepared
from ...datasets.remarks import remarks
from ...evaluation.registry import EVALUATIONS, MONITOR
from ...methods.quantities import duration, plural
from ..spec.identity import evaluation_id
from ..spec.label import label_of, short_id
from ..store.events import AttemptLost, EpochDone, EvaluationDone, Event, StatusChanged, Warned
from ..store.planned import StoredTrial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ROWS = 20
"""Trials that the table shows; the rest is counted."""
ORDER = (
    TrialState.RUNNING,
    TrialState.FAILED,
    TrialState.INTERRUPTED,
    TrialState.WAITING,
    TrialState.STOPPED_EARLY,
    TrialState.FINISHED,
)


class _Row(NamedTuple):
    id: str
    """The end of the trial's id."""
    label: str
    status: TrialStatus

    @property
    def name(self) -> str:
        """What lines about the trial begin with."""
        return f"{self.label} [{self.id}]"


class LiveTable:
    """Shows the statuses of a sweep's trials."""

    def __init__(self, console: "Console | None" = None):
        from rich.console import Console

        self.console = console or Console(stderr=True)
        self.rows: dict[str, _Row] = {}

    # -- what a sweep tells --

    def on_trials(self, trials: Sequence[StoredTrial], statuses: Sequence[TrialStatus]) -> None:
        """These trials belong to the sweep."""
        for item, status in zip(trials, statuses, strict=True):
            self.rows[item.trial_id] = _Row(short_id(item.trial_id), label_of(item.trial), status)

    def on_event(self, item: StoredTrial, event: Event, status: TrialStatus) -> None:
        """A line for what a user waits for, if there is no table."""
        row = self.rows[item.trial_id]._replace(status=status)
        self.rows[item.trial_id] = row
        if isinstance(event, Warned):
            self.on_message(f"{row.name}: {event.message}")
        elif not self.console.is_terminal and (line := _line(event, status)):
            self.on_message(f"{row.name}: {line}")

    def on_statuses(self, trials: Sequence[StoredTrial], statuses: Sequence[TrialStatus]) -> None:
        """What a store has of the sweep now; without a table, a line for each trial that has changed."""
        before = dict(self.rows)
        self.on_trials(trials, statuses)
        for item, status in zip(trials, statuses, strict=True):
            known = before.get(item.trial_id)
            line = _difference(item, TrialStatus() if known is None else known.status, status)
            if line and not self.console.is_terminal:
                self.on_message(f"{self.rows[item.trial_id].name}: {line}")

    def summary(self) -> str:
        """``6 trials: 2 running, 4 waiting``."""
        count = len(self.rows)
        return f"{plural(count, 'trial')}: {self._counts()}"

    def on_message(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def preparing(self, name: str) -> Generator[Callable[[int, int], None]]:
        """Progress of a data set's preparation; nothing is shown if nothing is left to do."""
        told = time.monotonic()

        def on_progress(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told > 2:
                told = time.monotonic()
                self.on_message(f"preparing {name}: {done:,} of {plural(total, 'image')}")

        yield on_progress

    def on_dataset(self, prepared: Prepared) -> None:
        """Say what a data set lacks, and what looks wrong in it."""
        for remark in remarks(prepared):
            self.on_message(f"{prepared.title or prepared.name}: {remark}")

    @contextlib.contextmanager
    def live(self) -> Generator[None]:
        """Draw the table while the block runs."""
        if not self.console.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(console=self.console, refresh_per_second=4, get_renderable=self.table):
            yield

    # -- drawing --

    def table(self) -> "Table":
        """The running trials first, then those that failed, then those that wait."""
        from rich import box
        from rich.table import Table

        rows = sorted(self.rows.values(), key=lambda row: ORDER.index(row.status.state))
        drawn = Table(box=box.SIMPLE_HEAD, caption=self._counts(), caption_justify="left", pad_edge=False)
        for name in ("trial", "id", "stage"):
            drawn.add_column(name, no_wrap=True)
        for name in ("epoch", "loss", EVALUATIONS[MONITOR].title, "images/s", "memory", "left"):
            drawn.add_column(name, justify="right", no_wrap=True)
        for row in rows[:ROWS]:
            dim = row.status.state is not TrialState.RUNNING
            drawn.add_row(row.label, row.id, *cells(row.status), style="dim" if dim else None)
        return drawn

    def _counts(self) -> str:
        counts = Counter(row.status.state for row in self.rows.values())
        return ", ".join(f"{counts[state]:,} {state.words}" for state in ORDER if counts[state])


def cells(status: TrialStatus) -> tuple[str, ...]:
    """A row of the table, without what the trial is called."""
    running = status.state is TrialState.RUNNING
    progress = status.progress
    left = progress.seconds_left
    return (
        (progress.stage if running and progress.stage else status.state.words) + _restarts(status),
        f"{progress.epoch}/{progress.epochs}" if progress.epoch and status.state is not TrialState.FINISHED else "",
        "" if progress.loss is None else f"{progress.loss:.4f}",
        "" if progress.monitored is None else EVALUATIONS[MONITOR].main.quantity(progress.monitored),
        "" if progress.images_per_second is None else f"{progress.images_per_second:,.0f}",
        "" if progress.memory is None else f"{progress.memory / 1e9:.1f} GB",
        duration(left) if left and running else "",
    )


def _difference(item: StoredTrial, before: TrialStatus, after: TrialStatus) -> str | None:
    """What a log shows of a trial that was looked at twice."""
    words: list[str] = []
    if after.state is not before.state:
        words.append(after.state.words + (f": {after.reason}" if after.reason else ""))
    done, progress = before.progress, after.progress
    if (progress.stage, progress.epoch) != (done.stage, done.epoch) and after.state is TrialState.RUNNING:
        of = f" epoch {progress.epoch}/{progress.epochs}" if progress.epoch else ""
        loss = "" if not of or progress.loss is None else f", loss {progress.loss:.4f}"
        words.append(f"{progress.stage}{of}{loss}")
    names = {evaluation_id(config): config.known_as for config in item.trial.evaluate}
    for name in item.evaluation_ids:
        record = None if name in before.evaluations else after.evaluations.get(name)
        if record is not None:
            words.append(f"{names[name]} {EVALUATIONS[record.name].text(record.metrics)}")
    return ", ".join(words) or None


def _restarts(status: TrialStatus) -> str:
    count = len(status.restarts)
    return f" (restart {count}: {status.restarts[-1].fault})" if count and not status.state.is_over else ""


def _line(event: Event, status: TrialStatus) -> str | None:
    """What a log shows of an event."""
    match event:
        case StatusChanged() if event.state is not TrialState.WAITING:
            return event.state.words + (f": {event.reason}" if event.reason else "")
        case AttemptLost():
            return f"{event.reason}: it is tried again"
        case EpochDone():
            monitor = EVALUATIONS[MONITOR]
            score = event.logs.get(monitor.main_key)
            measured = "" if score is None else f", {monitor.title} {monitor.main.quantity(score)}"
            left = status.progress.seconds_left
            rest = f", {duration(left)} left" if left else ""
            rate = f"{event.images_per_second:,.0f} images/s"
            return f"epoch {event.epoch}/{event.epochs}, loss {event.loss:.4f}{measured}, {rate}{rest}"
        case EvaluationDone():
            return f"{event.stage} {EVALUATIONS[event.name].text(event.metrics)}"
        case _:
            return None
