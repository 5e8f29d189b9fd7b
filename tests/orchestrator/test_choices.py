"""`resume` and `retry`: which trials run, and what the exit status is of."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import Script, scripted_engine
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.sweep.choice import EVERYTHING, FAILED, UNFINISHED, Choice
from steered import Steered, place_of
from steered import no_tracking as no_tracking

SweepFile = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("no_tracking")
DONE, BROKEN, LEFT, NEW = range(4)
KNN: dict[str, Any] = {"evaluate": [{"name": "knn", "k": 20}]}


def half_done(sweep_file: SweepFile) -> Path:
    """A sweep of which one trial is done, one failed, one was interrupted and one never began; each is named by its seed."""
    path = sweep_file(seeds=[DONE, BROKEN, LEFT], **KNN)
    first = Steered(path, scripted_engine(lambda trial: "fails" if trial.seed == BROKEN else 50.0))
    assert first.outcome.exit_status == 1
    place = place_of(path)
    left = next(trial for trial in first.outcome.result.trials if trial.seed == LEFT)
    interrupted = TrialStatus(state=TrialState.INTERRUPTED, attempts=1)
    TrialStore(place.store, left.trial_id).write_status(interrupted)
    return sweep_file(seeds=[DONE, BROKEN, LEFT, NEW], **KNN)


def run(path: Path, choice: Choice, script: Script = lambda trial: 50.0) -> tuple[set[int], Steered]:
    """The seeds that ran, and how it ended."""
    started: set[int] = set()

    def noted(trial: Any) -> float | str:
        started.add(trial.seed)
        return script(trial)

    ran = Steered(path, scripted_engine(noted), choice)
    return started, ran


def test_resume_leaves_what_failed(sweep_file: SweepFile) -> None:
    started, ran = run(half_done(sweep_file), UNFINISHED)
    assert started == {LEFT, NEW}
    assert "4 trials: 1 done, 1 resumes, 1 new, 1 is left as it is" in ran.text
    assert ran.states[BROKEN] is TrialState.FAILED
    assert ran.outcome.exit_status == 1  # the table is not complete


def test_retry_runs_what_failed_alone(sweep_file: SweepFile) -> None:
    path = half_done(sweep_file)
    started, ran = run(path, FAILED)
    assert started == {BROKEN}
    assert ran.states == {0: "finished", 1: "finished", 2: "interrupted", 3: "waiting"}
    started, ran = run(path, FAILED)
    assert started == set() and "4 trials: nothing to run, 2 are left as they are" in ran.text
    assert run(path, EVERYTHING)[0] == {LEFT, NEW}


def test_retry_of_a_trial_says_how_that_one_ended(sweep_file: SweepFile) -> None:
    path = half_done(sweep_file)
    started, ran = run(path, Choice(named=("seed 1",)))
    assert started == {BROKEN} and ran.outcome.exit_status == 0
    started, ran = run(path, Choice(named=("seed 3", "seed 2")), lambda trial: "fails" if trial.seed == NEW else 50.0)
    assert started == {LEFT, NEW} and ran.outcome.exit_status == 1


def test_a_name_that_fits_no_trial_starts_nothing(sweep_file: SweepFile) -> None:
    def no_engine(*_: object) -> InProcessEngine:
        raise AssertionError

    path = sweep_file(seeds=[0, 1], **KNN)
    with pytest.raises(UserError, match="no trial 'seed 7' in sweep 'small'"):
        Steered(path, no_engine, Choice(named=("seed 7",)))
    with pytest.raises(UserError, match="'seed' matches 2 trials"):
        Steered(path, no_engine, Choice(named=("seed",)))


SEARCH: dict[str, Any] = KNN | {
    "search": {
        "space": {"method.temperature": {"choice": [0.1, 0.2, 0.3]}},
        "algorithm": "grid",
        "trials": 3,
        "metric": "knn/top1",
    }
}


def test_resume_of_a_search_takes_failed_points_as_they_are(sweep_file: SweepFile) -> None:
    def script(trial: Any) -> float | str:
        return "fails" if trial.method.temperature == 0.2 else trial.method.temperature * 100

    path = sweep_file(**SEARCH)
    Steered(path, scripted_engine(script))
    again = scripted_engine(script)
    Steered(path, again, UNFINISHED)
    assert again.started == []
    everything = scripted_engine(lambda trial: 90.0 if trial.method.temperature == 0.2 else 0.0)
    ran = Steered(path, everything)
    assert len(everything.started) == 2  # the point that failed, and the table's trial, which has its values now
    assert ran.outcome.result.searches[0].best is not None
    assert ran.outcome.result.searches[0].best.values == {"method.temperature": 0.2}


def test_retry_is_not_for_searches(sweep_file: SweepFile) -> None:
    path = sweep_file(**SEARCH)
    for choice in (FAILED, Choice(named=("seed 0",))):
        with pytest.raises(UserError, match="`retry` is for sweeps without a search"):
            Steered(path, InProcessEngine, choice)
