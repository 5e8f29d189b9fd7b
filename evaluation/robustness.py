"""Robustness: kNN on test images under the corruptions of ImageNet-C (Hendrycks & Dietterich, arXiv:1903.12261)."""

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, PositiveFloat, PositiveInt

from ..methods.quantities import noun_of, plural
from . import knn
from .base import Evaluation, EvaluationConfig, Lack, Metric, Sizes, Values
from .corruptions.names import CORRUPTIONS, SEVERITIES, Corruption

if TYPE_CHECKING:
    from torch import Tensor

    from .neighbours import Bank
    from .task import Score, Task

PROTOCOLS = {
    "knn/lightly@1": "robustness/imagenet-c@1",
    "knn/lightly-vit@1": "robustness/imagenet-c-vit@1",
    "knn/lightly-imagenet100@1": "robustness/imagenet-c-imagenet100@1",
}
"""Those with k and temperature of kNN's."""
FROST = (
    "the frost is synthetic, where ImageNet-C has photographs, so that results under frost, and means with it, do not compare with"
    " published ones"
)


class RobustnessConfig(EvaluationConfig):
    """Weighted vote of the k nearest clean training images, as kNN's, for test images under each corruption and severity.

    A test image is resized and cropped as for every evaluation and then corrupted at that size, with the figures of CIFAR-10-C up
    to 64 px and of ImageNet-C above. Frost is synthetic: it is not that of ImageNet-C, which has photographs.
    """

    name: Literal["robustness"] = "robustness"
    protocol: Literal[
        "robustness/imagenet-c@1", "robustness/imagenet-c-vit@1", "robustness/imagenet-c-imagenet100@1"
    ] = "robustness/imagenet-c@1"
    corruptions: Values[Corruption] = CORRUPTIONS
    severities: Values[Annotated[int, Field(ge=1, le=5)]] = SEVERITIES
    k: PositiveInt = 200
    temperature: PositiveFloat = 0.1
    images: PositiveInt = Field(
        default=5000, description="at most so many test images, evenly spread over the test set"
    )

    @property
    def draws(self) -> bool:
        """Always: the corruptions are drawn."""
        return True

    @property
    def kinds(self) -> list[tuple[Corruption, int]]:
        """Every corruption with every severity."""
        return [(corruption, severity) for corruption in self.corruptions for severity in self.severities]


def evaluate_robustness(task: "Task", config: RobustnessConfig) -> "Score":
    """Score the chosen test images clean and under each corruption and severity.

    All kinds are done for one block of test images before the next block is read: what is held is the features of the training
    images, one block clean, and the same block under one corruption.

    Raises:
        NotFinite: features are not; on every rank.
        Refused: there are fewer than k training images.
    """
    import torch

    from ..methods.parts.collectives import total_over_ranks
    from .features import own_features
    from .neighbours import QUERIES, Bank
    from .task import FeaturesNotFinite, Refused

    count, images = min(config.images, len(task.test)), len(task.train)
    chosen = torch.arange(count) * len(task.test) // count
    same = task.train.rows_of(task.test)
    same = None if same is None else same[chosen]
    overlap = 0 if same is None else int((same >= 0).sum())
    if config.k > images - (overlap > 0):
        others = plural(images, "image") + (", of which one is scored itself" if overlap else "")
        raise Refused(f"k is {config.k}, and the training set has {others}; set a smaller k")
    features, _ = own_features(task, task.train)
    bad = int(total_over_ranks(_not_finite(features).sum()[None]))
    if bad:
        raise FeaturesNotFinite(
            f"the features of {bad:,} of {images:,} {noun_of(images, 'training image')} are not finite"
        )
    bank = Bank(features, images)
    counts = torch.zeros(1 + len(config.kinds), 4, dtype=torch.long, device=task.device)
    for start in range(0, count, QUERIES):
        part = slice(start, start + QUERIES)
        counts += _counts_of_block(task, config, bank, chosen[part], None if same is None else same[part])
    return _score(total_over_ranks(counts), task, config, overlap)


class _Block(NamedTuple):
    """This rank's share of a block of test images."""

    levels: "Tensor"  # (b, 3, S, S), uint8
    samples: "Tensor"  # (b,)
    labels: "Tensor"  # (b,)


def _counts_of_block(
    task: "Task", config: RobustnessConfig, bank: "Bank", rows: "Tensor", same: "Tensor | None"
) -> "Tensor":
    """`vote.count_votes` of this rank's share of the rows (Q,): clean, then of each kind, (1 + kinds, 4).

    The last column counts features that are not finite. All ranks must call it, with the same arguments but for the bank.
    """
    import torch

    from .corruptions.apply import corrupted
    from .neighbours import nearest
    from .vote import vote

    block = _block(task, rows)
    classes = task.train.labels.to(task.device)
    counts = torch.zeros(1 + len(config.kinds), 4, dtype=torch.long, device=task.device)
    for i, kind in enumerate((None, *config.kinds)):
        levels = block.levels if kind is None else corrupted(block.levels, block.samples, *kind)
        task.is_alive()
        features = _features(task, levels)
        bad = _not_finite(features)
        features.masked_fill_(bad[:, None], 0)  # they fail the evaluation when all ranks are done
        found = nearest(features, len(rows), bank, config.k, same=same, is_alive=task.is_alive)
        for one in found:
            pair = (config.k, config.temperature)
            counts[i] += vote(one.similarity, classes[one.rows], block.labels, task.train.num_classes, [pair]).counts[0]
        counts[i, 3] = bad.sum()
    return counts


