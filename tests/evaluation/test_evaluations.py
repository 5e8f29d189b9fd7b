"""kNN, linear and finetune: against slow, obvious versions, and on what they must leave alone."""

import math
from collections import defaultdict
from collections.abc import Callable

import pytest
import torch
from ssl_sweep.datasets.batches import epoch_order, evaluation_batches
from ssl_sweep.evaluation.classifier import central_square, labelled_batches
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.finetune import FINETUNE, FinetuneConfig, evaluate_finetune
from ssl_sweep.evaluation.knn import KNN, KnnConfig, evaluate_knn
from ssl_sweep.evaluation.linear import LINEAR, LinearConfig, evaluate_linear
from ssl_sweep.evaluation.registry import EVALUATIONS, changed_settings, resolve
from ssl_sweep.evaluation.supervised import plan
from ssl_sweep.evaluation.task import Counts, NotFinite, Score, Task, count, majority_remark
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.orchestrator.spec.identity import evaluation_id

MakeTask = Callable[..., Task]
VIT = "vit_tiny_patch16_224"


def slow_knn(task: Task, k: int, temperature: float) -> tuple[int, int]:
    """One query at a time, in plain Python over float64."""
    bank, labels = all_features(task, task.train)
    queries, truth = all_features(task, task.test)
    bank, queries = bank.double(), queries.double()
    correct1 = correct5 = 0
    for query, label in zip(queries, truth.tolist(), strict=True):
        similarity = [float(query @ row / (query.norm() * row.norm())) for row in bank]
        nearest = sorted(range(len(bank)), key=lambda i: -similarity[i])[:k]
        votes: dict[int, float] = defaultdict(float)
        for i in nearest:
            votes[int(labels[i])] += math.exp(similarity[i] / temperature)
        order = sorted(votes, key=lambda c: -votes[c])
        correct1 += order[0] == label
        correct5 += label in order[:5]
    return correct1, correct5


def test_knn_is_the_slow_one(task: MakeTask) -> None:
    made = task()
    score = evaluate_knn(made, KnnConfig(k=(15,)))
    correct1, correct5 = slow_knn(made, 15, 0.1)
    assert score.counts == {"correct1": correct1, "correct5": correct5}
    assert score.images == 100


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("protocol", ["linear/simclr@1", "linear/mae@1"])
def test_linear_learns_and_leaves_the_backbone_alone(task: MakeTask, augment: bool, protocol: str) -> None:
    made = task()
    before = {key: value.clone() for key, value in made.encoder.state_dict().items()}
    own = LinearConfig(protocol=protocol, epochs=6, batch_size=32, warmup_epochs=1, lr=1.0, augment=augment)
    config = resolve(own, VIT, "digits")
    assert isinstance(config, LinearConfig)
    score = evaluate_linear(made, config)
    assert len(score.epochs) == 6
    assert score.metrics == score.epochs[-1]
    assert score.metrics["top1"] > 25  # chance is 10
    assert all(torch.equal(value, before[key]) for key, value in made.encoder.state_dict().items())


def test_linear_with_a_batch_larger_than_the_training_set(task: MakeTask) -> None:
    assert evaluate_linear(task(), LinearConfig(epochs=1, batch_size=4096, augment=False)).images == 100


@pytest.mark.parametrize("protocol", [config.protocol for config in FINETUNE.protocols])
def test_finetune_trains_a_copy(task: MakeTask, protocol: str) -> None:
    made = task()
    before = {key: value.clone() for key, value in made.encoder.state_dict().items()}
    config = resolve(FinetuneConfig(protocol=protocol, epochs=2, batch_size=63, warmup_epochs=0), VIT, "digits")
    assert isinstance(config, FinetuneConfig)
    score = evaluate_finetune(made, config)  # of 320 images: five odd batches, and five images left out
    assert len(score.epochs) == 2
    assert score.images == 100
    assert all(torch.equal(value, before[key]) for key, value in made.encoder.state_dict().items())


def test_finetune_repeats_itself(task: MakeTask) -> None:
    config = FINETUNE.protocol("finetune/mae@1").model_copy(update={"epochs": 1, "batch_size": 32, "warmup_epochs": 0})
    assert isinstance(config, FinetuneConfig)
    assert evaluate_finetune(task(), config) == evaluate_finetune(task(), config)


def test_finetune_of_a_resnet_learns(task: MakeTask) -> None:
    config = FinetuneConfig(epochs=6, batch_size=32)
    score = evaluate_finetune(task(BackboneConfig(name="resnet10t")), config)
    assert score.metrics["top1"] > 40


@pytest.mark.parametrize("backbone", [None, BackboneConfig(name="resnet10t")], ids=["vit", "resnet"])
@pytest.mark.parametrize("protocol", ["finetune/mae@2", "finetune/lightly-vit@1"])
def test_finetune_of_an_odd_batch_repeats_itself(
    protocol: str, backbone: BackboneConfig | None, task: MakeTask
) -> None:
    config = FINETUNE.protocol(protocol).model_copy(update={"epochs": 1, "batch_size": 105, "warmup_epochs": 0})
    made = [task() if backbone is None else task(backbone) for _ in range(2)]
    assert evaluate_finetune(made[0], config) == evaluate_finetune(made[1], config)


