"""The ridge classifier against scikit-learn's and an explicit leave-one-out, on any number of ranks."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from ranks import Ranks
from sklearn.linear_model import RidgeClassifierCV
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.ridge import RidgeConfig, evaluate_ridge
from ssl_sweep.evaluation.ridge_regression import RidgeRegression
from ssl_sweep.evaluation.task import Task
from ssl_sweep.methods.parts.collectives import rank, world_size
from torch import Tensor

MakeTask = Callable[..., Task]
CLASSES = 4
ALPHAS = (1e-6, 1e-3, 0.1, 1.0, 30.0)


def clustered(images: int, dim: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (images,), generator=draw)
    centres = torch.randn(CLASSES, dim, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + 2 * torch.randn(images, dim, generator=draw)
    return features * torch.linspace(0.2, 3, dim) + 7, labels


def found(images: int, dim: int) -> tuple[list[float], Tensor]:
    """Leave-one-out errors, and scores of other images; on this rank of any number."""
    features, labels = clustered(images, dim, 0)
    own = slice(rank(), None, world_size())
    regression = RidgeRegression(features[own], labels[own], CLASSES, lambda: None)
    return regression.leave_one_out(ALPHAS), regression.scores(clustered(50, dim, 1)[0], 0.1)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    made = Ranks(3, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield made
    made.close()


def slow_scores(x: Tensor, y: Tensor, queries: Tensor, penalty: float) -> Tensor:
    """Ridge regression from its normal equations, in float64."""
    mean, shares = x.mean(dim=0), y.mean(dim=0)
    centred = x - mean
    gram = centred.T @ centred + penalty * torch.eye(x.shape[1], dtype=torch.float64)
    return (queries - mean) @ torch.linalg.solve(gram, centred.T @ (y - shares)) + shares


@pytest.mark.parametrize(("images", "dim"), [(40, 6), (20, 30)])
def test_errors_are_those_of_an_explicit_leave_one_out(images: int, dim: int, pool: Ranks) -> None:
    features, labels = clustered(images, dim, 0)
    x, y = features.double(), F.one_hot(labels, CLASSES).double()
    unit = (x - x.mean(dim=0)).square().sum() / dim  # the mean eigenvalue is the trace's share
    errors, scores = found(images, dim)
    for alpha, error in zip(ALPHAS, errors, strict=True):
        squares = 0.0
        for i in range(images):
            rest = torch.arange(images) != i
            squares += float((slow_scores(x[rest], y[rest], x[i : i + 1], alpha * unit) - y[i]).square().sum())
        assert error == pytest.approx(squares / (images * CLASSES), rel=1e-6)
    queries = clustered(50, dim, 1)[0].double()
    torch.testing.assert_close(scores, slow_scores(x, y, queries, 0.1 * float(unit)), rtol=1e-8, atol=1e-10)
    for other_errors, other_scores in pool.run(found, images, dim):
        assert other_errors == pytest.approx(errors, rel=1e-8)
        torch.testing.assert_close(other_scores, scores, rtol=1e-8, atol=1e-10)


def test_alpha_and_classes_are_scikit_learns(task: MakeTask) -> None:
    made = task()
    features, labels = all_features(made, made.train)
    test, truth = all_features(made, made.test)
    x = features.double()
    unit = float((x - x.mean(dim=0)).square().sum() / x.shape[1])
    config = RidgeConfig()
    model = RidgeClassifierCV(alphas=[alpha * unit for alpha in config.alpha]).fit(x, labels)
    score = evaluate_ridge(made, config)
    first = score.variants[0]
    assert first.settings["alpha"] == pytest.approx(model.alpha_ / unit)
    assert score.metrics["top1"] == first.metrics["top1"] == pytest.approx(100 * model.score(test.double(), truth))
    assert score.metrics["top1"] > 30  # chance is 10
    assert score.remarks[0].startswith("by the one of 10 values of alpha with the least leave-one-out error")
    assert len(score.variants) == 10 and evaluate_ridge(made, config) == score
    alone = evaluate_ridge(made, RidgeConfig.model_validate(first.settings))
    assert alone.metrics == score.metrics and not alone.variants and not alone.remarks


def test_features_that_are_all_the_same_say_nothing() -> None:
    labels = torch.tensor([0, 1, 1, 1, 2])
    regression = RidgeRegression(torch.full((5, 3), 0.1), labels, CLASSES, lambda: None)
    assert all(0 < error < 1 for error in regression.leave_one_out(ALPHAS))
    shares = torch.tensor([[0.2, 0.6, 0.2, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(regression.scores(torch.full((1, 3), 0.1), 1e-6), shares, rtol=0, atol=1e-6)
