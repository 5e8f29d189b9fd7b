"""How a search ends: what its sampler was told, and what the report says of one that was ended at once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import run, score_of, scripted_engine
from ssl_sweep.orchestrator.engine.protocol import TrialEvent
from ssl_sweep.orchestrator.search import optuna_sampler
from ssl_sweep.orchestrator.search.optuna_sampler import OptunaSampler
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.events import StatusChanged
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep.status import stored_sweep
from steered import Steered, no_tracking

__all__ = ["no_tracking"]

SweepFile = Callable[..., Path]
TEMPERATURE = "method.temperature"


def small(algorithm: str, **search: Any) -> dict[str, Any]:
    return {
        "dataset": {"name": "digits", "train_images": 200, "test_images": 100},
        "pretrain": {"epochs": 2, "batch_size": 32, "knn_every": 1},
        "evaluate": [{"name": "knn", "k": 5}],
        "search": {"space": {TEMPERATURE: {"choice": [0.1, 0.3]}}, "trials": 6, "algorithm": algorithm, **search},
    }


class Recorded(OptunaSampler):
    made: list[OptunaSampler]

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.made.append(self)


@pytest.fixture
def samplers(monkeypatch: pytest.MonkeyPatch) -> list[OptunaSampler]:
    """All that are made."""
    Recorded.made = []
    monkeypatch.setattr(optuna_sampler, "OptunaSampler", Recorded)
    return Recorded.made


@pytest.mark.parametrize("algorithm", ["tpe", "qmc"])
@pytest.mark.parametrize("crash_after", [None, 9])
def test_no_trial_of_a_study_stays_open(
    algorithm: str, crash_after: int | None, samplers: list[OptunaSampler], tmp_path: Path
) -> None:
    """Six points of two values, one of which fails."""

    def script(trial: TrialSpec) -> float | str:
        return "nan" if trial.axes.get(TEMPERATURE) == 0.1 else score_of(trial)

    content = {"name": "small", "storage": str(tmp_path / "runs"), "backbone": "resnet18-cifar", "methods": ["simclr"]}
    content |= small(algorithm)
    if crash_after is not None:
        assert run(tmp_path, content, script, crash_after) is None
        samplers.clear()
    done = run(tmp_path, content, script)
    assert done is not None and len(done.searches[0].known) == 6
    trials = samplers[0]._study.trials
    assert all(trial.state.is_finished() for trial in trials)
    assert len(trials) == 6 or algorithm == "qmc"  # which gives known points again


@pytest.mark.parametrize("algorithm", ["tpe", "random"])
def test_a_point_that_failed_and_is_sampled_again_does_not_run_again(algorithm: str, tmp_path: Path) -> None:
    content = {"name": "small", "storage": str(tmp_path / "runs"), "backbone": "resnet18-cifar", "methods": ["simclr"]}
    done = run(tmp_path, content | small(algorithm), lambda trial: "nan" if TEMPERATURE in trial.axes else 50.0)
    assert done is not None
    assert len(done.searches[0].known) == 6
    assert max(Counter(done.started).values()) == 1


@pytest.mark.usefixtures("no_tracking")
def test_the_report_of_a_search_that_was_ended_at_once_says_what_it_found(sweep_file: SweepFile) -> None:
    path = sweep_file(**small("random", space={TEMPERATURE: {"uniform": [0.1, 0.5]}}))
    ended: list[str] = []

    class Pressed(scripted_engine(score_of)):  # type: ignore[misc]  # a class that is made for the test
        def events(self, timeout: float) -> list[TrialEvent]:
            if len(ended) > 1:
                raise KeyboardInterrupt
            found = super().events(timeout)
            over = [name for name, event in found if isinstance(event, StatusChanged) and event.state.is_over]
            ended.extend(over)
            return found

    outcome = Steered(path, Pressed).outcome
    (search,) = outcome.result.searches
    scored = [point for point in search.points if point.scores]
    assert len(scored) >= 2 and search.best in scored and search.reason is None
    assert "## Search" in (Path(outcome.report) / "report.md").read_text()
    assert stored_sweep(path).searches() == (search,)
    assert any(trial.status is not TrialState.FINISHED for trial in outcome.result.trials)
