"""Few-shot: classifiers of a few training images per class, in closed form (SimpleShot, arXiv:1911.04623; big_vision's `fewshot_lsr`)."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from ..methods.quantities import plural
from .base import Evaluation, EvaluationConfig, Lack, Metric, Sizes, Values

if TYPE_CHECKING:
    from torch import Tensor

    from .task import Score, Task

BLOCK = 1024
"""Test images that are scored at once. All blocks have one shape: the last bits of a matrix product depend on it."""
BIAS = 100.0
"""The feature that stands for the bias of the ridge regression, so large that the penalty hardly reaches its weight (big_vision)."""


class FewShotConfig(EvaluationConfig):
    """Accuracy on all test images of a classifier of `shots` training images per class: the mean over `repeats` draws of them.

    Several numbers of shots are scored on the same draws, the smaller ones being part of the larger; the first is the result.
    """

    name: Literal["fewshot"] = "fewshot"
    protocol: Literal["fewshot/centroid@1", "fewshot/big-vision@1"] = "fewshot/centroid@1"
    shots: Values[PositiveInt] = Field(default=(5, 1, 10), description="training images per class")
    repeats: Annotated[int, Field(ge=2)] = Field(default=10, description="draws of the training images")
    ridge: PositiveFloat | None = Field(
        default=None, description="penalty of a ridge regression; unset: the nearest centroid of features of length 1"
    )

    @property
    def draws(self) -> bool:
        return True


def evaluate_fewshot(task: "Task", config: FewShotConfig) -> "Score":
    """Classify the test images, which are not among the drawn ones.

    Raises:
        NotFinite: features are not; on every rank.
        Refused: a class has fewer training images than `shots`.
    """
    import torch

    from .features import own_features, refuse_not_finite
    from .task import total

    known, pool = _classes(task), _pool(task)
    _refuse_small_classes(task, known, pool, max(config.shots))
    bank, _ = own_features(task, task.train)
    queries, labels = own_features(task, task.test)
    refuse_not_finite({f"{len(task.train):,} training": bank, f"{len(task.test):,} test": queries})
    truth = torch.searchsorted(known.to(task.device), labels)
    correct: dict[int, list[int]] = {shots: [] for shots in config.shots}
    for repeat in range(config.repeats):
        rows = drawn_rows(task, known, pool, max(config.shots), repeat)  # (C, S)
        support = _of_all_ranks(bank, rows, task).unflatten(0, rows.shape)  # (C, S, D)
        for shots in config.shots:
            scored = total(_hits(support[:, :shots], queries, truth, config.ridge, len(task.test)))
            correct[shots].append(scored.correct1)
            task.is_alive()
    return _score(config, correct, len(task.test))


def _classes(task: "Task") -> "Tensor":
    """The classes (C,) of any training or test image, ascending: a data set may name some that have none."""
    import torch

    return torch.cat([task.train.labels, task.test.labels]).unique()


def _pool(task: "Task") -> "Tensor":
    """The training images (n,), by row, that may be drawn: those that are no test images."""
    import torch

    rows = torch.arange(len(task.train))
    same = task.train.rows_of(task.test)
    return rows if same is None else rows[~torch.isin(rows, same)]


def _refuse_small_classes(task: "Task", known: "Tensor", pool: "Tensor", shots: int) -> None:
    from .task import Refused

    counts = task.train.labels[pool].bincount(minlength=task.train.num_classes)[known]
    small = [
        (task.train.classes[int(one)], int(count)) for one, count in zip(known, counts, strict=True) if count < shots
    ]
    small.sort(key=lambda one: one[1])
    if small:
        few = ", ".join(f"'{name}' {count}" for name, count in small[:5]) + (", …" if len(small) > 5 else "")
        lack = "one class has" if len(small) == 1 else f"{len(small)} classes have"
        least = small[0][1]
        write = f"write shots of at most {least}" if least else "leave this evaluation out"
        raise Refused(f"shots is {shots}, and {lack} fewer training images ({few}); {write}")


def drawn_rows(task: "Task", known: "Tensor", pool: "Tensor", shots: int, repeat: int) -> "Tensor":
    """Rows (C, S) of the training images of a draw, S = `shots` of each class.

    Each image has a key for each draw, and a class gives those with the smallest: whatever else is drawn, and on any rank.
    """
    import torch

    from ..methods.parts.draws import Purpose, sample_keys

    keys = sample_keys(task.seed, Purpose.SHOTS, repeat, task.train.samples[pool])
    shuffled = pool[keys.argsort(stable=True)]
    labels, order = task.train.labels[shuffled].sort(stable=True)
    starts = torch.searchsorted(labels, known)  # where each class begins
    return shuffled[order][starts[:, None] + torch.arange(shots)]


def _of_all_ranks(bank: "Tensor", rows: "Tensor", task: "Task") -> "Tensor":
    """Features (C * S, D) of `rows` (C, S), on every rank. bank: (n, D), of rows r, r + W, ... on rank r of W."""
    from ..methods.parts.collectives import total_over_ranks

    wanted = rows.flatten().to(bank.device)
    own = wanted % task.world_size == task.rank
    found = bank.new_zeros(len(wanted), bank.shape[1])
    found[own] = bank[wanted[own] // task.world_size]
    return total_over_ranks(found)  # of one rank's features and zeros: exact


def _hits(support: "Tensor", queries: "Tensor", truth: "Tensor", ridge: float | None, num_queries: int) -> "Tensor":
    """`task.count` of this rank's queries (q, D), whose classes are truth (q,), by the classifier of support (C, S, D)."""
    import torch
    import torch.nn.functional as F

    from .neighbours import block_side, padded
    from .task import count

    weights, bias = centroids(support.double()) if ridge is None else ridge_regression(support.double(), ridge)
    side = block_side(num_queries, BLOCK)
    hits = torch.zeros(4, dtype=torch.long, device=queries.device)
    for block, labels in zip(queries.split(side), truth.split(side), strict=True):
        inputs = padded(block, side).double()
        scores = (F.normalize(inputs, dim=1) if ridge is None else inputs) @ weights + bias
        hits += count(scores[: len(block)], labels)
    return hits


