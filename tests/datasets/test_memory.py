"""Host memory does not grow with the data set, nor with the epochs."""

import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from ssl_sweep.datasets import DatasetConfig
from ssl_sweep.datasets.batches import training_batches
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods.config import ViewConfig, ViewsConfig

IMAGES, BATCH, EPOCHS = 1200, 50, 3
LIMIT = 24e6
"""Bytes that the loading may take; the images are twice that."""

VIEWS = ViewsConfig(global_views=(ViewConfig(count=2),))


def held() -> int:
    """Bytes that this process and its children hold and the kernel cannot drop: what files lend is not counted."""
    own = psutil.Process()
    total = 0
    for process in (own, *own.children(recursive=True)):
        status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in status)
        total += sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem"))
    return total


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("decoders", [0, 2])
def test_three_epochs_of_a_large_set_take_no_more_than_one(decoders: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(IMAGES):
        noise = generator.integers(0, 256, (120 + i % 9, 120, 3), dtype=np.uint8)  # which PNG cannot compress
        Image.fromarray(noise).save(tmp_path / "images" / f"{i}.png", compress_level=0)
    prepared = prepare(DatasetConfig(name="folder", path=str(tmp_path / "images"), image_size=32), tmp_path / "data")
    assert sum(file.stat().st_size for file in prepared.arrow_files("train")) > 2 * LIMIT
    images = ImageSet.open(prepared, "train", decoders=decoders)
    peaks = [0] * EPOCHS
    start = 0
    steps = IMAGES // BATCH
    batches = training_batches(images, VIEWS, 32, seed=0, batch_size=BATCH, total_steps=EPOCHS * steps)
    for step, _ in enumerate(batches):
        now = held()
        if step == 1:
            start = now  # libraries are loaded, and the processes run
        peaks[step // steps] = max(peaks[step // steps], now)
    assert peaks[0] - start < LIMIT
    assert max(peaks) - peaks[0] < LIMIT / 4, peaks