def test_finetune_without_augmentation_sees_the_images_themselves(task: MakeTask) -> None:
    made = task()
    score = evaluate_finetune(made, FinetuneConfig(epochs=6, batch_size=32, optimizer="adamw", lr=0.02, augment=False))
    assert score.metrics["top1"] > 40
    steps = plan(made.train, 32, 2, 1)
    seen = torch.cat([batch.inputs for batch in labelled_batches(made, steps, central_square())])
    plain = torch.cat([images for _, images in evaluation_batches(made.train, made.image_size, 64)])
    first, second = seen.split(len(plain))
    for epoch, order in enumerate((first, second)):
        torch.testing.assert_close(order, plain[epoch_order(made.seed, epoch, len(plain))])


def test_count() -> None:
    scores = torch.tensor([[0.9, 0.1, 0, 0, 0, 0], [0.5, 0.1, 0.2, 0.05, 0.04, 0.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    hits = count(scores, torch.tensor([0, 5, 1]))
    assert hits.tolist() == [1, 2, 3, 0]
    assert count(scores.log(), torch.tensor([0, 5, 1]))[-1] == 2  # logarithms of zeros
    assert Counts(1, 2, 4).score() == Score({"top1": 25, "top5": 50}, 4, {"correct1": 1, "correct5": 2})


def test_protocols_resolve() -> None:
    assert LINEAR.default_protocol(VIT, "cifar10") == "linear/mae@1"
    assert FINETUNE.default_protocol("resnet50", "cifar10") == "finetune/simclr@1"
    resolved = resolve(LinearConfig(epochs=3), VIT, "cifar10")
    assert resolved == LINEAR.protocol("linear/mae@1").model_copy(update={"epochs": 3})
    assert changed_settings(resolved) == {"epochs": 3}
    for evaluation in EVALUATIONS.values():
        for config in evaluation.protocols:
            assert config.name == evaluation.name
            assert changed_settings(config) == {}
            assert evaluation.protocol(config.protocol) == config


@pytest.mark.parametrize(
    ("backbone", "dataset", "protocol"),
    [
        ("resnet50", "imagenet1k", "knn/lightly@1"),
        (VIT, "imagenet1k", "knn/lightly-vit@1"),
        (VIT, "digits", "knn/lightly-vit@1"),
        (VIT, "imagenette", "knn/lightly@1"),
        ("resnet18-cifar", "cifar10", "knn/lightly@1"),
        ("resnet18", "imagenet100", "knn/lightly-imagenet100@1"),
    ],
)
def test_knn_has_the_protocol_of_the_published_table(backbone: str, dataset: str, protocol: str) -> None:
    assert KNN.default_protocol(backbone, dataset) == protocol
    assert resolve(KnnConfig(), backbone, dataset) == KNN.protocol(protocol)


@pytest.mark.parametrize(
    ("backbone", "dataset", "protocol"),
    [
        (VIT, "imagenet1k", "finetune/lightly-vit@1"),
        (VIT, "imagenet100", "finetune/mae@2"),
        (VIT, "digits", "finetune/mae@2"),
        ("resnet50", "imagenet1k", "finetune/simclr@1"),
        ("convnext_atto", "cifar10", "finetune/simclr@1"),
    ],
)
def test_finetune_has_the_protocol_of_the_published_table(backbone: str, dataset: str, protocol: str) -> None:
    assert FINETUNE.default_protocol(backbone, dataset) == protocol
    assert resolve(FinetuneConfig(), backbone, dataset) == FINETUNE.protocol(protocol)


def test_earlier_fine_tunings_keep_their_identity() -> None:
    """Their settings are those from before others were added."""
    for name in ("finetune/simclr@1", "finetune/mae@1"):
        assert FINETUNE.protocol(name).identity.keys() & FinetuneConfig.added == set()
    assert evaluation_id(FINETUNE.protocol("finetune/simclr@1")) == "finetune-simclr@1-9aecf2df72"
    assert evaluation_id(FINETUNE.protocol("finetune/mae@1")) == "finetune-mae@1-ecf625d7d2"
    assert FinetuneConfig.added <= FINETUNE.protocol("finetune/lightly-vit@1").identity.keys() | {"pooling"}


def test_features_that_are_not_finite_do_not_score(task: MakeTask) -> None:
    """They would score as well as chance."""
    made = task()
    with torch.no_grad():
        next(made.encoder.parameters()).fill_(math.nan)
    with pytest.raises(NotFinite, match="the scores of 100 of 100 images are not finite"):
        evaluate_linear(made, LinearConfig(epochs=1))


@pytest.mark.parametrize(
    ("counts", "remark"),
    [
        ([10, 10], None),
        ([14, 6], None),
        ([17, 3], "85.0 % of them are of one class, which is the top-1 of a constant answer"),
        ([11, 9, 10, 10], None),
        ([4, 20, 8, 8], "50.0 % of them are of one class, which is the top-1 of a constant answer"),
    ],
)
def test_what_a_constant_answer_scores_is_said(counts: list[int], remark: str | None) -> None:
    labels = torch.tensor([-1] + [label for label, count in enumerate(counts) for _ in range(count)])
    assert majority_remark(labels, len(counts)) == remark
