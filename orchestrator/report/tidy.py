"""The results as a tidy table: one row per trial and evaluation, and one for a trial without any."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..store.records import Cost, EvaluationRecord, SweepResult, TrialResult
from .formats import plain_cell, scalar

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS: dict[str, str] = {
    "sweep": "string",
    "created": "string",
    "version": "string",
    "trial_id": "string",
    "status": "string",
    "reason": "string",
    "log": "string",
    "weights_file": "string",
    "search": "bool",
    "method": "string",
    "title": "string",
    "backbone": "string",
    "parameters": "int64",
    "dataset": "string",
    "dataset_kind": "string",
    "dataset_fingerprint": "string",
    "full_dataset": "bool",
    "damaged_images": "int64",
    "image_size": "int64",
    "batch_size": "int64",
    "epochs": "int64",
    "seed": "int64",
    "recipe": "string",
    "departures": "string",
    "setting": "string",
    "axes": "string",
    "pretrain_epochs": "int64",
    "pretrain_final_loss": "double",
    "pretrain_images_per_second": "double",
    "pretrain_attempts": "int64",
    "pretrain_seconds": "double",
    "pretrain_workers": "int64",
    "pretrain_device": "string",
    "pretrain_gpu_allocated": "int64",
    "pretrain_gpu_reserved": "int64",
    "pretrain_resident": "int64",
    "evaluation": "string",
    "protocol": "string",
    "settings": "string",
    "changed": "string",
    "split": "string",
    "top1": "double",
    "top5": "double",
    "best_top1": "double",
    "best_top5": "double",
    "correct1": "int64",
    "correct5": "int64",
    "metrics": "string",
    "variants": "string",
    "remarks": "string",
    "details": "string",
    "images": "int64",
    "evaluation_seconds": "double",
    "evaluation_workers": "int64",
    "evaluation_device": "string",
    "evaluation_gpu_allocated": "int64",
    "evaluation_gpu_reserved": "int64",
    "evaluation_resident": "int64",
    "environment": "string",
}
"""Name and Arrow type of each column that every sweep has; what is unknown is null. docs/report.md says what they mean."""


def tidy_table(result: SweepResult) -> "pa.Table":
    import pyarrow as pa

    trained = _trained_columns(result)
    kinds = {**COLUMNS, **trained}
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
    return pa.Table.from_pylist(list(_rows(result, trained)), schema=schema)


def _trained_columns(result: SweepResult) -> dict[str, str]:
    """Columns of hyperparameters by their dotted keys, in the order of these; numbers and truth values keep their types."""
    kinds: dict[str, set[type]] = {}
    for trial in result.trials:
        for key, value in trial.trained_with.items():
            kinds.setdefault(key, set()).add(type(value))
    return {key: _arrow_type(kinds[key]) for key in sorted(kinds)}


def _arrow_type(found: set[type]) -> str:
    if found == {bool}:
        return "bool"
    return "int64" if found == {int} else "double" if found <= {int, float} else "string"


def _rows(result: SweepResult, trained: dict[str, str]) -> Iterator[dict[str, Any]]:
    sweep = {"sweep": result.name, "created": result.created, "version": result.version}
    for trial in result.trials:
        values = trial.trained_with.items()
        shared = sweep | _trial(trial)
        shared |= {"sweep": ", ".join(trial.sweeps)} if trial.sweeps else {}
        shared |= {key: scalar(value) if trained[key] == "string" else value for key, value in values}
        evaluations = trial.evaluations or (None,)
        yield from (shared | (_evaluation(record) if record else {}) for record in evaluations)


def _trial(trial: TrialResult) -> dict[str, Any]:
    row = trial.model_dump(
        exclude={"pretrain", "history", "evaluations", "axes", "environment", "trained_with", "views", "sweeps"}
    )
    row |= {
        "departures": "; ".join(trial.departures),
        "axes": _json(trial.axes),
        "environment": _json(trial.environment),
    }
    pretrain = trial.pretrain
    if pretrain:
        row |= {f"pretrain_{key}": value for key, value in pretrain.model_dump(exclude={"cost"}).items()}
        row |= _cost("pretrain", pretrain.cost)
    return row


def _evaluation(record: EvaluationRecord) -> dict[str, Any]:
    row = record.model_dump(include={"protocol", "split", "images"})
    row |= {
        "evaluation": record.known_as or record.name,
        "settings": _json(record.settings),
        "changed": _json(record.changed),
    }
    row |= {key: record.metrics.get(key) for key in ("top1", "top5")}
    row |= {f"best_{key}": record.best.get(key) for key in ("top1", "top5")}
    row |= {key: record.counts.get(key) for key in ("correct1", "correct5")}
    row |= {"metrics": _json(record.metrics), "remarks": "; ".join(record.remarks)}
    row |= {"variants": _json([variant.model_dump() for variant in record.variants])}
    row |= {"details": None if record.details is None else _json(record.details.model_dump())}
    return row | _cost("evaluation", record.cost)


def _cost(stage: str, cost: Cost) -> dict[str, Any]:
    return {f"{stage}_{key}": value for key, value in cost.model_dump().items()}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def for_spreadsheets(table: "pa.Table") -> "pa.Table":
    """The table with its texts as cells of a CSV file, none of which is a formula; numbers stay numbers."""
    import pyarrow as pa

    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            texts = (None if text is None else plain_cell(text) for text in table.column(i).to_pylist())
            table = table.set_column(i, field, pa.array(texts, field.type))
    return table
