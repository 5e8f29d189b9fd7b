"""Logistic regression against scikit-learn's, on any number of ranks, and how its C is selected."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from ranks import Ranks
from sklearn.linear_model import LogisticRegression
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.linear import LinearConfig, evaluate_linear
from ssl_sweep.evaluation.logistic import GRID, LogisticConfig, evaluate_logistic, refusal
from ssl_sweep.evaluation.selection import held_out_rows
from ssl_sweep.evaluation.softmax_regression import SoftmaxRegression
from ssl_sweep.evaluation.task import Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.parts.collectives import rank, world_size
from torch import Tensor

MakeTask = Callable[..., Task]
CLASSES = 5


def clustered(seed: int) -> tuple[Tensor, Tensor]:
    """Features (203, 12) of five overlapping classes, far from the origin and of unequal scales."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (203,), generator=draw)
    centres = torch.randn(CLASSES, 12, generator=torch.Generator().manual_seed(99))
    features = centres[labels] + 1.5 * torch.randn(203, 12, generator=draw)
    return features * torch.linspace(0.3, 3, 12) + 4, labels


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Ranks]]:
    made = {size: Ranks(size, tmp_path_factory.mktemp("gloo") / "rendezvous") for size in (2, 3)}
    yield made
    for pool in made.values():
        pool.close()


def fitted(c: float) -> tuple[Tensor, float, Tensor]:
    """Weights (D + 1, C), the objective there, and scores (203, C) of other images; on this rank of any number."""
    features, labels = clustered(0)
    own = slice(rank(), None, world_size())
    regression = SoftmaxRegression(features[own], labels[own], CLASSES, lambda: None)
    fit = regression.fit(c, 1000, 1e-12)
    weights = torch.cat([regression.basis @ fit.weights[:-1], fit.weights[-1:]])
    return weights, float(regression.objective(fit.weights, c)[0]), regression.scores(fit, clustered(1)[0])


@pytest.mark.parametrize("c", [1e-5, 1e-2, 1.0])
def test_it_is_scikit_learns(c: float, pools: dict[int, Ranks]) -> None:
    features, labels = (part.numpy() for part in clustered(0))
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-8).fit(features.astype(np.float64), labels)
    weights, objective, scores = fitted(c)
    torch.testing.assert_close(weights[:-1].T, torch.from_numpy(model.coef_), rtol=1e-4, atol=1e-6)
    shares = torch.from_numpy(model.predict_log_proba(features.astype(np.float64)))
    theirs = -shares.gather(1, torch.from_numpy(labels)[:, None]).mean() + (model.coef_**2).sum() / (2 * c * 203)
    assert objective == pytest.approx(float(theirs), abs=1e-9) and objective <= float(theirs) + 1e-10
    others, truth = clustered(1)
    accuracy = float((scores.argmax(dim=1) == truth).double().mean())
    assert accuracy == pytest.approx(model.score(others.double().numpy(), truth.numpy()), abs=0.002)
    for pool in pools.values():
        answers = pool.run(fitted, c)
        assert all(torch.equal(answer[0], answers[0][0]) for answer in answers)  # all ranks take the same steps
        torch.testing.assert_close(answers[0][0], weights, rtol=1e-4, atol=1e-5)
        assert torch.equal(answers[0][2].argmax(dim=1), scores.argmax(dim=1))


def test_a_weak_penalty_ends_near_the_minimum() -> None:
    """Nearly separable classes have weights that grow for thousands of steps, and scores that hardly change."""
    features, labels = (part.numpy() for part in clustered(0))
    model = LogisticRegression(C=100.0, solver="newton-cholesky", tol=1e-12).fit(features.astype(np.float64), labels)
    shares = torch.from_numpy(model.predict_log_proba(features.astype(np.float64)))
    least = -shares.gather(1, torch.from_numpy(labels)[:, None]).mean() + (model.coef_**2).sum() / (2 * 100 * 203)
    assert fitted(100.0)[1] == pytest.approx(float(least), abs=1e-8)


def test_a_class_without_images_is_not_predicted() -> None:
    features, labels = clustered(0)
    some = labels != 2
    regression = SoftmaxRegression(features[some], labels[some], CLASSES, lambda: None)
    fit = regression.fit(1.0, 1000, 1e-9)
    scores = regression.scores(fit, features)
    assert fit.iterations < 1000 and scores.isfinite().all()
    assert not (scores.argmax(dim=1) == 2).any()
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8).fit(features[some].double(), labels[some])
    assert scores.argmax(dim=1).tolist() == model.predict(features.double()).tolist()


def test_c_is_selected_on_held_out_images_and_fitted_to_all(task: MakeTask) -> None:
    made = task()
    values = (10.0, 1e-4, 0.1, 1.0)
    score = evaluate_logistic(made, LogisticConfig(C=values))
    features, labels = all_features(made, made.train)
    test, truth = all_features(made, made.test)
    fit, held = held_out_rows(made.train, 0.1, made.seed)
    right: dict[float, float] = {}
    for c in sorted(values):
        model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-8).fit(features[fit].double(), labels[fit])
        right[c] = 100 * model.score(features[held].double(), labels[held])
    assert {one.settings["C"]: one.metrics["held_out_top1"] for one in score.variants} == pytest.approx(right)
    best = max(right, key=right.__getitem__)  # of equals the first: the least
    assert score.variants[0].settings == {"C": best}
    assert score.variants[0].metrics["top1"] == score.metrics["top1"]
    model = LogisticRegression(C=best, solver="newton-cholesky", tol=1e-8).fit(features.double(), labels)
    assert score.metrics["top1"] == pytest.approx(100 * model.score(test.double(), truth), abs=0.2)
    assert score.remarks[0].startswith("by the one of 4 values of C with the best top-1 on 32 held-out training images")
    alone = evaluate_logistic(made, LogisticConfig(C=(best,)))
    assert alone.metrics == score.metrics and not alone.variants


def test_linear_on_stored_features_is_scikit_learns_regression(task: MakeTask) -> None:
    """Trained to the end on whole batches, and with the bias penalised as its weight decay does it."""
    made, decay = task(), 0.01
    config = LinearConfig(lr=(0.3,), weight_decay=(decay,), epochs=1500, batch_size=320, augment=False)
    linear = evaluate_linear(made, config).metrics["top1"]
    features, labels = all_features(made, made.train)
    test, truth = all_features(made, made.test)
    x, queries = (torch.nn.functional.pad(part.double(), (0, 1), value=1.0) for part in (features, test))
    model = LogisticRegression(C=1 / (decay * 320), fit_intercept=False, solver="newton-cholesky", tol=1e-8)
    assert linear == pytest.approx(100 * model.fit(x, labels).score(queries, truth), abs=0.2)
    regression = evaluate_logistic(made, LogisticConfig(C=(1 / (decay * 320),))).metrics["top1"]
    assert linear == pytest.approx(regression, abs=2)  # its intercepts are free


def test_the_grid_is_dinov2s() -> None:
    expected = 10 ** torch.linspace(-6, 5, 45, dtype=torch.float64)
    torch.testing.assert_close(torch.tensor(GRID, dtype=torch.float64), expected, rtol=1e-5, atol=0)
    config = LogisticConfig()
    assert config.C == GRID and refusal(config, BackboneConfig(name="resnet18")) is None
    problem = refusal(LogisticConfig(selection=0.0), BackboneConfig(name="resnet18"))
    assert problem == ("selection", "got 0; with 45 values of C, one is selected on held-out training images")
    assert refusal(LogisticConfig(selection=0.0, C=(1.0,)), BackboneConfig(name="resnet18")) is None
