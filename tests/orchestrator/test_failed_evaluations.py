"""An evaluation that fails: the others of its trial still run, and everybody is told which failed and why."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import Ear, carry, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.evaluation.registry import EVALUATIONS
from ssl_sweep.evaluation.ridge import RIDGE
from ssl_sweep.evaluation.task import FeaturesNotFinite
from ssl_sweep.orchestrator.report.main_table import render_table
from ssl_sweep.orchestrator.report.sections import unfinished_table
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.catalog import read_catalog
from ssl_sweep.orchestrator.store.events import EvaluationFailed, Event, StageStarted
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.records import SweepResult
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep.plan import plan_trials
from ssl_sweep.orchestrator.sweep.results import collect
from ssl_sweep.orchestrator.sweep.state import SweepState
from ssl_sweep.orchestrator.sweep.view import status_rows
from ssl_sweep.orchestrator.trial.journal import TrialFailed

SweepFile = Callable[..., Path]
Break = Callable[[Exception], None]
EVALUATE = [{"name": "knn", "k": 20}, "ridge", {"name": "health", "view_images": 10, "views": 2}]


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Has ridge regression raise an error."""

    def put(error: Exception) -> None:
        def run(_task: object, _config: object) -> Any:
            raise error

        assert EVALUATIONS["ridge"].name == "ridge"
        monkeypatch.setitem(EVALUATIONS._loaded, "ridge", replace(RIDGE, run=run))  # pyright: ignore[reportPrivateUsage]

    return put


def result_of(path: Path, storage: Path) -> SweepResult:
    spec, _ = load_spec(path)
    trials = trials_of(path)
    planned = plan_trials(trials, {trials[0].dataset: prepare(trials[0].dataset, data_root())})
    store = Store(str(storage))
    state = SweepState().add(planned, read_catalog(store, [item.trial_id for item in planned]))
    return collect(spec, planned, state, store, "ssl-sweep submit")


def test_the_others_still_run(sweep_file: SweepFile, tmp_path: Path, breaks: Break) -> None:
    breaks(KeyError("a mistake"))
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=EVALUATE))
    ear = Ear()
    with pytest.raises(TrialFailed, match=r"^ridge: KeyError: 'a mistake'$") as failure:
        carry(trial, tmp_path / "runs", ear)
    assert failure.value.fault is Fault.EVALUATION
    assert ear.stages == ["pretrain", "knn", "ridge", "health"]
    (told,) = ear.heard(EvaluationFailed)
    assert (told.stage, told.fault, told.reason) == ("ridge", Fault.CODE_ERROR, "KeyError: 'a mistake'")


def test_status_and_report_say_what_is_missing_and_why(sweep_file: SweepFile, tmp_path: Path, breaks: Break) -> None:
    breaks(ValueError("no such thing"))
    path = sweep_file(methods=["random"], evaluate=EVALUATE)
    (trial,) = trials_of(path)
    with pytest.raises(TrialFailed):
        carry(trial, tmp_path / "runs")
    (row,) = status_rows(path)
    assert (row.status, row.missing) == (TrialState.FAILED, ["ridge"])
    assert (
        dict(row.failed) == {"ridge": "ValueError: no such thing"} and row.reason == "ridge: ValueError: no such thing"
    )
    result = result_of(path, tmp_path / "runs")
    (table,) = render_table(result)
    cells = dict(zip((f"{one.group} {one.label}" for one in table.columns), table.rows[0].cells, strict=True))
    assert cells["ridge² top-1"].text == "failed" and cells["kNN¹ top-1"].text not in ("–", "failed")
    assert any(remark.startswith("failed, not run:") for remark in table.remarks)
    assert unfinished_table(result, None).rows[0].cells[3].text == "ridge: ValueError: no such thing"


def test_a_second_run_makes_only_what_failed(sweep_file: SweepFile, tmp_path: Path, breaks: Break) -> None:
    path = sweep_file(methods=["random"], evaluate=EVALUATE)
    (trial,) = trials_of(path)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrialFailed):
        patch.setitem(EVALUATIONS._loaded, "ridge", replace(RIDGE, run=lambda _task, _config: 1 / 0))  # type: ignore[arg-type]
        carry(trial, tmp_path / "runs")
    ear = Ear()
    status = carry(trial, tmp_path / "runs", ear).status()
    assert ear.stages == ["ridge"]
    assert status.state is TrialState.FINISHED and not status.failed


def test_features_that_are_not_finite_end_the_trial(sweep_file: SweepFile, tmp_path: Path, breaks: Break) -> None:
    """Nothing that is scored on them means anything."""
    breaks(FeaturesNotFinite("the features of 3 of 100 test images are not finite"))
    path = sweep_file(methods=["random"], evaluate=EVALUATE)
    (trial,) = trials_of(path)
    ear = Ear()
    with pytest.raises(TrialFailed, match=r"^ridge: the features of 3 of 100") as failure:
        carry(trial, tmp_path / "runs", ear)
    assert failure.value.fault is Fault.DIVERGED and ear.stages == ["pretrain", "knn", "ridge"]
    result = result_of(path, tmp_path / "runs")
    assert [(one.known_as, one.reason is None) for one in result.trials[0].missing] == [
        ("ridge", False),
        ("health", True),
    ]
    assert unfinished_table(result, None).rows[0].cells[3].text.endswith("not finite; not run: health")


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("can't allocate memory")])
def test_what_another_attempt_may_mend_ends_this_one(
    error: Exception, sweep_file: SweepFile, tmp_path: Path, breaks: Break
) -> None:
    breaks(error)
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=EVALUATE))
    ear = Ear()
    with pytest.raises(type(error)):
        carry(trial, tmp_path / "runs", ear)
    assert ear.stages[-1] == "ridge"


def test_an_error_of_who_listens_is_none_of_the_evaluation_s(sweep_file: SweepFile, tmp_path: Path) -> None:
    def deaf(event: Event) -> bool:
        if isinstance(event, StageStarted) or event.kind != "score":
            return False
        raise RuntimeError("the driver is gone")

    (trial,) = trials_of(
        sweep_file(methods=["random"], evaluate=[{"name": "linear", "epochs": 1, "augment": False}, "ridge"])
    )
    with pytest.raises(RuntimeError, match="the driver is gone"):
        carry(trial, tmp_path / "runs", Ear(deaf))


def test_health_of_a_single_image_is_refused(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=[{"name": "health", "images": 1}, "ridge"]))
    ear = Ear()
    with pytest.raises(
        TrialFailed, match=r"^health: the spread of features takes at least 2 test images, and `images` is 1$"
    ):
        carry(trial, tmp_path / "runs", ear)
    assert ear.stages[-1] == "ridge"
