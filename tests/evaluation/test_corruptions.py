"""The corruptions of ImageNet-C: drawn for each image alone, and each what its definition says."""

import colorsys
import io
import math
from itertools import product

import numpy as np
import pytest
import scipy.stats
import torch
from photos import doubles, keys, photos
from PIL import Image
from ssl_sweep.evaluation.corruptions import apply
from ssl_sweep.evaluation.corruptions.apply import FUNCTIONS, corrupted
from ssl_sweep.evaluation.corruptions.filters import whole
from ssl_sweep.evaluation.corruptions.names import CORRUPTIONS, SEVERITIES, Corruption
from ssl_sweep.evaluation.corruptions.plasma import plasma
from ssl_sweep.evaluation.corruptions.weather import FOG, FROST
from torch import Tensor

DRAWN = {"gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur"} | {
    "snow", "frost", "fog", "elastic_transform",
}  # fmt: skip
ALL = [(name, size) for name in CORRUPTIONS for size in (32, 72)]
"""With the figures for small images and with those for large ones."""


@pytest.mark.parametrize(("name", "size"), ALL)
def test_an_image_is_the_same_in_any_batch(name: Corruption, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images, samples = photos(7, size), torch.tensor([3, 900, 0, 12, 5, 41, 8])
    for severity in (1, 5):
        made = corrupted(images, samples, name, severity)
        assert made.dtype == torch.uint8 and made.shape == images.shape
        order = torch.tensor([6, 2, 0, 1, 4])
        assert torch.equal(corrupted(images[order], samples[order], name, severity), made[order])
        with monkeypatch.context() as patch:
            patch.setattr(apply, "PIXELS", 2 * size * size)  # two images at once
            assert torch.equal(corrupted(images, samples, name, severity), made)
    assert corrupted(images[:0], samples[:0], name, 1).shape == (0, 3, size, size)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_is_drawn_depends_on_the_sample(name: Corruption) -> None:
    one = photos(1, 32)
    made = corrupted(one.expand(2, -1, -1, -1), torch.tensor([1, 2]), name, 3)
    assert torch.equal(made[0], made[1]) == (name not in DRAWN)


@pytest.mark.parametrize(("name", "size"), ALL)
def test_the_fifth_severity_is_worse_than_the_first(name: Corruption, size: int) -> None:
    images = photos(8, size)
    change = [
        float((corrupted(images, torch.arange(8), name, severity).float() - images.float()).square().mean())
        for severity in SEVERITIES
    ]
    assert min(change) > 0
    if name != "elastic_transform":  # its first severity moves the most, by published figures; the fifth tears the most
        assert change[4] > change[0]


def test_every_name_has_its_function() -> None:
    assert list(FUNCTIONS) == list(CORRUPTIONS) and len(CORRUPTIONS) == 15


def test_levels_are_cut_off_as_published() -> None:
    values = torch.tensor([-1.0, 0.0, 0.9999 / 255, 1 / 255 - 1e-9, 254.9 / 255, 3.0], dtype=torch.float64)
    assert whole(values).tolist() == [0, 0, 1, 1, 254, 255]
    assert torch.equal(whole(torch.arange(256).double() / 255), torch.arange(256).double())


# ---- noise ----


@pytest.mark.parametrize(("severity", "size", "std"), [(1, 64, 0.04), (5, 64, 0.1), (1, 65, 0.08)])
def test_gaussian_noise_has_its_standard_deviation(severity: int, size: int, std: float) -> None:
    gray = torch.full((8, 3, size, size), 127, dtype=torch.uint8)
    noise = doubles(corrupted(gray, torch.arange(8), "gaussian_noise", severity)) - 127 / 255
    assert noise.transpose(0, 1).flatten(1).std(dim=1).tolist() == pytest.approx([std] * 3, rel=0.03)
    assert abs(float(noise.mean()) + 0.5 / 255) < 0.02 * std  # levels are cut off
    pixels = noise.transpose(0, 1).flatten(1)
    assert torch.corrcoef(pixels).fill_diagonal_(0).abs().max() < 0.03  # each channel has its own


@pytest.mark.parametrize(("severity", "size", "photons"), [(1, 32, 500), (5, 32, 50), (2, 80, 25), (5, 80, 3)])
def test_shot_noise_is_poissons(severity: int, size: int, photons: int) -> None:
    images = torch.stack([torch.full((3, size, size), level / 255).double() for level in (0, 40, 100)])
    counts = FUNCTIONS["shot_noise"](images.repeat(8, 1, 1, 1), keys(24), severity) * photons
    torch.testing.assert_close(counts, counts.round())
    for level, found in zip((0, 40, 100), counts.view(8, 3, -1).transpose(0, 1).flatten(1), strict=True):
        rate, n = level / 255 * photons, found.numel()
        assert float(found.mean()) == pytest.approx(rate, abs=5 * math.sqrt(rate / n) + 1e-9)
        assert float(found.var()) == pytest.approx(rate, rel=0.06)
        if rate:
            share = float((found == round(rate)).double().mean())
            assert share == pytest.approx(float(scipy.stats.poisson.pmf(round(rate), rate)), abs=5 / math.sqrt(n))


@pytest.mark.parametrize(("severity", "share"), [(1, 0.01), (5, 0.07)])
def test_impulses_are_salt_and_pepper_in_equal_parts(severity: int, share: float) -> None:
    gray = torch.full((40, 3, 32, 32), 100, dtype=torch.uint8)
    made = corrupted(gray, torch.arange(40), "impulse_noise", severity)
    salt, pepper = (made == 255).double().mean(), (made == 0).double().mean()
    assert float(salt) == pytest.approx(share / 2, rel=0.1) and float(pepper) == pytest.approx(share / 2, rel=0.1)
    assert ((made == 100) | (made == 0) | (made == 255)).all()


# ---- weather ----


def test_plasma_is_fractal_noise_from_0_to_1() -> None:
    rough, smooth = (plasma(keys(50), 40, decay) for decay in (1.2, 3.0))
    for heights in (rough, smooth):
        assert heights.shape == (50, 40, 40) and heights.min() >= 0 and heights.max() <= 1
        full = plasma(keys(50), 64, 2.0)
        assert torch.equal(full.amin((1, 2)), torch.zeros(50).double()) and (full.amax((1, 2)) == 1).all()
    steps = [float((heights[:, 1:] - heights[:, :-1]).abs().mean()) for heights in (rough, smooth)]
    assert steps[0] > 3 * steps[1]
    wrapped = plasma(keys(50), 64, 3.0)
    assert (wrapped[:, 0] - wrapped[:, -1]).abs().mean() < 2 * (wrapped[:, 1] - wrapped[:, 0]).abs().mean()


@pytest.mark.parametrize("severity", SEVERITIES)
def test_fog_keeps_the_brightest_value(severity: int) -> None:
    images = doubles(photos(3, 32))
    strength, decay = FOG.at(severity, 32)
    most = images.amax((1, 2, 3))
    made = FUNCTIONS["fog"](images, keys(3), severity)
    for image, fog, result, top in zip(images, plasma(keys(3), 32, decay), made, most, strict=True):
        torch.testing.assert_close(result, (image + strength * fog) * top / (top + strength))
    assert (made.amax((1, 2, 3)) <= most + 1e-12).all()


def test_frost_is_a_bluish_uneven_layer_of_the_published_weight() -> None:
    images = doubles(photos(20, 72))
    for severity in SEVERITIES:
        kept, strength = FROST.at(severity, 72)
        ice = (FUNCTIONS["frost"](images, keys(20), severity) - kept * images) / strength
        assert ice.min() >= -1e-12 and ice.max() <= 1
        red, _, blue = ice.mean((0, 2, 3)).tolist()
        assert 0.3 < red < blue < 0.6 and ice.std((2, 3)).min() > 0.05


def test_snow_whitens_and_falls_the_same_upside_down() -> None:
    black = torch.zeros(4, 3, 32, 32, dtype=torch.float64)
    made = FUNCTIONS["snow"](black, keys(4), 5)
    flakes = made - 0.2 * 0.5  # black is 0.5 where it is whitened, by a share of 0.2
    torch.testing.assert_close(flakes, flakes.rot90(2, (2, 3)))
    assert flakes.min() > -1e-12 and 0.05 < flakes.mean() < 1
    assert torch.equal(made[:, 0], made[:, 2])


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_raises_the_value_of_hsv(severity: int) -> None:
    images = doubles(photos(1, 32))
    images[0, :, 0, 0] = 0
    added = (0.05, 0.1, 0.15, 0.2, 0.3)[severity - 1]
    made = FUNCTIONS["brightness"](images, keys(1), severity)
    for y, x in product(range(0, 32, 5), repeat=2):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[0, :, y, x].tolist())
        expected = colorsys.hsv_to_rgb(hue, saturation, min(1, value + added))
        assert made[0, :, y, x].tolist() == pytest.approx(expected, abs=1e-9)


