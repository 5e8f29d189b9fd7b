"""Several evaluations of one kind in a sweep: each by its own name, and on a part of the labels."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from immutables import Map
from in_process import Ear, carry, trials_of
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.report import render_table
from ssl_sweep.orchestrator.search.objectives import scores_of
from ssl_sweep.orchestrator.spec.identity import evaluation_id, trial_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.events import EvaluationDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.sweep.results import collect
from ssl_sweep.orchestrator.sweep.state import SweepState
from ssl_sweep.orchestrator.tracking.mlflow_values import metrics_of, parameters

SweepFile = Callable[..., Path]
EVALUATE = [
    {"name": "knn", "k": 20},
    {"name": "knn", "as": "knn-5", "k": 5},
    {"name": "knn", "as": "knn-tenth", "k": 5, "labels": "10%"},
]


@pytest.fixture
def sweep(sweep_file: SweepFile) -> Path:
    pretrain = {"epochs": 1, "batch_size": 32, "knn_every": 1}
    return sweep_file(evaluate=EVALUATE, pretrain=pretrain)


def test_each_has_its_name_wherever_it_is_told(sweep: Path, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep)
    ear = Ear()
    folder = carry(trial, tmp_path / "runs", ear)
    assert ear.stages == ["pretrain", "knn", "knn-5", "knn-tenth"]
    (epoch,) = folder.history()
    assert {"knn/top1", "knn-5/top1", "knn-tenth/top1"} <= set(epoch.logs)
    keys = [metric.key for event in ear.heard(EvaluationDone) for metric in metrics_of(event)]
    assert max(Counter(keys).values()) == 1
    assert {"knn/final_top1", "knn-5/final_top1", "knn-tenth/final_top1"} <= set(keys)
    assert parameters(trial)["evaluate.knn-tenth.labels"] == "0.1"
    scores = scores_of(trial, folder.status(), ["knn/top1", "knn-5/top1"], 1.0)
    assert scores == {"knn/top1": epoch.logs["knn/top1"], "knn-5/top1": epoch.logs["knn-5/top1"]}


def test_each_has_a_column_of_its_own(sweep: Path, tmp_path: Path) -> None:
    spec, _ = load_spec(sweep)
    (trial,) = trials_of(sweep)
    folder = carry(trial, tmp_path / "runs")
    prepared = prepare(trial.dataset, data_root())
    item = PlannedTrial(folder.trial_id, trial, prepared)
    state = SweepState(Map({folder.trial_id: folder.status()}))
    result = collect(spec, [item], state, Store(str(tmp_path / "runs")), "")
    (table,) = render_table(result)
    groups = list(dict.fromkeys(column.group for column in table.columns if column.group))
    assert [group.rstrip("¹²³ ") for group in groups] == ["kNN", "knn-5", "knn-tenth"]
    assert [note.changed for note in table.notes] == ["k = 20", "k = 5", "k = 5, labels = 10%"]


def test_the_name_is_no_part_of_what_an_evaluation_is(sweep_file: SweepFile) -> None:
    named = [{"name": "knn", "as": "nearest", "k": 20}]
    (one,), (other,) = (trials_of(sweep_file(evaluate=evaluate)) for evaluate in (EVALUATE[:1], named))
    assert evaluation_id(one.evaluate[0]) == evaluation_id(other.evaluate[0])
    assert trial_id(one, "data") == trial_id(other, "data")


def test_a_share_of_the_labels_is_the_same_of_each_class(sweep: Path) -> None:
    (trial,) = trials_of(sweep)
    whole = ImageSet.open(prepare(trial.dataset, data_root()), "train")
    part = whole.share(0.1)
    assert len(part) == round(0.1 * len(whole)) and part.samples.tolist() == whole.share(0.1).samples.tolist()
    found, of = Counter(part.labels.tolist()), Counter(whole.labels.tolist())
    assert all(abs(found[label] - 0.1 * of[label]) < 1 for label in of)
    assert whole.labels[part.samples].tolist() == part.labels.tolist()


def test_each_is_scored_between_epochs_as_often_as_it_asks(sweep_file: SweepFile, tmp_path: Path) -> None:
    evaluate = [{"name": "knn", "k": 20}, {"name": "knn", "as": "knn-5", "k": 5, "every": 2}, "ridge"]
    pretrain = {"epochs": 5, "batch_size": 32, "knn_every": 3}
    (trial,) = trials_of(sweep_file(evaluate=evaluate, pretrain=pretrain))
    history = carry(trial, tmp_path / "runs").history()
    scored = {
        name: [epoch.epoch for epoch in history if f"{name}/top1" in epoch.logs] for name in ("knn", "knn-5", "ridge")
    }
    assert scored == {"knn": [3, 5], "knn-5": [2, 4, 5], "ridge": [3, 5]}


def test_how_often_is_no_part_of_what_an_evaluation_is(sweep_file: SweepFile) -> None:
    often = [EVALUATE[0] | {"every": 1}]
    (one,), (other,) = (trials_of(sweep_file(evaluate=evaluate)) for evaluate in (EVALUATE[:1], often))
    assert evaluation_id(one.evaluate[0]) == evaluation_id(other.evaluate[0])
    assert one.evaluate[0].settings == other.evaluate[0].settings
