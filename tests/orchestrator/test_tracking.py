"""MLflow as a projection of a store made by hand: whole, the same when made twice, and late where a server is absent."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_hand import BEGAN, TRIAL, SweepByHand, rows, wait_for
from mlflow import MlflowClient
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.store.events import StatusChanged
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.tracking import mlflow_values as projection
from ssl_sweep.orchestrator.tracking.database import tracking_uri
from ssl_sweep.orchestrator.tracking.ledger import settled_digest
from ssl_sweep.orchestrator.tracking.mlflow_runs import Runs


def test_the_whole_of_a_trial(sweep: SweepByHand) -> None:
    sweep.run()
    report = "# small\n\none\n\n## Results on digits\n\n| a |\n\n- ¹ note\n\n### Training\n\nx\n"
    sweep.store.write("sweeps/small/report/report.md", report.encode())
    assert sweep.track()
    parent, child = sweep.runs
    assert parent.info.run_name == "small" and parent.info.status == child.info.status == "FINISHED"
    assert child.info.run_name == "simclr-s0-0123456789"
    assert (child.info.start_time, child.info.end_time) == (BEGAN * 1000, BEGAN * 1000 + 6000)
    tags = parent.data.tags
    assert tags["mlflow.note.content"].startswith("one\n\n## Results on digits\n\n| a |\n\nNotes, plots")
    assert sweep.files(parent) == {"sweep.yaml", "report"}

    metrics = child.data.metrics
    assert metrics["loss"] == 1.0 and metrics["epoch"] == 2 and metrics["knn/top1"] == 44.0
    assert metrics["knn/final_top1"] == 44.44444 and metrics["knn/final_top5"] == 99.0
    assert metrics["pretrain/seconds"] == 8.0 and metrics["knn/resident_memory_gb"] == 1.234568
    client = MlflowClient(sweep.uri)
    assert [(m.step, m.value) for m in client.get_metric_history(child.info.run_id, "loss")] == [
        (1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0),
    ]  # fmt: skip
    assert [m.step for m in client.get_metric_history(child.info.run_id, "knn/top1")] == [2, 4]
    params = child.data.params
    assert params["method.name"] == "simclr" and params["pretrain.optimizer.lr"]
    assert params["evaluate.knn.k"] == "20" and params["dataset.path"] == "none" and params["seed"] == "0"
    assert params == projection.parameters(sweep.item.trial)
    tags = child.data.tags
    assert tags["ssl_sweep.trial"] == TRIAL and tags["dataset_fingerprint"] == "feedbeef"
    assert tags["environment.git_commit"] == "0123456789ab+" and tags["mlflow.source.git.commit"] == "0123456789ab"
    (data,) = child.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "feedbeef")
    assert sweep.files(child) == {"trial.json", "log.txt", "backbone.safetensors"}


def test_a_second_time_changes_nothing(sweep: SweepByHand) -> None:
    sweep.run()
    assert sweep.track()
    before = rows(sweep.uri)
    assert sweep.track()
    assert rows(sweep.uri) == before
    assert sweep.runs[1].info.end_time == BEGAN * 1000 + 6000


def test_mlflow_is_opened_only_if_it_misses_something(sweep: SweepByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    plain = Runs.open

    def noted(runs: Runs, parent: str, *, search: bool) -> object:
        opened.append(parent)
        return plain(runs, parent, search=search)

    monkeypatch.setattr(Runs, "open", noted)
    sweep.run()
    for change in (
        lambda: None,  # for the first time
        lambda: sweep.store.write("sweeps/small/sweep.yaml", b"name: small  # edited\n"),
        lambda: sweep.store.write("sweeps/small/report/digest", b"another"),
        lambda: sweep.tracker().close(TrialState.INTERRUPTED) and opened.clear(),  # the run ended otherwise
        lambda: sweep.tell(
            7, StatusChanged(state=TrialState.RUNNING, attempt=2), StatusChanged(state=TrialState.FINISHED)
        ),
        lambda: MlflowClient(sweep.uri).delete_run(sweep.runs[0].info.run_id),
    ):
        change()
        assert sweep.track() and len(opened) == 1
        assert sweep.track() and len(opened) == 1, "nothing changed since"
        opened.clear()
    parent, child = sweep.runs
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")


def test_what_is_settled_is_known_without_events_and_requests(
    sweep: SweepByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.run()
    assert sweep.track()

    def refuse(*arguments: object) -> None:
        raise AssertionError("a settled trial needs neither")

    monkeypatch.setattr(TrialStore, "events", refuse)
    monkeypatch.setattr(Runs, "search", refuse)
    monkeypatch.setattr(Runs, "metrics", refuse)
    assert sweep.tracker().close(TrialState.INTERRUPTED)


@pytest.mark.parametrize("lost", ["sweeps/small/mlflow.json", None])
def test_another_database_or_a_lost_ledger_are_filled_again(
    sweep: SweepByHand, lost: str | None, empty_database: Path, tmp_path: Path
) -> None:
    sweep.run()
    assert sweep.track()
    before = rows(sweep.uri)["metrics"]
    if lost is None:
        sweep.uri = f"sqlite:///{shutil.copy(empty_database, tmp_path / 'other.db')}"
    else:
        sweep.store.delete(lost)
    assert sweep.track()
    assert len(rows(sweep.uri)["metrics"]) == len(before)


def test_live_metrics_are_those_that_the_store_would_give(sweep: SweepByHand) -> None:
    sweep.run()
    tracker = sweep.tracker()
    sweep.follow(tracker, [event for event in sweep.folder.events() if event.time < BEGAN + 6])
    wait_for(lambda: rows(sweep.uri)["metrics"])
    assert sweep.runs[1].info.status == "RUNNING"
    live = set(rows(sweep.uri)["metrics"])
    sweep.follow(tracker, sweep.folder.events())
    assert tracker.close(TrialState.FINISHED)
    assert set(rows(sweep.uri)["metrics"]) == live
    assert sweep.runs[1].info.status == "FINISHED"


def test_steps_that_a_resumed_trial_repeats_are_written_once(sweep: SweepByHand) -> None:
    sweep.begin()
    sweep.train()
    sweep.tell(10, StatusChanged(state=TrialState.INTERRUPTED))
    assert sweep.track()
    sweep.tell(20, StatusChanged(state=TrialState.RUNNING, attempt=2))
    sweep.train(first=2)  # two steps after the checkpoint, once more
    sweep.finish()
    tracker = sweep.tracker()
    sweep.follow(tracker, sweep.folder.events())
    assert tracker.close(TrialState.FINISHED)
    child = sweep.runs[1]
    assert child.info.status == "FINISHED"
    client = MlflowClient(sweep.uri)
    for key, steps in {"loss": [1, 2, 3, 4], "epoch_loss": [2, 4], "knn/final_top1": [0]}.items():
        assert [metric.step for metric in client.get_metric_history(child.info.run_id, key)] == steps


def test_a_crash_leaves_no_run_running(sweep: SweepByHand) -> None:
    sweep.begin()
    sweep.train()
    crashed = sweep.tracker()
    sweep.follow(crashed, sweep.folder.events())
    wait_for(lambda: rows(sweep.uri)["metrics"])  # then nothing more is heard of it
    assert [run.info.status for run in sweep.runs] == ["RUNNING", "RUNNING"]
    sweep.folder.write_status(sweep.status.apply(StatusChanged(state=TrialState.INTERRUPTED)))
    assert sweep.tracker().close(TrialState.INTERRUPTED)
    assert [run.info.status for run in sweep.runs] == ["KILLED", "KILLED"]
    assert sweep.runs[1].info.end_time == BEGAN * 1000 + 4000


def test_a_failure_that_was_made_good(sweep: SweepByHand) -> None:
    sweep.begin()
    sweep.tell(4, StatusChanged(state=TrialState.FAILED, reason="the loss is not finite"))
    assert sweep.track()
    child = sweep.runs[1]
    assert child.info.status == "FAILED" and child.data.tags["failure"] == "the loss is not finite"
    sweep.run()
    assert sweep.track()
    child = sweep.runs[1]
    assert child.info.status == "FINISHED" and "failure" not in child.data.tags


def test_other_evaluations_make_another_run(sweep: SweepByHand, sweep_file: Callable[..., Path]) -> None:
    """Parameters of a run cannot be changed, and the old ones would tell of numbers that are no longer there."""
    sweep.run()
    assert sweep.track()
    other = SweepByHand(sweep_file("other.yaml", evaluate=[{"name": "knn", "k": 7}]))
    assert other.track()
    child = other.runs[1]
    assert child.data.params["evaluate.knn.k"] == "7" and child.data.metrics["knn/final_top1"] == 11.0


def test_names_tell_the_trials_of_a_sweep_apart(sweep: SweepByHand) -> None:
    def name(**changes: Any) -> str:
        return projection.run_name(sweep.spec, sweep.item.trial.model_copy(update=changes), TRIAL)

    axes = {"method.temperature": 0.123456, "backbone.name": "resnet18", "pretrain.batch_size": 64}
    assert name(axes=axes) == "simclr-temperature=0.1235-backbone=resnet18-batch_size=64-s0-0123456789"
    assert name(split="holdout", seed=3) == "simclr-search-s3-0123456789"


@pytest.mark.parametrize("address", ["nosuch://x", "mlruns"])
def test_a_useless_address(sweep: SweepByHand, address: str) -> None:
    with pytest.raises(UserError, match=rf"tracking: got '{address}'; must be"):
        tracking_uri(sweep.spec.model_copy(update={"tracking": address}), sweep.store, Path())


def test_a_status_that_was_stored_is_the_same(sweep: SweepByHand) -> None:
    """The store sorts keys; a status that was followed live has them as they came."""
    live = TrialStatus(environment={"torch": "2.13.0", "cpu": "x"}, attempts=1)
    sweep.folder.write_status(live)
    assert list(sweep.status.environment) != list(live.environment)
    assert settled_digest(sweep.status, []) == settled_digest(live, [])


def test_a_tracker_begins_before_mlflow_is_imported() -> None:
    code = "import sys, ssl_sweep.orchestrator.tracking.tracker, ssl_sweep.orchestrator.tracking.database\n"
    code += (
        "import json; print(json.dumps([name for name in ('mlflow', 'sqlalchemy', 'alembic') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
