"""VICRegL, W-MSE and MMCR against slow, obvious versions in float64."""

from typing import Any

import pytest
import torch
from ssl_sweep.methods.config import MethodConfig
from ssl_sweep.methods.mmcr import mmcr_loss
from ssl_sweep.methods.parts.masks import step_generator
from ssl_sweep.methods.vicregl import Local, VICRegLConfig, cell_centres, matched, matched_loss
from ssl_sweep.methods.wmse import WMSEConfig, whiten, wmse_loss
from tiny import RESNET, VIT, progress, tiny_batch, tiny_method
from torch import Tensor


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_centres_of_cells() -> None:
    whole = cell_centres(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), rows=2, columns=4)
    assert whole.shape == (1, 8, 2)
    assert whole[0, 0].tolist() == [0.125, 0.25] and whole[0, 7].tolist() == [0.875, 0.75]
    flipped = cell_centres(torch.tensor([[0.5, 0.2, 0.1, 0.6]]), rows=1, columns=2)
    torch.testing.assert_close(flipped[0], torch.tensor([[0.4, 0.4], [0.2, 0.4]]))


@pytest.mark.parametrize("near", ["features", "places"])
def test_matches_are_the_nearest_of_the_nearest(near: str) -> None:
    a = Local(randn(0, 3, 6, 4), randn(1, 3, 6, 2))
    b = Local(randn(2, 3, 5, 4), randn(3, 3, 5, 2))
    x, y = matched(a, b, near, 2)
    for i in range(3):
        one, other = (a.z[i], b.z[i]) if near == "features" else (a.place[i], b.place[i])
        found = []
        for p in range(6):
            distances = [float((one[p].double() - other[q].double()).norm()) for q in range(5)]
            found.append((min(distances), p, distances.index(min(distances))))
        for m, (_, p, q) in enumerate(sorted(found)[:2]):
            torch.testing.assert_close(x[i, m], a.z[i, p])
            torch.testing.assert_close(y[i, m], b.z[i, q])


def test_maps_with_fewer_positions_than_matches_give_all() -> None:
    a = Local(randn(0, 2, 3, 4), randn(1, 2, 3, 2))
    assert matched(a, a, "places", 20)[0].shape == (2, 3, 4)


def test_vicregl_is_its_two_parts_and_takes_lightlys_numbers_of_matches() -> None:
    losses = {}
    for alpha in (0.0, 0.75, 1.0):
        method = tiny_method("vicregl", RESNET, alpha=alpha)
        losses[alpha] = method(tiny_batch(method), progress(0)).loss.item()
    assert losses[0.75] == pytest.approx(0.75 * losses[1.0] + 0.25 * losses[0.0], rel=1e-5)
    other = tiny_method("vicregl", RESNET, alpha=0.0, reverse_matches=1, local_norm="layer")
    assert other(tiny_batch(other), progress(0)).loss.item() != pytest.approx(losses[0.0])


def test_vicregl_over_places() -> None:
    """A pair's loss is the mean over directions, summed over what "near" means, of VICReg at each rank."""
    config = VICRegLConfig(matches=3, reverse_matches=2)
    a = Local(randn(0, 6, 5, 4), randn(1, 6, 5, 2))
    b = Local(randn(2, 6, 5, 4), randn(3, 6, 5, 2))
    total = 0.0
    for near in ("features", "places"):
        for one, other, count in ((a, b, 3), (b, a, 2)):
            x, y = matched(one, other, near, count)
            total += sum(slow_vicreg(x[:, m], y[:, m]) for m in range(count)) / count / 2
    assert matched_loss(a, b, config).item() == pytest.approx(total, rel=1e-4)


def slow_vicreg(x: Tensor, y: Tensor) -> float:
    x, y = x.double(), y.double()
    width = x.shape[1]
    loss = 25 * float(sum(sum((p - q) ** 2) for p, q in zip(x, y, strict=True))) / x.numel()
    for z in (x, y):
        covariance = torch.cov(z.T)
        for d in range(width):
            loss += 25 * max(0.0, 1 - float(covariance[d, d] + 1e-4) ** 0.5) / width / 2
            loss += sum(float(covariance[d, e]) ** 2 for e in range(width) if e != d) / width / 2
    return loss


