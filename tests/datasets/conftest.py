"""Data sets in every form in which they are stored."""

from pathlib import Path

import pytest
from damaging import DIGITS, SHARD, images_of
from ssl_sweep.datasets import DatasetConfig, store


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH", SHARD // 2)
    monkeypatch.setattr(store, "SHARD", SHARD)


@pytest.fixture(params=["PNG", "JPEG"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, small_shards: None) -> DatasetConfig:
    return images_of(tmp_path / "images", request.param)


@pytest.fixture(params=["raw", "encoded"])
def config(request: pytest.FixtureRequest, tmp_path: Path, small_shards: None) -> DatasetConfig:
    """Stored in one file a split, or in several."""
    return DIGITS if request.param == "raw" else images_of(tmp_path / "images", "PNG")
