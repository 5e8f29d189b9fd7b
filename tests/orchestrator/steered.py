"""Sweeps in this process whose trials go by a script, without MLflow: for tests of what steers them."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from ssl_sweep.orchestrator.cli.live_table import LiveTable
from ssl_sweep.orchestrator.engine.interrupts import interrupts
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep.choice import EVERYTHING, Choice
from ssl_sweep.orchestrator.sweep.place import Place
from ssl_sweep.orchestrator.sweep.submit import EngineMaker, Outcome, run_sweep

SweepFile = Callable[..., Path]


class NoTracker:
    """In the place of MLflow."""

    def __init__(self, spec: object, store: object, uri: str):
        self.uri = uri

    def on_trials(self, *_: object) -> None: ...

    def on_event(self, *_: object) -> None: ...

    def on_message(self, text: str) -> None: ...

    def close(self, state: TrialState) -> bool:
        return True


@pytest.fixture
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_sweep.orchestrator.tracking.tracker.Tracker", NoTracker)


class Steered:
    """What a sweep printed, and how it ended."""

    def __init__(self, path: Path, make_engine: EngineMaker, choice: Choice = EVERYTHING):
        screen = LiveTable(Console(file=io.StringIO(), width=1000))
        with interrupts() as stop:
            self.outcome: Outcome = run_sweep(path, screen, stop, make_engine, choice=choice)
        self.text = screen.console.file.getvalue()  # type: ignore[attr-defined]

    @property
    def states(self) -> dict[int, TrialState]:
        """By seed."""
        return {trial.seed: trial.status for trial in self.outcome.result.trials}


def place_of(path: Path) -> Place:
    spec, _ = load_spec(path)
    return Place(Store(spec.storage), spec.name)
