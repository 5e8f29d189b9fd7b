"""A preparation that was stopped goes on, and what is stored can be checked."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from reading import pixels_of, same
from ssl_sweep.datasets import DataError, DatasetConfig, store
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import find_prepared
from ssl_sweep.datasets.verified import verify
from ssl_sweep.orchestrator.cli.main import main

IMAGES = 40


class Stopped(BaseException):
    """As a signal: no error in the data."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetConfig:
    """A folder of images of many sizes, one of them damaged, that are stored eight a file."""
    monkeypatch.setattr(store, "BATCH", 4)
    monkeypatch.setattr(store, "SHARD", 8)
    for i in range(IMAGES):
        file = tmp_path / "images" / "train" / "ab"[i % 2] / f"{i:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8 + i % 3, 9, 3), i, np.uint8)).save(file)
    (tmp_path / "images" / "train" / "a" / "06.png").write_bytes(b"no image")
    return DatasetConfig(name="folder", path=str(tmp_path / "images"), image_size=8, damaged="skip")


def stop_after(images: int) -> Callable[[int, int], None]:
    def on_progress(done: int, _total: int) -> None:
        if done >= images:
            raise Stopped

    return on_progress


def test_it_goes_on_where_it_stopped(config: DatasetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = prepare(config, tmp_path / "whole")
    load, loaded = store._load, Counter[str]()  # pyright: ignore[reportPrivateUsage]

    def counted(work: object, item: store.Item) -> object:
        loaded[item.where] += 1
        return load(work, item)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(store, "_load", counted)
    with pytest.raises(Stopped):
        prepare(config, tmp_path / "store", stop_after(24))
    assert [entry.name for entry in (tmp_path / "store").iterdir() if not entry.name.startswith(".")] == []
    loaded.clear()
    told: list[tuple[int, int]] = []
    again = prepare(config, tmp_path / "store", lambda done, total: told.append((done, total)))
    assert len(loaded) <= IMAGES - 16  # two files of eight are taken as they are
    assert told[-1] == (IMAGES, IMAGES)
    assert again.fingerprint == whole.fingerprint and again.train == whole.train and again.damaged == whole.damaged
    for split in ("train", "test"):
        one, other = (ImageSet.open(prepared, split) for prepared in (whole, again))
        assert torch.equal(one.labels, other.labels)
        assert same(pixels_of(one), pixels_of(other))
    assert [entry.name for entry in (tmp_path / "store").iterdir()] == [again.folder.name]


def test_an_error_in_the_data_leaves_nothing(config: DatasetConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"06\.png"):
        prepare(config.model_copy(update={"damaged": "fail"}), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("name", ["folder", "digits"])
def test_checksums_tell_what_changed(name: str, config: DatasetConfig, tmp_path: Path) -> None:
    used = config if name == "folder" else DatasetConfig(name="digits")
    prepared = prepare(used, tmp_path)
    verify(prepared)
    command = [
        "prepare",
        name,
        "--verify",
        *(["--path", str(config.path), "--skip-damaged"] if name == "folder" else []),
    ]
    done = CliRunner().invoke(main, command, env={"SSL_SWEEP_DATA": str(tmp_path)})
    assert done.exit_code == 0 and "checksums    OK" in done.output
    file = prepared.arrow_files("test")[0]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    done = CliRunner().invoke(main, command, env={"SSL_SWEEP_DATA": str(tmp_path)})
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert f"{file} changed since it was prepared: its checksum differs; the next `ssl-sweep" in done.output
    done = CliRunner().invoke(main, command, env={"SSL_SWEEP_DATA": str(tmp_path)})
    assert done.exit_code == 0 and "checksums    OK" in done.output  # it was prepared again
    assert find_prepared(used, tmp_path) == prepared
    file.unlink()
    with pytest.raises(DataError, match=f"{file} is missing"):
        verify(prepared)
