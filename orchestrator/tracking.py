"""MLflow: an experiment for the sweep, a parent run, a child run for each trial. A projection of the store.

One writer: the process that drives the sweep. Replaying events is idempotent, for every metric carries the step and
the time of its event; so whatever a crash or an absent server left out is made good by the next `sync`.
"""

import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read by MLflow at a request: an absent server must not hold up a sweep.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from .problems import UserError
from .records import Cost, EvaluationRecord, PretrainRecord
from .spec import SweepSpec, TrialSpec
from .store import Store
from .trial_store import TrialStore

log = logging.getLogger(__name__)
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

BATCH = 500
"""Metrics in one request; MLflow takes at most 1,000."""
Status = str
ENDS: dict[str, Status] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


def tracking_uri(spec: SweepSpec, store: Store) -> str:
    """The sweep's `tracking`, or a database in the store (beside the sweep where the store is remote)."""
    if spec.tracking is not None:
        return spec.tracking
    return f"sqlite:///{store.path('mlflow.db')}" if store.is_local else "sqlite:///mlflow.db"


class Tracker:
    """The runs of one sweep. Calls return at once; a thread of its own writes."""

    def __init__(self, spec: SweepSpec, store: Store, uri: str):
        """Open the tracking store and put right what a crash left behind.

        Raises:
            UserError: the URI is of no use.
        """
        self.spec, self.store, self.uri = spec, store, uri
        self.runs: dict[str, str] = {}
        self.pending: dict[str, list[Metric]] = {}
        self.behind = False
        self.queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        try:
            self.client = MlflowClient(uri)
            self.experiment = self._experiment()
            self.parent = self._parent()
        except (MlflowException, ImportError, OSError) as error:
            raise UserError(f"tracking '{uri}' cannot be used: {_first_line(error)}") from None
        self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self.thread.start()

    # -- what a sweep calls --

    def begin(self, trial_id: str, trial: TrialSpec) -> None:
        """A trial runs."""
        self._soon(lambda: self._begin(trial_id, trial))

    def event(self, trial_id: str, event: dict[str, Any]) -> None:
        """Metrics of a trial that runs; written about every two seconds."""
        metrics = metrics_of(event)
        if metrics:
            self._soon(lambda: self.pending.setdefault(trial_id, []).extend(metrics))

    def sync(self, trial_id: str, trial: TrialSpec, status: str) -> None:
        """Make a trial's run tell what the store tells; `status` is finished, failed or stopped."""
        self._soon(lambda: self._sync(trial_id, trial, ENDS[status]))

    def close(self, report: Path | None, status: str) -> bool:
        """Attach the report to the parent, end it, and wait for the last write. False where MLflow was out of reach."""
        self._soon(lambda: self._end_parent(report, ENDS[status]))
        self.queue.put(None)
        self.thread.join(timeout=120)
        return not self.behind

    # -- the thread --

    def _soon(self, call: Callable[[], None]) -> None:
        self.queue.put(call)

    def _work(self) -> None:
        flushed = time.monotonic()
        while True:
            try:
                call = self.queue.get(timeout=2)
            except queue.Empty:
                call = self._flush
            if call is None:
                self._guarded(self._flush)
                return
            self._guarded(call)
            if time.monotonic() - flushed > 2:
                self._guarded(self._flush)
                flushed = time.monotonic()

    def _guarded(self, call: Callable[[], None]) -> None:
        """An absent server costs nothing but lateness: the store has the events."""
        try:
            call()
        except Exception as error:
            if not self.behind:
                log.warning("MLflow at %s: %s; the next submit catches up", self.uri, _first_line(error))
            self.behind = True

    def _flush(self) -> None:
        for trial_id in list(self.pending):
            metrics = self.pending.pop(trial_id)
            for start in range(0, len(metrics), BATCH):
                self.client.log_batch(self.runs[trial_id], metrics=metrics[start : start + BATCH])

    # -- runs --

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.spec.name)
        if found is not None:
            return found.experiment_id
        artifacts = self.store.path("mlartifacts") if self.uri.startswith("sqlite") and self.store.is_local else None
        return self.client.create_experiment(self.spec.name, artifact_location=artifacts)

    def _parent(self) -> str:
        """The sweep's run, made once; children that a crash left running are put right."""
        runs = self._search()
        for run in runs:
            trial_id = run.data.tags.get("ssl_sweep.trial")
            if trial_id is not None:
                self.runs[trial_id] = run.info.run_id
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")
        parents = [run for run in runs if "ssl_sweep.trial" not in run.data.tags]
        if parents:
            run_id = parents[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
            return run_id
        tags = {"ssl_sweep.sweep": self.spec.name}
        return self.client.create_run(self.experiment, tags=tags, run_name=self.spec.name).info.run_id

    def _search(self) -> list[Any]:
        runs: list[Any] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment], "tags.`ssl_sweep.sweep` != ''", page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _begin(self, trial_id: str, trial: TrialSpec) -> None:
        self.client.update_run(self._run(trial_id, trial), status="RUNNING")

    def _run(self, trial_id: str, trial: TrialSpec) -> str:
        """The trial's run, made on first need."""
        if trial_id not in self.runs:
            tags = {
                "ssl_sweep.sweep": self.spec.name,
                "ssl_sweep.trial": trial_id,
                "mlflow.parentRunId": self.parent,
                "mlflow.runName": trial_id,
            }
            self.runs[trial_id] = self.client.create_run(self.experiment, tags=tags).info.run_id
            params = [Param(key, value) for key, value in parameters(trial).items()]
            self.client.log_batch(self.runs[trial_id], params=params[:100])
            for start in range(100, len(params), 100):
                self.client.log_batch(self.runs[trial_id], params=params[start : start + 100])
        return self.runs[trial_id]

    def _sync(self, trial_id: str, trial: TrialSpec, status: Status) -> None:
        run_id = self._run(trial_id, trial)
        folder = TrialStore(self.store, trial_id)
        events = folder.events()
        done = f"{status} {len(events)}"
        if self.client.get_run(run_id).data.tags.get("ssl_sweep.synced") == done:
            self.client.set_terminated(run_id, status)
            return
        self.pending.pop(trial_id, None)
        metrics = [metric for event in events for metric in metrics_of(event)]
        metrics += _cost_metrics("pretrain", folder.pretrained(), int(1000 * (events[-1]["time"] if events else 0)))
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + BATCH])
        content = self.store.read_json(folder.name("trial.json")) or {}
        tags = {f"environment.{key}": value for key, value in content.get("environment", {}).items()}
        tags["dataset_fingerprint"] = content.get("dataset_fingerprint", "")
        failure = folder.failure()
        if failure is not None:
            tags["failure"] = failure.reason
        self.client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])
        for name in ("trial.json", "log.txt", "backbone.safetensors"):
            self._artifact(run_id, folder.name(name), name)
        # Set last: a run that a crash cuts short here is synced again.
        self.client.set_tag(run_id, "ssl_sweep.synced", done)
        self.client.set_terminated(run_id, status, end_time=int(1000 * events[-1]["time"]) if events else None)

    def _artifact(self, run_id: str, stored: str, name: str) -> None:
        if self.store.is_local and self.store.exists(stored):
            self.client.log_artifact(run_id, self.store.path(stored))
            return
        content = self.store.read(stored)
        if content is not None:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / name).write_bytes(content)
                self.client.log_artifact(run_id, str(Path(folder) / name))

    def _end_parent(self, report: Path | None, status: Status) -> None:
        self._artifact(self.parent, f"sweeps/{self.spec.name}/sweep.yaml", "sweep.yaml")
        if report is not None:
            self.client.log_artifacts(self.parent, str(report), "report")
        for run in self._search():
            if run.info.status == "RUNNING" and run.info.run_id != self.parent:
                self.client.set_terminated(run.info.run_id, "KILLED")
        self.client.set_terminated(self.parent, status)


