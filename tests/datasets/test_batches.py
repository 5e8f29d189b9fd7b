"""Which images come when."""

import copy
import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ssl_sweep.datasets import DataError, DatasetConfig, encoded
from ssl_sweep.datasets.batches import epoch_order, evaluation_batches, steps_per_epoch, training_batches
from ssl_sweep.datasets.color import MEAN, STD
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods.config import ViewConfig, ViewsConfig
from torchvision.transforms import v2
from torchvision.transforms.functional import to_pil_image

VIEWS = ViewsConfig(global_views=(ViewConfig(count=2),))


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> ImageSet:
    config = DatasetConfig(name="digits", train_images=70)
    return ImageSet.open(prepare(config, tmp_path_factory.mktemp("store")), "train")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> ImageSet:
    """Images of two sizes, which are stored encoded."""
    folder = tmp_path_factory.mktemp("mixed")
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(20):
            pixels = generator.integers(0, 256, (20 + 4 * (i % 2), 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{i}.png")
    config = DatasetConfig(name="folder", path=str(folder / "images"), image_size=16)
    return ImageSet.open(prepare(config, folder / "store"), "train")


def views_of(images: ImageSet, **settings) -> list[torch.Tensor]:
    batches = training_batches(images, VIEWS, 16, seed=3, **{"batch_size": 16, "total_steps": 10, **settings})
    return [batch.global_views[1].image for batch in batches]


@pytest.mark.parametrize("name", ["digits", "mixed"])
def test_a_resume_continues_within_an_epoch(name, request):
    images = request.getfixturevalue(name)
    whole, rest = views_of(images), views_of(images, start_step=6)
    assert len(whole) == 10 and len(rest) == 4
    for a, b in zip(whole[6:], rest, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["digits", "mixed"])
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_the_batch_of_one(name, world_size, request):
    images = request.getfixturevalue(name)
    ranks = [views_of(images, rank=rank, world_size=world_size, total_steps=3) for rank in range(world_size)]
    for whole, *parts in zip(views_of(images, total_steps=3), *ranks, strict=True):
        assert torch.equal(whole, torch.cat(parts))


def test_an_epoch_shows_each_image_once():
    orders = [epoch_order(0, epoch, 50) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(50)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[2], epoch_order(0, 2, 50)) and not torch.equal(orders[2], epoch_order(1, 2, 50))


def test_labels_belong_to_the_images(digits):
    order = epoch_order(3, 0, len(digits))
    batch = next(iter(training_batches(digits, VIEWS, 16, seed=3, batch_size=16, total_steps=1)))
    assert torch.equal(batch.labels, digits.labels[order[:16]])


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")  # more than there are CPUs
@pytest.mark.parametrize("decoders", [1, 3])
def test_other_processes_decode_the_same_images(mixed, decoders, monkeypatch):
    monkeypatch.setattr(encoded, "CHUNK", 5)  # so that a batch is put together from several
    others = set(multiprocessing.active_children())
    elsewhere = copy.copy(mixed)
    elsewhere.decoders = decoders
    for a, b in zip(views_of(mixed, start_step=1), views_of(elsewhere, start_step=1), strict=True):
        assert torch.equal(a, b)
    seen, again = (list(evaluation_batches(images, 16, 12, world_size=2)) for images in (mixed, elsewhere))
    assert [len(rows) for rows, _ in seen] == [12, 6]
    for (rows, view), (other_rows, other) in zip(seen, again, strict=True):
        assert torch.equal(rows, other_rows) and torch.equal(view, other)
    assert set(multiprocessing.active_children()) <= others


def test_decoding_processes_start_anew_where_they_are_not_forked(mixed):
    """As on macOS: they are told the names of the files, not what is in them."""
    clone = pickle.loads(pickle.dumps(mixed.encoded))
    assert torch.equal(clone[3], mixed.encoded[3])
    assert len(pickle.dumps(mixed.encoded)) < 2000


def test_closing_ends_the_decoding_processes(mixed):
    others = set(multiprocessing.active_children())
    elsewhere = copy.copy(mixed)
    elsewhere.decoders = 2
    batches = training_batches(elsewhere, VIEWS, 16, seed=0, batch_size=8, total_steps=100)
    next(batches)
    assert len(set(multiprocessing.active_children()) - others) == 2
    batches.close()
    assert set(multiprocessing.active_children()) <= others


def test_evaluation_crops_are_torchvisions(mixed):
    """Resize and central crop; to a grey level."""
    transform = v2.Compose([v2.Resize(16), v2.CenterCrop(16)])
    for rows, views in evaluation_batches(mixed, 16, 8):
        for row, view in zip(rows.tolist(), views, strict=True):
            picture = transform(to_pil_image(mixed.encoded[mixed.samples[row]]))
            levels = 255 * (view.permute(1, 2, 0).numpy() * STD + MEAN)
            assert np.abs(levels - np.asarray(picture, np.float32)).max() <= 1.001


def test_batch_sizes_that_cannot_be():
    with pytest.raises(DataError, match="batch size is 64, but the data set has 63 training images"):
        steps_per_epoch(63, 64)
    assert steps_per_epoch(130, 64) == 2


def test_batch_size_must_divide(digits):
    with pytest.raises(DataError, match="16 must be a multiple of the number of workers, 3"):
        training_batches(digits, VIEWS, 16, seed=0, batch_size=16, world_size=3, total_steps=1)


@pytest.mark.parametrize("world_size", [1, 3])
def test_evaluation_takes_each_image_once(digits, world_size):
    def shard(rank: int, **settings: Any) -> list[list[int]]:
        batches = evaluation_batches(digits, 16, 4, rank=rank, world_size=world_size, **settings)
        return [rows.tolist() for rows, view in batches if len(view) == len(rows) <= 4]

    shards = [shard(rank) for rank in range(world_size)]
    assert sorted(row for chunks in shards for rows in chunks for row in rows) == list(range(len(digits)))
    chosen = torch.tensor([5, 2])
    assert [shard(rank, chosen=chosen) for rank in range(world_size)] == {1: [[[5, 2]]], 3: [[[5]], [[2]], []]}[
        world_size
    ]
