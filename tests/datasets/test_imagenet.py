"""ImageNet in the forms in which people have it."""

import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from scipy.io import savemat
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.cli.main import main


def png(red: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (12, 10), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def test_imagenet100_is_its_classes_of_imagenet(tmp_path):
    listed = (Path(__file__).parents[2] / "datasets" / "imagenet100_classes.txt").read_text().splitlines()[1:]
    assert len(set(listed)) == 100
    for split in ("train", "val"):
        for name in [*listed, "n00000001"]:
            (tmp_path / "imagenet" / split / name).mkdir(parents=True)
            (tmp_path / "imagenet" / split / name / "0.png").write_bytes(png(0))
    config = DatasetConfig(name="imagenet100", path=str(tmp_path / "imagenet"))
    prepared = prepare(config, tmp_path / "store")
    assert prepared.classes == tuple(sorted(listed))
    assert prepared.train.count == prepared.test.count == 100
    for split in ("train", "val"):
        shutil.rmtree(tmp_path / "imagenet" / split / listed[0])
    with pytest.raises(DataError, match=f"lacks 1 of the 100 classes of ImageNet-100, as {listed[0]}"):
        prepare(config, tmp_path / "store")


def flat_imagenet(folder: Path, labels: str, content: str) -> Path:
    """Two classes in train/, and five validation images in val/ itself, whose classes the file `labels` gives."""
    for name in ("n01440764", "n02102040"):
        (folder / "train" / name).mkdir(parents=True)
        (folder / "train" / name / "0.png").write_bytes(png(0))
    (folder / "val").mkdir()
    for i in range(1, 6):
        (folder / "val" / f"ILSVRC2012_val_{i:08}.png").write_bytes(png(40 * i))
    (folder / labels).parent.mkdir(parents=True, exist_ok=True)
    (folder / labels).write_text(content)
    return folder


SYNSETS = ["n02102040", "n01440764", "n02102040", "n02102040", "n01440764"]
KAGGLE = [f"ILSVRC2012_val_0000000{i},{n} 85 1 499 272 {n} 0 0 9 9" for i, n in enumerate(SYNSETS, start=1)]
SYNSET_FILE = "imagenet_2012_validation_synset_labels.txt"
FLAT = {
    SYNSET_FILE: "\n".join(SYNSETS) + "\n",
    "LOC_val_solution.csv": "\n".join(["ImageId,PredictionString", *reversed(KAGGLE)]) + "\n",
    "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": "7\n3\n7\n7\n3\n",
}


@pytest.mark.parametrize("labels", FLAT)
def test_a_flat_validation_folder_has_its_classes_from_a_file(labels: str, tmp_path: Path) -> None:
    folder = flat_imagenet(tmp_path / "imagenet", labels, FLAT[labels])
    if "devkit" in labels:
        fields = [("ILSVRC2012_ID", "O"), ("WNID", "O")]
        synsets = np.array([(3, "n01440764"), (7, "n02102040"), (1001, "n00000000")], dtype=fields)
        savemat(str((folder / labels).with_name("meta.mat")), {"synsets": synsets})
    prepared = prepare(DatasetConfig(name="imagenet1k", path=str(folder)), tmp_path / "store")
    assert prepared.classes == ("n01440764", "n02102040") and prepared.test.class_counts == (2, 3)
    images = ImageSet.open(prepared, "test")
    assert images.labels.tolist() == [1, 0, 1, 1, 0]
    assert images.whole(torch.arange(5)).pixels[:, 0, 0, 0].tolist() == [40, 80, 120, 160, 200]


@pytest.mark.parametrize(
    ("labels", "content", "message"),
    [
        (
            "readme.txt",
            "",
            "no label file was found; put one of these in it or next to it: .*validation_synset_labels.txt, LOC_val_solution.csv",
        ),
        ("val_validation_synset_labels.txt", "n02102040 n01440764", "says nothing of .*ILSVRC2012_val_00000003.png"),
        ("validation_synset_labels.txt", "n00000009 " * 5, "is of the class 'n00000009', which .*train lacks"),
    ],
)
def test_a_flat_validation_folder_without_its_classes_is_refused(
    labels: str, content: str, message: str, tmp_path: Path
) -> None:
    folder = flat_imagenet(tmp_path / "imagenet", labels, content)
    with pytest.raises(DataError, match=message):
        prepare(DatasetConfig(name="imagenet1k", path=str(folder)), tmp_path / "store")


def test_imagenet_may_be_parquet(tmp_path: Path) -> None:
    table = pa.table({"image": [png(i) for i in range(20)], "label": [i % 2 for i in range(20)]})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    prepared = prepare(DatasetConfig(name="imagenet1k", path=str(tmp_path)), tmp_path / "store")
    assert (prepared.train.count, prepared.test.count) == (18, 2)


def test_a_part_of_a_published_set_is_not_the_whole(tmp_path: Path) -> None:
    folder = flat_imagenet(tmp_path / "imagenet", SYNSET_FILE, FLAT[SYNSET_FILE])
    done = CliRunner().invoke(
        main, ["prepare", "imagenet1k", "--path", str(folder)], env={"SSL_SWEEP_DATA": str(tmp_path)}
    )
    assert done.exit_code == 0 and "5 images (of 50,000 that the published set has)" in done.output
    assert not prepare(DatasetConfig(name="imagenet1k", path=str(folder)), tmp_path).whole
    assert prepare(DatasetConfig(name="digits"), tmp_path).whole
