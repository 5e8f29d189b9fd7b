"""What corruptions filter and sample with: the same as SciPy's, and as slow, obvious loops."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from photos import doubles, keys, photos
from ssl_sweep.evaluation.corruptions import blur, digital
from ssl_sweep.evaluation.corruptions.apply import FUNCTIONS
from ssl_sweep.evaluation.corruptions.filters import clipped_zoom, filtered, motion_kernels, smoothed


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
