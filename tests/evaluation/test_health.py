"""Health: measures without labels, on known cases and against slow, obvious versions."""

import math
from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ssl_sweep.datasets.batches import view_batches
from ssl_sweep.evaluation import diagnostics
from ssl_sweep.evaluation.classifier import crop_and_flip
from ssl_sweep.evaluation.diagnostics import eigenspectrum, power_law, rankme, spread, uniformity
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.health import HEALTH, HealthConfig, evaluate_health
from ssl_sweep.evaluation.invariance import DELTA, lidar, view_statistics
from ssl_sweep.evaluation.task import NotFinite, Task
from torch import Tensor

MakeTask = Callable[..., Task]
SMALL = HealthConfig(images=60, view_images=17, views=5)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


# ---- alpha ----


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("width", [4, 23, 40, 300])
def test_the_exponent_of_a_power_law_is_found(alpha: float, width: int) -> None:
    assert power_law(torch.arange(1, width + 1).double() ** -alpha) == pytest.approx(alpha)


def test_the_fit_is_a_weighted_line_through_12_to_100() -> None:
    spectrum = (normal(200).abs() + 0.1).sort(descending=True).values
    i = np.arange(12, 101)
    slope, _ = np.polyfit(np.log(i), np.log(spectrum.numpy()[11:100]), 1, w=i**-0.5)  # of squares w^2 is the weight
    assert power_law(spectrum) == pytest.approx(-slope, rel=1e-6)


def test_the_spectrum_is_that_of_the_covariance() -> None:
    features = normal(50, 8) * torch.arange(1, 9) + 3
    wanted = np.linalg.eigvalsh(np.cov(features.double().numpy().T, bias=True))[::-1]
    assert eigenspectrum(features).numpy() == pytest.approx(wanted)
    assert eigenspectrum(features.T)[:7].numpy() == pytest.approx(
        np.linalg.eigvalsh(np.cov(features.double().numpy(), bias=True))[::-1][:7]
    )


def test_rounding_errors_are_no_part_of_the_spectrum() -> None:
    law = torch.arange(1, 31) ** -0.5
    features = (normal(4000, 30) * law) @ torch.linalg.qr(normal(200, 200)).Q[:30]  # 30 of 200 directions
    assert power_law(eigenspectrum(features)) == pytest.approx(1, abs=0.15)
    assert power_law(eigenspectrum(normal(100, 1) @ normal(1, 50))) is None
    assert power_law(eigenspectrum(torch.ones(100, 50))) is None


# ---- uniformity ----


@pytest.mark.parametrize("paired", [7, 1024])
def test_uniformity_is_that_of_all_pairs(paired: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "PAIRED", paired)
    features = normal(40, 6)
    unit = F.normalize(features.double(), dim=1)
    terms = [math.exp(-2 * float((x - y).square().sum())) for x, y in combinations(unit, 2)]
    assert uniformity(features) == pytest.approx(math.log(sum(terms) / len(terms)))


def test_uniformity_of_known_cases() -> None:
    assert uniformity(torch.ones(20, 5)) == pytest.approx(0, abs=1e-12)
    assert uniformity(torch.zeros(20, 5)) == 0
    assert uniformity(torch.eye(9)) == pytest.approx(-4)  # all pairs at right angles
    assert uniformity(torch.tensor([[1.0, 0], [-2.0, 0]])) == pytest.approx(-8)


# ---- LiDAR and alignment ----


def slow_lidar(features: Tensor) -> float:
    """Of features (n, V, D): by the two covariances and the root of one's inverse, as the paper has it."""
    n, views, dim = features.shape
    means = features.mean(dim=1)
    within, between = np.zeros((dim, dim)), np.zeros((dim, dim))
    for mean, image in zip(means, features, strict=True):
        between += np.outer(mean - means.mean(dim=0), mean - means.mean(dim=0)) / n
        for view in image:
            within += np.outer(view - mean, view - mean) / (n * (views - 1))
    values, vectors = np.linalg.eigh(within + DELTA * np.eye(dim))
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    shares = np.linalg.eigvalsh(root @ between @ root).clip(1e-30)
    shares /= shares.sum()
    return math.exp(-(shares * np.log(shares)).sum())


def views_of(task: Task, rows: Tensor, views: int) -> Tensor:
    """Features (n, V, D), one image and one view at a time."""
    (view,) = crop_and_flip().global_views
    config = crop_and_flip().model_copy(update={"global_views": (view.model_copy(update={"count": views}),)})
    found: list[Tensor] = []
    for batch in view_batches(task.test, config, 16, 1, seed=task.seed, chosen=rows):
        with torch.no_grad():
            found.append(torch.cat([task.encoder(view.image) for view in batch.global_views]))
    return torch.stack(found).double()


