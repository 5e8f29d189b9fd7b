"""A sweep from Python: check it, plan it, run it, read its results."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..spec.errors import UserError
from ..spec.load import load_spec
from ..spec.models import SweepSpec, TrialSpec
from ..store.records import EvaluationRecord, SweepResult, TrialResult

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ..sweep.status import PlanRow
    from ..sweep.submit import Outcome
    from .running import Say


class Sweep(NamedTuple):
    """A checked sweep file."""

    path: Path
    spec: SweepSpec
    """What the file says, with the digests of the weights that it names."""
    trials: tuple[TrialSpec, ...]
    """What it resolves to; of a search, before anything is sampled."""
    notes: tuple[str, ...]
    """What should be known of its evaluations, as far as the data sets are prepared here."""
    overrides: tuple[str, ...] = ()
    """``KEY=VALUE``: what was taken instead of the file's own values."""


class ResultRow(NamedTuple):
    """One evaluation of one trial."""

    trial: TrialResult
    evaluation: EvaluationRecord | None
    """None for a trial without any, so far."""

    @property
    def metrics(self) -> dict[str, float]:
        """By name, the main one first, in the units of the report: ``{"top1": 71.2, "top5": 97.8}`` are percent."""
        return {} if self.evaluation is None else self.evaluation.metrics


class Results(NamedTuple):
    """The results of a sweep so far; iterate over `rows`."""

    sweep: SweepResult
    """Everything that the report is made of: trials, searches, data sets."""

    @property
    def rows(self) -> list[ResultRow]:
        """In the order of the sweep file: a row for each trial and evaluation, and one for a trial without any."""
        return list(self._rows())

    def _rows(self) -> Iterator[ResultRow]:
        for trial in self.sweep.trials:
            yield from (ResultRow(trial, record) for record in trial.evaluations or (None,))

    def to_arrow(self) -> "pa.Table":
        """The rows as a table with the columns of `results.parquet`, which docs/report.md lists."""
        from ..report.tidy import tidy_table

        return tidy_table(self.sweep)

    def to_pandas(self) -> "pd.DataFrame":
        """The same as a data frame."""
        return self.to_arrow().to_pandas()


def load(path: str | Path, overrides: Sequence[str] = ()) -> Sweep:
    """Read and check a sweep file, as ``ssl-sweep validate`` does; imports no torch unless it names weights.

    `overrides`, ``KEY=VALUE`` as after ``--set``, take the place of its values.

    Raises:
        SpecError: with every problem of the file, each with its line and column.
        UserError: the file does not fit a data set that is prepared here, or cannot be read.
    """
    from ..sweep.plan import check_against_data
    from ..sweep.weights import expanded

    spec, document = load_spec(Path(path), overrides)
    spec, trials = expanded(spec, document, read=True)
    return Sweep(Path(path), spec, tuple(trials), tuple(check_against_data(spec, document, trials)), tuple(overrides))


def plan(sweep: str | Path | Sweep, overrides: Sequence[str] = ()) -> "list[PlanRow]":
    """The trials of a sweep, what is missing of each and what it takes, as ``ssl-sweep plan``; nothing is run or written.

    Raises:
        SpecError: the file has errors.
        UserError: what is missing cannot be run.
    """
    from ..sweep.status import plan_rows

    return plan_rows(*given(sweep, overrides))


def submit(
    sweep: str | Path | Sweep,
    overrides: Sequence[str] = (),
    *,
    address: str | None = None,
    replace: bool = False,
    say: "Say | None" = None,
) -> "Outcome":
    """Run what is missing of a sweep and write its report, as ``ssl-sweep submit``; returns when it has ended.

    Submitting again is always safe: finished trials are not run again, interrupted ones resume. A trial that fails stops
    neither the sweep nor this function: see `Outcome.exit_status`, and `reason` of each trial of `Outcome.result`. Ctrl-C
    asks the sweep to keep checkpoints and end (`Outcome.interrupted`); a second one ends it at once.

    Args:
        sweep: the file, or what `load` made of it; the file is read again.
        overrides: as of `load`, after those of `sweep`.
        address: of a Ray cluster, ``auto`` or ``HOST:PORT``; None: Ray is started here, for this sweep alone.
        replace: take over the name of a sweep that another file defined.
        say: takes sentences about the sweep, e.g. ``print``; None: they are logged by ``ssl_sweep``, at level INFO.

    Raises:
        SpecError: the file has errors.
        UserError: the data, the store or the cluster do not allow it, or this is not the main thread, which takes Ctrl-C.
        KeyboardInterrupt: the user ended it before there was anything to report.
    """
    path, overrides = given(sweep, overrides)
    check_call(address, f"ssl-sweep submit {path} --address {address}")
    from ..engine.interrupts import interrupts
    from ..sweep.choice import EVERYTHING
    from .running import Messages, run

    before = dict(os.environ)
    try:
        with interrupts() as stop:
            screen = Messages() if say is None else Messages(say)
            return run(path, screen, stop, EVERYTHING, address=address, replace=replace, overrides=overrides)
    finally:  # the variables are for the sweep's Ray, not for another that this program may use
        os.environ.clear()
        os.environ.update(before)


def results(sweep: str | Path | Sweep, overrides: Sequence[str] = (), *, command: str = "") -> Results:
    """The results of a sweep so far, as ``ssl-sweep export`` has them; nothing is run or written.

    Args:
        sweep: the file, or what `load` made of it; the file is read again.
        overrides: as of `load`, after those of `sweep`.
        command: what `SweepResult.command` says.

    Raises:
        SpecError: the file has errors.
        UserError: nothing of the sweep has run.
    """
    from ..sweep.status import stored_sweep

    return Results(stored_sweep(*given(sweep, overrides)).result(command))


def check_call(address: str | None, for_a_job: str) -> None:
    """Raises UserError for the address of a Ray Jobs server, with what to do instead, and outside of the main thread."""
    if address is not None and address.startswith("http"):
        raise UserError(f"address: got '{address}'; must be auto or HOST:PORT; for a job: {for_a_job}")
    if threading.current_thread() is not threading.main_thread():
        raise UserError("a sweep must be run in the main thread, which takes Ctrl-C")


def given(sweep: str | Path | Sweep, overrides: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """The sweep's file, and all overrides."""
    return (sweep.path, (*sweep.overrides, *overrides)) if isinstance(sweep, Sweep) else (Path(sweep), tuple(overrides))
