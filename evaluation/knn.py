"""kNN: weighted vote of the nearest training images (Wu et al., Instance Discrimination, arXiv:1805.01978, sec. 3.4)."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from ..methods.backbones import is_vit
from ..methods.quantities import plural
from .base import ACCURACY, Evaluation, EvaluationConfig, Lack, Sizes, Values

if TYPE_CHECKING:
    from .task import Counts, Score, Task


class KnnConfig(EvaluationConfig):
    """Weighted vote of the k nearest training images by cosine similarity; weight exp(similarity / temperature).

    Lists of k and temperature are scored in one search, each with each; the first of each is the result.
    """

    version: ClassVar[int] = 2  # 1 filled the first five places with classes that had no vote

    name: Literal["knn"] = "knn"
    protocol: Literal[
        "knn/lightly@1", "knn/lightly-vit@1", "knn/lightly-imagenet100@1", "knn/instdisc@1", "knn/dinov2@1"
    ] = "knn/lightly@1"
    k: Values[PositiveInt] = (200,)
    temperature: Values[PositiveFloat] = (0.1,)

    @property
    def pairs(self) -> list[tuple[int, float]]:
        """Every k with every temperature, the main pair first."""
        return [(k, temperature) for k in self.k for temperature in self.temperature]


def evaluate_knn(task: "Task", config: KnnConfig) -> "Score":
    """Classify each test image by its k nearest training images, itself not being one of them.

    Raises:
        NotFinite: features are not; on every rank.
        Refused: there are fewer than k training images.
    """
    import torch

    from .details import Answers, details_of
    from .features import own_features, refuse_not_finite
    from .neighbours import Bank, nearest
    from .task import Refused, total
    from .vote import vote

    same = task.train.rows_of(task.test)
    overlap = 0 if same is None else int((same >= 0).sum())
    k, images = max(config.k), len(task.train)
    most = images - (overlap > 0)
    if k > most:
        others = plural(images, "image") + (", of which one is scored itself" if overlap else "")
        raise Refused(f"k is {k}, and the training set has {others}; write `k: {most}` or less")
    bank, _ = own_features(task, task.train)
    queries, labels = own_features(task, task.test)
    refuse_not_finite({f"{images:,} training": bank, f"{len(task.test):,} test": queries})
    classes = task.train.labels.to(task.device)
    hits = torch.zeros(len(config.pairs), 4, dtype=torch.long, device=task.device)
    answers: list[Answers] = []
    start = 0
    for found in nearest(queries, len(task.test), Bank(bank, images), k, same=same, is_alive=task.is_alive):
        truth = labels[start : start + len(found.rows)]
        cast = vote(found.similarity, classes[found.rows], truth, task.train.num_classes, config.pairs)
        hits += cast.counts
        answers += cast.answers
        start += len(truth)
    score = _score([total(own) for own in hits], config, overlap)
    return score._replace(details=details_of(task, answers))


def _score(counts: "list[Counts]", config: KnnConfig, overlap: int) -> "Score":
    """The main pair's, with all of them beside it."""
    from .task import Variant

    score = counts[0].score()
    remarks: list[str] = []
    if overlap:
        remarks.append(f"{overlap:,} of them are training images, and none is a neighbour of its own")
    if len(counts) == 1:
        return score._replace(remarks=tuple(remarks))
    variants = [
        Variant({"k": k, "temperature": temperature}, one.score().metrics)
        for (k, temperature), one in zip(config.pairs, counts, strict=True)
    ]
    remarks.append(
        f"shown: k = {config.k[0]}, temperature = {config.temperature[0]:g}; the results have all {len(counts)} pairs,"
        " and the best of them is chosen on the very images it is scored on"
    )
    return score._replace(variants=tuple(variants), remarks=tuple(remarks))


def published_protocol(backbone: str, dataset: str) -> str:
    """As Lightly's tables have it: the temperature is another for ViTs, except on its small data sets, and k on ImageNet-100."""
    if dataset == "imagenet100":
        return "knn/lightly-imagenet100@1"
    small = dataset in ("cifar10", "imagenette")
    return "knn/lightly-vit@1" if not small and is_vit(backbone) else "knn/lightly@1"


def _fitting(config: KnnConfig, images: int) -> KnnConfig:
    return config.model_copy(update={"k": tuple(dict.fromkeys(min(k, images) for k in config.k))})


def _misfit(config: KnnConfig, sizes: Sizes) -> Lack | None:
    return lack_of_neighbours(max(config.k), sizes)


def lack_of_neighbours(k: int, sizes: Sizes) -> Lack | None:
    """Why k nearest training images cannot be had."""
    return Lack(f"k = {k} (write `k: {sizes.train_images}` or less)") if k > sizes.train_images else None


KNN = Evaluation(
    "knn",
    "kNN",
    KnnConfig,
    (
        KnnConfig(),
        KnnConfig(protocol="knn/lightly-vit@1", temperature=(0.07,)),
        KnnConfig(protocol="knn/lightly-imagenet100@1", k=(20,)),
        KnnConfig(protocol="knn/instdisc@1", temperature=(0.07,)),
        # DINOv2 prints all four; its code says that 20 usually works best, as does DINO's.
        KnnConfig(protocol="knn/dinov2@1", k=(20, 10, 100, 200), temperature=(0.07,)),
    ),
    evaluate_knn,
    metrics=ACCURACY,
    default=published_protocol,
    monitors=True,
    fitting=_fitting,
    misfit=_misfit,
)
