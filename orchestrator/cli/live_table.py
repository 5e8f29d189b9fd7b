"""Progress in the terminal: one live table, or plain lines with their times if the terminal draws none, or there is none."""

import contextlib
import shlex
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets.prepared import Prepared
from ...datasets.remarks import remarks
from ...methods.quantities import duration, plural
from ..spec.label import label_of, short_id
from ..store.advice import Advice, learning_advice, score_advice
from ..store.events import EvaluationDone, Event, StatusChanged, Warned
from ..store.files import Store
from ..store.learning import Verdict
from ..store.planned import StoredTrial
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from ..sweep.pace import Rest, rest_of
from .event_lines import difference, line_of, urgent_line
from .trial_table import ORDER, Row, trial_table

if TYPE_CHECKING:
    from rich.console import Console, Group

PACE_SECONDS = 2.0
"""Between two estimates of the time that is left."""
MOST_ADVISED = 5
"""Trials of which the same kind of advice is given while a sweep runs; `status` has all."""


class LiveTable:
    """Shows the statuses of a sweep's trials."""

    def __init__(self, console: "Console | None" = None):
        from rich.console import Console

        self.console = console or Console(stderr=True)
        self.draws = self.console.is_terminal and not self.console.is_dumb_terminal
        """Whether there is a table."""
        self.rows: dict[str, Row] = {}
        self.store: Store | None = None
        self._began = time.monotonic()
        self._rest: Rest | None = None
        self._looked = 0.0
        self._told = time.monotonic()
        self._advised: dict[Verdict, set[str]] = {}
        """Trials of which each kind of advice was given."""

    # -- what a sweep tells --

    def on_store(self, store: Store) -> None:
        """The sweep is kept there."""
        self.store = store
        self._began = time.monotonic()

    def on_trials(self, trials: Sequence[StoredTrial], statuses: Sequence[TrialStatus]) -> None:
        """These trials belong to the sweep."""
        for item, status in zip(trials, statuses, strict=True):
            self.rows[item.trial_id] = Row(short_id(item.trial_id), label_of(item.trial), item, status)

    def on_event(self, item: StoredTrial, event: Event, status: TrialStatus) -> None:
        """A line for what a user must not miss; if there is no table, also for what a user waits for."""
        row = self.rows[item.trial_id]._replace(status=status)
        self.rows[item.trial_id] = row
        if isinstance(event, Warned):
            self.on_message(f"{row.name}: {event.message}")
        elif line := urgent_line(event, status) or (None if self.draws else line_of(item, event, status)):
            self.on_message(f"{row.name}: {line}{self._log_of(item, event)}")
        self._advise(row, learning_advice(item.trial, status))
        if isinstance(event, EvaluationDone):
            self._advise(row, score_advice(item.trial, status, event))
        is_over = isinstance(event, StatusChanged) and event.state.is_over
        if is_over and not self.draws and time.monotonic() - self._told > PACE_SECONDS:
            self._told = time.monotonic()
            self.on_message(self._counts(elapsed=True))

    def on_statuses(self, trials: Sequence[StoredTrial], statuses: Sequence[TrialStatus]) -> None:
        """What a store has of the sweep now; without a table, a line for each trial that has changed."""
        before = dict(self.rows)
        self.on_trials(trials, statuses)
        for item, status in zip(trials, statuses, strict=True):
            known = before.get(item.trial_id)
            line = difference(item, TrialStatus() if known is None else known.status, status)
            if line and not self.draws:
                self.on_message(f"{self.rows[item.trial_id].name}: {line}")
            if line:
                self._advise(self.rows[item.trial_id], learning_advice(item.trial, status))

    def summary(self) -> str:
        """``6 trials: 2 running, 4 waiting``."""
        count = len(self.rows)
        return f"{plural(count, 'trial')}: {self._counts()}"

    def on_message(self, text: str) -> None:
        """A line of its own, with the time if there is no table."""
        if not self.draws:
            text = f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {text}"
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
        if not self.draws:
            yield
            return
        from rich.live import Live

        with Live(console=self.console, refresh_per_second=4, get_renderable=self.table):
            yield

    # -- drawing --

    def table(self) -> "Group":
        """The table, how far the sweep is, and how to read a log."""
        from rich.console import Group
        from rich.text import Text

        width, height = self.console.size
        lines = [Text(self._counts(elapsed=True), style="dim")]
        shown = next((row for row in self.rows.values() if row.status.state is TrialState.RUNNING), None)
        if shown is not None and self.store is not None:
            lines.append(Text(f"log: {self._log_command(shown)}", style="dim", overflow="fold"))
        return Group(trial_table(list(self.rows.values()), width, height), *lines)

    def _log_command(self, row: Row) -> str:
        """To be pasted into another terminal that is in the same folder."""
        assert self.store is not None
        place = self.store.location
        is_default = self.store.is_local and Path(place) == Path("runs").absolute()
        return shlex.join(["ssl-sweep", "logs", row.id, "-f", *([] if is_default else ["--storage", place])])

    def _log_of(self, item: StoredTrial, event: Event) -> str:
        """Where the log is of a trial that begins or has failed."""
        told = isinstance(event, StatusChanged) and event.state in (TrialState.RUNNING, TrialState.FAILED)
        return f"; log: {TrialStore(self.store, item.trial_id).log}" if told and self.store is not None else ""

    def _counts(self, *, elapsed: bool = False) -> str:
        counts = Counter(row.status.state for row in self.rows.values())
        text = ", ".join(f"{counts[state]:,} {state.words}" for state in ORDER if counts[state])
        if not elapsed or self.store is None:
            return text
        text += f"; {duration(time.monotonic() - self._began)} so far"
        rest = self._time_left()
        return (
            text
            if rest is None
            else f"{text}, {'at least' if rest.at_least else 'about'} {duration(rest.seconds)} left"
        )

    def _time_left(self) -> Rest | None:
        if time.monotonic() - self._looked > PACE_SECONDS:
            self._rest = rest_of((row.item, row.status) for row in self.rows.values())
            self._looked = time.monotonic()
        return self._rest

    def _advise(self, row: Row, advice: Advice | None) -> None:
        """Say a new advice about a trial, unless several others were given it already."""
        if advice is None:
            return
        advised = self._advised.setdefault(advice.kind, set())
        if row.item.trial_id not in advised and len(advised) < MOST_ADVISED:
            advised.add(row.item.trial_id)
            self.on_message(f"advice: {row.name}: {advice.text}")
