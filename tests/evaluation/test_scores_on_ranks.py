"""Evaluations that do not train score alike on any number of ranks, and leave the backbone alone."""

from collections.abc import Iterator

import pytest
import torch
from ranks import Ranks
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.evaluation.base import EvaluationConfig
from ssl_sweep.evaluation.fewshot import FEWSHOT, FewShotConfig
from ssl_sweep.evaluation.health import HealthConfig
from ssl_sweep.evaluation.kmeans import KMeansConfig
from ssl_sweep.evaluation.registry import EVALUATIONS
from ssl_sweep.evaluation.retrieval import RetrievalConfig
from ssl_sweep.evaluation.task import Score, Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.parts.collectives import rank, world_size

VIT = BackboneConfig(
    name="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
)
RESNET = BackboneConfig(name="resnet10t")
HEALTH = HealthConfig(images=60, view_images=17, views=5)
CONFIGS = [
    FewShotConfig(repeats=2),
    FEWSHOT.protocol("fewshot/big-vision@1").model_copy(update={"repeats": 2, "shots": (10, 1)}),
    RetrievalConfig(),
    KMeansConfig(restarts=3),
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    made = Ranks(3, tmp_path_factory.mktemp("gloo") / "rendezvous")
    yield made
    made.close()


def task_of(prepared: Prepared, backbone: BackboneConfig, itself: bool = False) -> Task:
    """On this rank of any number, as a trial has it."""
    torch.manual_seed(0)
    train = ImageSet.open(prepared, "train")
    test = ImageSet.open(prepared, "train", "holdout") if itself else ImageSet.open(prepared, "test")
    return Task(build_encoder(backbone, 16), backbone, train, test, 16, rank=rank(), world_size=world_size())


def scored(prepared: Prepared, config: EvaluationConfig, itself: bool = False) -> Score:
    return EVALUATIONS[config.name].run(task_of(prepared, VIT, itself), config)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.protocol)
def test_any_number_of_ranks_scores_alike(config: EvaluationConfig, digits: Prepared, pool: Ranks) -> None:
    alone = scored(digits, config)
    assert alone.images == 100
    assert list(alone.metrics) == [metric.name for metric in EVALUATIONS[config.name].metrics]
    assert pool.run(scored, digits, config) == [alone] * 3


def test_images_that_are_in_the_training_set(digits: Prepared, pool: Ranks) -> None:
    for config in (FewShotConfig(shots=(5,), repeats=2), RetrievalConfig()):
        alone = scored(digits, config, itself=True)
        assert alone.images == 32
        assert pool.run(scored, digits, config, True) == [alone] * 3


def test_health_is_the_same_on_every_rank_and_alike_on_any_number(digits: Prepared, pool: Ranks) -> None:
    alone, found = scored(digits, HEALTH), pool.run(scored, digits, HEALTH)
    assert found[0] == found[1] == found[2]
    assert found[0].metrics == pytest.approx(alone.metrics, rel=1e-4)  # float32 features of other batches
    assert found[0]._replace(metrics={}) == alone._replace(metrics={})


@pytest.mark.parametrize("config", [*CONFIGS, HEALTH], ids=lambda config: config.protocol)
def test_the_backbone_stays_as_it_is(config: EvaluationConfig, digits: Prepared) -> None:
    """Its batch norm too."""
    task, state = task_of(digits, RESNET), torch.random.get_rng_state()
    before = {key: value.clone() for key, value in task.encoder.state_dict().items()}
    EVALUATIONS[config.name].run(task, config)
    assert all(torch.equal(value, before[key]) for key, value in task.encoder.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
