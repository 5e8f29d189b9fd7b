"""`resources.compile` changes no result: in float64, where rounding has no say."""

import shutil

import pytest
import torch
from ranks import Ranks
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.parts.collectives import mean_over_ranks, rank, world_size
from ssl_sweep.methods.parts.sync_batchnorm import convert_sync_batchnorm
from ssl_sweep.orchestrator.trial.learner import compile_backbones
from tiny import RESNET, VIT, progress, rows, tiny_batch, tiny_method
from torch.nn.parallel import DistributedDataParallel

pytestmark = [
    pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler"),
    pytest.mark.filterwarnings("ignore"),  # of the compiler about itself
]

BATCH = 4
# a CNN; a teacher and small crops; tokens dropped
DROPS = BackboneConfig(name=VIT.name, options=VIT.options | {"drop_path_rate": 0.3, "proj_drop_rate": 0.1})
ROPE = BackboneConfig(name="vit_small_patch16_dinov3", options=VIT.options)  # blocks are compiled one by one
CASES = [
    pytest.param("vicreg", RESNET, id="vicreg-resnet"),
    pytest.param("dino", VIT, id="dino-vit", marks=pytest.mark.slow),
    pytest.param("mae", VIT, id="mae-vit"),
    pytest.param("mae", ROPE, id="mae-rope", marks=pytest.mark.slow),
    pytest.param("dino", DROPS, id="dino-vit-drops"),
]


def losses(name: str, backbone: BackboneConfig, compiled: bool) -> list[float]:
    """Of four global batches, each rank with its rows."""
    method = tiny_method(name, backbone).double().train()
    if world_size() > 1:
        convert_sync_batchnorm(method, torch.device("cpu"))
    if compiled:
        compile_backbones(method)
    network = DistributedDataParallel(method) if world_size() > 1 else method
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.01)
    own = BATCH // world_size()
    found: list[float] = []
    for step in range(4):
        batch = rows(tiny_batch(method, BATCH, seed=step, dtype=torch.float64), rank() * own, (rank() + 1) * own)
        loss = network(batch, progress(step)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_optimizer_step(progress(step))
        found.append(mean_over_ranks(loss.detach()).item())
    return found


@pytest.mark.parametrize(("name", "backbone"), CASES)
def test_compiled_backbones_change_no_loss(name: str, backbone: BackboneConfig) -> None:
    assert losses(name, backbone, compiled=True) == pytest.approx(losses(name, backbone, compiled=False), rel=1e-9)


@pytest.mark.slow
def test_nor_on_two_ranks_with_synchronised_batch_norm(ranks: Ranks) -> None:
    expected = losses("vicreg", RESNET, compiled=False)
    for found in ranks.run(losses, "vicreg", RESNET, True):
        assert found == pytest.approx(expected, rel=1e-9)
