"""An evaluation: how long the features of the test images are."""

from typing import TYPE_CHECKING, Literal

from ssl_sweep.evaluation.base import Evaluation, EvaluationConfig, Metric

if TYPE_CHECKING:
    from ssl_sweep.evaluation.task import Score, Task


class FeatureNormConfig(EvaluationConfig):
    """The mean Euclidean norm."""

    name: Literal["feature_norm"] = "feature_norm"
    protocol: Literal["feature_norm/plain@1"] = "feature_norm/plain@1"


def evaluate(task: "Task", config: FeatureNormConfig) -> "Score":
    from ssl_sweep.evaluation.features import all_features
    from ssl_sweep.evaluation.task import Score

    features, _ = all_features(task, task.test)  # (N, D)
    return Score({"mean": float(features.norm(dim=1).mean())}, images=len(features))


FEATURE_NORM = Evaluation(
    "feature_norm",
    "Feature norm",
    FeatureNormConfig,
    (FeatureNormConfig(),),
    evaluate,
    metrics=(Metric("mean", "mean norm"),),
    needs_labels=False,
)
