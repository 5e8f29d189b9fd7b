"""The picture of a data set: what it shows are the images and views of a training's first batch."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from ssl_sweep.datasets import DatasetConfig
from ssl_sweep.datasets.batches import training_batches
from ssl_sweep.datasets.color import MEAN, STD
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.picture import GAP, HEAD, SIDE, TILE, views_picture
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods.config import ViewConfig, ViewsConfig
from ssl_sweep.orchestrator.cli.main import main

VIEWS = ViewsConfig(global_views=(ViewConfig(count=2),), local_views=(ViewConfig(count=1, resolution=0.5),))


def test_tiles_are_the_first_batch(tmp_path: Path) -> None:
    images = ImageSet.open(prepare(DatasetConfig(name="digits", train_images=70), tmp_path), "train")
    batch = next(training_batches(images, VIEWS, 32, seed=5, batch_size=8, total_steps=1))
    picture = np.asarray(Image.open(io.BytesIO(views_picture(images, VIEWS, 32, seed=5))))
    left, size = SIDE + TILE + GAP, TILE
    for view in (*batch.global_views, *batch.local_views):
        size = TILE * view.image.shape[-1] // 32
        pixels = (view.image * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]) * 255
        for row in range(8):
            top = HEAD + row * (TILE + GAP)
            tile = picture[top : top + size, left : left + size][1::3, 1::3]  # the middle of each pixel's 3 x 3
            assert np.abs(tile.transpose(2, 0, 1).astype(int) - pixels[row].round().numpy()).max() <= 1
        left += max(size, 52) + GAP


def test_the_command_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "data"))
    file = tmp_path / "dino.png"
    done = CliRunner().invoke(main, ["datasets", "digits", "--method", "dino", "-o", str(file)])
    assert done.exit_code == 0 and str(file) in done.output
    with Image.open(file) as picture:
        assert picture.width > SIDE + 11 * 52  # an image, two large views, eight small ones


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch"], "unknown data set 'nosuch'"),
        (["digits", "--method", "simclr2"], "unknown method 'simclr2'; did you mean 'simclr'?"),
        (["digits", "--recipe", "lightly"], "no values for data set 'digits'"),
        (["folder"], "data set 'folder' needs a `path`"),
        (["digits", "-o", "/no/such/folder/x.png"], "/no/such/folder/x.png cannot be written"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path))
    done = CliRunner().invoke(main, ["datasets", *arguments])
    errors = [line for line in done.output.splitlines() if line.startswith("error: ")]
    assert done.exit_code == 2 and len(errors) == 1 and message in errors[0]
