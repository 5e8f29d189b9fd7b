"""Ridge classifier in closed form: a number within seconds, without a schedule, a seed or an epoch (scikit-learn's `RidgeClassifierCV`)."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveFloat

from .base import ACCURACY, Evaluation, EvaluationConfig, Values

if TYPE_CHECKING:
    from .task import Score, Task


class RidgeConfig(EvaluationConfig):
    """Ridge regression on one-hot labels; alpha is the one with the least leave-one-out error on the training images."""

    name: Literal["ridge"] = "ridge"
    protocol: Literal["ridge/loo@1"] = "ridge/loo@1"
    alpha: Values[PositiveFloat] = Field(
        default=(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0),
        description="penalty, in units of the mean eigenvalue of the features' scatter matrix; of equals, the greatest",
    )


def evaluate_ridge(task: "Task", config: RidgeConfig) -> "Score":
    """Choose alpha on the training images alone, and score the test images.

    Raises:
        NotFinite: features are not; on every rank.
    """
    from .details import answers, details_of
    from .features import own_features, refuse_not_finite
    from .ridge_regression import RidgeRegression
    from .task import Variant, count, total

    train, labels = own_features(task, task.train)
    test, truth = own_features(task, task.test)
    refuse_not_finite({f"{len(task.train):,} training": train, f"{len(task.test):,} test": test})
    regression = RidgeRegression(train, labels, task.train.num_classes, task.is_alive)
    errors = dict(zip(config.alpha, regression.leave_one_out(config.alpha), strict=True))
    best = min(errors, key=lambda alpha: (errors[alpha], -alpha))
    alphas = (best, *(alpha for alpha in config.alpha if alpha != best))
    scores = [total(count(regression.scores(test, alpha), truth)).score() for alpha in alphas]
    chosen = answers(regression.scores(test, best))
    score = scores[0]._replace(details=details_of(task, [chosen], probabilities=False))
    if len(alphas) == 1:
        return score
    variants = tuple(
        Variant({"alpha": alpha}, {**one.metrics, "leave_one_out_error": errors[alpha]})
        for alpha, one in zip(alphas, scores, strict=True)
    )
    remark = f"by the one of {len(alphas)} values of alpha with the least leave-one-out error on the {len(task.train):,} training images"
    return score._replace(variants=variants, remarks=(remark,))


RIDGE = Evaluation(
    "ridge",
    "ridge",
    RidgeConfig,
    (RidgeConfig(),),
    evaluate_ridge,
    metrics=ACCURACY,
    monitors=True,
)