def test_statistics_of_views_are_those_of_each_alone(task: MakeTask) -> None:
    made = task()
    made.encoder.eval()
    rows = torch.tensor([3, 98, 40, 41])
    features = views_of(made, rows, 6)
    found = view_statistics(made, rows, 6)
    torch.testing.assert_close(found.means, features.mean(dim=1), atol=1e-5, rtol=1e-5)
    assert lidar(found.means, found.within) == pytest.approx(slow_lidar(features), rel=1e-4)
    distances = [float((F.normalize(x, dim=0) - F.normalize(y, dim=0)).square().sum()) for x, y in pairs(features)]
    assert found.alignment == pytest.approx(np.mean(distances), rel=1e-4)
    other = view_statistics(made._replace(seed=1), rows, 6)
    assert abs(other.alignment - found.alignment) > 1e-4  # other crops


def pairs(features: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [pair for image in features for pair in combinations(image, 2)]


def test_views_differ_and_do_not_depend_on_their_batch(task: MakeTask) -> None:
    made = task()
    made.encoder.eval()
    rows = torch.tensor([3, 98, 40, 41])
    features = views_of(made, rows, 3)
    assert all((x - y).abs().max() > 1e-3 for x, y in pairwise(features[0]))
    torch.testing.assert_close(views_of(made, rows[2:], 3), features[2:])


def gaussian(variances: Tensor, noise: float) -> tuple[Tensor, Tensor]:
    """Means of images with these `variances` (D,), and the covariance of views that have this one in all directions."""
    return (normal(4000, len(variances)) * variances.sqrt()).double(), noise * torch.eye(len(variances)).double()


def test_lidar_counts_the_directions_that_tell_images_apart() -> None:
    even = torch.ones(16)
    assert lidar(*gaussian(even, 0.1)) == pytest.approx(16, abs=0.1)
    half = torch.cat([torch.ones(8), torch.zeros(8)])
    assert lidar(*gaussian(half, 0.1)) == pytest.approx(8, abs=0.1)
    means, within = gaussian(even, 0.1)
    within[:8, :8] *= 1e6  # eight directions in which the views of an image differ far more
    assert lidar(means, within) == pytest.approx(8, abs=0.1)
    assert lidar(torch.ones(50, 8).double(), torch.zeros(8, 8).double()) == pytest.approx(1)


# ---- the evaluation ----


def test_the_evaluation_is_made_of_its_parts(task: MakeTask) -> None:
    made = task()
    before = {key: value.clone() for key, value in made.encoder.state_dict().items()}
    score = evaluate_health(made, SMALL)
    rows = torch.arange(60) * 100 // 60
    features = all_features(made, made.test, rows)[0]
    views = view_statistics(made, rows[torch.arange(17) * 60 // 17], 5)
    assert score.metrics == {
        "rankme": pytest.approx(rankme(features)),
        "std": pytest.approx(spread(features)),
        "alpha": pytest.approx(power_law(eigenspectrum(features)), rel=1e-4),
        "lidar": pytest.approx(lidar(views.means, views.within)),
        "alignment": pytest.approx(views.alignment),
        "uniformity": pytest.approx(uniformity(features)),
    }
    assert [metric.name for metric in HEALTH.metrics] == list(score.metrics)
    assert score.images == 60 and score.remarks == ("LiDAR and alignment of 5 crops of 17 of them",)
    assert all(torch.equal(value, before[key]) for key, value in made.encoder.state_dict().items())


def test_a_collapsed_backbone_is_measured(task: MakeTask) -> None:
    made = task()
    with torch.no_grad():
        for parameter in made.encoder.parameters():
            parameter.zero_()
        made.encoder.get_parameter("model.norm.bias").fill_(1.0)
    score = evaluate_health(made, SMALL)
    assert score.metrics == pytest.approx(
        {"rankme": 1, "std": 0, "alpha": 0, "lidar": 1, "alignment": 0, "uniformity": 0}, abs=1e-3
    )
    assert score.remarks[1] == "α is 0 where fewer than two directions vary, which no power law fits"


def test_features_that_are_not_finite_fail_it(task: MakeTask) -> None:
    made = task()
    with torch.no_grad():
        next(made.encoder.parameters()).fill_(math.nan)
    with pytest.raises(NotFinite, match="the features of 100 of 100 test images are not finite"):
        evaluate_health(made, SMALL)
    with pytest.raises(NotFinite, match="the features of views of test images are not finite"):
        view_statistics(made, torch.arange(4), 2)
