"""Few-shot, retrieval, k-means and health in a sweep file: planned, run, searched by, and in the report."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from in_process import carry, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.evaluation.registry import EVALUATIONS, search_metrics
from ssl_sweep.orchestrator.report import write_report
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.catalog import read_catalog
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.sweep.plan import plan_trials
from ssl_sweep.orchestrator.sweep.results import collect
from ssl_sweep.orchestrator.sweep.state import SweepState

SweepFile = Callable[..., Path]
FURTHER = ["fewshot", "retrieval", "kmeans", {"name": "health", "views": 4, "view_images": 50}]
HEADS = "few-shot¹ top-1 | few-shot¹ ± 95 % | retrieval² mAP | retrieval² P@1 | retrieval² P@10 | k-means³ NMI"


def test_a_sweep_with_all_of_them(sweep_file: SweepFile, tmp_path: Path) -> None:
    path = sweep_file(methods=["random", "simclr", "byol"], pretrain={"epochs": 1, "batch_size": 32}, evaluate=FURTHER)
    spec, _ = load_spec(path)
    trials = trials_of(path)
    prepared = prepare(trials[0].dataset, data_root())
    planned = plan_trials(trials, {trials[0].dataset: prepared})
    for item in planned:
        folder = carry(item.trial, tmp_path / "runs")
        for config in item.trial.evaluate:
            record = folder.evaluation(config)
            assert record is not None and record.images == 100
            assert set(record.metrics) == {metric.name for metric in EVALUATIONS[config.name].metrics}
            assert EVALUATIONS[config.name].text(record.metrics)
    store = Store(str(tmp_path / "runs"))
    state = SweepState().add(planned, read_catalog(store, [item.trial_id for item in planned]))
    files = write_report(collect(spec, planned, state, store, "ssl-sweep submit"), tmp_path / "report")
    text = files.markdown.read_text()
    assert HEADS in text and "health⁴ RankMe | health⁴ spread | health⁴ α" in text
    assert "Highest health RankMe: " in text and "Highest k-means NMI: " in text
    assert "LiDAR and alignment of 4 crops of 50 of them" in text
    rows = pq.read_table(tmp_path / "report" / "results.parquet").to_pylist()
    assert len(rows) == 12 and all(row["remarks"] or row["evaluation"] in ("retrieval", "kmeans") for row in rows)
    variants = [json.loads(row["variants"]) for row in rows if row["evaluation"] == "fewshot"]
    assert [[one["settings"] for one in each] for each in variants] == [[{"shots": n} for n in (5, 1, 10)]] * 3


def test_health_alone_has_plots(sweep_file: SweepFile, tmp_path: Path) -> None:
    """Its numbers have no unit."""
    path = sweep_file(methods=["random", "simclr"], pretrain={"epochs": 1, "batch_size": 32}, evaluate=FURTHER[-1:])
    spec, _ = load_spec(path)
    trials = trials_of(path)
    planned = plan_trials(trials, {trials[0].dataset: prepare(trials[0].dataset, data_root())})
    for item in planned:
        carry(item.trial, tmp_path / "runs")
    store = Store(str(tmp_path / "runs"))
    state = SweepState().add(planned, read_catalog(store, [item.trial_id for item in planned]))
    files = write_report(collect(spec, planned, state, store, "ssl-sweep submit"), tmp_path / "report")
    assert "health RankMe (health/features@1) after pretraining" in files.html.read_text()


def test_searches_can_maximise_them(sweep_file: SweepFile) -> None:
    for metric in ("fewshot/top1", "retrieval/map", "kmeans/nmi", "health/rankme"):
        assert metric in search_metrics() and metric not in search_metrics(of_epochs=True)
        search = {"space": {"pretrain.batch_size": {"choice": [16, 32]}}, "metric": metric}
        load_spec(sweep_file(evaluate=FURTHER, search=search))


def test_more_shots_than_images_are_refused_before_training(sweep_file: SweepFile) -> None:
    trials = trials_of(sweep_file(evaluate=[{"name": "fewshot", "shots": [5, 321]}]))
    prepared = prepare(trials[0].dataset, data_root())
    with pytest.raises(
        UserError,
        match=r"^evaluate: fewshot has shots = 321 \(write 3\d or less\), and data set 'digits' 3\d training images of class '\d'$",
    ):
        plan_trials(trials, {trials[0].dataset: prepared})
