"""Two ranks with half of the batch each are one process with the whole of it."""

from typing import Any

import pytest
import torch
from ranks import Ranks
from ssl_sweep.methods.base import Method
from ssl_sweep.methods.config import BackboneConfig, OptimizerConfig, ScheduleConfig
from ssl_sweep.methods.optimizer import build_optimizer, set_rates
from ssl_sweep.methods.parts.collectives import gather, mean_over_ranks, own_rows, rank, world_size
from ssl_sweep.methods.parts.sync_batchnorm import CpuSyncBatchNorm, convert_sync_batchnorm
from tiny import FITTING, IDS, progress, rows, state, tiny_batch, tiny_method
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

BATCH = 8
STEPS = 3
OPTIMIZER = OptimizerConfig(name="sgd", lr=0.05, lr_scaling="none")
CPU = torch.device("cpu")


def float64_method(name: str, backbone: BackboneConfig) -> Method[Any]:
    """In float32 a batch norm over eight nearly equal rows blows rounding up to 1e-2 of a gradient."""
    return tiny_method(name, backbone).double()


def train(method: Method[Any], network: nn.Module) -> tuple[list[Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Losses of the global batch, gradients of the last step, and the state after it."""
    optimizer = build_optimizer(method, OPTIMIZER, BATCH)
    method.train()
    losses: list[Tensor] = []
    own = BATCH // world_size()
    for step in range(STEPS):
        now = progress(step)
        set_rates(optimizer, OPTIMIZER, ScheduleConfig(), BATCH, now)
        batch = rows(tiny_batch(method, BATCH, seed=step, dtype=torch.float64), rank() * own, (rank() + 1) * own)
        loss = network(batch, now).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        method.before_optimizer_step(now)
        losses.append(mean_over_ranks(loss.detach()))
        gradients = {key: p.grad.clone() for key, p in method.named_parameters() if p.grad is not None}
        optimizer.step()
        method.after_optimizer_step(now)
    return losses, gradients, state(method)


def train_on_rank(name: str, backbone: BackboneConfig) -> Any:
    method = float64_method(name, backbone)
    convert_sync_batchnorm(method, CPU)
    return train(method, DistributedDataParallel(method))


@pytest.mark.parametrize(("name", "backbone"), FITTING, ids=IDS)
def test_losses_gradients_parameters_and_buffers_agree(name: str, backbone: BackboneConfig, ranks: Ranks) -> None:
    first, second = ranks.run(train_on_rank, name, backbone)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    method = float64_method(name, backbone)
    losses, gradients, after = train(method, method)
    torch.testing.assert_close(first[0], losses, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first[1], gradients, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(first[2], after, rtol=1e-4, atol=1e-5)


def collect(rows_of_all: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    own = own_rows(rows_of_all).clone().requires_grad_()
    everything = gather(own)
    loss = (everything.square() * weights).sum() * (rank() + 1) + mean_over_ranks(own.sum()) ** 2
    loss.backward()
    assert own.grad is not None
    return everything.detach(), loss.detach(), own.grad


def test_gather_and_mean_give_the_gradient_of_the_sum_of_losses(ranks: Ranks) -> None:
    values, weights = torch.arange(12.0).view(6, 2), torch.arange(12.0).view(6, 2).cos()
    answers = ranks.run(collect, values, weights)
    leaf = values.clone().requires_grad_()
    losses = [(leaf.square() * weights).sum() * (r + 1) + (leaf.sum() / 2) ** 2 for r in range(2)]
    (losses[0] + losses[1]).backward()
    assert leaf.grad is not None
    for r, (everything, loss, gradient) in enumerate(answers):
        assert torch.equal(everything, values)
        torch.testing.assert_close(loss, losses[r].detach())
        torch.testing.assert_close(gradient, leaf.grad[3 * r : 3 * r + 3])


def network_with_norms() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    return nn.Sequential(*layers, nn.BatchNorm1d(5), nn.Linear(5, 2)).double()


def normalise(image: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    network = convert_sync_batchnorm(network_with_norms(), CPU)
    own = own_rows(image).clone().requires_grad_()
    y = network(own)
    (y.sin().sum() * world_size()).backward()
    assert own.grad is not None
    return y.detach(), own.grad / world_size(), dict(network.state_dict())


def test_batch_norm_over_ranks(ranks: Ranks) -> None:
    image = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    network = network_with_norms()
    leaf = image.clone().requires_grad_()
    y = network(leaf)
    y.sin().sum().backward()
    assert leaf.grad is not None
    answers = ranks.run(normalise, image)
    torch.testing.assert_close(torch.cat([a[0] for a in answers]), y.detach())
    torch.testing.assert_close(torch.cat([a[1] for a in answers]), leaf.grad)
    for _, _, after in answers:
        torch.testing.assert_close(after, dict(network.state_dict()))


def test_conversion_keeps_keys_and_parameters() -> None:
    network = network_with_norms()
    parameters, keys = list(network.parameters()), list(network.state_dict())
    convert_sync_batchnorm(network, CPU)
    assert sum(isinstance(m, CpuSyncBatchNorm) for m in network.modules()) == 2
    assert list(network.state_dict()) == keys
    assert all(p is q for p, q in zip(parameters, network.parameters(), strict=True))
    assert all(
        isinstance(m, nn.SyncBatchNorm) for m in [convert_sync_batchnorm(nn.BatchNorm1d(3), torch.device("cuda"))]
    )
