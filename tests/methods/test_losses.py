"""Each loss against a slow, obvious version in float64."""

import math

import pytest
import torch
from ssl_sweep.methods.byol import byol_loss
from ssl_sweep.methods.dino import dino_loss
from ssl_sweep.methods.mae import mae_loss, patchify
from ssl_sweep.methods.simclr import nt_xent
from torch import Tensor


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def test_nt_xent() -> None:
    a, b = randn(6, 4), randn(6, 5)[:, :4]
    views = torch.cat([a, b])
    total = 0.0
    for i in range(12):
        similar = {j: math.exp(cosine(views[i], views[j]) / 0.2) for j in range(12) if j != i}
        total -= math.log(similar[(i + 6) % 12] / sum(similar.values()))
    torch.testing.assert_close(nt_xent(a, b, 0.2).item(), total / 12, rtol=1e-5, atol=0)


def test_nt_xent_by_hand() -> None:
    # two images, both views alike, the images orthogonal: each row has logits 1 (other view), 0, 0 at temperature 1
    z = torch.eye(2)
    torch.testing.assert_close(nt_xent(z, z, 1.0).item(), -math.log(math.e / (math.e + 2)))


def test_byol() -> None:
    p1, p2, z1, z2 = (randn(5, 3 + i)[:, :3] for i in range(4))
    total = sum(2 - cosine(p1[i], z2[i]) - cosine(p2[i], z1[i]) for i in range(5)) / 5
    torch.testing.assert_close(byol_loss([p1, p2], [z1, z2]).item(), total, rtol=1e-5, atol=0)


def test_byol_loss_at_scale_two_is_the_papers_squared_distance() -> None:
    p, z = randn(5, 3), randn(6, 3)[:5]
    p_unit, z_unit = p / p.norm(dim=1, keepdim=True), z / z.norm(dim=1, keepdim=True)
    torch.testing.assert_close(2 * byol_loss([p, p], [z, z]), 2 * (p_unit - z_unit).square().sum(dim=1).mean())


def test_dino() -> None:
    scores, targets, center = randn(4, 3, 7), randn(2, 3, 7), randn(1, 7)
    terms = []
    for u in range(2):
        for v in range(4):
            if u == v:
                continue
            for i in range(3):
                p = ((targets[u, i] - center[0]).double() / 0.05).softmax(dim=0)
                q = (scores[v, i].double() / 0.1).softmax(dim=0)
                terms.append(float(-(p * q.log()).sum()))
    assert len(terms) == 6 * 3
    loss = dino_loss(scores, targets, center, student_temperature=0.1, teacher_temperature=0.05)
    torch.testing.assert_close(loss.item(), sum(terms) / len(terms), rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm_pix", [True, False])
def test_mae(norm_pix: bool) -> None:
    image, prediction = randn(2, 3, 8, 12), randn(2, 6, 48)
    masked = torch.tensor([[1, 0, 1, 0, 1, 1], [0, 1, 1, 1, 0, 1]], dtype=torch.bool)
    errors = []
    for i in range(2):
        for n in range(6):
            if not masked[i, n]:
                continue
            y, x = 4 * (n // 3), 4 * (n % 3)
            pixels = [image[i, c, y + dy, x + dx].double() for dy in range(4) for dx in range(4) for c in range(3)]
            target = torch.stack(pixels)
            if norm_pix:
                target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
            errors += (prediction[i, n].double() - target).square().tolist()
    loss = mae_loss(prediction, patchify(image, 4), masked, norm_pix)
    torch.testing.assert_close(loss.item(), sum(errors) / len(errors), rtol=1e-5, atol=0)


def test_patchify_pads_with_zeros() -> None:
    patches = patchify(torch.ones(1, 3, 5, 4), 4)
    assert patches.shape == (1, 2, 48)
    assert patches[0, 0].sum() == 48 and patches[0, 1].sum() == 12
