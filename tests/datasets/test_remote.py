"""Sources by address. Every file system of pyarrow goes the same way; ``file://`` is the one that needs no network."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import find_prepared, prepared_folder


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "my images"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for i in range(10):
            (folder / name / f"{i}.png").write_bytes(png(i))
    return folder


def config_of(name: str, place: Path | str, **settings: object) -> DatasetConfig:
    address = place.as_uri() if isinstance(place, Path) else place
    return DatasetConfig.model_validate({"name": name, "path": address, **settings})


def test_a_folder_by_address_is_the_folder(images: Path, tmp_path: Path) -> None:
    remote = prepare(config_of("folder", images), tmp_path / "store")
    local = prepare(DatasetConfig(name="folder", path=str(images)), tmp_path / "store")
    assert remote.fingerprint == local.fingerprint and remote.folder != local.folder
    assert sorted(entry.name for entry in remote.folder.iterdir()) == ["meta.json", "test.arrow", "train.arrow"]


def test_a_parquet_file_by_address(tmp_path: Path) -> None:
    file = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": [png(i) for i in range(20)], "label": [i % 2 for i in range(20)]}), file)
    assert DatasetConfig.model_validate(file.as_uri()).name == "parquet"
    prepared = prepare(config_of("parquet", file), tmp_path / "store")
    assert (prepared.train.count, prepared.test.count) == (18, 2)


def test_what_changes_there_is_prepared_anew(images: Path, tmp_path: Path) -> None:
    config = config_of("folder", images)
    before = prepare(config, tmp_path / "store")
    assert find_prepared(config, tmp_path / "store") == before
    (images / "a" / "11.png").write_bytes(png(11))
    assert prepared_folder(config, tmp_path / "store") != before.folder
    assert prepare(config, tmp_path / "store").train.count == before.train.count + 1


def test_damaged_images_are_named_by_their_address(images: Path, tmp_path: Path) -> None:
    (images / "a" / "3.png").write_bytes(b"no image")
    place = f"{images.as_uri()}/a/3.png"
    with pytest.raises(DataError, match=place):
        prepare(config_of("folder", images), tmp_path / "store")
    prepared = prepare(config_of("folder", images, damaged="skip"), tmp_path / "store")
    assert [name.split(" (")[0] for name in prepared.damaged] == [place]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file:///no/such/folder", "there is nothing at file:///no/such/folder"),
        ("nosuch://x/y", "nosuch://x/y cannot be"),
    ],
)
def test_an_address_that_leads_nowhere(place: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        prepare(config_of("folder", place), tmp_path)
