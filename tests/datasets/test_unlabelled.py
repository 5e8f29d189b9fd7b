"""Images without labels: they pretrain, and what needs labels says so."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from reading import pixels_of
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.datasets.verified import verify
from ssl_sweep.orchestrator.report.main_table import render_table
from ssl_sweep.orchestrator.report.remarks import UNLABELLED_REMARK
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.catalog import read_catalog
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.sweep.plan import plan_trials
from ssl_sweep.orchestrator.sweep.results import collect
from ssl_sweep.orchestrator.sweep.state import SweepState
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime

SWEEP = """
name: unlabelled
dataset: {{name: folder, path: {path}, image_size: 16}}
backbone: {{name: resnet18, options: {{channels: [8, 8, 8, 8], layers: [1, 1, 1, 1]}}}}
methods: [{method}]
pretrain: {{epochs: 2, batch_size: 8, knn_every: 1, diagnose_every: 1}}
storage: {storage}
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(20):
        pixels = generator.integers(0, 256, (16 + i % 2, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:02}.png")
    return tmp_path / "images"


def planned(
    images: Path, tmp_path: Path, method: str = "simclr", more: str = ""
) -> tuple[Prepared, list[PlannedTrial]]:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.format(path=images, storage=tmp_path / "runs", method=method) + more)
    trials = expand(*load_spec(file))
    prepared = prepare(trials[0].dataset, tmp_path / "data")
    return prepared, plan_trials(trials, dict.fromkeys((trial.dataset for trial in trials), prepared))


@pytest.mark.parametrize("inside", [".", "train"])
def test_a_folder_of_files_has_no_labels(images: Path, inside: str, tmp_path: Path) -> None:
    if inside == "train":
        (tmp_path / "above").mkdir()
        images = images.rename(tmp_path / "above" / "train").parent
    prepared = prepare(DatasetConfig(name="folder", path=str(images)), tmp_path / "data")
    assert prepared.classes == () and (prepared.train.count, prepared.test.count) == (20, 0)
    verify(prepared)
    found = ImageSet.open(prepared, "train")
    assert found.labels.tolist() == [-1] * 20 and found.num_classes == 0
    files = sorted(images.rglob("*.png"))
    for pixels, file in zip(pixels_of(found), files, strict=True):
        assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))


@pytest.mark.parametrize("labels", [None, [None] * 20, [-1] * 20])
def test_parquet_without_labels(images: Path, labels: list[int | None] | None, tmp_path: Path) -> None:
    columns: dict[str, object] = {"image": [file.read_bytes() for file in sorted(images.iterdir())]}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.int64())
    pq.write_table(pa.table(columns), tmp_path / "all.parquet")
    prepared = prepare(DatasetConfig(name="parquet", path=str(tmp_path / "all.parquet")), tmp_path / "data")
    assert prepared.classes == () and (prepared.train.count, prepared.test.count) == (20, 0)


def test_parquet_with_labels_here_and_there_is_an_error(images: Path, tmp_path: Path) -> None:
    columns = {"image": [file.read_bytes() for file in images.iterdir()], "label": pa.array([None, *range(19)])}
    pq.write_table(pa.table(columns), tmp_path / "all.parquet")
    with pytest.raises(DataError, match="1 of 20 rows have no label; all need one, or none has any"):
        prepare(DatasetConfig(name="parquet", path=str(tmp_path / "all.parquet")), tmp_path / "data")


def test_a_trial_pretrains_and_the_report_says_why_there_is_no_more(images: Path, tmp_path: Path) -> None:
    prepared, trials = planned(images, tmp_path)
    store = Store(str(tmp_path / "runs"))
    folder = TrialStore(store, trials[0].trial_id)
    run_trial(trials[0].trial, folder, prepared, Runtime(torch.device("cpu")))
    assert trials[0].state(folder.status()) is TrialState.FINISHED
    history = folder.history()
    assert [sorted(epoch.logs) for epoch in history] == [["features/rank", "features/std"]] * 2
    spec, _ = load_spec(tmp_path / "sweep.yaml")
    state = SweepState().add(trials, read_catalog(store, [item.trial_id for item in trials]))
    result = collect(spec, trials, state, store, "ssl-sweep submit")
    assert not result.trials[0].evaluations and not result.trials[0].labelled
    assert UNLABELLED_REMARK in render_table(result)[0].remarks


def test_an_evaluation_that_needs_no_labels_runs(images: Path, tmp_path: Path) -> None:
    prepared, trials = planned(images, tmp_path, more="evaluate: [knn, {name: health, views: 3}]\n")
    assert trials[0].missing(TrialStatus()) == ["pretrain", "health"]
    folder = TrialStore(Store(str(tmp_path / "runs")), trials[0].trial_id)
    run_trial(trials[0].trial, folder, prepared, Runtime(torch.device("cpu")))
    record = folder.evaluation(trials[0].trial.evaluate[0])
    assert record is not None
    assert record.images == 20 and record.metrics["rankme"] >= 1
    assert record.remarks == ("LiDAR and alignment of 3 crops of 20 of them",)


def test_methods_that_need_labels_refuse(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"methods: 'supcon' needs labels, and data set 'images' has none"):
        planned(images, tmp_path, "supcon")
