"""Whether MLflow has what the store has, read from its database itself."""

import sqlite3
from collections import Counter
from pathlib import Path

from ssl_sweep.orchestrator.store.events import EpochDone, EvaluationDone, Event, StepDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore

QUERY = """
select tags.value, metrics.key, metrics.step, metrics.value from metrics join tags using (run_uuid)
where tags.key = 'ssl_sweep.trial' and metrics.key in ('loss', 'lr', 'epoch_loss', 'knn/final_top1')
"""


def assert_tracked(storage: Path, database: Path) -> None:
    """Every point of the store's that repeats itself exactly is there, once, and no other; all runs have ended."""
    with sqlite3.connect(database) as connection:
        states = {state for (state,) in connection.execute("select status from runs")}
        found = Counter((trial, key, step, _rounded(value)) for trial, key, step, value in connection.execute(QUERY))
    assert states == {"FINISHED"}
    store = Store(str(storage))
    expected = {
        (name, key, step, _rounded(value))
        for name in store.names("trials")
        for event in TrialStore(store, name).events()
        for key, (step, value) in _points(event).items()
    }
    assert found == Counter(expected)


def _points(event: Event) -> dict[str, tuple[int, float]]:
    """Step and value by metric."""
    match event:
        case StepDone():
            return {"loss": (event.step, event.loss), "lr": (event.step, event.lr)}
        case EpochDone():
            return {"epoch_loss": (event.step, event.loss)}
        case EvaluationDone():
            return {"knn/final_top1": (0, event.metrics["top1"])}
        case _:
            return {}


def _rounded(value: float) -> float:
    """As MLflow is told it."""
    return float(f"{value:.7g}")
