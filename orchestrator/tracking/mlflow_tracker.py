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
from mlflow.exceptions import MlflowException, RestException

from ..spec.errors import UserError
from ..spec.models import SweepSpec, TrialSpec
from ..store.files import Store
from ..store.trial_folder import TrialStore
from . import mlflow_values as projection

log = logging.getLogger(__name__)
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

METRICS, PARAMETERS = 500, 100
"""In one request; MLflow takes at most 1,000 metrics and 100 parameters."""
RETRY_SECONDS = 30.0
PROJECTION = 1
"""Raised whenever runs come to look otherwise: those that are there are then written again."""
Status = str
ENDS: dict[str, Status] = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}


class Tracker:
    """The runs of one sweep. Calls return at once; a thread of its own writes."""

    def __init__(self, spec: SweepSpec, store: Store, uri: str):
        """Open the tracking store and put right what a crash left behind. A server may be absent, and come later.

        Raises:
            UserError: the URI is of no use.
        """
        self.spec, self.store, self.uri = spec, store, uri
        self.shared = uri.startswith("http")
        self.experiment = self.parent = ""
        self.runs: dict[str, tuple[str, str]] = {}
        """Run and digest of its parameters, by trial."""
        self.trials: dict[str, TrialSpec] = {}
        self.pending: dict[str, list[Metric]] = {}
        self.unsynced: dict[str, Callable[[], None]] = {}
        """What MLflow has still to be told, by trial, or by nothing for the parent."""
        self.retry_at = 0.0
        self.queue: queue.Queue[Callable[[], None] | None] = queue.Queue()
        try:
            self.client = MlflowClient(uri)
            self._open()
        except (MlflowException, ImportError, OSError) as error:
            if not self._absent(error):
                raise UserError(f"tracking '{uri}' cannot be used: {_first_line(error)}") from None
        self.thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self.thread.start()

    # -- what a sweep calls --

    def begin(self, trial_id: str, trial: TrialSpec) -> None:
        """A trial runs."""
        self.trials[trial_id] = trial
        self.queue.put(lambda: self._begin(trial_id, trial))

    def event(self, trial_id: str, event: dict[str, Any]) -> None:
        """Metrics of a trial that runs; written about every two seconds."""
        metrics = projection.metrics_of(event)
        if metrics:
            self.queue.put(lambda: self.pending.setdefault(trial_id, []).extend(metrics))

    def sync(self, trial_id: str, trial: TrialSpec, status: str) -> None:
        """Make a trial's run tell what the store tells; `status` is finished, failed or stopped."""
        self.queue.put(lambda: self._settle(trial_id, lambda: self._sync(trial_id, trial, ENDS[status])))

    def close(self, report: Path | None, status: str) -> bool:
        """Attach the report to the parent, end it, and wait for the last write. False where MLflow was out of reach."""
        self.unsynced[""] = lambda: self._end_parent(report, ENDS[status])
        self.queue.put(None)
        self.thread.join(timeout=120)
        return not self.unsynced

    # -- the thread --

    def _work(self) -> None:
        flushed = time.monotonic()
        while True:
            try:
                call = self.queue.get(timeout=2)
            except queue.Empty:
                call = self._flush
            if call is None:
                break
            self._guarded(call)
            if time.monotonic() - flushed > 2:
                self._guarded(self._flush)
                flushed = time.monotonic()
        self.retry_at = 0.0
        for name in sorted(self.unsynced, reverse=True):  # the parent last
            self._settle(name, self.unsynced[name])

    def _guarded(self, call: Callable[[], None]) -> bool:
        """Whether `call` was done. An absent server costs nothing but lateness: the store has the events."""
        if time.monotonic() < self.retry_at:
            return False
        try:
            if not self.parent:
                self._open()
            call()
        except Exception as error:
            if not self._absent(error):
                log.warning("MLflow at %s: %s", self.uri, _first_line(error))
            return False
        return True

    def _settle(self, name: str, call: Callable[[], None]) -> None:
        """Do `call`, or keep it for the end."""
        self.unsynced[name] = call
        if self._guarded(call):
            del self.unsynced[name]

    def _absent(self, error: Exception) -> bool:
        """Whether a server did not answer; then it is left alone for a while."""
        if not self.shared or isinstance(error, RestException):
            return False
        log.warning("MLflow at %s does not answer; what it misses is in the store (%s)", self.uri, _first_line(error))
        self.retry_at = time.monotonic() + RETRY_SECONDS
        return True

    def _flush(self) -> None:
        for trial_id in list(self.pending):
            metrics = self.pending.pop(trial_id)
            if trial_id in self.trials:
                self._log_metrics(self._run(trial_id, self.trials[trial_id]), metrics)

    def _log_metrics(self, run_id: str, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + METRICS])

    # -- runs --

    def _open(self) -> None:
        """Find or make the sweep's experiment and run; children that a crash left running are put right."""
        self.experiment = self._experiment()
        parent = ""
        for run in self._search():
            trial_id = run.data.tags.get("ssl_sweep.trial")
            if trial_id is None:
                parent = run.info.run_id
                continue
            self.runs[trial_id] = run.info.run_id, run.data.tags.get("ssl_sweep.parameters", "")
            if run.info.status == "RUNNING":
                self._cut_short(run.info.run_id, trial_id)
        if parent:
            self.client.update_run(parent, status="RUNNING")
        else:
            tags = self._tags() | projection.source_tags()
            parent = self.client.create_run(self.experiment, tags=tags, run_name=self.spec.name).info.run_id
        self.parent = parent

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.spec.name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return found.experiment_id
        own = self.uri.startswith("sqlite") and self.store.is_local
        artifacts = Path(self.store.path("mlartifacts")).as_uri() if own else None  # quoted: MLflow takes it for a URI
        # Without the tag, MLflow's interface guesses, and takes a sweep for an application of language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return self.client.create_experiment(self.spec.name, artifact_location=artifacts, tags=tags)

    def _tags(self) -> dict[str, str]:
        """What this sweep's runs are known by: on a shared server, another store may have a sweep of the same name."""
        return {"ssl_sweep.sweep": self.spec.name} | ({"ssl_sweep.storage": self.store.location} if self.shared else {})

    def _search(self) -> list[Any]:
        runs: list[Any] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment], "tags.`ssl_sweep.sweep` != ''", page_token=token)
            runs += [run for run in page if self._tags().items() <= run.data.tags.items()]
            token = page.token
            if not token:
                return runs

    def _begin(self, trial_id: str, trial: TrialSpec) -> None:
        self.client.update_run(self._run(trial_id, trial), status="RUNNING")

    def _run(self, trial_id: str, trial: TrialSpec) -> str:
        """The trial's run, made on first need, and anew where its parameters changed: MLflow never changes one."""
        values = projection.parameters(trial)
        wanted = projection.digest(values)
        run_id, found = self.runs.get(trial_id, ("", ""))
        if found == wanted:
            return run_id
        if run_id:
            self.client.delete_run(run_id)
        tags = self._tags() | projection.source_tags()
        tags |= {"ssl_sweep.trial": trial_id, "mlflow.parentRunId": self.parent}
        name = projection.run_name(self.spec, trial, trial_id)
        began, _ = projection.span(TrialStore(self.store, trial_id).events())
        run_id = self.client.create_run(self.experiment, began, tags, name).info.run_id
        self.runs[trial_id] = run_id, ""
        params = [Param(key, value) for key, value in values.items()]
        for start in range(0, len(params), PARAMETERS):
            self.client.log_batch(run_id, params=params[start : start + PARAMETERS])
        # Set last: a run that a crash cuts short before this is made anew.
        self.client.set_tag(run_id, "ssl_sweep.parameters", wanted)
        self.runs[trial_id] = run_id, wanted
        return run_id

    def _sync(self, trial_id: str, trial: TrialSpec, status: Status) -> None:
        run_id = self._run(trial_id, trial)
        self.pending.pop(trial_id, None)
        folder = TrialStore(self.store, trial_id)
        events = folder.events()
        done = f"{PROJECTION} {status} {len(events)}"
        before = self.client.get_run(run_id).data.tags
        if before.get("ssl_sweep.synced") != done:
            self._log_metrics(run_id, projection.stored_metrics(trial, folder, events))
            content = self.store.read_json(folder.name("trial.json")) or {}
            tags = projection.environment_tags(content)
            failure = folder.failure()
            if failure is not None:
                tags["failure"] = failure.reason
            elif "failure" in before:
                self.client.delete_tag(run_id, "failure")
            self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
            if content:
                data = projection.dataset_input(trial, content["dataset_fingerprint"])
                self.client.log_inputs(run_id, datasets=[data])
            for name in ("trial.json", "views.png", "backbone.safetensors"):
                self._artifact(run_id, folder.name(name), name)
            self._attach(run_id, folder.log_content(), "log.txt")
            # Set last: a run that a crash cuts short before this is synced again.
            self.client.set_tag(run_id, "ssl_sweep.synced", done)
        self.client.set_terminated(run_id, status, end_time=projection.span(events)[1])

    def _cut_short(self, run_id: str, trial_id: str) -> None:
        """End a run that nothing computes any more, at its trial's last sign of life."""
        _, last = projection.span(TrialStore(self.store, trial_id).events())
        self.client.set_terminated(run_id, "KILLED", end_time=last)

    def _artifact(self, run_id: str, stored: str, name: str) -> None:
        if self.store.is_local and self.store.exists(stored):
            self.client.log_artifact(run_id, self.store.path(stored))
            return
        self._attach(run_id, self.store.read(stored), name)

    def _attach(self, run_id: str, content: bytes | None, name: str) -> None:
        if content is not None:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / name).write_bytes(content)
                self.client.log_artifact(run_id, str(Path(folder) / name))

    def _end_parent(self, report: Path | None, status: Status) -> None:
        self._artifact(self.parent, f"sweeps/{self.spec.name}/sweep.yaml", "sweep.yaml")
        if report is not None:
            self.client.log_artifacts(self.parent, str(report), "report")
            self.client.set_tag(self.parent, "mlflow.note.content", projection.note(report))
        for run in self._search():
            trial_id = run.data.tags.get("ssl_sweep.trial")
            if run.info.status == "RUNNING" and trial_id is not None:
                self._cut_short(run.info.run_id, trial_id)
        self.client.set_terminated(self.parent, status)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
