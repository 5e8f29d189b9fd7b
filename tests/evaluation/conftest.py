"""A small backbone and the digits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ssl_sweep.datasets.config import DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.evaluation.task import Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder

VIT = BackboneConfig(
    name="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    config = DatasetConfig(name="digits", train_images=320, test_images=100)
    return prepare(config, tmp_path_factory.mktemp("data"))


@pytest.fixture
def task(digits: Prepared) -> Callable[..., Task]:
    def make(backbone: BackboneConfig = VIT, **changes: Any) -> Task:
        torch.manual_seed(0)
        train, test = ImageSet.open(digits, "train"), ImageSet.open(digits, "test")
        return Task(build_encoder(backbone, 16), backbone, train, test, 16)._replace(**changes)

    return make
