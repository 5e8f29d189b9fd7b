"""The runs of one sweep in MLflow: an experiment, a parent run, a child run for each trial. Every call is a request."""

import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, Run, RunTag

from ..spec.models import SweepSpec
from ..store.files import Store
from . import mlflow_values as values

METRICS, PARAMETERS = 1000, 100
"""In one request: the most that MLflow takes."""
CHARACTERS = 100_000
"""Of parameters in one request: MLflow takes a megabyte, in which one character may be six bytes."""
SETTLED = "ssl_sweep.settled"
"""Tag of a run: digest of the status that it shows in full."""
PARAMETERS_TAG = "ssl_sweep.parameters"
PARENT_TAG = "mlflow.parentRunId"
REPORT = ("report.html", "report.md", "results.parquet", "results.csv", "statistics.csv", "reproduction.csv")
"""Files of a report that the sweep's run gets; the page has its plots within it."""


class Runs:
    """MLflow's side of a sweep. Raises whatever MLflow's client raises."""

    def __init__(self, spec: SweepSpec, store: Store, uri: str, progress: Callable[[], None]):
        """`progress` is called after each request that was answered."""
        self.spec, self.store, self.uri, self.progress = spec, store, uri, progress
        self.client = MlflowClient(uri)
        self.experiment = self.parent = ""

    # -- the experiment and the sweep's run --

    def open(self, parent: str, *, search: bool) -> list[Run] | None:
        """Find or make experiment and parent; returns the sweep's runs if asked, or if the `parent` known so far is gone."""
        self.experiment = self._experiment()
        found: list[Run] | None = None
        if search or not parent or not self._exists(parent):
            found = self.search()
            parents = [run.info.run_id for run in found if values.TRIAL_TAG not in run.data.tags]
            parent = parents[0] if parents else ""
        if parent:
            self.client.update_run(parent, status="RUNNING")
        else:
            tags = self.tags() | values.source_tags()
            parent = self.client.create_run(self.experiment, tags=tags, run_name=self.spec.name).info.run_id
            for run in found or []:  # of a parent that somebody deleted
                self.client.set_tag(run.info.run_id, PARENT_TAG, parent)
                self.progress()
        self.parent = parent
        self.progress()
        return found

    def _exists(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return run.info.lifecycle_stage == "active" and run.info.experiment_id == self.experiment

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.spec.name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return found.experiment_id
        # Without the tag, MLflow's interface guesses, and takes a sweep for an application of language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        artifacts = values.artifact_location(self.uri)
        return self.client.create_experiment(self.spec.name, artifact_location=artifacts, tags=tags)

    def tags(self) -> dict[str, str]:
        """What this sweep's runs are known by: on a shared server, another store may have a sweep of the same name."""
        shared = self.uri.startswith("http")
        return {"ssl_sweep.sweep": self.spec.name} | ({"ssl_sweep.storage": self.store.location} if shared else {})

    def search(self) -> list[Run]:
        """All runs of the sweep."""
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment], "tags.`ssl_sweep.sweep` != ''", max_results=1000, page_token=token
            )
            self.progress()
            runs += [run for run in page if self.tags().items() <= run.data.tags.items()]
            token = page.token
            if not token:
                return runs

    def works(self) -> bool:
        """Whether MLflow takes something small; raises if it does not."""
        self.client.update_run(self.parent, status="RUNNING")
        return True

    def attach_report(self) -> None:
        """Attach file and report to the sweep's run."""
        folder = f"sweeps/{self.spec.name}"
        self.artifact(self.parent, f"{folder}/sweep.yaml", "sweep.yaml")
        text = self.store.read(f"{folder}/report/report.md")
        if text is not None:
            self.client.set_tag(self.parent, "mlflow.note.content", values.note(text.decode()))
            for name in REPORT:
                self.artifact(self.parent, f"{folder}/report/{name}", name, "report")

    def end_sweep(self, status: str) -> None:
        """End the sweep's run."""
        self.client.set_terminated(self.parent, status)
        self.progress()

    # -- a trial's run --

    def create(self, name: str, tags: dict[str, str], began: int | None) -> str:
        """A new child run, which is running; returns its id."""
        tags = self.tags() | values.source_tags() | tags | {PARENT_TAG: self.parent}
        run_id = self.client.create_run(self.experiment, began, tags, name).info.run_id
        self.progress()
        return run_id

    def parameters(self, run_id: str, params: dict[str, str], digest: str) -> None:
        """Write all parameters of a run; the last request has their digest: a run without it is made anew."""
        requests = list(_requests(params))
        for i, some in enumerate(requests):
            done = [RunTag(PARAMETERS_TAG, digest)] if i == len(requests) - 1 else []
            self.client.log_batch(run_id, params=some, tags=done)
            self.progress()

    def points(self, run_id: str) -> dict[tuple[str, int], float]:
        """All metrics of a run, by key and step."""
        keys = self.client.get_run(run_id).data.metrics
        self.progress()
        points: dict[tuple[str, int], float] = {}
        for key in keys:
            points |= {(key, metric.step): metric.value for metric in self.client.get_metric_history(run_id, key)}
            self.progress()
        return points

    def delete(self, run_id: str) -> None:
        """Move a run to MLflow's trash."""
        self.client.delete_run(run_id)
        self.progress()

    def running(self, run_id: str) -> None:
        """The trial runs."""
        self.client.update_run(run_id, status="RUNNING")
        self.progress()

    def metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Write metrics, as many as MLflow takes in a request."""
        for start in range(0, len(metrics), METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + METRICS])
            self.progress()

    def describe(self, run_id: str, tags: dict[str, str], data: DatasetInput, *, again: bool) -> None:
        """Data set and tags; a failure that is over is forgotten, if the run was described before or the trial started `again`."""
        if again and "failure" not in tags and "failure" in self.client.get_run(run_id).data.tags:
            self.client.delete_tag(run_id, "failure")
        self.client.log_inputs(run_id, datasets=[data])
        self.progress()
        self.client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        self.progress()

    def end(self, run_id: str, status: str, ended: int | None) -> None:
        """End a run that shows all of its trial."""
        self.client.set_terminated(run_id, status, end_time=ended)
        self.progress()

    def artifact(self, run_id: str, stored: str, name: str, folder: str | None = None) -> None:
        """Attach a file of the store, if it is there."""
        if self.store.is_local and self.store.exists(stored):
            self.client.log_artifact(run_id, self.store.path(stored), folder)
        else:
            self.attach(run_id, self.store.read(stored), name, folder)
        self.progress()

    def attach(self, run_id: str, content: bytes | None, name: str, folder: str | None = None) -> None:
        """Attach some content as a file, if there is any."""
        if content is not None:
            with tempfile.TemporaryDirectory() as scratch:
                (Path(scratch) / name).write_bytes(content)
                self.client.log_artifact(run_id, str(Path(scratch) / name), folder)
        self.progress()


def _requests(params: dict[str, str]) -> Generator[list[Param]]:
    """The parameters, as many as MLflow takes in a request; at least one request."""
    some: list[Param] = []
    length = 0
    for key, value in params.items():
        if len(some) == PARAMETERS or length + len(key) + len(value) > CHARACTERS:
            yield some
            some, length = [], 0
        some.append(Param(key, value))
        length += len(key) + len(value)
    yield some