def _block(task: "Task", rows: "Tensor") -> _Block:
    """The evaluation crops of this rank's share of the rows, as whole grey levels, which a crop has."""
    import torch

    from ..datasets.batches import evaluation_batches
    from ..datasets.color import MEAN, STD, constants
    from .features import batch_size

    own = rows[task.rank :: task.world_size]
    mean, std = constants(task.device, MEAN, STD)
    size = task.image_size
    levels = torch.empty(len(own), 3, size, size, dtype=torch.uint8, device=task.device)
    batches = evaluation_batches(
        task.test, size, batch_size(task), rank=task.rank, world_size=task.world_size, chosen=rows
    )
    done = 0
    for chunk, view in batches:
        levels[done : done + len(chunk)] = ((view * std + mean) * 255).round().to(torch.uint8)
        done += len(chunk)
        task.is_alive()
    return _Block(levels, task.test.samples[own].to(task.device), task.test.labels[own].to(task.device))


def _features(task: "Task", levels: "Tensor") -> "Tensor":
    """Features (b, D), float32, of crops (b, 3, S, S) in grey levels."""
    import torch

    from ..datasets.views import normalised
    from .features import batch_size

    encoder = task.encoder.eval()
    features = torch.empty(len(levels), encoder.dim, device=task.device)
    step = batch_size(task)
    for start in range(0, len(levels), step):
        part = slice(start, start + step)
        with torch.no_grad(), task.autocast():
            features[part] = encoder(normalised(levels[part]))
        task.is_alive()
    return features


def _not_finite(features: "Tensor") -> "Tensor":
    """Which of the features (n, D) have no finite length, (n,)."""
    import torch

    return ~torch.linalg.vector_norm(features, dim=1).isfinite()


def _score(counts: "Tensor", task: "Task", config: RobustnessConfig, overlap: int) -> "Score":
    """Of the counts (1 + kinds, 4) of all ranks. Raises NotFinite, on every rank."""
    from .task import NotFinite, Score, Variant

    rows: list[list[int]] = counts.tolist()
    for (_, _, images, bad), kind in zip(rows, (None, *config.kinds), strict=True):
        if bad:
            under = f" under {kind[0]} of severity {kind[1]}" if kind else ""
            raise NotFinite(
                f"the features of {bad:,} of {images:,} {noun_of(images, 'test image')}{under} are not finite"
            )
    images = rows[0][2]
    clean, *right = (row[0] for row in rows)
    top1 = [100 * correct / images for correct in right]
    mean, clean_top1 = 100 * sum(right) / (images * len(right)), 100 * clean / images
    variants = [
        Variant({"corruption": corruption, "severity": severity}, {"corrupted_top1": value})
        for (corruption, severity), value in zip(config.kinds, top1, strict=True)
    ]
    remarks: list[str] = []
    if images < len(task.test):
        remarks.append(f"they are a part of the {len(task.test):,} there are, evenly spread")
    if overlap:
        remarks.append(f"{overlap:,} of them are training images, and none is a neighbour of its own")
    if "frost" in config.corruptions:
        remarks.append(FROST)
    return Score(
        {
            "corrupted_top1": mean,
            "clean_top1": clean_top1,
            "relative_drop": 100 * (1 - mean / clean_top1) if clean else 0.0,
        },
        images,
        {"clean_correct1": clean, "corrupted_correct1": sum(right)},
        variants=tuple(variants),
        remarks=tuple(remarks),
    )


def published_protocol(backbone: str, dataset: str) -> str:
    """With k and temperature of kNN's published protocol."""
    return PROTOCOLS[knn.published_protocol(backbone, dataset)]


def _misfit(config: RobustnessConfig, sizes: Sizes) -> Lack | None:
    return knn.lack_of_neighbours(config.k, sizes)


ROBUSTNESS = Evaluation(
    "robustness",
    "robustness",
    RobustnessConfig,
    (
        RobustnessConfig(),
        RobustnessConfig(protocol="robustness/imagenet-c-vit@1", temperature=0.07),
        RobustnessConfig(protocol="robustness/imagenet-c-imagenet100@1", k=20),
    ),
    evaluate_robustness,
    # The error, 100 - corrupted top-1, is the mean corruption error of the paper without its division by AlexNet's.
    metrics=(
        Metric("corrupted_top1", "corrupted top-1", "%"),
        Metric("clean_top1", "clean top-1", "%"),
        Metric("relative_drop", "relative drop", "%", higher_is_better=False),  # 100 * (1 - corrupted / clean)
    ),
    default=published_protocol,
    misfit=_misfit,
)
