"""Every loss that Lightly defines too, on random inputs, on one rank and on two: equal, or docs/methods.md says why not.

Runs where Lightly is installed (``pip install -e '.[dev,peers]'``); `make test-peers` does so.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from ranks import Ranks
from ssl_sweep.methods.byol import byol_loss
from ssl_sweep.methods.dino import dino_loss
from ssl_sweep.methods.msn import anchor_loss, cosines, mean_entropy_regularizer, sharpen
from ssl_sweep.methods.parts.collectives import mean_over_ranks, rank, world_size
from ssl_sweep.methods.parts.sinkhorn import sinkhorn
from ssl_sweep.methods.pmsn import power_law, prior_divergence
from ssl_sweep.methods.simclr import nt_xent
from ssl_sweep.methods.swav import swav_loss
from torch import Tensor

theirs: Any = pytest.importorskip("lightly.loss", reason="needs the extra 'peers'")
pytestmark = pytest.mark.filterwarnings("ignore:To c:UserWarning")  # its own, of PMSN

BATCH, DIM = 12, 16


def rows(seed: int, *shape: int) -> Tensor:
    """This rank's rows of a global batch (BATCH, ...)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(BATCH, *shape, generator=generator).chunk(world_size())[rank()].clone().requires_grad_()


def same(seed: int, *shape: int) -> Tensor:
    """Equal on every rank."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Pair(NamedTuple):
    """Both losses of this rank, over the same inputs."""

    ours: Tensor
    theirs: Tensor
    inputs: list[Tensor]


def distributed() -> bool:
    return world_size() > 1


def simclr() -> Pair:
    a, b = rows(0, DIM), rows(1, DIM)
    return Pair(nt_xent(a, b, 0.2), theirs.NTXentLoss(0.2, gather_distributed=distributed())(a, b), [a, b])


def byol() -> Pair:
    p1, p2, z1, z2 = (rows(seed, DIM) for seed in range(4))
    cosine = theirs.NegativeCosineSimilarity()
    # theirs has no constant, and half the sum of both directions
    other = 0.5 * (cosine(p1, z2.detach()) + cosine(p2, z1.detach())) + 1
    return Pair(0.5 * byol_loss([p1, p2], [z1.detach(), z2.detach()]), other, [p1, p2])


def dino() -> Pair:
    scores, targets = [rows(seed, 20) for seed in range(4)], [rows(seed, 20).detach() for seed in (4, 5)]
    loss = theirs.DINOLoss(20, student_temp=0.1)
    ours = dino_loss(torch.stack(scores), torch.stack(targets), torch.zeros(1, 20), 0.1, 0.05)
    return Pair(ours, loss(targets, scores, teacher_temp=0.05), scores)


def swav() -> Pair:
    inputs = [rows(seed, 20) for seed in range(4)]
    scores = [torch.tanh(one) for one in inputs]
    loss = theirs.SwaVLoss(0.1, 3, 0.05, sinkhorn_gather_distributed=distributed())
    codes = torch.stack([sinkhorn(one.detach(), 0.05, 3) for one in scores[:2]])
    return Pair(swav_loss(torch.stack(scores), codes, 0.1), loss(scores[:2], scores[2:]).squeeze(), inputs)


def msn() -> Pair:
    return _siamese(mean_entropy_regularizer, theirs.MSNLoss(0.1, 3, 1.0, gather_distributed=distributed()))


def pmsn() -> Pair:
    def regularizer(log_p: Tensor) -> Tensor:
        return prior_divergence(log_p, power_law(20, 0.25, log_p.device), "prior-prediction")

    return _siamese(regularizer, theirs.PMSNLoss(0.1, 3, 1.0, 0.25, gather_distributed=distributed()))


def _siamese(regularizer: Callable[[Tensor], Tensor], loss: Any) -> Pair:
    """Three anchors an image; Lightly has them one after another, image by image within each."""
    anchors, targets, prototypes = [rows(seed, DIM) for seed in range(3)], rows(5, DIM).detach(), same(6, 20, DIM)
    log_p = (cosines(torch.stack(anchors), prototypes) / 0.1).log_softmax(dim=2)
    # theirs balances the targets once for each anchor, which are the same targets again
    ours = anchor_loss(log_p, sharpen(cosines(targets, prototypes) / 0.1, 0.25, 3)) + regularizer(log_p)
    return Pair(ours, loss(torch.cat(anchors), targets.repeat(3, 1), prototypes, 0.25), anchors)


LOSSES = {function.__name__: function for function in (simclr, byol, dino, swav, msn, pmsn)}
LOCAL_THERE = {"msn", "pmsn"}
"""What Lightly takes over one rank and we over all, as the papers' batches are; docs/methods.md."""


def compare(name: str) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Both losses and their gradients, averaged as DistributedDataParallel averages the parameters'."""
    ours, other, inputs = LOSSES[name]()
    gradients = [list(torch.autograd.grad(loss, inputs, retain_graph=True)) for loss in (ours, other)]
    return mean_over_ranks(ours.detach()), mean_over_ranks(other.detach()), gradients[0], gradients[1]


@pytest.mark.parametrize("name", LOSSES)
def test_one_rank(name: str) -> None:
    ours, other, gradients, other_gradients = compare(name)
    torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, other_gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - LOCAL_THERE))
def test_two_ranks(name: str, ranks: Ranks) -> None:
    for ours, other, gradients, other_gradients in ranks.run(compare, name):
        torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(gradients, other_gradients, rtol=1e-4, atol=1e-5)