# ---- digital ----


@pytest.mark.parametrize(("severity", "size", "factor"), [(1, 32, 0.75), (5, 32, 0.15), (5, 80, 0.05)])
def test_contrast_shrinks_around_the_mean(severity: int, size: int, factor: float) -> None:
    images = doubles(photos(2, size))
    made = FUNCTIONS["contrast"](images, keys(2), severity)
    torch.testing.assert_close(made.mean((2, 3)), images.mean((2, 3)))
    torch.testing.assert_close(made.std((2, 3)), factor * images.std((2, 3)))


def pillow(levels: Tensor) -> Image.Image:
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("severity", "size", "side"), [(1, 32, 30), (5, 32, 20), (3, 80, 32), (5, 224, 56)])
def test_pixels_are_pillows_boxes(severity: int, size: int, side: int) -> None:
    (image,) = photos(1, size)
    expected = pillow(image).resize((side, side), Image.Resampling.BOX).resize((size, size), Image.Resampling.BOX)
    (made,) = corrupted(image[None], torch.tensor([0]), "pixelate", severity)
    np.testing.assert_array_equal(made.permute(1, 2, 0).numpy(), np.asarray(expected))


@pytest.mark.parametrize(("severity", "size", "quality"), [(1, 32, 80), (5, 32, 40), (5, 80, 7)])
def test_jpeg_is_pillows(severity: int, size: int, quality: int) -> None:
    (image,) = photos(1, size)
    file = io.BytesIO()
    pillow(image).save(file, "JPEG", quality=quality)
    (made,) = corrupted(image[None], torch.tensor([0]), "jpeg_compression", severity)
    np.testing.assert_array_equal(made.permute(1, 2, 0).numpy(), np.asarray(Image.open(file)))
