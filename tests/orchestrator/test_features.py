"""`ssl-sweep features`: the features of a finished trial's backbone as a file."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from click.testing import CliRunner
from in_process import CPU, SMALL, carry, trials_of
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier
from ssl_sweep.datasets.config import DatasetConfig
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.evaluation import features as of_evaluations
from ssl_sweep.evaluation.features import own_features
from ssl_sweep.evaluation.task import Task
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.sweep import features as exporting
from ssl_sweep.orchestrator.trial import features as extraction
from ssl_sweep.orchestrator.trial.images import TrialImages
from ssl_sweep.orchestrator.trial.run import restored_encoder, task_of
from ssl_sweep.orchestrator.trial.runtime import Runtime

WIDTH = 32
SWEEP: dict[str, Any] = SMALL | {"evaluate": [{"name": "knn", "k": 1}], "features": "none"}
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "store.md"


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features that they are compared with are of the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Iterator[Path]:
    """A store with one finished trial."""
    path = (folder := tmp_path_factory.mktemp("finished")) / "sweep.yaml"
    path.write_text(yaml.safe_dump(SWEEP))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_SWEEP_DATA", str(data_root))
        torch.set_num_threads(1)
        carry(trials_of(path)[0], folder / "runs")
    yield folder / "runs"


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> TrialStore:
    """The trial, in a store of the test's own."""
    shutil.copytree(finished, tmp_path / "runs")
    store = Store(str(tmp_path / "runs"))
    (name,) = store.names("trials")
    return TrialStore(store, name)


def features(folder: TrialStore, out: Path, *options: str, expect: int = 0, trial: str = "simclr seed 0") -> str:
    """Run the command; returns all that it prints."""
    done = CliRunner().invoke(main, ["features", trial, str(out), "--storage", folder.store.location, *options])
    assert done.exit_code == expect, done.output
    return done.output


def restarted(folder: TrialStore, **changes: Any) -> TrialSpec:
    """The trial as if it had been started with other settings."""
    trial = folder.trial()
    assert trial is not None
    trial = trial.model_copy(update=changes)
    folder.start(trial, folder.status().dataset_fingerprint, {})
    return trial


