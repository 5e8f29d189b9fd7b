"""The corruptions of ImageNet-C: drawn for each image alone, and each what its definition says."""

import colorsys
import io
import math
from itertools import product

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import torch
import torch.nn.functional as F
from PIL import Image
from ssl_sweep.evaluation.corruptions import apply, blur, digital
from ssl_sweep.evaluation.corruptions.apply import FUNCTIONS, corrupted
from ssl_sweep.evaluation.corruptions.filters import clipped_zoom, filtered, motion_kernels, smoothed, whole
from ssl_sweep.evaluation.corruptions.names import CORRUPTIONS, SEVERITIES, Corruption
from ssl_sweep.evaluation.corruptions.plasma import plasma
from ssl_sweep.evaluation.corruptions.weather import FOG, FROST
from torch import Tensor

DRAWN = {"gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur"} | {
    "snow", "frost", "fog", "elastic_transform",
}  # fmt: skip
ALL = [(name, size) for name in CORRUPTIONS for size in (32, 72)]
"""With the figures for small images and with those for large ones."""


def photos(count: int, size: int) -> Tensor:
    """Something with areas, edges and a little noise, (B, 3, S, S), uint8."""
    draw = torch.Generator().manual_seed(0)
    areas = torch.rand(count, 3, size // 8, size // 8, generator=draw)
    images = F.interpolate(areas, (size, size), mode="bicubic") + 0.02 * torch.randn(
        count, 3, size, size, generator=draw
    )
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def keys(count: int) -> Tensor:
    return torch.arange(count) * 7919 + 5


def doubles(levels: Tensor) -> Tensor:
    return levels.double() / 255


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


# ---- blur ----


@pytest.mark.parametrize(("severity", "size"), [(1, 32), (5, 32), (2, 70), (5, 70)])
def test_defocus_is_a_convolution_with_a_soft_disk(severity: int, size: int) -> None:
    radius, sigma = blur.DEFOCUS.at(severity, size)
    reach, taps = (8, 3) if radius <= 8 else (10, 5)
    inside = np.array(
        [[float(y * y + x * x <= radius**2) for x in range(-reach, reach + 1)] for y in range(-reach, reach + 1)]
    )
    soft = np.exp(-((np.arange(taps) - taps // 2) ** 2) / (2 * sigma**2))
    kernel = scipy.ndimage.correlate(inside / inside.sum(), np.outer(soft, soft) / soft.sum() ** 2, mode="mirror")
    image = doubles(photos(1, size))
    expected = scipy.ndimage.correlate(image[0].numpy(), kernel[None], mode="mirror")
    made = blur.defocus_blur(image, keys(1), severity)[0].numpy()
    np.testing.assert_allclose(made, expected, atol=1e-9)


@pytest.mark.parametrize(("reach", "size"), [(1, 32), (2, 20), (4, 24)])
def test_the_shuffle_of_glass_is_the_loop_of_the_authors(reach: int, size: int) -> None:
    levels = torch.arange(3 * size * size).view(1, 3, size, size).double()
    drawn = torch.rand(1, 2 * size * size, generator=torch.Generator().manual_seed(1))
    dy, dx = (drawn.double() * 2 * reach).floor().long().sub(reach).view(2, size, size).tolist()
    image = levels[0].permute(1, 2, 0).numpy().copy()
    for h in range(size - reach, reach, -1):
        for w in range(size - reach, reach, -1):
            y, x = h + dy[h][w], w + dx[h][w]
            image[h, w], image[y, x] = image[y, x], image[h, w]
    made = blur.shuffled(levels, drawn, reach)[0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(made, image)
    assert not np.array_equal(made, levels[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("degrees", [0.0, 20.0, -45.0, -90.0, -135.0])
def test_motion_is_a_sum_of_shifted_images(degrees: float) -> None:
    radius, sigma = 6, 2.0
    image = doubles(photos(1, 32))
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(2 * radius + 1)]
    expected = torch.zeros(3, 32, 32, dtype=torch.float64)
    for i, weight in enumerate(weights):
        down = math.ceil(i * math.sin(math.radians(degrees)) - 0.5)
        right = math.ceil(i * math.cos(math.radians(degrees)) - 0.5)
        rows, columns = ((torch.arange(32) + way).clamp(0, 31) for way in (down, right))
        expected += weight / sum(weights) * image[0][:, rows][:, :, columns]
    kernels = motion_kernels(torch.tensor([degrees]).double(), radius, sigma)
    made = filtered(image, kernels, "replicate")[0]
    torch.testing.assert_close(made, expected, atol=1e-9, rtol=0)


def test_motion_has_an_angle_for_each_image() -> None:
    kernels = motion_kernels(torch.tensor([-45.0, 10.0, 45.0]).double(), 3, 1.0)
    assert kernels.sum((1, 2)).tolist() == pytest.approx([1.0] * 3)
    assert torch.equal(kernels[0], kernels[2].flip(0)) and not torch.equal(kernels[0], kernels[1])


@pytest.mark.parametrize("factor", [1.01, 1.13, 1.3, 2.25, 4.5])
@pytest.mark.parametrize("size", [32, 71])
def test_zoom_is_scipys(factor: float, size: int) -> None:
    image = doubles(photos(1, size))
    kept = math.ceil(size / factor)
    start = (size - kept) // 2
    middle = image[0, :, start : start + kept, start : start + kept].numpy()
    enlarged = scipy.ndimage.zoom(middle, (1, factor, factor), order=1)
    trim = (enlarged.shape[1] - size) // 2
    expected = enlarged[:, trim : trim + size, trim : trim + size]
    np.testing.assert_allclose(clipped_zoom(image, factor)[0].numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(("sigma", "truncate", "edges"), [(0.4, 4, "nearest"), (1.5, 4, "nearest"), (25, 3, "reflect")])
def test_smoothing_is_scipys(sigma: float, truncate: float, edges: str) -> None:
    image = torch.randn(20, 20, generator=torch.Generator().manual_seed(0)).double()
    expected = scipy.ndimage.gaussian_filter(image.numpy(), sigma, mode=edges, truncate=truncate)
    np.testing.assert_allclose(smoothed(image, sigma, truncate, edges).numpy(), expected, atol=1e-12)  # pyright: ignore[reportArgumentType]


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


def test_the_affine_map_brings_moved_corners_back() -> None:
    shifts = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0)).round().double()
    corners = torch.tensor([[26, 26], [26, 6], [6, 6]]).double()
    sources = digital.affine_sources(shifts, 32)
    for image, moved in zip(sources, shifts, strict=True):
        for corner, (x, y) in zip(corners, (corners + moved).long().tolist(), strict=True):
            torch.testing.assert_close(image[y, x], corner)
        torch.testing.assert_close(image[1:, 1:] + image[:-1, :-1], image[1:, :-1] + image[:-1, 1:])  # it is affine
    still = digital.affine_sources(torch.zeros(1, 3, 2).double(), 32)[0]
    assert still[3, 5].tolist() == pytest.approx([5, 3])


@pytest.mark.parametrize(("edges_at_centres", "mode"), [(True, "mirror"), (False, "reflect")])
def test_samples_are_scipys(edges_at_centres: bool, mode: str) -> None:
    image = doubles(photos(1, 32))
    points = 60 * torch.rand(1, 32, 32, 2, generator=torch.Generator().manual_seed(0)).double() - 14
    made = digital.sampled(image, points, edges_at_centres=edges_at_centres)[0]
    x, y = points[0].unbind(-1)
    for channel, result in zip(image[0], made, strict=True):
        expected = scipy.ndimage.map_coordinates(channel.numpy(), [y.numpy(), x.numpy()], order=1, mode=mode)
        np.testing.assert_allclose(result.numpy(), expected, atol=1e-9)


def test_displacements_have_their_strength() -> None:
    """Of severity 5 at 32 px: 3.2 px times uniform noise after a Gaussian filter of 0.96 px, about 0.54 px."""
    assert digital.ELASTIC.at(5, 32) == (0.1, 0.03, 0.03)
    ramp = torch.arange(32).double().expand(20, 3, 32, 32) / 32
    made = FUNCTIONS["elastic_transform"](ramp, keys(20), 5)
    moved = 32 * (made - ramp)[:, 0, 8:24, 8:24]
    rough = moved - moved.mean((1, 2), keepdim=True)
    expected = 3.2 / math.sqrt(3) / (2 * math.sqrt(math.pi) * 0.96)
    assert float(rough.std()) == pytest.approx(expected, rel=0.25)  # the affine map adds a little
