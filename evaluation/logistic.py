"""Multinomial logistic regression on the features of plain images, by L-BFGS (DINOv2, arXiv:2304.07193)."""

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, PositiveFloat, PositiveInt

from ..methods.config import BackboneConfig
from .base import ACCURACY, Evaluation, EvaluationConfig, Values

if TYPE_CHECKING:
    from torch import Tensor

    from .softmax_regression import Fit, SoftmaxRegression
    from .task import Counts, Score, Task

    Labelled = tuple[Tensor, Tensor]  # features (n, D) and labels (n,) of this rank

GRID = tuple(float(f"{10 ** (-6 + i / 4):.6g}") for i in range(45))
"""45 values from 1e-6 to 1e5, evenly spaced in their logarithm; of six digits, which are the same on every machine."""


class LogisticConfig(EvaluationConfig):
    """Logistic regression with C selected on held-out training images and refitted on all training images.

    The objective is scikit-learn's, C * sum of the losses + 1/2 |W|^2, without a penalty on the intercepts. Features are used as
    they are, as DINOv2 does: it holds out a tenth too, though not of each class.
    """

    name: Literal["logistic"] = "logistic"
    protocol: Literal["logistic/dinov2@1"] = "logistic/dinov2@1"
    C: Values[PositiveFloat] = Field(default=GRID, description="inverse of the regularisation; of equals, the least")
    selection: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="share of the training images that C is selected on; one value needs no selection"
    )
    max_iterations: PositiveInt = 1000
    tolerance: PositiveFloat = Field(default=1e-12, description="of the largest entry of the gradient")


def refusal(config: LogisticConfig, _backbone: BackboneConfig) -> tuple[str, str] | None:
    """A setting that cannot be used with the others, and why."""
    if len(config.C) > 1 and not config.selection:
        return "selection", f"got 0; with {len(config.C)} values of C, one is selected on held-out training images"
    return None


def evaluate_logistic(task: "Task", config: LogisticConfig) -> "Score":
    """Select C, from the strongest regularisation on, each fit beginning at the one before; then fit all images from zero.

    Raises:
        NotFinite: features are not; on every rank.
        Refused: `refusal` says why.
    """
    from .details import answers, details_of
    from .features import own_features, refuse_not_finite
    from .softmax_regression import SoftmaxRegression
    from .task import Refused

    problem = refusal(config, task.backbone)
    if problem is not None:
        raise Refused("{}: {}".format(*problem))
    train, test = own_features(task, task.train), own_features(task, task.test)
    refuse_not_finite({f"{len(task.train):,} training": train[0], f"{len(task.test):,} test": test[0]})
    tried = _tried(task, config, train, test) if len(config.C) > 1 else []
    c = max(tried, key=lambda one: one.held_out.correct1).c if tried else min(config.C)
    regression = SoftmaxRegression(*train, task.train.num_classes, task.is_alive)
    fit = regression.fit(c, config.max_iterations, config.tolerance)
    score = _score(_counts(regression, fit, test), c, tried)
    score = score._replace(details=details_of(task, [answers(regression.scores(fit, test[0]))]))
    if fit.iterations < config.max_iterations:
        return score
    return score._replace(remarks=(*score.remarks, f"L-BFGS stopped after {fit.iterations:,} iterations"))


class Tried(NamedTuple):
    """A value of C, with the classifier that did not see the held-out images."""

    c: float
    held_out: "Counts"
    test: "Counts"


def _tried(task: "Task", config: LogisticConfig, train: "Labelled", test: "Labelled") -> list[Tried]:
    """Every C, the least one first."""
    import torch

    from .selection import held_out_rows
    from .softmax_regression import SoftmaxRegression

    _, rows = held_out_rows(task.train, config.selection, task.seed)
    is_held = torch.zeros(len(task.train), dtype=torch.bool)
    is_held[rows] = True
    own = is_held[task.rank :: task.world_size].to(task.device)
    held_out = (train[0][own], train[1][own])
    regression = SoftmaxRegression(train[0][~own], train[1][~own], task.train.num_classes, task.is_alive)
    tried: list[Tried] = []
    start: Tensor | None = None
    for c in sorted(config.C):
        fit = regression.fit(c, config.max_iterations, config.tolerance, start)
        tried.append(Tried(c, _counts(regression, fit, held_out), _counts(regression, fit, test)))
        start = fit.weights
    return tried


def _counts(regression: "SoftmaxRegression", fit: "Fit", images: "Labelled") -> "Counts":
    """Of the images of all ranks."""
    from .task import count, total

    features, labels = images
    return total(count(regression.scores(fit, features), labels))


def _score(counts: "Counts", c: float, tried: list[Tried]) -> "Score":
    """Of the classifier that is fitted to all images; the others' beside it."""
    from .task import Variant

    score = counts.score()
    if not tried:
        return score
    chosen = next(one for one in tried if one.c == c)
    variants = [
        Variant(
            {"C": one.c},
            {
                **(counts if one is chosen else one.test).score().metrics,
                "held_out_top1": one.held_out.score().metrics["top1"],
            },
        )
        for one in (chosen, *(one for one in tried if one is not chosen))
    ]
    remark = (
        f"by the one of {len(tried)} values of C with the best top-1 on {chosen.held_out.images:,} held-out training"
        " images, then fitted to all"
    )
    return score._replace(variants=tuple(variants), remarks=(remark,))


LOGISTIC = Evaluation(
    "logistic",
    "logistic",
    LogisticConfig,
    (LogisticConfig(),),
    evaluate_logistic,
    metrics=ACCURACY,
    refusal=refusal,
)
