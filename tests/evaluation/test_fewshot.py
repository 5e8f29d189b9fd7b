"""Few-shot classifiers: against slow ones and scikit-learn's, and what is drawn."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats
from sklearn.linear_model import Ridge
from ssl_sweep.evaluation.base import Lack, Sizes
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.fewshot import FEWSHOT, FewShotConfig, drawn_rows, evaluate_fewshot, mean_and_interval
from ssl_sweep.evaluation.task import NotFinite, Task

MakeTask = Callable[..., Task]
Floats = NDArray[np.float64]
TEN = torch.arange(10)


def draw(task: Task, shots: int, repeat: int = 0) -> torch.Tensor:
    return drawn_rows(task, TEN, torch.arange(len(task.train)), shots, repeat)


def test_draws_are_of_each_class_and_smaller_ones_part_of_larger(task: MakeTask) -> None:
    made = task()
    rows = draw(made, 5)
    assert made.train.labels[rows].tolist() == [[c] * 5 for c in range(10)]
    assert len(rows.unique()) == 50
    assert torch.equal(draw(made, 2), rows[:, :2])
    assert not torch.equal(draw(made, 5, repeat=1), rows) and not torch.equal(draw(made._replace(seed=1), 5), rows)


def test_every_image_is_drawn_as_often(task: MakeTask) -> None:
    made = task()
    counts = torch.zeros(320)
    for repeat in range(600):
        counts[draw(made, 1, repeat).flatten()] += 1
    for c in range(10):
        assert stats.chisquare(counts[made.train.labels == c].numpy()).pvalue > 1e-4


def slow_centroid(support: Floats, classes: NDArray[np.int64], queries: Floats) -> list[int]:
    """The class whose mean is nearest, one query at a time."""
    unit, found = support / np.linalg.norm(support, axis=1, keepdims=True), []
    means = [unit[classes == c].mean(axis=0) for c in range(10)]
    for query in queries:
        x = query / np.linalg.norm(query)
        found.append(int(np.argmin([math.dist(x, mean) for mean in means])))
    return found


def sklearns_ridge(support: Floats, classes: NDArray[np.int64], queries: Floats) -> list[int]:
    """A penalty of 2^10 on the weights of standardised features and on that of one more, which is 100."""
    mean, deviation = support.mean(axis=0), support.std(axis=0) + 1e-5
    x, q = (np.hstack([(part - mean) / deviation, np.full((len(part), 1), 100.0)]) for part in (support, queries))
    model = Ridge(alpha=1024, fit_intercept=False, solver="svd").fit(x, 2.0 * np.eye(10)[classes] - 1)
    return model.predict(q).argmax(axis=1).tolist()


@pytest.mark.parametrize(("ridge", "slow"), [(None, slow_centroid), (1024.0, sklearns_ridge)])
def test_accuracies_are_those_of_the_slow_one(ridge: float | None, slow: Any, task: MakeTask) -> None:
    made = task()
    (bank, labels), (queries, truth) = all_features(made, made.train), all_features(made, made.test)
    config = FewShotConfig(
        shots=(2, 10), repeats=3, ridge=ridge
    )  # 20 and 100 images of width 32: both ways to solve it
    score = evaluate_fewshot(made, config)
    for one in score.variants:
        found: list[float] = []
        for repeat in range(3):
            rows = draw(made, int(one.settings["shots"]), repeat).flatten()
            guesses = slow(bank[rows].double().numpy(), labels[rows].numpy(), queries.double().numpy())
            found.append(float(np.mean(np.array(guesses) == truth.numpy()) * 100))
        assert one.metrics == pytest.approx(mean_and_interval(found))
    assert score.metrics == score.variants[0].metrics
    assert score.remarks == ("shown: shots = 2; the results have all 2 numbers",)
    alone = evaluate_fewshot(made, config.model_copy(update={"shots": (10,)}))
    assert alone.metrics == score.variants[1].metrics and not alone.variants and not alone.remarks


def test_more_shots_are_better_than_one(task: MakeTask) -> None:
    score = evaluate_fewshot(task(), FewShotConfig(shots=(1, 10)))
    one, ten = (variant.metrics for variant in score.variants)
    assert 10 < one["top1"] < ten["top1"] - 10 and one["interval"] > 0  # chance is 10


def test_the_interval_is_students() -> None:
    values = [50.0, 52.0, 47.5, 61.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert mean_and_interval(values) == pytest.approx({"top1": (low + high) / 2, "interval": (high - low) / 2})


def test_small_classes_are_refused(task: MakeTask) -> None:
    made = task()
    made.train.labels = made.train.labels.clone()
    rows = (made.train.labels == 3).nonzero()[2:, 0]
    made.train.labels[rows] = 4
    evaluate_fewshot(made, FewShotConfig(shots=(2,), repeats=2))
    with pytest.raises(
        ValueError, match=r"shots is 3, and one class has fewer training images \('3' 2\); write shots of at most 2"
    ):
        evaluate_fewshot(made, FewShotConfig(shots=(1, 3)))
    with pytest.raises(ValueError, match=r"shots is 200, and 10 classes have fewer training images \('3' 2, .*, …\)"):
        evaluate_fewshot(made, FewShotConfig(shots=(200,)))


def test_small_classes_are_known_from_counts() -> None:
    sizes = Sizes(29, 3, ("cat", "dog", "cow", "none"), (20, 1, 8, 0), (1, 2, 0, 0))
    assert FEWSHOT.misfit(FewShotConfig(shots=(5, 1)), sizes) == Lack(
        "shots = 5 (write 1 or less)", "1 training image of class 'dog'"
    )
    assert FEWSHOT.misfit(FewShotConfig(shots=(1,)), sizes) is None
    untaught = FEWSHOT.misfit(FewShotConfig(shots=(1,)), sizes._replace(test=(1, 2, 0, 1)))
    assert untaught is not None and untaught.has == "0 training images of class 'none'"


def test_a_class_without_any_image_is_no_class(task: MakeTask) -> None:
    made = task()
    for images in (made.train, made.test):
        images.labels = torch.where(images.labels == 7, 8, images.labels)
    assert evaluate_fewshot(made, FewShotConfig(shots=(5,))).metrics["top1"] > 10


def test_images_that_are_scored_are_not_drawn(task: MakeTask) -> None:
    made = task()
    with pytest.raises(ValueError, match=r"10 classes have fewer training images \('0' 0"):
        evaluate_fewshot(made._replace(test=made.train), FewShotConfig(shots=(1,)))


def test_features_that_are_not_finite_fail_it(task: MakeTask) -> None:
    made = task()
    with torch.no_grad():
        next(made.encoder.parameters()).fill_(math.nan)
    with pytest.raises(NotFinite, match="the features of 320 of 320 training and 100 of 100 test images are not"):
        evaluate_fewshot(made, FewShotConfig(shots=(1,)))


@pytest.mark.parametrize("settings", [{"shots": []}, {"shots": [5, 5]}, {"shots": 0}, {"repeats": 1}, {"ridge": 0}])
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FewShotConfig.model_validate(settings)