def task(folder: TrialStore) -> Task:
    """What the trial's evaluations got."""
    trial, content = folder.trial(), folder.backbone()
    assert trial is not None and content is not None
    images = TrialImages(trial, prepare(trial.dataset, data_root()), {}, Runtime(CPU), folder.store)
    return task_of(trial, restored_encoder(trial, content, images.own[0].info), images, Runtime(CPU))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def columns(table: pa.Table) -> tuple[torch.Tensor, torch.Tensor]:
    """Features (N, D) and labels (N,)."""
    x = table["feature"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    return torch.tensor(x), torch.tensor(table["label"].to_numpy())


def part(table: pa.Table, split: str) -> pa.Table:
    return table.filter(pc.equal(table["split"], split))


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_the_table_has_every_image_with_its_features(suffix: str, folder: TrialStore, tmp_path: Path) -> None:
    out = tmp_path / f"out.{suffix}"
    text = features(folder, out)
    assert f"{out}: 320 train and 100 test images, {WIDTH} numbers each\n" in text
    table = pq.read_table(out) if suffix == "parquet" else pa.ipc.open_file(out).read_all()
    assert table.schema.field("feature").type == pa.list_(pa.float32(), WIDTH)
    assert table["split"].to_pylist() == ["train"] * 320 + ["test"] * 100
    assert table["sample"].to_pylist() == [*range(320), *range(100)]
    assert table["class"].to_pylist() == [str(label) for label in table["label"].to_pylist()]
    known = task(folder)
    for split, images in (("train", known.train), ("test", known.test)):
        x, labels = columns(part(table, split))
        expected, truth = own_features(known, images)
        assert torch.equal(x, expected) and torch.equal(labels, truth)
    told = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert told["ssl_sweep.trial"] == folder.trial_id
    record = folder.pretrained()
    assert record is not None and told["ssl_sweep.backbone_sha256"] == record.backbone_sha256
    assert told["ssl_sweep.dataset_fingerprint"] == folder.status().dataset_fingerprint


def test_scikit_learn_finds_the_stored_accuracy(folder: TrialStore, tmp_path: Path) -> None:
    features(folder, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    (x, y), (queries, truth) = (columns(part(table, split)) for split in ("train", "test"))
    nearest = KNeighborsClassifier(1, metric="cosine").fit(x, y)
    (record,) = folder.status().evaluations.values()
    assert 100 * nearest.score(queries, truth) == pytest.approx(record.metrics["top1"])


def test_the_example_of_the_documents_runs(folder: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    features(folder, Path("features.parquet"))
    text = DOCUMENT.read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    found: dict[str, Any] = {}
    exec(example, found)
    assert 0.5 < found["accuracy"] <= 1


def test_the_table_is_written_part_by_part(folder: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_evaluations, "BATCH", 64)
    monkeypatch.setattr(extraction, "PART_BYTES", 2 * 64 * 4 * WIDTH)
    features(folder, tmp_path / "out.parquet")
    groups = pq.ParquetFile(tmp_path / "out.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [128, 128, 64, 100]
    known = task(folder)
    x, _ = columns(pq.read_table(tmp_path / "out.parquet", filters=[("split", "=", "train")]))
    assert torch.equal(x, own_features(known, known.train)[0])


def test_tuning_has_parts_of_the_training_images(folder: TrialStore, tmp_path: Path) -> None:
    restarted(folder, split="holdout")
    text = features(folder, tmp_path / "out.parquet")
    assert "288 fit and 32 holdout images" in text
    table = pq.read_table(tmp_path / "out.parquet")
    assert sorted(table["sample"].to_pylist()) == list(range(320))
    known = task(folder)
    assert part(table, "holdout")["sample"].to_pylist() == known.test.samples.tolist()


def test_a_trial_in_bf16_is_exported_as_it_is_evaluated(folder: TrialStore, tmp_path: Path) -> None:
    trial = folder.trial()
    assert trial is not None
    restarted(folder, pretrain=trial.pretrain.model_copy(update={"precision": "bf16"}))
    features(folder, tmp_path / "out.parquet")
    known = task(folder)
    assert known.bf16
    x, _ = columns(pq.read_table(tmp_path / "out.parquet", filters=[("split", "=", "test")]))
    assert torch.equal(x, own_features(known, known.test)[0])


def with_images(folder: TrialStore, path: Path) -> None:
    """As if the trial's images were those of a folder, of sizes that differ and without labels."""
    path.mkdir()
    for i in range(6):
        Image.fromarray(np.full((16 + i % 2, 16, 3), 40 * i, np.uint8)).save(path / f"{i}.png")
    config = DatasetConfig(name="folder", path=str(path), image_size=16)
    restarted(folder, dataset=config)
    fingerprint = prepare(config, data_root()).fingerprint
    folder.write_status(folder.status().model_copy(update={"dataset_fingerprint": fingerprint}))


def test_images_without_labels_have_none(folder: TrialStore, tmp_path: Path) -> None:
    """Nor are they exported twice, as there are no test images."""
    with_images(folder, tmp_path / "images")
    features(folder, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["split"].to_pylist() == ["train"] * 6
    assert table["label"].to_pylist() == table["class"].to_pylist() == [None] * 6
    assert table.schema.field("label").type == pa.int64() and table.schema.field("class").type == pa.string()


def extracts_nothing(*_: object) -> Any:
    raise AssertionError("features are extracted")


def test_kept_features_are_read_instead(folder: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features(folder, tmp_path / "plain.parquet")
    assert not folder.store.names(folder.name("features")), "nothing is kept unless it is asked for"
    folder.store.write(folder.name("features/old-00000.arrow"), b"of other weights")
    features(folder, tmp_path / "first.parquet", "--keep")
    assert len(folder.store.names(folder.name("features"))) == 4, "two parts and their records"
    monkeypatch.setattr(exporting, "extracted_parts", extracts_nothing)
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "nowhere"))
    assert "as kept in the store" in features(folder, tmp_path / "second.parquet")
    first = (tmp_path / "first.parquet").read_bytes()
    assert (tmp_path / "second.parquet").read_bytes() == (tmp_path / "plain.parquet").read_bytes() == first


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_damaged_kept_features_are_extracted_again(damage: str, folder: TrialStore, tmp_path: Path) -> None:
    features(folder, tmp_path / "first.parquet", "--keep")
    last = Path(folder.store.path(folder.name("features"))) / folder.store.names(folder.name("features"))[0]
    content = bytearray(last.read_bytes())
    content[-200] ^= 64
    last.unlink() if damage == "missing" else last.write_bytes(bytes(content))
    text = features(folder, tmp_path / "second.parquet", "--keep")
    assert ("the features are extracted again" in text) == (damage == "flipped")
    assert "as kept" not in text
    assert (tmp_path / "second.parquet").read_bytes() == (tmp_path / "first.parquet").read_bytes()
    assert "as kept" in features(folder, tmp_path / "third.parquet")


def test_features_that_are_not_finite_are_refused(
    folder: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a part of the file is left, nor of the split that is to be kept."""
    plain = extraction.feature_batches

    def broken(task: Task, images: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows, found in plain(task, images):
            yield rows, found / (images is task.train)

    monkeypatch.setattr(extraction, "feature_batches", broken)
    (tmp_path / "out").mkdir()
    text = features(folder, tmp_path / "out" / "out.parquet", "--keep", expect=2)
    assert text.endswith("(simclr seed 0): the features of 100 of 100 images are not finite\n")
    assert names(tmp_path / "out") == []
    assert not any("-test" in name for name in folder.store.names(folder.name("features")))


def test_a_file_that_exists_is_replaced_with_force_alone(folder: TrialStore, tmp_path: Path) -> None:
    out = tmp_path / "out.arrow"
    out.write_text("mine")
    assert f"error: {out} exists; name another file, or replace it with --force\n" == features(folder, out, expect=2)
    assert out.read_text() == "mine"
    features(folder, out, "--force")
    assert pa.ipc.open_file(out).num_record_batches == 2


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("out.csv", "must be a file on a disk, named .parquet or .arrow (Arrow IPC)"),
        ("absent/out.parquet", "cannot be written: No such file or directory"),
        ("runs.parquet", "is a folder; name a file"),
    ],
)
def test_files_that_cannot_be_written(name: str, error: str, folder: TrialStore, tmp_path: Path) -> None:
    (tmp_path / "runs.parquet").mkdir()
    text = features(folder, tmp_path / name, expect=2)
    assert error in text and text.count("\n") == 1
    assert names(tmp_path) == ["runs", "runs.parquet"]


def test_an_object_store_is_no_place_for_the_file(folder: TrialStore) -> None:
    done = CliRunner().invoke(main, ["features", "simclr", "s3://b/out.parquet", "--storage", folder.store.location])
    assert done.exit_code == 2 and "got 's3://b/out.parquet'; must be a file on a disk" in done.output


def test_trials_without_weights(folder: TrialStore, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert "no trial 'byol' in" in features(folder, out, expect=2, trial="byol")
    path = Path(folder.store.path(folder.name("backbone.safetensors")))
    content = bytearray(path.read_bytes())
    content[-100] ^= 64
    path.write_bytes(bytes(content))
    text = features(folder, out, expect=2)
    assert f"(simclr seed 0) has lost its weights: {path} is damaged; pretrain it again\n" in text
    path.unlink()
    folder.store.delete(folder.name("pretrain.json"))
    assert "(simclr seed 0) has no weights yet; it is " in features(folder, out, expect=2)
    assert names(tmp_path) == ["runs"]


def test_images_that_are_gone(folder: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_images(folder, tmp_path / "images")
    shutil.rmtree(tmp_path / "images")
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "nowhere"))
    text = features(folder, tmp_path / "out.parquet", expect=2)
    assert f"error: dataset: data set 'images': there is nothing at {tmp_path}/images; `path` must be" in text
    assert names(tmp_path) == ["runs"]
