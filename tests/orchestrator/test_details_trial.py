"""What classifiers' answers say beside their accuracy, from a trial to its record, the store, MLflow and the report."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from immutables import Map
from in_process import Ear, carry, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.report.document import build_document
from ssl_sweep.orchestrator.report.tidy import tidy_table
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.events import EvaluationDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.sweep.results import collect, with_details
from ssl_sweep.orchestrator.sweep.state import SweepState
from ssl_sweep.orchestrator.tracking.mlflow_values import metrics_of

SweepFile = Callable[..., Path]
EVALUATE = [
    {"name": "knn", "k": 20},
    "ridge",
    {"name": "logistic", "C": 1.0},
    {"name": "linear", "epochs": 1, "augment": False},
    {"name": "finetune", "epochs": 1},
    {"name": "attentive", "epochs": 1, "lr": 1e-3, "weight_decay": 0.0},
    {"name": "kmeans", "restarts": 1},
]


def test_from_the_trial_to_the_report(sweep_file: SweepFile, tmp_path: Path) -> None:
    path = sweep_file(methods=["random"], evaluate=EVALUATE)
    (trial,) = trials_of(path)
    ear = Ear()
    folder = carry(trial, tmp_path / "runs", ear)
    *classifiers, kmeans = trial.evaluate
    for config in classifiers:
        record, confusion = folder.evaluation(config), folder.confusion(config)
        assert record is not None and record.details is not None and confusion is not None
        assert (record.details.ece is None) == (config.name == "ridge")
        assert sum(images for *_, images in confusion.cells) == record.images
        right = sum(images for truth, answer, images in confusion.cells if truth == answer)
        assert right == record.counts["correct1"]
        hits = np.unpackbits(np.frombuffer(base64.b64decode(confusion.hits or ""), np.uint8))
        assert len(hits) == 104 and hits.sum() == right and not hits[100:].any()  # a bit for each of 100 images
        recalls = [recall for recall in confusion.recalls if recall is not None]
        assert sum(recalls) / len(recalls) == pytest.approx(record.details.balanced_top1)
        assert record.details.worst_recall == min(recalls) and record.details.best_recall == max(recalls)
        assert confusion.recalls[confusion.classes.index(record.details.worst_class)] == min(recalls)
    other = folder.evaluation(kmeans)
    assert other is not None and other.details is None and folder.confusion(kmeans) is None

    events = {event.name: event for event in ear.heard(EvaluationDone)}
    assert all(len(event.model_dump_json()) < 2500 for event in events.values())
    told = {name: {metric.key: metric.value for metric in metrics_of(event)} for name, event in events.items()}
    knn = events["knn"].details
    assert knn is not None and told["knn"]["knn/final_balanced_top1"] == pytest.approx(knn.balanced_top1)
    assert told["knn"]["knn/final_ece"] == pytest.approx(knn.ece)
    assert "ridge/final_balanced_top1" in told["ridge"] and "ridge/final_ece" not in told["ridge"]
    assert "kmeans/final_balanced_top1" not in told["kmeans"]

    status = folder.status()
    assert {record.name for record in status.evaluations.values() if record.details} == {c.name for c in classifiers}
    folder.store.delete(folder.name("state.json"))
    assert folder.status().evaluations == status.evaluations

    item = PlannedTrial(folder.trial_id, trial, prepare(trial.dataset, data_root()))
    state = SweepState(Map({folder.trial_id: status}))
    result = collect(load_spec(path)[0], [item], state, Store(str(tmp_path / "runs")), "")
    assert with_details(result, folder.store).trials[0].evaluations[0].hits is not None
    (section,) = build_document(result, None).data
    assert len(section.details.rows) == 6
    rows = {row["evaluation"]: row["details"] for row in tidy_table(result).to_pylist()}
    assert rows["kmeans"] is None and json.loads(rows["knn"]) == knn.model_dump()