def parameters(trial: TrialSpec) -> dict[str, str]:
    """Every resolved value by its dotted key, as MLflow's parameters."""
    flat: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            for i, item in enumerate(value):
                walk(f"{prefix}.{item.get('name', i)}" if isinstance(item, dict) else f"{prefix}.{i}", item)
        elif value is not None:
            flat[prefix] = str(value)[:500]

    walk("", trial.model_dump(mode="json", exclude={"axes"}))
    return flat


def metrics_of(event: dict[str, Any]) -> list[Metric]:
    """An event of a trial as MLflow's metrics; accuracies in percent."""
    when = int(1000 * event.get("time", 0))
    step = event.get("step", 0)
    values: dict[str, float] = {}
    if event["kind"] == "step":
        values = {key: event[key] for key in ("loss", "lr", "images_per_second")}
    elif event["kind"] == "epoch":
        values = {"epoch": event["epoch"], "epoch_loss": event["loss"], **event["logs"]}
    elif event["kind"] == "evaluation":
        record = EvaluationRecord.model_validate(event)
        values = {f"{record.name}/final_top1": record.top1, f"{record.name}/final_top5": record.top5}
        if record.best_top1 is not None:
            values[f"{record.name}/best_epoch_top1"] = record.best_top1
        return [Metric(key, value, when, step) for key, value in values.items()] + _cost_metrics(
            record.name, record, when
        )
    return [Metric(key, float(value), when, step) for key, value in values.items()]


def _cost_metrics(stage: str, record: PretrainRecord | EvaluationRecord | None, when: int) -> list[Metric]:
    if record is None:
        return []
    cost: Cost = record.cost
    values = {
        "seconds": cost.seconds,
        "gpu_memory_allocated_bytes": cost.gpu_allocated,
        "gpu_memory_reserved_bytes": cost.gpu_reserved,
        "resident_memory_bytes": cost.resident,
    }
    return [Metric(f"{stage}/{key}", float(value), when, 0) for key, value in values.items() if value is not None]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
