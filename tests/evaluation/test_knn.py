"""kNN of a backbone: what it scores, refuses and says, on any number of ranks."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from ranks import Ranks
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.evaluation import knn
from ssl_sweep.evaluation.base import Lack, Sizes
from ssl_sweep.evaluation.features import all_features
from ssl_sweep.evaluation.knn import KNN, KnnConfig, evaluate_knn
from ssl_sweep.evaluation.task import NotFinite, Score, Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.parts.collectives import rank, world_size
from torch import nn

MakeTask = Callable[..., Task]
VIT = BackboneConfig(
    name="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
)
GRID = KnnConfig(k=(20, 1, 150), temperature=(0.07, 0.001))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    made = Ranks(3, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield made
    made.close()


def scored(prepared: Prepared, config: KnnConfig, itself: bool = False) -> Score:
    """On this rank of any number, as a trial does it."""
    torch.manual_seed(0)
    train = ImageSet.open(prepared, "train")
    test = ImageSet.open(prepared, "train", "holdout") if itself else ImageSet.open(prepared, "test")
    return evaluate_knn(
        Task(build_encoder(VIT, 16), VIT, train, test, 16, rank=rank(), world_size=world_size()), config
    )


@pytest.mark.parametrize("itself", [False, True])
def test_any_number_of_ranks_scores_alike(itself: bool, digits: Prepared, pool: Ranks) -> None:
    alone = scored(digits, GRID, itself)
    assert alone.details is not None
    assert alone.images == (32 if itself else 100)  # each once
    found = pool.run(scored, digits, GRID, itself)
    assert [one._replace(details=None) for one in found] == [alone._replace(details=None)] * 3
    for one in found:
        assert one.details.confusion == alone.details.confusion
        assert one.details.ece == pytest.approx(alone.details.ece, abs=1e-3)  # float32 features of other batches


def test_a_grid_is_what_each_pair_is_alone(task: MakeTask) -> None:
    made = task()
    score = evaluate_knn(made, GRID)
    assert [dict(one.settings) for one in score.variants] == [
        {"k": k, "temperature": temperature} for k in (20, 1, 150) for temperature in (0.07, 0.001)
    ]
    for one in score.variants:
        alone = evaluate_knn(made, KnnConfig.model_validate(one.settings))
        assert alone.metrics == one.metrics and not alone.variants and not alone.remarks
    assert score.metrics == score.variants[0].metrics
    (remark,) = score.remarks
    assert remark.startswith("shown: k = 20, temperature = 0.07; the results have all 6 pairs, and the best")


def test_one_neighbour_has_one_class(task: MakeTask) -> None:
    metrics = evaluate_knn(task(), KnnConfig(k=(1,))).metrics
    assert 0 < metrics["top1"] == metrics["top5"] < 100


def test_a_small_temperature_is_nearly_the_nearest_neighbour(task: MakeTask) -> None:
    made = task()
    cold, nearest = (evaluate_knn(made, KnnConfig(k=(k,), temperature=(1e-5,))) for k in (20, 1))
    assert abs(cold.metrics["top1"] - nearest.metrics["top1"]) <= 2 and cold.metrics["top1"] > 20


def test_images_that_are_in_the_training_set_do_not_vote_for_themselves(task: MakeTask) -> None:
    made = task()
    made = made._replace(test=made.train)
    score = evaluate_knn(made, KnnConfig(k=(1,)))
    features, labels = all_features(made, made.train)
    unit = nn.functional.normalize(features.double(), dim=1)
    similarity = (unit @ unit.T).fill_diagonal_(-2)
    assert score.counts["correct1"] == int((labels[similarity.argmax(dim=1)] == labels).sum()) < 320
    assert score.remarks == ("320 of them are training images, and none is a neighbour of its own",)
    assert evaluate_knn(made, KnnConfig(k=(319,))).images == 320
    with pytest.raises(
        ValueError, match="k is 320, and the training set has 320 images, of which one is scored itself"
    ):
        evaluate_knn(made, KnnConfig(k=(320,)))


def test_more_neighbours_than_images_are_refused(task: MakeTask) -> None:
    with pytest.raises(ValueError, match="k is 321, and the training set has 320 images; write `k: 320` or less"):
        evaluate_knn(task(), KnnConfig(k=(20, 321)))
    assert KNN.misfit(KnnConfig(k=(20, 200)), Sizes(150, 9)) == Lack("k = 200 (write `k: 150` or less)")
    assert KNN.misfit(KnnConfig(k=(20, 200)), Sizes(200, 9)) is None
    assert KNN.fitting(KnnConfig(k=(20, 200, 300)), 150).k == (20, 150)


class Spoilt(nn.Module):
    """An encoder whose features have `value` for images whose mean is above `above`."""

    def __init__(self, encoder: Any, value: float, above: float):
        super().__init__()
        self.encoder, self.dim, self.value, self.above = encoder, encoder.dim, value, above
        self.means: list[float] = []
        """Of the images so far."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features, means = self.encoder(images).clone(), images.mean(dim=(1, 2, 3))
        features[means > self.above, 3] = self.value
        self.means += means.tolist()
        return features


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_features_that_are_not_finite_fail_it(value: float, task: MakeTask) -> None:
    """The square of 1e30 is not: such features have no length."""
    made = task()
    spoilt: Any = Spoilt(made.encoder, value, -math.inf)
    with pytest.raises(
        NotFinite, match="the features of 320 of 320 training and 100 of 100 test images are not finite"
    ):
        evaluate_knn(made._replace(encoder=spoilt), KnnConfig(k=(20,)))


def test_some_features_that_are_not_finite_are_counted(task: MakeTask) -> None:
    made = task()
    sound: Any = Spoilt(made.encoder, math.nan, math.inf)
    evaluate_knn(made._replace(encoder=sound), KnnConfig(k=(20,)))
    above = sorted(sound.means)[210]
    train, test = (sum(mean > above for mean in part) for part in (sound.means[:320], sound.means[320:]))
    assert 0 < train < 320 and 0 < test < 100
    spoilt: Any = Spoilt(made.encoder, math.nan, above)
    with pytest.raises(NotFinite, match=f"the features of {train} of 320 training and {test} of 100 test images are"):
        evaluate_knn(made._replace(encoder=spoilt), KnnConfig(k=(20,)))


@pytest.mark.parametrize("settings", [{"k": []}, {"k": [5, 5]}, {"k": 0}, {"k": [5, 0]}, {"temperature": [0.1, -1.0]}])
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KnnConfig.model_validate(settings)


def test_one_value_is_written_as_itself() -> None:
    assert KnnConfig(k=(20,)) == KnnConfig.model_validate({"k": 20}) == KnnConfig.model_validate({"k": [20]})
    assert KnnConfig(k=(20,)).model_dump() == {"name": "knn", "protocol": "knn/lightly@1", "k": 20, "temperature": 0.1}
    assert KNN.protocol("knn/dinov2@1").model_dump(mode="json")["k"] == [20, 10, 100, 200]
    assert knn.published_protocol("", "digits") == "knn/lightly@1"
