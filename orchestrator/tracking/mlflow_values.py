"""What MLflow is told of a trial: the store's words in MLflow's, as pure functions."""

import contextlib
import getpass
import hashlib
import json
import posixpath
import re
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from ...evaluation.registry import declared_metrics
from ..spec.models import SweepSpec, TrialSpec
from ..store.events import EpochDone, EvaluationDone, Event, PretrainingDone, StepDone
from ..store.records import Cost
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .database import ARTIFACTS, sqlite_path

KEY_LENGTH, PARAMETER_LENGTH, TAG_LENGTH = 250, 6000, 8000
"""Characters that MLflow takes, of a key and of the values."""
NAME_LENGTH = 250
"""Characters of a run's name that every database takes."""
NOTE_LENGTH = TAG_LENGTH - 100
NO_PARAMETERS: dict[str, Any] = {
    "axes": True,
    "dataset": {"title"},
    "evaluate": {"__all__": {"dataset": {"title"}}},
}
"""Of a trial: what can change while the trial stays the same, as MLflow never changes a parameter."""
TRIAL_TAG = "ssl_sweep.trial"
ENDS = {
    TrialState.WAITING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.INTERRUPTED: "KILLED",
    TrialState.FINISHED: "FINISHED",
    TrialState.FAILED: "FAILED",
    TrialState.STOPPED_EARLY: "KILLED",
}
"""MLflow's word for each state."""


def run_name(spec: SweepSpec, trial: TrialSpec, trial_id: str) -> str:
    """What tells the sweep's runs apart, and the end of the trial's id: ``simclr-temperature=0.2-s0-1f2e3d4c5b``."""
    backbone = [] if trial.backbone.name == spec.backbone.name or "backbone" in trial.axes else [trial.backbone.name]
    axes = [f"{key.removesuffix('.name').rsplit('.', 1)[-1]}={_short(value)}" for key, value in trial.axes.items()]
    search = ["search"] if trial.split == "holdout" else []
    end = "-".join(["", *search, f"s{trial.seed}", trial_id.rsplit("-", 1)[-1]])
    return shortened("-".join([trial.method.name, *backbone, *axes]), NAME_LENGTH - len(end)) + end


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
        else:
            flat[key_of(prefix)] = "none" if value is None else shortened(str(value), PARAMETER_LENGTH)

    values = trial.model_dump(mode="json", exclude=NO_PARAMETERS)
    plain = [config.as_name or config.name for config in trial.evaluate]
    names = [plain[i] if plain.count(plain[i]) == 1 else config.known_as for i, config in enumerate(trial.evaluate)]
    if names:
        values["evaluate"] = dict(zip(names, values["evaluate"], strict=True))
    walk("", values)
    return flat


def shortened(text: str, length: int) -> str:
    """At most `length` characters; of two long texts that begin alike, a digest at the end tells them apart."""
    if len(text) <= length:
        return text
    mark = f"...{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return text[: length - len(mark)] + mark


def key_of(name: str) -> str:
    """`name` as MLflow takes it for a key: of letters, digits and a few signs, not like a path with empty parts."""
    key = shortened(name, KEY_LENGTH)
    if re.fullmatch(r"[/\w.\- :]+", key) and posixpath.normpath(key) == key and not key.startswith(("..", "/")):
        return key
    plain = re.sub(r"[^\w.\- :]", "_", name)
    return shortened(f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:16]}", KEY_LENGTH)


def digest(values: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def source_tags() -> dict[str, str]:
    """Who made a run, and with what, where MLflow's interface looks for it."""
    tags = {"mlflow.source.name": "ssl-sweep", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container may have no user
        tags["mlflow.user"] = getpass.getuser()
    return tags


def status_tags(status: TrialStatus) -> dict[str, str]:
    """Environment, data and failure of a trial."""
    tags = {key_of(f"environment.{key}"): value for key, value in status.environment.items()}
    tags["dataset_fingerprint"] = status.dataset_fingerprint
    if "git_commit" in status.environment:
        tags["mlflow.source.git.commit"] = status.environment["git_commit"].removesuffix("+")
    if status.state is TrialState.FAILED:
        tags["failure"] = status.reason or "failed"
    return {key: shortened(value, TAG_LENGTH) for key, value in tags.items()}


def data_tags(trial: TrialSpec) -> dict[str, str]:
    """What the user calls the images of the pretraining."""
    return {"dataset": shortened(trial.dataset.display_name, TAG_LENGTH)}


def dataset_input(trial: TrialSpec, fingerprint: str) -> DatasetInput:
    """The data set as an input of the run, which MLflow lists and filters by."""
    config = trial.dataset
    source = json.dumps(config.model_dump(mode="json", exclude_none=True))
    dataset = Dataset(config.display_name, fingerprint[:36], "local" if config.path else "code", source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "pretraining")])


def metrics_of(event: Event) -> list[Metric]:
    """An event of a trial as MLflow's metrics; accuracies in percent. Training goes by step; the rest has one value."""
    step = 0
    values: dict[str, float] = {}
    match event:
        case StepDone():
            step = event.step
            values = {"loss": event.loss, "lr": event.lr, "images_per_second": event.images_per_second}
        case EpochDone():
            step = event.step
            values = {"epoch": event.epoch, "epoch_loss": event.loss, **event.logs}
        case PretrainingDone():
            values = _costs("pretrain", event.cost)
        case EvaluationDone():
            values = {f"{event.stage}/final_{name}": value for name, value in event.metrics.items()}
            main = declared_metrics(event.name, event.metrics)[0].name
            if main in event.best:
                values[f"{event.stage}/best_epoch_{main}"] = event.best[main]
            if event.details is not None:
                values[f"{event.stage}/final_balanced_top1"] = event.details.balanced_top1
                values |= {} if event.details.ece is None else {f"{event.stage}/final_ece": event.details.ece}
            values |= _costs(event.stage, event.cost)
        case _:
            pass
    when = milliseconds(event.time)
    return [Metric(key, _digits(value), when, step) for key, value in values.items()]


def artifact_location(uri: str) -> str | None:
    """Where a SQLite database has its artifacts: beside it, so in the store if it is there; None for any other MLflow."""
    path = sqlite_path(uri)
    return None if path is None else path.absolute().with_name(ARTIFACTS).as_uri()


def milliseconds(seconds: float | None) -> int:
    """A time of an event as MLflow has times."""
    return int(1000 * (seconds or 0))


def _costs(stage: str, cost: Cost) -> dict[str, float]:
    peaks = {
        "gpu_memory_allocated_gb": cost.gpu_allocated,
        "gpu_memory_reserved_gb": cost.gpu_reserved,
        "resident_memory_gb": cost.resident,
    }
    memory = {f"{stage}/{key}": count / 1e9 for key, count in peaks.items() if count is not None}
    return {f"{stage}/seconds": cost.seconds} | memory


def _digits(value: float) -> float:
    """As many as float32 has: MLflow prints all that it is given."""
    return float(f"{value:.7g}")


def note(report: str) -> str:
    """The tables of results of a report in Markdown, with a word on where the rest is."""
    blocks = report.split("\n\n")[1:]
    shown: list[str] = []
    rest = "Notes, plots, cost and environment: `report/report.html` among the artifacts."
    skipping = False
    for block in blocks:
        if block.startswith("#"):
            skipping = not block.startswith("## Results")
        results = not skipping and not block.startswith("- ¹")
        if results and len("\n\n".join([*shown, block, rest])) <= NOTE_LENGTH:
            shown.append(block)
    return "\n\n".join([*shown, rest])