@pytest.mark.parametrize("reverse_matches", [None, 1])
def test_vicregl_does_not_depend_on_the_order_of_the_views(reverse_matches: int | None) -> None:
    losses = []
    for step in (1, -1):
        method = tiny_method("vicregl", VIT, alpha=0.0, reverse_matches=reverse_matches)  # 16 positions, RESNET: 1
        batch = tiny_batch(method)
        losses.append(method(batch._replace(global_views=batch.global_views[::step]), progress(0)).loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_whitened_features_have_identity_covariance() -> None:
    z = randn(0, 50, 4) @ randn(1, 4, 4) + 3
    white = whiten(z.double(), 0.0)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(4, dtype=torch.float64))
    torch.testing.assert_close(white.T @ white / 49, torch.eye(4, dtype=torch.float64))


def test_whitening_by_the_inverse_cholesky_factor() -> None:
    z = randn(0, 9, 3).double()
    centred = z - z.mean(dim=0)
    covariance = 0.9 * sum(torch.outer(row, row) for row in centred) / 8 + 0.1 * torch.eye(3)
    inverse = torch.linalg.inv(torch.linalg.cholesky(covariance))
    expected = torch.stack([inverse @ row for row in centred])
    torch.testing.assert_close(whiten(z, 0.1), expected)


def test_wmse() -> None:
    z = randn(0, 3, 5, 4)
    terms = []
    for u in range(3):
        for v in range(u):
            for i in range(5):
                a, b = (z[w, i].double() / z[w, i].double().norm() for w in (u, v))
                terms.append(float((a - b).square().sum()))
    torch.testing.assert_close(wmse_loss(z).item(), sum(terms) / len(terms), rtol=1e-5, atol=1e-6)


def test_wmse_refuses_groups_that_cannot_be_whitened() -> None:
    with pytest.raises(ValueError, match="need more images to be whitened"):
        WMSEConfig(whitening_size=64, output_dim=64)
    config: MethodConfig = WMSEConfig(whitening_size=64, output_dim=64, shrinkage=0.1)
    assert config.name == "wmse"


def test_wmse_whitens_whole_groups_of_images_drawn_anew_at_each_step() -> None:
    method: Any = tiny_method("wmse", RESNET)
    batch = tiny_batch(method, batch_size=10)
    losses = [method(batch, progress(step)).loss.item() for step in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]
    order = torch.randperm(10, generator=step_generator(progress(1)))
    z = [method.model(view.image).detach() for view in batch.global_views]
    groups = [order[:4], order[4:8]]  # the last two images make no group of four
    expected = [wmse_loss(torch.stack([whiten(view[group], 0.0) for view in z])) for group in groups]
    assert losses[2] == pytest.approx(float(sum(expected)) / 2, rel=1e-4)


@pytest.mark.parametrize("compression", [0.0, 0.3])
def test_mmcr(compression: float) -> None:
    z = randn(0, 2, 6, 4).double()
    unit = z / z.norm(dim=2, keepdim=True)

    def nuclear(matrix: Tensor) -> float:
        return float(torch.linalg.eigvalsh(matrix.T @ matrix).clamp(min=0).sqrt().sum())

    expected = -nuclear((unit[0] + unit[1]) / 2)
    expected += compression * sum(nuclear(unit[:, i]) for i in range(6)) / 6
    torch.testing.assert_close(mmcr_loss(z, compression).item(), expected, rtol=1e-4, atol=1e-4)


def test_mmcr_of_equal_views_in_all_directions_is_least() -> None:
    views: Any = torch.eye(4).expand(3, 4, 4)
    assert mmcr_loss(views, 0.0).item() == pytest.approx(-4)
