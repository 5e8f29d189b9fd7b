"""What each kind of source gives: CIFAR's batches, Parquet files, archives; and what is refused of it."""

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from making import encoded, folder_config, write_cifar, write_parquet
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.decode import decode
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import find_prepared

DATA = Path(os.environ.get("SSL_SWEEP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def test_cifar10_python_batches(tmp_path):
    first = write_cifar(tmp_path / "cifar-10-batches-py")
    for path in (tmp_path, tmp_path / "cifar-10-batches-py"):
        prepared = prepare(DatasetConfig(name="cifar10", path=str(path)), tmp_path / "store")
        assert (prepared.train.count, prepared.test.count, prepared.image_size) == (100, 20, 32)
        images = ImageSet.open(prepared, "train")
        assert np.array_equal(images.whole(torch.arange(20)).pixels.numpy(), first)
    assert prepared.classes[3] == "cat"


def test_cifar10_batches_run_no_code(tmp_path):
    write_cifar(tmp_path / "batches")
    (tmp_path / "batches" / "data_batch_2").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataError, match=r"data_batch_2 .*os\.system is not allowed"):
        prepare(DatasetConfig(name="cifar10", path=str(tmp_path / "batches")), tmp_path / "store")


@pytest.mark.parametrize("nested", [True, False])
def test_parquet(tmp_path, nested):
    folder = tmp_path / "hub" / "data"
    folder.mkdir(parents=True)
    write_parquet(folder / "train-00000-of-00002.parquet", ["cat", "dog"] * 5, "img", nested)
    write_parquet(folder / "train-00001-of-00002.parquet", ["cat", "emu"] * 3, "img", nested)
    write_parquet(folder / "test-00000-of-00001.parquet", ["emu"] * 3, "img", nested)
    prepared = prepare(DatasetConfig(name="parquet", path=str(tmp_path / "hub")), tmp_path / "store")
    assert prepared.classes == ("cat", "dog", "emu")
    assert prepared.train.class_counts == (8, 5, 3) and prepared.test.class_counts == (0, 0, 3)
    row = ImageSet.open(prepared, "train").whole(torch.tensor([11])).pixels[0]
    assert np.array_equal(row.permute(1, 2, 0).numpy(), decode(encoded((10, 50, 90), seed=1)))


def test_one_parquet_file_is_split_and_hidden_labels_are_passed_over(tmp_path):
    write_parquet(tmp_path / "all.parquet", [0, 1] * 20)
    config = DatasetConfig(name="parquet", path=str(tmp_path / "all.parquet"))
    prepared = prepare(config, tmp_path / "store")
    assert prepared.train.class_counts == (18, 18) and prepared.test.class_counts == (2, 2)
    (tmp_path / "hub").mkdir()
    write_parquet(tmp_path / "hub" / "train.parquet", [0, 1] * 4)
    write_parquet(tmp_path / "hub" / "test.parquet", [-1] * 4)
    write_parquet(tmp_path / "hub" / "validation.parquet", [1] * 3)
    prepared = prepare(DatasetConfig(name="parquet", path=str(tmp_path / "hub")), tmp_path / "store")
    assert prepared.test.class_counts == (0, 3)


def linked(target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("train/link")
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "member",
    [tarfile.TarInfo("../escaped.JPEG"), tarfile.TarInfo("/tmp/escaped.JPEG"), linked("../.."), linked("/etc")],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_archives_that_reach_outside_are_refused(member, tmp_path):
    with tarfile.open(tmp_path / "bad.tgz", "w:gz") as tar:
        tar.addfile(member, io.BytesIO())
    with pytest.raises(DataError, match="cannot be unpacked: its member"):
        prepare(DatasetConfig(name="imagenette", path=str(tmp_path / "bad.tgz")), tmp_path / "store")
    assert not list(tmp_path.rglob("escaped.JPEG"))


def test_imagenette_archive_equals_its_folder(tmp_path):
    for split in ("train", "val"):
        for name in ("n01440764", "n02102040"):
            (tmp_path / "imagenette2-160" / split / name).mkdir(parents=True)
            for i in range(3):
                file = tmp_path / "imagenette2-160" / split / name / f"{i}.JPEG"
                file.write_bytes(encoded((50, 90, 30 * i), (160, 160), "JPEG", seed=i))
    with tarfile.open(tmp_path / "imagenette2-160.tgz", "w:gz") as tar:
        tar.add(tmp_path / "imagenette2-160", "imagenette2-160")
    folder, archive = (
        prepare(DatasetConfig(name="imagenette", path=str(tmp_path / name)), tmp_path / "store")
        for name in ("imagenette2-160", "imagenette2-160.tgz")
    )
    assert folder.fingerprint == archive.fingerprint
    assert archive.classes == ("tench", "English springer") and archive.train.encoding == "raw"
    assert [entry.name for entry in sorted(archive.folder.iterdir())] == ["meta.json", "test.arrow", "train.arrow"]


def test_errors_say_what_is_allowed(tmp_path):
    with pytest.raises(DataError, match="there is nothing at"):
        find_prepared(folder_config(tmp_path / "nowhere"), tmp_path)
    (tmp_path / "empty" / "class").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no images; files may end in"):
        prepare(folder_config(tmp_path / "empty"), tmp_path / "store")
    (tmp_path / "empty" / "class" / "one.png").write_bytes(encoded((1, 2, 3)))
    with pytest.raises(DataError, match=r"one\.png is the only image; at least 2 are needed"):
        prepare(folder_config(tmp_path / "empty"), tmp_path / "store")
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "text.parquet")
    with pytest.raises(DataError, match="has the columns text; `image` or `img` is needed, and `label` to evaluate"):
        prepare(DatasetConfig(name="parquet", path=str(tmp_path / "text.parquet")), tmp_path / "store")


@pytest.mark.skipif(not (DATA / "cifar10").exists(), reason="no SSL_SWEEP_TEST_DATA")
def test_real_cifar10(tmp_path):
    config = DatasetConfig(name="cifar10", path=str(DATA / "cifar10"), train_images=1000, test_images=500)
    prepared = prepare(config, tmp_path)
    assert prepared.classes[0] == "airplane" and prepared.train.class_counts == (100,) * 10
    assert (prepared.train.encoding, prepared.train.height) == ("raw", 32)