def centroids(support: "Tensor") -> "tuple[Tensor, Tensor]":
    """Weights (D, C) and bias (C,) that score features of length 1 by their Euclidean distance from each class's mean.

    support: (C, S, D). The means are of features of length 1 and are not normalised again ("L2N" of SimpleShot, sec. 3.2):
    -|x - c|^2 / 2 is x c - |c|^2 / 2, but for what is the same for all classes.
    """
    import torch.nn.functional as F

    means = F.normalize(support, dim=2).mean(dim=1)  # (C, D)
    return means.T, -means.square().sum(dim=1) / 2


def ridge_regression(support: "Tensor", penalty: float) -> "tuple[Tensor, Tensor]":
    """Weights (D, C) and bias (C,) of a regression of support (C, S, D) to 1 for the own class and -1 for the others.

    As in big_vision: features are standardised by the mean and deviation of the support, and the bias is one more of them.
    """
    import torch

    classes, shots, _ = support.shape
    x = support.flatten(0, 1)  # (N, D)
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0) + 1e-5
    x = torch.cat([(x - mean) / deviation, x.new_full((len(x), 1), BIAS)], dim=1)
    y = (2 * torch.eye(classes, dtype=x.dtype, device=x.device) - 1).repeat_interleave(shots, dim=0)  # (N, C)
    wide = x.shape[0] < x.shape[1]
    gram = x @ x.T if wide else x.T @ x
    gram.diagonal().add_(penalty)
    solved = x.T @ torch.linalg.solve(gram, y) if wide else torch.linalg.solve(gram, x.T @ y)  # (D + 1, C)
    weights = solved[:-1] / deviation[:, None]
    return weights, BIAS * solved[-1] - mean @ weights


def _score(config: FewShotConfig, correct: dict[int, list[int]], images: int) -> "Score":
    from .task import Score, Variant

    metrics = [mean_and_interval([100 * hits / images for hits in correct[shots]]) for shots in config.shots]
    if len(metrics) == 1:
        return Score(metrics[0], images)
    variants = tuple(Variant({"shots": shots}, one) for shots, one in zip(config.shots, metrics, strict=True))
    remark = f"shown: shots = {config.shots[0]}; the results have all {len(metrics)} numbers"
    return Score(metrics[0], images, variants=variants, remarks=(remark,))


def mean_and_interval(values: Sequence[float]) -> dict[str, float]:
    """The metrics, of the accuracies of the draws: their mean, and half the width of its 95 % interval by Student's t."""
    from scipy.special import stdtrit

    error = statistics.stdev(values) / len(values) ** 0.5
    return {"top1": statistics.fmean(values), "interval": float(stdtrit(len(values) - 1, 0.975)) * error}


def _misfit(config: FewShotConfig, sizes: Sizes) -> Lack | None:
    """By the smallest of the classes that any image has, where it is known how many each has."""
    if not sizes.train:
        return None
    counts = zip(sizes.train, sizes.test, sizes.classes, strict=True)
    images, name = min(((trained, name) for trained, tested, name in counts if trained or tested), default=(0, ""))
    if max(config.shots) <= images or not name:
        return None
    write = f"write {images} or less" if images else "leave this evaluation out, or give it more labels"
    return Lack(f"shots = {max(config.shots)} ({write})", f"{plural(images, 'training image')} of class '{name}'")


FEWSHOT = Evaluation(
    "fewshot",
    "few-shot",
    FewShotConfig,
    (
        FewShotConfig(),
        # `common_fewshot.py` shows 10 shots of 1, 5, 10 and 25, with a penalty of 2^10 and three seeds.
        FewShotConfig(protocol="fewshot/big-vision@1", shots=(10, 1, 5, 25), repeats=3, ridge=1024.0),
    ),
    evaluate_fewshot,
    metrics=(
        Metric("top1", "top-1", "%"),
        Metric("interval", "± 95 %", "%", higher_is_better=False, ranked=False),
    ),
    misfit=_misfit,
)
