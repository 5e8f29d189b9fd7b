"""Progress in the terminal: one live table, or plain lines where there is no terminal."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...datasets.prepared import Prepared
from ...evaluation.registry import EVALUATIONS, MONITOR
from ..spec.models import TrialSpec
from ..sweep.plan import Planned

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

ROWS = 20
"""Trials that the table shows; the rest is counted."""


@dataclass
class Row:
    """What is known of one trial."""

    label: str
    status: str = "waiting"
    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    knn: float | None = None
    images_per_second: float | None = None
    memory: int | None = None
    seconds_left: float | None = None
    reason: str | None = None


def label_of(trial: TrialSpec) -> str:
    """A trial as a user tells it from its neighbours: method, axes, seed."""
    axes = " ".join(f"{key.split('.')[-1]}={_short(value)}" for key, value in trial.axes.items())
    return " ".join(part for part in (trial.method.name, axes, f"seed {trial.seed}") if part)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class Display:
    """Draws the state of a sweep; `event` takes what the trials report."""

    def __init__(self, console: "Console | None" = None):
        from rich.console import Console

        self.console = console or Console(stderr=True)
        self.rows: dict[str, Row] = {}
        self.drawn: Live | None = None

    # -- what a sweep tells --

    def plan(self, items: list[Planned]) -> None:
        for item in items:
            status = "finished" if not item.missing() else "waiting"
            self.rows[item.trial_id] = Row(label_of(item.trial), status, epochs=item.trial.pretrain.epochs)

    def forget(self, trial_ids: Iterable[str]) -> None:
        for trial_id in trial_ids:
            self.rows.pop(trial_id, None)

    def event(self, trial_id: str, event: dict[str, Any]) -> None:
        row = self.rows[trial_id]
        kind = event["kind"]
        if kind == "status":
            row.status = event["status"]
            row.reason = event.get("reason")
            if event["status"] != "waiting":
                self._line(row, event["status"] + (f": {row.reason}" if row.reason else ""))
        elif kind == "stage":
            row.stage, row.seconds_left, row.epoch = event["stage"], None, 0
        elif kind == "step":
            row.loss, row.images_per_second = event["loss"], event["images_per_second"]
        elif kind == "epoch":
            self._epoch(row, event)
        elif kind == "score":
            row.epoch, row.epochs = event["epoch"], event["epochs"]
            row.seconds_left = _seconds_left(event)
        elif kind == "evaluation":
            self._line(row, f"{event['stage']} {EVALUATIONS[event['stage']].text(event['metrics'])}")
        self._draw()

    def _epoch(self, row: Row, event: dict[str, Any]) -> None:
        row.epoch, row.epochs = event["epoch"], event["epochs"]
        row.loss, row.images_per_second = event["loss"], event["images_per_second"]
        monitor = EVALUATIONS[MONITOR]
        row.knn = event["logs"].get(monitor.main_key, row.knn)
        row.memory = event.get("memory")
        row.seconds_left = _seconds_left(event)
        knn = f", {monitor.title} {row.knn:.1f} %" if monitor.main_key in event["logs"] else ""
        left = f", {duration(row.seconds_left)} left" if row.seconds_left else ""
        rate = f"{row.images_per_second:,.0f} images/s"
        self._line(row, f"epoch {row.epoch}/{row.epochs}, loss {row.loss:.4f}{knn}, {rate}{left}")

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def preparing(self, name: str) -> Generator[Callable[[int, int], None]]:
        """Progress of a data set's preparation; nothing is shown where nothing is left to do."""
        told = time.monotonic()

        def on_progress(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told > 2:
                told = time.monotonic()
                self.say(f"preparing {name}: {done:,} of {total:,} images")

        yield on_progress

    def remarks(self, prepared: Prepared) -> None:
        """Say what a data set lacks, if it lacks anything."""
        if not prepared.classes:
            self.say(f"{prepared.name}: the images have no labels, which all evaluations need; there will be none")
        if prepared.untaught:
            count, total = prepared.untaught, prepared.test.count
            self.say(f"{prepared.name}: {count:,} of {total:,} test images are of classes without a training image")
        if prepared.damaged:
            count, where = len(prepared.damaged), prepared.folder / "meta.json"
            self.say(f"{prepared.name}: {count:,} damaged image{'s' * (count > 1)} left out, listed in {where}")

    @contextlib.contextmanager
    def live(self) -> Generator[None]:
        """Draw the table while the block runs."""
        if not self.console.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(console=self.console, refresh_per_second=4, get_renderable=self.table) as self.drawn:
            yield
        self.drawn = None

    # -- drawing --

    def _draw(self) -> None:
        if self.drawn is not None:
            self.drawn.refresh()

    def _line(self, row: Row, text: str) -> None:
        if not self.console.is_terminal:
            self.say(f"{row.label}: {text}")

    def table(self) -> "Table":
        """The running trials first, then those that failed, then those that wait."""
        from rich import box
        from rich.table import Table

        order = ("running", "failed", "waiting", "stopped", "finished")
        rows = sorted(self.rows.values(), key=lambda row: order.index(row.status))
        counts = {status: sum(row.status == status for row in rows) for status in order}
        caption = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        drawn = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
        for name in ("trial", "stage"):
            drawn.add_column(name, no_wrap=True)
        for name in ("epoch", "loss", EVALUATIONS[MONITOR].title, "images/s", "memory", "left"):
            drawn.add_column(name, justify="right", no_wrap=True)
        for row in rows[:ROWS]:
            drawn.add_row(*cells(row), style=None if row.status == "running" else "dim")
        return drawn


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    return (
        row.label,
        row.stage if row.status == "running" and row.stage else row.status,
        f"{row.epoch}/{row.epochs}" if row.epoch and row.status != "finished" else "",
        "" if row.loss is None else f"{row.loss:.4f}",
        "" if row.knn is None else f"{row.knn:.1f} %",
        "" if row.images_per_second is None else f"{row.images_per_second:,.0f}",
        "" if row.memory is None else f"{row.memory / 1e9:.1f} GB",
        duration(row.seconds_left) if row.seconds_left and row.status == "running" else "",
    )


def _seconds_left(event: dict[str, Any]) -> float:
    """As long for each epoch to come as for each so far."""
    return event["seconds"] / event["epoch"] * (event["epochs"] - event["epoch"])


def duration(seconds: float) -> str:
    """``3 h 12 min``, ``4 min``, ``41 s``."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 60)} min" if seconds >= 120 else f"{int(seconds)} s"
