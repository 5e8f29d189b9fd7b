"""Which images come when."""

import threading

import numpy as np
import pytest
import torch
from PIL import Image
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.batches import epoch_order, evaluation_shards, steps_per_epoch, training_batches
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods.config import ViewConfig, ViewsConfig

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
def test_ranks_share_the_batch_of_one(name, request):
    images = request.getfixturevalue(name)
    ranks = [views_of(images, rank=rank, world_size=4, total_steps=3) for rank in range(4)]
    for whole, *parts in zip(views_of(images, total_steps=3), *ranks, strict=True):
        torch.testing.assert_close(whole, torch.cat(parts), atol=1e-5, rtol=0)


def test_an_epoch_shows_each_image_once():
    orders = [epoch_order(0, epoch, 50) for epoch in range(3)]
    assert all(sorted(order.tolist()) == list(range(50)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[2], epoch_order(0, 2, 50)) and not torch.equal(orders[2], epoch_order(1, 2, 50))


def test_labels_belong_to_the_images(digits):
    order = epoch_order(3, 0, len(digits))
    batch = next(iter(training_batches(digits, VIEWS, 16, seed=3, batch_size=16, total_steps=1)))
    assert torch.equal(batch.labels, digits.labels[order[:16]])


def test_closing_ends_the_thread(mixed):
    before = threading.active_count()
    batches = training_batches(mixed, VIEWS, 16, seed=0, batch_size=8, total_steps=100)
    next(batches)
    assert threading.active_count() > before
    mixed_threads = torch.get_num_threads()  # of the set itself, which stay
    batches.close()
    assert threading.active_count() <= before + mixed_threads


def test_batch_sizes_that_cannot_be():
    with pytest.raises(DataError, match="batch size is 64, but there are 63 training images"):
        steps_per_epoch(63, 64)
    assert steps_per_epoch(130, 64) == 2


def test_batch_size_must_divide(digits):
    with pytest.raises(DataError, match="16 must be a multiple of the number of workers, 3"):
        training_batches(digits, VIEWS, 16, seed=0, batch_size=16, world_size=3, total_steps=1)


@pytest.mark.parametrize("world_size", [1, 3])
def test_evaluation_takes_each_image_once(world_size):
    chunks = [list(evaluation_shards(10, 4, rank, world_size)) for rank in range(world_size)]
    assert sorted(row for shard in chunks for chunk in shard for row in chunk.tolist()) == list(range(10))
    assert max(len(chunk) for shard in chunks for chunk in shard) <= 4
    assert list(evaluation_shards(2, 4, rank=2, world_size=3)) == []
