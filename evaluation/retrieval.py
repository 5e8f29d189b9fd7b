"""Retrieval: test images look for the training images of their class (mean average precision, as Revisiting Oxford and Paris,
arXiv:1803.11285, has it without the images it calls junk; precision at 1 is recall at 1 of metric learning, arXiv:2003.08505).
"""

from typing import TYPE_CHECKING, Literal

from .base import Evaluation, EvaluationConfig, Metric

if TYPE_CHECKING:
    from torch import Tensor

    from .ranking import Places
    from .task import Score, Task


class RetrievalConfig(EvaluationConfig):
    """The whole ranking of the training images for each test image, by cosine similarity; relevant are those of its class."""

    name: Literal["retrieval"] = "retrieval"
    protocol: Literal["retrieval/cosine@1"] = "retrieval/cosine@1"


def evaluate_retrieval(task: "Task", _config: RetrievalConfig) -> "Score":
    """Rank the training images for each test image, itself not being one of them.

    Test images whose class has no training image, but perhaps themselves, are left out.

    Raises:
        NotFinite: features are not; on every rank.
        Refused: no test image has anything to find.
    """
    import torch

    from .features import own_features, refuse_not_finite
    from .neighbours import Bank
    from .ranking import relevant_places
    from .task import Refused, Score

    same, images = task.train.rows_of(task.test), len(task.test)
    bank, _ = own_features(task, task.train)
    queries, _ = own_features(task, task.test)
    refuse_not_finite({f"{len(task.train):,} training": bank, f"{images:,} test": queries})
    scores = torch.full((images, 3), -1.0, dtype=torch.double)  # of each query on its own: their sum has one order
    blocks = relevant_places(
        queries,
        task.test.labels,
        Bank(bank, len(task.train)),
        task.train.labels,
        same=same,
        is_alive=task.is_alive,
    )
    for block in blocks:
        scores[block.queries] = precisions(block).cpu()
    scored = scores[scores[:, 0] >= 0]
    if not len(scored):
        raise Refused("no test image has the class of any training image")
    names = (metric.name for metric in RETRIEVAL.metrics)
    metrics = dict(zip(names, (100 * scored.mean(dim=0)).tolist(), strict=True))
    return Score(metrics, len(scored), remarks=_remarks(images - len(scored), same))


def precisions(block: "Places") -> "Tensor":
    """Average precision, precision at 1 and at 10 of each query, (b, 3), float64; -1 if nothing is relevant to it.

    Average precision is the mean over the relevant images of the share of relevant ones up to there.
    """
    import torch

    _, places, found = block
    number = torch.arange(1, places.shape[1] + 1, device=places.device)
    average = (found * number / places.double()).sum(dim=1) / found.sum(dim=1).clamp(min=1)
    first, ten = ((found & (places <= k)).sum(dim=1).double() / k for k in (1, 10))
    return torch.stack([average, first, ten], dim=1).masked_fill(~found.any(dim=1, keepdim=True), -1.0)


def _remarks(lonely: int, same: "Tensor | None") -> tuple[str, ...]:
    remarks: list[str] = []
    if same is not None:
        remarks.append(f"{int((same >= 0).sum()):,} of the test images are training images, and none finds itself")
    if lonely:
        remarks.append(f"{lonely:,} test images are left out, whose class has no training image to find")
    return tuple(remarks)


RETRIEVAL = Evaluation(
    "retrieval",
    "retrieval",
    RetrievalConfig,
    (RetrievalConfig(),),
    evaluate_retrieval,
    metrics=(Metric("map", "mAP", "%"), Metric("precision1", "P@1", "%"), Metric("precision10", "P@10", "%")),
)
