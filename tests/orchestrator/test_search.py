"""Searches: which points are run, which one is chosen, and what becomes of those that fail."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.cli.live_table import LiveTable
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.search.group_search import GroupSearch
from ssl_sweep.orchestrator.search.optuna_sampler import OptunaSampler
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.events import EpochDone, StatusChanged
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.sweep.searches import make_searches
from ssl_sweep.orchestrator.sweep.submit import EngineMaker, Outcome, run_sweep
from ssl_sweep.orchestrator.sweep.view import status_rows

SweepFile = Callable[..., Path]
SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "train_images": 200, "test_images": 100},
    "pretrain": {
        "epochs": 1,
        "batch_size": 32,
        "optimizer": {"name": "adamw", "lr": 0.001},
        "schedule": {"warmup_epochs": 0},
    },
    "evaluate": [{"name": "knn", "k": 5}],
}
TEMPERATURE = "method.temperature"
LR = "pretrain.optimizer.lr"
DIVERGES = 1e30


def search(space: dict[str, object], trials: int = 2, algorithm: str = "optuna", **others: object) -> dict[str, Any]:
    return SMALL | {"search": {"space": space, "trials": trials, "algorithm": algorithm, **others}}


def submit(path: Path, make_engine: EngineMaker = InProcessEngine, *, replace: bool = False) -> Outcome:
    screen = LiveTable(Console(file=io.StringIO()))
    return run_sweep(path, screen, Interrupts(), make_engine, replace=replace)


def no_engine(*_: object) -> InProcessEngine:
    raise AssertionError("nothing is missing, so nothing needs an engine")


def points(path: Path) -> list[dict[str, Any]]:
    return json.loads((path.parent / "runs/sweeps/small/search.json").read_text())["points"]


def best_of(tried: list[dict[str, Any]]) -> dict[str, Any]:
    return max((point for point in tried if point["scores"]), key=lambda point: point["scores"]["knn/top1"])


def finals(outcome: Outcome) -> list[dict[str, Any]]:
    """Axes of the trials of the table."""
    return [dict(trial.axes) for trial in outcome.result.trials if not trial.search]


def searches(path: Path) -> list[GroupSearch]:
    spec, document = load_spec(path)
    datasets = {trial.dataset: prepare(trial.dataset, data_root()) for trial in expand(spec, document)}
    return make_searches(spec, Store(spec.storage), datasets)


def test_a_search_goes_on_without_the_points_that_fail(sweep_file: SweepFile) -> None:
    path = sweep_file(**search({LR: {"choice": [0.001, 0.002, 0.003, DIVERGES]}}, trials=5, seed=1))
    outcome = submit(path)
    tried = points(path)
    assert len(tried) == 5
    assert {point["values"][LR] for point in tried if not point["scores"]} == {DIVERGES}
    assert finals(outcome) == [best_of(tried)["values"]]
    assert outcome.exit_status == 0


def test_a_search_of_which_every_point_fails_is_a_failure(sweep_file: SweepFile) -> None:
    path = sweep_file(**search({LR: {"uniform": [DIVERGES, 2 * DIVERGES]}}, algorithm="random"))
    outcome = submit(path)
    assert outcome.exit_status == 1 and finals(outcome) == []
    (row,) = outcome.result.undecided
    assert (row.label, row.reason) == ("SimCLR", "of the 2 points of its search, none has a score")
    assert row.reason in (Path(outcome.report) / "report.md").read_text()
    told = [row for row in status_rows(path) if not row.is_trial]
    assert [(row.trial, row.status, row.reason) for row in told] == [
        ("search of SimCLR", TrialState.FAILED, "of the 2 points of its search, none has a score")
    ]


def test_a_baseline_has_nothing_to_search(sweep_file: SweepFile) -> None:
    path = sweep_file(**search({TEMPERATURE: {"uniform": [0.1, 0.5]}}), methods=["random", "simclr"])
    outcome = submit(path)
    assert [trial.method for trial in outcome.result.trials if not trial.search] == ["random", "simclr"]
    assert len(points(path)) == 2


@pytest.mark.parametrize("algorithm", ["random", "optuna"])
def test_a_finished_search_starts_nothing(algorithm: str, sweep_file: SweepFile) -> None:
    """Four points of three values: at least one is a repeat, which counts as a point."""
    path = sweep_file(**search({TEMPERATURE: {"choice": [0.1, 0.3, 0.5]}}, trials=4, algorithm=algorithm))
    first = submit(path)
    before = points(path)
    assert len(before) == 4
    again = submit(path, no_engine)
    assert points(path) == before
    assert finals(again) == finals(first)


def test_each_point_of_a_grid_over_the_data_is_searched(sweep_file: SweepFile) -> None:
    content = search({TEMPERATURE: {"uniform": [0.1, 0.5]}}, trials=1, algorithm="random")
    path = sweep_file(**content, grid={"dataset.image_size": [8, 16]})
    outcome = submit(path)
    assert [axes["dataset.image_size"] for axes in finals(outcome)] == [8, 16]
    assert len({point["search"] for point in points(path)}) == 2


def test_after_an_edit_the_points_of_the_old_search_decide_nothing(sweep_file: SweepFile) -> None:
    old = sweep_file(**search({TEMPERATURE: {"uniform": [0.1, 0.5]}}))
    submit(old)
    (before,) = {point["search"] for point in points(old)}
    path = sweep_file(**search({LR: {"loguniform": [0.0001, 0.01]}}))
    outcome = submit(path)
    tried = [point for point in points(path) if point["search"] != before]
    assert [list(point["values"]) for point in tried] == [[LR], [LR]]
    assert finals(outcome) == [best_of(tried)["values"]]
    assert len(points(path)) == 4  # the old ones are kept: the edit may be undone

    submit(sweep_file(**search({TEMPERATURE: {"uniform": [0.1, 0.5]}})), no_engine)


@pytest.mark.parametrize(
    ("edit", "offered"),
    [
        ({}, True),
        ({"pretrain": SMALL["pretrain"] | {"epochs": 2}}, False),
        ({"dataset": SMALL["dataset"] | {"train_images": 150}}, False),
        ({"evaluate": [{"name": "knn", "k": 7}]}, False),
    ],
)
def test_results_that_fit_an_edited_search_are_offered_to_it(
    edit: dict[str, Any], offered: bool, sweep_file: SweepFile
) -> None:
    submit(sweep_file(**search({TEMPERATURE: {"uniform": [0.1, 0.5]}})))
    path = sweep_file(**search({TEMPERATURE: {"uniform": [0.05, 0.6]}}) | edit)
    (made,) = searches(path)
    assert made.known == [] and isinstance(made.sampler, OptunaSampler)
    assert len(made.sampler._study.trials) == (2 if offered else 0)
    assert len(made.more(2)) == 2


def test_only_batches_that_the_workers_can_divide_are_sampled(sweep_file: SweepFile) -> None:
    for algorithm in ("random", "optuna"):
        content = search({"pretrain.batch_size": {"randint": [16, 64]}}, trials=8, algorithm=algorithm)
        (made,) = searches(sweep_file(**content, resources={"workers": 4}))
        sizes = [create.trial.pretrain.batch_size for create in made.more(8)]
        assert len(sizes) == 8 and all(size % 4 == 0 for size in sizes)


def test_an_axis_that_leads_out_of_the_data_is_refused(sweep_file: SweepFile) -> None:
    path = sweep_file(**search({"pretrain.batch_size": {"choice": [32, 192]}}))
    with pytest.raises(UserError, match=r"pretrain.batch_size = 192: .* has 180 training images"):
        submit(path, no_engine)


def test_what_a_trial_scored_before_it_failed_does_not_count(sweep_file: SweepFile) -> None:
    path = sweep_file(**search({TEMPERATURE: {"uniform": [0.1, 0.5]}}))
    (made,) = searches(path)
    (one, two) = made.more(2)
    scored = EpochDone(
        epoch=1, step=5, loss=1.0, lr=0.1, images_per_second=9.0, epochs=2, seconds=1.0, logs={"knn/top1": 99.0}
    )
    for name, create, end in (("a", one, TrialState.FAILED), ("b", two, TrialState.STOPPED_EARLY)):
        made.created(name, create.trial)
        status = TrialStatus(state=TrialState.RUNNING)
        made.on_event(name, scored, status)
        made.on_event(name, StatusChanged(state=end), status.apply(StatusChanged(state=end)))
    assert [(point.scores, point.stopped) for point in made.points] == [({}, False), ({"knn/top1": 99.0}, True)]
    assert made.best is None
