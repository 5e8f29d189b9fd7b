"""Robustness of a backbone: kNN under corruptions, on any number of ranks."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from ranks import Ranks
from ssl_sweep.datasets.batches import evaluation_batches
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.datasets.views import normalised
from ssl_sweep.evaluation import robustness
from ssl_sweep.evaluation.base import Lack, Sizes
from ssl_sweep.evaluation.corruptions.apply import corrupted
from ssl_sweep.evaluation.corruptions.names import CORRUPTIONS, Corruption
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.knn import KNN, KnnConfig, evaluate_knn
from ssl_sweep.evaluation.registry import resolve
from ssl_sweep.evaluation.robustness import ROBUSTNESS, RobustnessConfig, evaluate_robustness
from ssl_sweep.evaluation.task import NotFinite, Score, Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.parts.collectives import rank, world_size
from torch import Tensor, nn

MakeTask = Callable[..., Task]
VIT = BackboneConfig(
    name="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
)
KINDS: tuple[Corruption, ...] = ("impulse_noise", "glass_blur", "frost", "contrast")
SOME = RobustnessConfig(corruptions=KINDS, severities=(1, 5), k=20)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    made = Ranks(2, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield made
    made.close()


def scored(prepared: Prepared, config: RobustnessConfig, block: int, itself: bool) -> Score:
    """On this rank of any number, as a trial does it; with the test images in blocks of so many."""
    torch.manual_seed(0)
    train = ImageSet.open(prepared, "train")
    test = ImageSet.open(prepared, "train", "holdout") if itself else ImageSet.open(prepared, "test")
    task = Task(build_encoder(VIT, 16), VIT, train, test, 16, rank=rank(), world_size=world_size())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_sweep.evaluation.neighbours.QUERIES", block)
        return evaluate_robustness(task, config)


@pytest.mark.parametrize("itself", [False, True])
def test_ranks_and_blocks_change_nothing(itself: bool, digits: Prepared, pool: Ranks) -> None:
    alone = scored(digits, SOME, 1024, itself)
    assert alone.images == (32 if itself else 100)  # each once
    assert pool.run(scored, digits, SOME, 1024, itself) == [alone] * 2
    assert pool.run(scored, digits, SOME, 31, itself) == [alone] * 2  # the last block has one image


def test_clean_is_knn(task: MakeTask) -> None:
    made = task()
    score = evaluate_robustness(made, SOME.model_copy(update={"corruptions": ("fog",), "severities": (1,)}))
    knn = evaluate_knn(made, KnnConfig(k=(20,)))
    assert score.metrics["clean_top1"] == knn.metrics["top1"]
    assert score.counts["clean_correct1"] == knn.counts["correct1"] and score.images == knn.images
    itself = made._replace(test=made.train)
    score = evaluate_robustness(itself, RobustnessConfig(corruptions=("fog",), severities=(1,), k=1))
    assert score.metrics["clean_top1"] == evaluate_knn(itself, KnnConfig(k=(1,))).metrics["top1"] < 100
    assert score.remarks[-1] == "320 of them are training images, and none is a neighbour of its own"


def voted(bank: Tensor, classes: Tensor, queries: Tensor, k: int, temperature: float) -> Tensor:
    similarity = F.normalize(queries.double(), dim=1) @ F.normalize(bank.double(), dim=1).T
    near, rows = similarity.topk(k, dim=1)
    scores = torch.zeros(len(queries), 10, dtype=torch.float64)
    return scores.scatter_add_(1, classes[rows], (near / temperature).exp()).argmax(dim=1)


def test_each_number_is_that_of_a_slow_version(task: MakeTask) -> None:
    made = task()
    score = evaluate_robustness(made, SOME)
    bank, classes = all_features(made, made.train)
    ((_, clean),) = evaluation_batches(made.test, 16, 100)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    levels = ((clean * std + mean) * 255).round().to(torch.uint8)
    assert torch.equal(normalised(levels), clean)
    found = {(one.settings["corruption"], one.settings["severity"]): one.metrics for one in score.variants}
    assert list(found) == [(name, severity) for name in KINDS for severity in (1, 5)]
    expected: list[float] = []
    for name, severity in SOME.kinds:
        with torch.no_grad():
            queries = made.encoder(normalised(corrupted(levels, made.test.samples, name, severity)))
        hits = voted(bank, classes, queries, 20, 0.1) == made.test.labels
        expected.append(100 * float(hits.double().mean()))
        assert found[name, severity] == {"corrupted_top1": pytest.approx(expected[-1])}
    corrupted_top1, clean_top1, drop = score.metrics.values()
    assert corrupted_top1 == pytest.approx(sum(expected) / len(expected))
    assert drop == pytest.approx(100 * (clean_top1 - corrupted_top1) / clean_top1)
    assert score.counts == {"clean_correct1": round(clean_top1), "corrupted_correct1": round(sum(expected))}


def test_all_corruptions_by_default(task: MakeTask) -> None:
    made = task()
    weights = {name: value.clone() for name, value in made.encoder.state_dict().items()}
    told: list[None] = []
    score = evaluate_robustness(made._replace(is_alive=lambda: told.append(None)), RobustnessConfig(k=20))
    assert [tuple(one.settings.values()) for one in score.variants] == [
        (name, severity) for name in CORRUPTIONS for severity in (1, 2, 3, 4, 5)
    ]
    assert len(told) > 75
    assert 10 < score.metrics["corrupted_top1"] < score.metrics["clean_top1"]
    assert all(torch.equal(made.encoder.state_dict()[name], value) for name, value in weights.items())
    assert made.encoder.training is False


def test_part_of_the_test_images_is_evenly_spread(task: MakeTask) -> None:
    made = task()
    config = RobustnessConfig(corruptions=("contrast",), severities=(2,), k=20, images=30)
    score = evaluate_robustness(made, config)
    assert score.images == 30 and score.remarks == ("they are a part of the 100 there are, evenly spread",)
    chosen = torch.arange(30) * 100 // 30
    bank, classes = all_features(made, made.train)
    queries, labels = all_features(made, made.test, chosen)
    assert score.counts["clean_correct1"] == int((voted(bank, classes, queries, 20, 0.1) == labels).sum())


def test_the_report_says_that_frost_is_synthetic(task: MakeTask) -> None:
    config = RobustnessConfig(corruptions=("frost",), severities=(1,), k=20)
    (remark,) = evaluate_robustness(task(), config).remarks
    assert remark.startswith("the frost is synthetic") and "not compare with published" in remark
    assert "frost" in (RobustnessConfig.__doc__ or "").lower()


class Spoilt(nn.Module):
    """An encoder whose features are not finite for images without contrast."""

    def __init__(self, encoder: Any, least: float):
        super().__init__()
        self.encoder, self.dim, self.least = encoder, encoder.dim, least

    def forward(self, images: Tensor) -> Tensor:
        features = self.encoder(images).clone()
        features[images.std(dim=(1, 2, 3)) < self.least, 3] = math.nan
        return features


def test_features_that_are_not_finite_fail_it(task: MakeTask) -> None:
    made = task()
    always: Any = Spoilt(made.encoder, math.inf)
    with pytest.raises(NotFinite, match="the features of 320 of 320 training images are not finite"):
        evaluate_robustness(made._replace(encoder=always), SOME)
    sometimes: Any = Spoilt(made.encoder, 0.6)  # below that of any digit
    with pytest.raises(NotFinite, match="of 100 of 100 test images under contrast of severity 5 are not finite"):
        evaluate_robustness(made._replace(encoder=sometimes), SOME)


def test_more_neighbours_than_images_are_refused(task: MakeTask) -> None:
    with pytest.raises(ValueError, match="k is 321, and the training set has 320 images; set a smaller k"):
        evaluate_robustness(task(), RobustnessConfig(k=321))
    assert ROBUSTNESS.misfit(RobustnessConfig(), Sizes(150, 9)) == Lack("k = 200 (write `k: 150` or less)")
    assert ROBUSTNESS.misfit(RobustnessConfig(), Sizes(200, 9)) is None


@pytest.mark.parametrize(
    ("backbone", "dataset"),
    [
        ("resnet50", "imagenet"),
        ("vit_small_patch16_224", "imagenet"),
        ("vit_small_patch16_224", "cifar10"),
        ("resnet18", "imagenet100"),
    ],
)
def test_its_vote_is_that_of_knn(backbone: str, dataset: str) -> None:
    config = resolve(RobustnessConfig(), backbone, dataset)
    knn = KNN.protocol(KNN.default(backbone, dataset)) if KNN.default else KnnConfig()
    assert isinstance(config, RobustnessConfig)
    assert ((config.k,), (config.temperature,)) == (knn.k, knn.temperature)
    assert set(robustness.PROTOCOLS.values()) == {one.protocol for one in ROBUSTNESS.protocols}


@pytest.mark.parametrize(
    "settings",
    [
        {"corruptions": ["rain"]},
        {"corruptions": []},
        {"corruptions": ["fog", "fog"]},
        {"severities": [0]},
        {"severities": 6},
        {"severities": [1, 1]},
        {"images": 0},
        {"k": [5, 6]},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RobustnessConfig.model_validate(settings)


def test_one_value_is_a_list_of_one() -> None:
    config = RobustnessConfig.model_validate({"corruptions": "fog", "severities": 3})
    assert config.kinds == [("fog", 3)] and config.draws
