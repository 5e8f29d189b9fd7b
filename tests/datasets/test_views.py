"""Views: what is drawn, and that nothing but the image and its keys decides it."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as reference
from PIL import Image
from scipy.stats import ks_2samp
from ssl_sweep.datasets import views_on_cpu, views_on_gpu
from ssl_sweep.datasets.color import MEAN, STD
from ssl_sweep.datasets.geometry import random_crops
from ssl_sweep.datasets.random_stream import hash64, permutation, uniforms
from ssl_sweep.datasets.view_parameters import SLOTS, view_parameters
from ssl_sweep.datasets.views import Images, cut_views, make_view, make_views
from ssl_sweep.methods.config import GaussianBlur, Solarize, ViewConfig, ViewsConfig
from torchvision.transforms import RandomResizedCrop

VIEWS = ViewsConfig(
    global_views=(ViewConfig(count=2, solarize=Solarize(p=0.5)),),
    local_views=(ViewConfig(count=1, resolution=0.5, interpolation="bicubic", blur=GaussianBlur(sigma=(0.5, 4))),),
)


def random_images(n: int, height: int, width: int) -> Images:
    pixels = torch.randint(0, 256, (n, 3, height, width), generator=torch.Generator().manual_seed(0))
    return Images(pixels.to(torch.uint8))


def parameters_of(view: ViewConfig, n: int, height: int, width: int):
    return view_parameters(view, np.tile([height, width], (n, 1)), uniforms(0, 0, np.arange(n), 0, SLOTS))


def test_views_have_the_promised_shapes():
    batch = make_views(random_images(6, 32, 48), torch.arange(6), VIEWS, 32, seed=0, epoch=0, samples=torch.arange(6))
    assert [tuple(view.image.shape) for view in batch.global_views] == [(6, 3, 32, 32)] * 2
    assert [tuple(view.image.shape) for view in batch.local_views] == [(6, 3, 16, 16)]
    assert batch.labels.tolist() == list(range(6))
    assert all(view.image.isfinite().all() for view in (*batch.global_views, *batch.local_views))
    assert not torch.equal(batch.global_views[0].image, batch.global_views[1].image)


@pytest.mark.parametrize("size", [32, 80])
def test_the_rest_of_the_batch_changes_nothing(size):
    images, labels, samples = random_images(24, size, size), torch.zeros(24), torch.arange(100, 124)
    whole = make_views(images, labels, VIEWS, size, seed=1, epoch=2, samples=samples)
    for rows in (slice(0, 5), slice(5, 24)):
        some = make_views(
            Images(images.pixels[rows]), labels[rows], VIEWS, size, seed=1, epoch=2, samples=samples[rows]
        )
        for a, b in zip(
            (*whole.global_views, *whole.local_views), (*some.global_views, *some.local_views), strict=True
        ):
            torch.testing.assert_close(a.image[rows], b.image, atol=1e-5, rtol=0)
            assert torch.equal(a.box[rows], b.box)


def test_crops_made_elsewhere_give_the_same_views():
    images, labels, samples = random_images(24, 90, 100), torch.zeros(24), torch.arange(24)
    settings = {"seed": 0, "epoch": 0, "samples": samples}
    crops = cut_views(list(images.pixels), VIEWS, 32, **settings)
    whole, cut = (make_views(source, labels, VIEWS, 32, **settings) for source in (images, crops))
    pairs = zip((*whole.global_views, *whole.local_views), (*cut.global_views, *cut.local_views), strict=True)
    assert all(torch.equal(a.image, b.image) and torch.equal(a.box, b.box) for a, b in pairs)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("height, width, size", [(32, 32, 32), (40, 56, 24), (90, 80, 100), (3, 200, 16)])
@pytest.mark.parametrize("early", [False, True])
def test_a_gpus_code_and_a_cpus_make_the_same_views(interpolation, height, width, size, early):
    settings = {"blur": GaussianBlur(p=0.5, sigma=(0.1, 4)), "solarize": Solarize(p=0.3), "solarize_before_blur": early}
    view = ViewConfig(count=2, interpolation=interpolation, **settings)
    images = random_images(32, height, width)
    drawn = parameters_of(view, 64, height, width)
    geometry = random_crops(drawn.crop, drawn.flip, size)
    levels, others = (maker.cut(images.pixels, geometry, size, interpolation) for maker in (views_on_cpu, views_on_gpu))
    assert torch.equal(levels, others)
    ours, theirs = (maker.finish(levels, view, drawn) for maker in (views_on_cpu, views_on_gpu))
    # a hue and a threshold are not continuous: one pixel in ten thousand may fall on the other side
    assert ((ours - theirs).abs() > 1e-4).double().mean() < 1e-4


def test_the_number_of_threads_changes_nothing(monkeypatch):
    images, drawn = random_images(7, 32, 32), parameters_of(ViewConfig(), 7, 32, 32)
    alone = make_view(images.pixels, ViewConfig(), 24, drawn)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(make_view(images.pixels, ViewConfig(), 24, drawn), alone)


def test_seed_epoch_sample_and_view_each_change_the_draws():
    base = uniforms(0, 0, np.arange(4), 0, 8)
    assert base.shape == (4, 8)
    others = [
        uniforms(1, 0, np.arange(4), 0, 8),
        uniforms(0, 1, np.arange(4), 0, 8),
        uniforms(0, 0, np.arange(4), 1, 8),
    ]
    assert all((base != other).all() for other in others)
    assert len(np.unique(base)) == 32


def test_stream_is_uniform_and_the_same_for_ever():
    draws = uniforms(0, 0, np.arange(20_000), 0, 4)
    assert (draws >= 0).all() and (draws < 1).all()
    assert np.abs(draws.mean(0) - 0.5).max() < 0.01
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03
    assert hash64(0).tolist() == [0xE220A8397B1DCDAF]  # SplitMix64's first number from state 0
    assert sorted(permutation(1000, 3).tolist()) == list(range(1000))


@pytest.mark.parametrize("height, width, scale", [(32, 32, (0.08, 1.0)), (60, 200, (0.6, 1.0)), (50, 20, (0.2, 0.9))])
def test_crops_are_distributed_as_torchvisions(height, width, scale):
    n = 2000
    ours = parameters_of(ViewConfig(scale=scale), n, height, width).crop
    torch.manual_seed(0)
    blank = torch.empty(3, height, width)
    drawn = [RandomResizedCrop.get_params(blank, list(scale), [3 / 4, 4 / 3]) for _ in range(n)]
    top, left, h, w = np.array(drawn).T
    x0, y0, x1, y1 = ours.T
    assert (x0 >= 0).all() and (x1 <= width).all() and (y0 >= 0).all() and (y1 <= height).all()
    for a, b in [(x0, left), (y0, top), (x1 - x0, w), (y1 - y0, h), ((x1 - x0) * (y1 - y0), h * w)]:
        assert ks_2samp(a, b).pvalue > 1e-3


def test_shares_and_ranges_of_the_other_parameters():
    n = 20_000
    drawn = parameters_of(ViewConfig(solarize=Solarize(p=0.2)), n, 32, 32)
    for mask, p in [
        (drawn.flip, 0.5),
        (drawn.jitter, 0.8),
        (drawn.gray, 0.2),
        (drawn.blur, 0.5),
        (drawn.solarize, 0.2),
    ]:
        assert abs(mask.mean() - p) < 0.015
    low, high = drawn.factors.min(0), drawn.factors.max(0)
    np.testing.assert_allclose(low, [0.2, 0.2, 0.2, -0.2], atol=0.01)
    np.testing.assert_allclose(high, [1.8, 1.8, 1.8, 0.2], atol=0.01)
    assert drawn.sigma.min() >= 0.1 and drawn.sigma.max() < 2
    orders, counts = np.unique(drawn.order, axis=0, return_counts=True)
    assert len(orders) == 24 and np.abs(counts / n - 1 / 24).max() < 0.01


def test_a_view_is_torchvisions_operations_one_after_the_other():
    view = ViewConfig(solarize=Solarize(p=0.5), blur=None)
    images = random_images(40, 32, 32)
    drawn = parameters_of(view, 40, 32, 32)
    ours = make_view(images.pixels, view, 24, drawn)
    functions = [
        reference.adjust_brightness,
        reference.adjust_contrast,
        reference.adjust_saturation,
        reference.adjust_hue,
    ]
    for i in range(40):
        x0, y0, x1, y1 = drawn.crop[i].tolist()
        picture = reference.to_pil_image(images.pixels[i])
        across = picture.crop((x0, y0, x1, y1)).resize((24, y1 - y0), Image.Resampling.BILINEAR)  # see resample.py
        expected = reference.to_tensor(across.resize((24, 24), Image.Resampling.BILINEAR))
        expected = expected.flip(-1) if drawn.flip[i] else expected
        for number in drawn.order[i].tolist() if drawn.jitter[i] else ():
            expected = functions[number](expected, float(drawn.factors[i, number]))
        expected = reference.rgb_to_grayscale(expected, 3) if drawn.gray[i] else expected
        expected = reference.solarize(expected, 128 / 255) if drawn.solarize[i] else expected
        levels = 255 * (ours[i] * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None])
        assert (levels - 255 * expected).abs().max() < 0.01


def test_autocast_changes_nothing():
    images = random_images(4, 32, 32)
    settings = {"seed": 0, "epoch": 0, "samples": torch.arange(4)}
    plain = make_views(images, torch.zeros(4), VIEWS, 32, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = make_views(images, torch.zeros(4), VIEWS, 32, **settings)
    assert torch.equal(plain.global_views[0].image, within.global_views[0].image)


def test_boxes_tell_where_a_crop_was():
    images = random_images(50, 32, 64)
    view = make_views(images, torch.zeros(50), VIEWS, 32, seed=0, epoch=0, samples=torch.arange(50)).global_views[0]
    drawn = parameters_of(VIEWS.global_views[0], 50, 32, 64)
    left = torch.minimum(view.box[:, 0], view.box[:, 2]) * 64
    np.testing.assert_allclose(left.numpy(), drawn.crop[:, 0], atol=1e-4)
    assert ((view.box[:, 0] > view.box[:, 2]).numpy() == drawn.flip).all()


def test_solarize_may_come_before_blur():
    images = random_images(16, 32, 32)
    settings = {"jitter": None, "grayscale": 0, "solarize": Solarize(p=1), "blur": GaussianBlur(p=1, sigma=(2, 2))}
    made = [
        make_view(images.pixels, view, 32, parameters_of(view, 16, 32, 32))
        for view in (ViewConfig(**settings), ViewConfig(**settings, solarize_before_blur=True))
    ]
    assert not torch.allclose(made[0], made[1], atol=0.1)


def test_supervised_views_are_crop_and_flip_alone():
    plain = ViewConfig(jitter=None, grayscale=0, blur=None, scale=(1, 1), ratio=(1, 1), flip=0)
    images = random_images(5, 32, 32)
    views = ViewsConfig(global_views=(plain,))
    batch = make_views(images, torch.zeros(5), views, 32, seed=0, epoch=0, samples=torch.arange(5))
    levels = 255 * (batch.global_views[0].image * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None])
    torch.testing.assert_close(levels, images.pixels.float(), atol=1e-3, rtol=0)
