"""Siamese and redundancy-reduction losses against slow, obvious versions in float64."""

from typing import Any

import pytest
import torch
from ssl_sweep.methods.barlow_twins import barlow_loss
from ssl_sweep.methods.fastsiam import fastsiam_loss
from ssl_sweep.methods.simsiam import simsiam_loss
from ssl_sweep.methods.tico import second_moment, tico_loss
from ssl_sweep.methods.vicreg import covariance_term, invariance_term, variance_term
from tiny import RESNET, progress, tiny_batch, tiny_method
from torch import Tensor

B, D = 6, 4


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm()))


def column(z: Tensor, d: int) -> list[float]:
    return [float(z[i, d]) for i in range(len(z))]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_simsiam() -> None:
    p1, p2, z1, z2 = (randn(seed, B, D) for seed in range(4))
    total = -mean([(cosine(p1[i], z2[i]) + cosine(p2[i], z1[i])) / 2 for i in range(B)])
    torch.testing.assert_close(simsiam_loss([p1, p2], [z1, z2]).item(), total, rtol=1e-5, atol=1e-6)


def test_simsiam_s_targets_get_no_gradient() -> None:
    p, z = [randn(0, B, D), randn(1, B, D)], [randn(2, B, D).requires_grad_(), randn(3, B, D).requires_grad_()]
    assert not simsiam_loss(p, z).requires_grad


def test_fastsiam() -> None:
    predictions, z = randn(0, 4, B, D), randn(1, 4, B, D)
    terms = []
    for v in range(4):
        for i in range(B):
            target = sum(z[u, i].double() for u in range(4) if u != v) / 3
            assert isinstance(target, Tensor)
            terms.append(-cosine(predictions[v, i], target))
    torch.testing.assert_close(fastsiam_loss(predictions, z).item(), mean(terms), rtol=1e-5, atol=1e-6)


def test_fastsiam_of_two_views_is_simsiam() -> None:
    p, z = randn(0, 2, B, D), randn(1, 2, B, D)
    torch.testing.assert_close(fastsiam_loss(p, z), simsiam_loss(list(p), list(z)))


@pytest.mark.parametrize("name", ["simsiam", "fastsiam"])
def test_the_predictors_rate_is_constant_by_default(name: str) -> None:
    method: Any = tiny_method(name, RESNET)
    constant = [p for group in method.param_groups() if group.get("constant_lr") for p in group["params"]]
    assert {id(p) for p in constant} == {id(p) for p in method.predictor.parameters()}
    scheduled: Any = tiny_method(name, RESNET, constant_predictor_lr=False)
    assert not any(group.get("constant_lr") for group in scheduled.param_groups())


@pytest.mark.parametrize("standardize", ["view", "both"])
def test_barlow(standardize: str) -> None:
    views = [randn(0, B, D), 2 * randn(1, B, D) + 0.3]

    def moments(v: int, d: int) -> tuple[float, float]:
        values = column(views[v], d) if standardize == "view" else column(views[0], d) + column(views[1], d)
        return mean(values), mean([(value - mean(values)) ** 2 for value in values])

    def entry(v: int, i: int, d: int) -> float:
        center, variance = moments(v, d)
        return (float(views[v][i, d]) - center) / (variance + 1e-5) ** 0.5

    total = 0.0
    for d in range(D):
        for e in range(D):
            correlation = mean([entry(0, i, d) * entry(1, i, e) for i in range(B)])
            total += (1 - correlation) ** 2 if d == e else 0.3 * correlation**2
    torch.testing.assert_close(barlow_loss(*views, 0.3, standardize).item(), total, rtol=1e-4, atol=1e-5)


def test_barlow_of_equal_whitened_views_is_nothing() -> None:
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert barlow_loss(z, z, 1.0).item() == pytest.approx(0, abs=1e-6)


def test_vicreg() -> None:
    a, b = randn(0, B, D), 0.5 * randn(1, B, D)
    squares = [(float(a[i, d]) - float(b[i, d])) ** 2 for i in range(B) for d in range(D)]
    torch.testing.assert_close(invariance_term(a, b).item(), mean(squares), rtol=1e-5, atol=1e-6)
    hinges = []
    for z in (a, b):
        for d in range(D):
            values = column(z, d)
            variance = sum((value - mean(values)) ** 2 for value in values) / (B - 1)
            hinges.append(max(0.0, 1 - (variance + 1e-4) ** 0.5))
    torch.testing.assert_close(variance_term(a, b).item(), mean(hinges), rtol=1e-4, atol=1e-6)
    total = 0.0
    for d in range(D):
        for e in range(D):
            x, y = column(a, d), column(a, e)
            covariance = sum((x[i] - mean(x)) * (y[i] - mean(y)) for i in range(B)) / (B - 1)
            total += covariance**2 / D if d != e else 0
    torch.testing.assert_close(covariance_term(a).item(), total, rtol=1e-4, atol=1e-6)


def test_tico() -> None:
    z, target = (rows / rows.norm(dim=1, keepdim=True) for rows in (randn(0, B, D), randn(1, B, D)))
    average = randn(2, D, D)
    terms = []
    for i in range(B):
        contrast = sum(float(z[i, d] * average[d, e] * z[i, e]) for d in range(D) for e in range(D))
        terms.append(1 - cosine(z[i], target[i]) + 8 * contrast)
    torch.testing.assert_close(tico_loss(z, target, average, 8.0).item(), mean(terms), rtol=1e-5, atol=1e-5)
    expected = [[mean([float(z[i, d] * z[i, e]) for i in range(B)]) for e in range(D)] for d in range(D)]
    torch.testing.assert_close(second_moment(z), torch.tensor(expected))


def test_tico_averages_the_covariance_and_keeps_the_gradient_out_of_it() -> None:
    gradients = []
    for covariance_gradient in (False, True):
        method: Any = tiny_method("tico", covariance_gradient=covariance_gradient)
        method(tiny_batch(method), progress(0)).loss.backward()
        assert method.average.trace().item() == pytest.approx(0.1, abs=1e-5)  # of rows of length 1, times 1 - beta
        assert not method.average.requires_grad
        gradients.append(method.student.head[-1].weight.grad)
    assert not torch.allclose(*gradients)
