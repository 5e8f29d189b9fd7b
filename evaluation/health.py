"""Health: what the features of a backbone tell without labels. All are of the test images, which nothing is chosen on."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from ..methods.quantities import plural
from .base import Evaluation, EvaluationConfig, Lack, Metric, Sizes

if TYPE_CHECKING:
    from torch import Tensor

    from .task import Score, Task

LEAST = 2
"""Test images: of fewer there is no spread."""


class HealthConfig(EvaluationConfig):
    """RankMe (arXiv:2210.02885), spread, alpha-ReQ (arXiv:2202.05808), LiDAR (arXiv:2312.04000), alignment and uniformity
    (arXiv:2005.10242) of the backbone's features; where a paper has the projector's, the backbone's are looked at all the same.
    """

    name: Literal["health"] = "health"
    protocol: Literal["health/features@1"] = "health/features@1"
    images: PositiveInt = Field(default=25_600, description="at most so many test images, evenly spread; as RankMe")
    view_images: PositiveInt = Field(
        default=1000, description="of these so many, evenly spread, are cropped and flipped; as LiDAR"
    )
    views: Annotated[int, Field(ge=2)] = Field(default=50, description="crops of each of these; as LiDAR")


def evaluate_health(task: "Task", config: HealthConfig) -> "Score":
    """Look at the features of test images, and at those of their crops for LiDAR and alignment.

    Raises:
        Refused: there is one test image.
        NotFinite: features are not; on every rank.
    """
    from .diagnostics import eigenspectrum, power_law, rankme, spread, uniformity
    from .features import all_features, refuse_not_finite
    from .invariance import lidar, view_statistics
    from .task import Refused, Score

    rows = evenly(len(task.test), config.images)
    if len(rows) < LEAST:
        where = "there is 1" if len(task.test) < LEAST else "`images` is 1"
        raise Refused(f"the spread of features takes at least {LEAST} test images, and {where}")
    features = all_features(task, task.test)[0]
    refuse_not_finite({f"{len(task.test):,} test": features[task.rank :: task.world_size]})
    features = features[rows.to(task.device)]
    task.is_alive()
    alpha = power_law(eigenspectrum(features))
    seen = rows[evenly(len(rows), config.view_images)]
    statistics = view_statistics(task, seen, config.views)
    remarks = [f"LiDAR and alignment of {config.views} crops of {len(seen):,} of them"]
    if alpha is None:
        remarks.append("α is 0 where fewer than two directions vary, which no power law fits")
    metrics = {
        "rankme": rankme(features),
        "std": spread(features),
        "alpha": 0.0 if alpha is None else alpha,
        "lidar": lidar(statistics.means, statistics.within),
        "alignment": statistics.alignment,
        "uniformity": uniformity(features),
    }
    return Score(metrics, len(rows), remarks=tuple(remarks))


def evenly(images: int, most: int) -> "Tensor":
    """At most so many of the rows of `images`, evenly spread, (n,)."""
    import torch

    count = min(images, most)
    return torch.arange(count) * images // count


def _misfit(_config: HealthConfig, sizes: Sizes) -> Lack | None:
    if sizes.test_images >= LEAST:
        return None
    return Lack(f"a spread to take of at least {LEAST} images (leave it out)", plural(sizes.test_images, "test image"))


HEALTH = Evaluation(
    "health",
    "health",
    HealthConfig,
    (HealthConfig(),),
    evaluate_health,
    metrics=(
        Metric("rankme", "RankMe"),
        Metric("std", "spread", digits=3),
        Metric("alpha", "α", digits=2, ranked=False),  # the best is near 1
        Metric("lidar", "LiDAR"),
        Metric("alignment", "alignment", higher_is_better=False, digits=3),
        Metric("uniformity", "uniformity", higher_is_better=False, digits=2),
    ),
    needs_labels=False,
    misfit=_misfit,
)
