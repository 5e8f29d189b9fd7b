"""What MLflow is told of a trial: the store's words in MLflow's, as pure functions."""

import contextlib
import getpass
import hashlib
import json
from pathlib import Path
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric

from ...evaluation.registry import declared_metrics
from ..spec.models import SweepSpec, TrialSpec
from ..store.records import Cost, EvaluationRecord, PretrainRecord
from ..store.trial_folder import TrialStore

NOTE_LENGTH = 7900
"""A tag of MLflow takes 8,000 characters."""


def run_name(spec: SweepSpec, trial: TrialSpec, trial_id: str) -> str:
    """What tells the sweep's runs apart, and the end of the trial's id: ``simclr-temperature=0.2-s0-1f2e3d4c5b``."""
    backbone = [] if trial.backbone.name == spec.backbone.name or "backbone" in trial.axes else [trial.backbone.name]
    axes = [f"{key.removesuffix('.name').rsplit('.', 1)[-1]}={_short(value)}" for key, value in trial.axes.items()]
    search = ["search"] if trial.split == "holdout" else []
    return "-".join([trial.method.name, *backbone, *axes, *search, f"s{trial.seed}", trial_id.rsplit("-", 1)[-1]])


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
            flat[prefix] = "none" if value is None else str(value)[:500]

    walk("", trial.model_dump(mode="json", exclude={"axes"}))
    return flat


def digest(values: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def source_tags() -> dict[str, str]:
    """Who made a run, and with what, where MLflow's interface looks for it."""
    tags = {"mlflow.source.name": "ssl-sweep", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container may have no user
        tags["mlflow.user"] = getpass.getuser()
    return tags


def environment_tags(content: dict[str, Any]) -> dict[str, str]:
    """Of a ``trial.json``."""
    environment: dict[str, str] = content.get("environment", {})
    tags = {f"environment.{key}": str(value) for key, value in environment.items()}
    tags["dataset_fingerprint"] = content.get("dataset_fingerprint", "")
    if "git_commit" in environment:
        tags["mlflow.source.git.commit"] = environment["git_commit"].removesuffix("+")
    return tags


def dataset_input(trial: TrialSpec, fingerprint: str) -> DatasetInput:
    """The data set as an input of the run, which MLflow lists and filters by."""
    config = trial.dataset
    source = json.dumps(config.model_dump(mode="json", exclude_none=True))
    dataset = Dataset(config.name, fingerprint[:36], "local" if config.path else "code", source)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "pretraining")])


def metrics_of(event: dict[str, Any]) -> list[Metric]:
    """An event of a trial as MLflow's metrics; accuracies are in percent. Training goes by step; the rest has one value."""
    when = int(1000 * event.get("time", 0))
    values: dict[str, float] = {}
    if event["kind"] == "step":
        values = {key: event[key] for key in ("loss", "lr", "images_per_second")}
    elif event["kind"] == "epoch":
        values = {"epoch": event["epoch"], "epoch_loss": event["loss"], **event["logs"]}
    elif event["kind"] == "evaluation":
        record = EvaluationRecord.model_validate(event)
        values = {f"{record.name}/final_{name}": value for name, value in record.metrics.items()}
        main = declared_metrics(record.name, record.metrics)[0].name
        if main in record.best:
            values[f"{record.name}/best_epoch_{main}"] = record.best[main]
        values |= _costs(record.name, record.cost)
    return [Metric(key, _digits(value), when, event.get("step", 0)) for key, value in values.items()]


def stored_metrics(trial: TrialSpec, folder: TrialStore, events: list[dict[str, Any]]) -> list[Metric]:
    """All metrics of a trial. Its folder may hold evaluations that only other sweeps ask for: these are left out."""
    wanted = [
        (config.protocol, config.model_dump(mode="json", exclude={"name", "protocol"})) for config in trial.evaluate
    ]
    kept: dict[Any, dict[str, Any]] = {}
    for i, event in enumerate(events):
        if event["kind"] != "evaluation":
            kept[i] = event
        elif (event["protocol"], event["settings"]) in wanted:
            kept[event["name"]] = event  # the later of two
    metrics = [metric for event in kept.values() for metric in metrics_of(event)]
    return metrics + _pretraining(folder.pretrained(), events)


def _pretraining(record: PretrainRecord | None, events: list[dict[str, Any]]) -> list[Metric]:
    if record is None:
        return []
    when = max((event["time"] for event in events if event.get("stage") == "pretrain"), default=0.0)
    return [Metric(key, _digits(value), int(1000 * when), 0) for key, value in _costs("pretrain", record.cost).items()]


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


def span(events: list[dict[str, Any]]) -> tuple[int | None, int | None]:
    """When a trial began and ended, in milliseconds."""
    times = [int(1000 * event["time"]) for event in events if "time" in event]
    return min(times, default=None), max(times, default=None)


def note(report: Path) -> str:
    """The report's tables of results, in Markdown, with a word on where the rest is."""
    blocks = (report / "report.md").read_text().split("\n\n")[1:]
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
