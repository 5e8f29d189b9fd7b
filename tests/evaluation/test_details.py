"""Confusion, balanced accuracy and calibration of classifiers, on any number of ranks."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from ranks import Ranks
from sklearn.metrics import balanced_accuracy_score
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.evaluation import details as module
from ssl_sweep.evaluation.attentive import AttentiveConfig
from ssl_sweep.evaluation.base import EvaluationConfig
from ssl_sweep.evaluation.details import Answers, Details, answers, details_of, expected_calibration_error
from ssl_sweep.evaluation.finetune import FinetuneConfig
from ssl_sweep.evaluation.knn import KnnConfig
from ssl_sweep.evaluation.linear import LinearConfig
from ssl_sweep.evaluation.logistic import LogisticConfig
from ssl_sweep.evaluation.registry import EVALUATIONS
from ssl_sweep.evaluation.ridge import RidgeConfig
from ssl_sweep.evaluation.task import Task, count
from ssl_sweep.evaluation.vote import vote
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.parts.collectives import rank, world_size

MakeTask = Callable[..., Task]
VIT = BackboneConfig(
    name="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
)
HAND_MADE = Details({(0, 0): 3, (0, 1): 1, (1, 1): 2, (2, 0): 2, (2, 1): 1, (2, 2): 1})
"""Ten images of three classes: 3 of 4, 2 of 2 and 1 of 4 are right."""


def test_three_classes_by_hand() -> None:
    assert HAND_MADE.recalls == {0: 75.0, 1: 100.0, 2: 25.0}
    assert HAND_MADE.balanced_top1 == pytest.approx(200 / 3)


def test_a_class_without_images_has_no_recall() -> None:
    found = Details({(0, 1): 1, (2, 2): 3})
    assert found.recalls == {0: 0.0, 2: 100.0} and found.balanced_top1 == 50


def test_calibration_by_hand() -> None:
    """Two bins: 0.9 on average with one of two right, and 0.5 with its one image right."""
    confidence = torch.tensor([0.88, 0.92, 0.5], dtype=torch.float64)
    found = expected_calibration_error(confidence, torch.tensor([True, False, True]))
    assert found == pytest.approx(100 * (2 / 3 * 0.4 + 1 / 3 * 0.5))


def slow_calibration_error(confidence: list[float], correct: list[bool]) -> float:
    total = 0.0
    for m in range(1, 16):
        inside = [i for i, value in enumerate(confidence) if (m - 1) / 15 < value <= m / 15]
        if inside:
            accuracy = sum(correct[i] for i in inside) / len(inside)
            mean = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return 100 * total


def test_calibration_is_that_of_a_slow_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.arange(1, 16, dtype=torch.float64) / 15
    confidence = torch.cat([torch.rand(500, dtype=torch.float64, generator=generator), edges])
    correct = torch.rand(515, generator=generator) < 0.6
    slow = slow_calibration_error(confidence.tolist(), correct.tolist())
    assert expected_calibration_error(confidence, correct) == pytest.approx(slow)


def drawn(images: int, classes: int) -> torch.Tensor:
    return 3 * torch.randn(images, classes, generator=torch.Generator().manual_seed(1))


def test_balanced_accuracy_is_scikit_learns(task: MakeTask) -> None:
    made = task()
    labels, scores = made.test.labels, drawn(len(made.test), made.test.num_classes)
    found = details_of(made, [answers(part) for part in scores.split(33)])
    predicted = scores.argmax(dim=1)
    assert found.balanced_top1 == pytest.approx(100 * balanced_accuracy_score(labels, predicted))
    assert np.unpackbits(np.frombuffer(found.hits, np.uint8))[:100].tolist() == (predicted == labels).int().tolist()
    for truth, answer in [(0, 0), (3, 5), (9, 1)]:
        images = int(((labels == truth) & (predicted == answer)).sum())
        assert found.confusion.get((truth, answer), 0) == images
    confidence = scores.softmax(dim=1).amax(dim=1).double()
    slow = slow_calibration_error(confidence.tolist(), (predicted == labels).tolist())
    assert found.ece == pytest.approx(slow, abs=1e-4)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    made = Ranks(2, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield made
    made.close()


def on_this_rank(prepared: Prepared, images: int) -> Details:
    """Of the first images, of which rank r has r, r + W, ..."""
    test = ImageSet.open(prepared, "test").subset(torch.arange(images))
    task = Task(build_encoder(VIT, 16), VIT, test, test, 16, rank=rank(), world_size=world_size())
    own = drawn(images, test.num_classes)[rank() :: world_size()]
    return details_of(task, [answers(part) for part in own.split(20)] if len(own) else [])


@pytest.mark.parametrize("images", [99, 1])
def test_two_ranks_equal_one(images: int, digits: Prepared, pool: Ranks) -> None:
    """Of a single image the second rank has none."""
    assert pool.run(on_this_rank, digits, images) == [on_this_rank(digits, images)] * 2


@pytest.mark.parametrize("k", [1, 4, 30])
def test_votes_are_counted_alike(k: int) -> None:
    """Image by image, also where classes have equal votes."""
    generator = torch.Generator().manual_seed(k)
    similarity = (torch.rand(40, 30, generator=generator) * 4).round().div(4).sort(dim=1, descending=True).values
    classes = torch.randint(0, 6, (40, 30), generator=generator)
    labels = torch.randint(0, 6, (40,), generator=generator)
    parts = vote(similarity, classes, labels, 6, [(k, 0.1), (1, 1.0)]).answers
    ours = Answers(torch.cat([part.predicted for part in parts]), torch.cat([part.confidence for part in parts]))
    for i in range(40):
        row = slice(i, i + 1)
        counted = vote(similarity[row], classes[row], labels[row], 6, [(k, 0.1)]).counts
        assert int(counted[0, 0]) == int(ours.predicted[i] == labels[i])
        votes = [0.0] * 6
        for near, of in zip(similarity[i, :k].tolist(), classes[i, :k].tolist(), strict=True):
            votes[of] += math.exp(near / 0.1)
        assert float(ours.confidence[i]) == pytest.approx(max(votes) / sum(votes))


def test_scores_are_counted_alike() -> None:
    """Also if all are equal."""
    scores, labels = torch.zeros(7, 6), torch.arange(7) % 6
    assert int(count(scores, labels)[0]) == int((answers(scores).predicted == labels).sum())
    assert answers(scores).confidence.tolist() == pytest.approx([1 / 6] * 7)


CLASSIFIERS: list[EvaluationConfig] = [
    KnnConfig(k=(20, 1)),
    LinearConfig(epochs=2, batch_size=64, augment=False),
    LinearConfig(epochs=2, batch_size=64, augment=False, lr=(0.1, 1e-4)),
    LogisticConfig(C=(0.01, 1.0)),
    RidgeConfig(),
    AttentiveConfig(epochs=2, batch_size=64, lr=(1e-3, 1e-2), weight_decay=(5e-4,)),
    FinetuneConfig(epochs=2, batch_size=64),
]


@pytest.mark.parametrize("config", CLASSIFIERS, ids=lambda config: config.name)
def test_each_classifier_gives_those_of_its_result_once(
    config: EvaluationConfig, task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after every epoch, nor for every head."""
    calls: list[int] = []

    def counted(*given: object, **options: object) -> Details:
        calls.append(1)
        return details_of(*given, **options)  # pyright: ignore

    monkeypatch.setattr(module, "details_of", counted)
    score = EVALUATIONS[config.name].run(task(), config)
    found = score.details
    assert found is not None and len(calls) == 1
    assert sum(found.confusion.values()) == score.images
    assert (
        sum(images for (truth, answer), images in found.confusion.items() if truth == answer)
        == score.counts["correct1"]
    )
    if config.name == "ridge":
        assert found.ece is None
    else:
        assert found.ece is not None and 0 < found.ece < 100
