"""Every loss that Lightly defines too, on random inputs, on one rank and on two: equal, or docs/methods.md says why not.

Runs where Lightly is installed; `make test-peers` does so.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from ranks import Ranks
from ssl_sweep.methods.barlow_twins import barlow_loss
from ssl_sweep.methods.byol import byol_loss
from ssl_sweep.methods.dcl import dcl_loss
from ssl_sweep.methods.dclw import positive_weights
from ssl_sweep.methods.dino import dino_loss
from ssl_sweep.methods.dinov2 import koleo_loss
from ssl_sweep.methods.fastsiam import fastsiam_loss
from ssl_sweep.methods.ibot import masked_patch_loss, patch_weights
from ssl_sweep.methods.lejepa import invariance_loss, sigreg
from ssl_sweep.methods.mmcr import mmcr_loss
from ssl_sweep.methods.moco import moco_loss, queued_loss
from ssl_sweep.methods.msn import anchor_loss, cosines, mean_entropy_regularizer, sharpen
from ssl_sweep.methods.nnclr import nearest_rows
from ssl_sweep.methods.parts.collectives import gather, mean_over_ranks, rank, world_size
from ssl_sweep.methods.parts.queue import Queue
from ssl_sweep.methods.parts.sinkhorn import sinkhorn
from ssl_sweep.methods.pmsn import power_law, prior_divergence
from ssl_sweep.methods.simclr import nt_xent
from ssl_sweep.methods.simsiam import simsiam_loss
from ssl_sweep.methods.smog import assigned_groups, smog_loss, updated_groups
from ssl_sweep.methods.swav import swav_loss
from ssl_sweep.methods.tico import second_moment, tico_loss
from ssl_sweep.methods.vicreg import covariance_term, invariance_term, variance_term
from ssl_sweep.methods.vicregl import Local, VICRegLConfig, global_loss, local_loss
from ssl_sweep.methods.wmse import whiten, wmse_loss
from torch import Tensor

theirs: Any = pytest.importorskip("lightly.loss", reason="needs the extra 'peers'")
modules: Any = pytest.importorskip("lightly.models.modules")
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


def dcl() -> Pair:
    a, b = rows(0, DIM), rows(1, DIM)
    return Pair(dcl_loss(a, b, 0.2), theirs.DCLLoss(0.2, gather_distributed=distributed())(a, b), [a, b])


def dclw() -> Pair:
    a, b = rows(0, DIM), rows(1, DIM)
    ours = dcl_loss(a, b, 0.2, weights=positive_weights(a, b, 0.5))
    return Pair(ours, theirs.DCLWLoss(0.2, 0.5, gather_distributed=distributed())(a, b), [a, b])


def moco() -> Pair:
    query, key, queue = rows(0, DIM), rows(1, DIM).detach(), F.normalize(same(2, 40, DIM), dim=1)
    loss = theirs.NTXentLoss(0.2, memory_bank_size=(40, DIM))
    loss.memory_bank.bank = queue.clone()
    loss.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    ours = moco_loss(F.normalize(query, dim=1), F.normalize(key, dim=1), queue, 0.2)
    return Pair(ours, loss(query, key), [query])


def moco_symmetric() -> Pair:
    """Both directions over one queue, where the keys of the first are negatives of the second."""
    queries, keys = [rows(0, DIM), rows(1, DIM)], [rows(2, DIM).detach(), rows(3, DIM).detach()]
    bank = F.normalize(same(4, 40, DIM), dim=1)
    loss = theirs.NTXentLoss(0.2, memory_bank_size=(40, DIM), gather_distributed=distributed())
    loss.memory_bank.bank = bank.clone()
    loss.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    other = 0.5 * (loss(queries[0], keys[0]) + loss(queries[1], keys[1]))
    queue = Queue(40, DIM)
    queue.rows.copy_(bank)
    unit = [[F.normalize(one, dim=1) for one in both] for both in (queries, keys)]
    return Pair(queued_loss(*unit, queue, 0.2, push_between=True), other, queries)


def nnclr() -> Pair:
    """Lightly's form of the loss, with neighbours that Lightly finds."""
    z, predictions, bank = rows(0, DIM).detach(), rows(1, DIM), F.normalize(same(2, 40, DIM), dim=1)
    memory = modules.NNMemoryBankModule(size=(40, DIM))
    memory.bank, memory.bank_ptr = bank.clone(), torch.zeros(1, dtype=torch.long)
    other = theirs.NTXentLoss(0.2, gather_distributed=distributed())(memory(z), predictions)
    return Pair(nt_xent(nearest_rows(z, bank), predictions, 0.2), other, [predictions])


def simsiam() -> Pair:
    p1, p2, z1, z2 = (rows(seed, DIM) for seed in range(4))
    cosine = theirs.NegativeCosineSimilarity()
    other = 0.5 * (cosine(p1, z2.detach()) + cosine(p2, z1.detach()))
    return Pair(simsiam_loss([p1, p2], [z1, z2]), other, [p1, p2])


def fastsiam() -> Pair:
    p, z = [rows(seed, DIM) for seed in range(4)], [rows(seed, DIM).detach() for seed in range(4, 8)]
    cosine = theirs.NegativeCosineSimilarity()
    targets = [torch.stack([z[u] for u in range(4) if u != v]).mean(dim=0) for v in range(4)]
    other = torch.stack([cosine(p[v], targets[v]) for v in range(4)]).mean()
    return Pair(fastsiam_loss(torch.stack(p), torch.stack(z)), other, p)


def barlow_twins() -> Pair:
    a, b = rows(0, DIM), rows(1, DIM)
    return Pair(barlow_loss(a, b, 0.01), theirs.BarlowTwinsLoss(0.01, gather_distributed=distributed())(a, b), [a, b])


def vicreg() -> Pair:
    a, b = rows(0, DIM), rows(1, DIM)
    x, y = gather(a), gather(b)
    ours = 25 * invariance_term(x, y) + 25 * variance_term(x, y) + covariance_term(x) + covariance_term(y)
    return Pair(ours, theirs.VICRegLoss(25, 25, 1, gather_distributed=distributed())(a, b), [a, b])


def vicregl() -> Pair:
    """With Lightly's numbers of matches, over maps of 3 x 3."""
    pooled, maps = [rows(seed, DIM) for seed in (0, 1)], [rows(seed, 9, DIM) for seed in (2, 3)]
    places = [rows(seed, 9, 2).detach() for seed in (4, 5)]
    config = VICRegLConfig(matches=5, reverse_matches=2)
    views = [Local(z, place) for z, place in zip(maps, places, strict=True)]
    ours = 0.75 * global_loss(pooled, config) + 0.25 * local_loss(views, config)
    features = [(z, one.unflatten(1, (3, 3))) for z, one in zip(pooled, maps, strict=True)]
    grids = [place.unflatten(1, (3, 3)) for place in places]
    loss = theirs.VICRegLLoss(num_matches=(5, 2), gather_distributed=distributed())
    return Pair(ours, loss(features, grids).squeeze(), pooled + maps)


def mmcr() -> Pair:
    """Theirs takes embeddings that are normalised already."""
    views = [rows(seed, DIM) for seed in range(4)]
    z = [F.normalize(view, dim=1) for view in views]
    online, momentum = torch.stack(z[:2], dim=1), torch.stack(z[2:], dim=1)  # (B, 2, D)
    return Pair(mmcr_loss(torch.stack(views), 0.5), theirs.MMCRLoss(0.5)(online, momentum), views)


def smog() -> Pair:
    z, prediction, target, groups = rows(0, DIM), rows(1, DIM), rows(2, DIM).detach(), same(3, 5, DIM)
    prototypes = modules.heads.SMoGPrototypes(groups.clone(), beta=0.9)
    moved = prototypes.get_updated_group_features(z)
    other = F.cross_entropy(prototypes(prediction, moved, temperature=0.2), prototypes.assign_groups(target))
    ours = smog_loss(prediction, assigned_groups(target, groups), updated_groups(z, groups, 0.9), 0.2)
    return Pair(ours, other, [z, prediction])


def tico() -> Pair:
    a, b = rows(0, DIM), rows(1, DIM).detach()
    z, target = F.normalize(a, dim=1), F.normalize(b, dim=1)
    ours = tico_loss(z, target, 0.1 * second_moment(z.detach()), 8.0)
    return Pair(ours, theirs.TiCoLoss(0.9, 8.0, gather_distributed=distributed())(a, b), [a])


def dino() -> Pair:
    scores, targets = [rows(seed, 20) for seed in range(4)], [rows(seed, 20).detach() for seed in (4, 5)]
    loss = theirs.DINOLoss(20, student_temp=0.1)
    ours = dino_loss(torch.stack(scores), torch.stack(targets), torch.zeros(1, 20), 0.1, 0.05)
    return Pair(ours, loss(targets, scores, teacher_temp=0.05), scores)


def ibot() -> Pair:
    """All images have masked patches, which are the scores' rows."""
    masks = torch.rand(BATCH, 3, 3, generator=torch.Generator().manual_seed(9)).lt(0.5)
    masks[:, 0, 0] = True
    masks = masks.chunk(world_size())[rank()]
    scores, targets = (rows(seed, 9, 20) for seed in range(2))
    student, teacher = scores[masks.flatten(1)], targets[masks.flatten(1)].detach()  # (M, 20)
    loss = theirs.IBOTPatchLoss(20, teacher_temp=0.05, student_temp=0.1)
    weights = patch_weights(masks.flatten(1)[None])
    ours = masked_patch_loss(student, teacher, torch.zeros(1, 20), weights, 0.1, 0.05)
    return Pair(ours, loss(teacher, student, mask=masks), [scores])


def koleo() -> Pair:
    z = rows(0, DIM)
    return Pair(koleo_loss(z), theirs.KoLeoLoss()(z), [z])


def lejepa() -> Pair:
    """Over the same random directions."""
    z = [rows(seed, DIM) for seed in range(4)]
    whole = torch.stack(z)
    torch.manual_seed(7)
    directions = F.normalize(torch.randn(DIM, 64), dim=0)
    ours = 0.05 * sigreg(whole, directions, 17, 3.0) + 0.95 * invariance_loss(whole, whole[:2])
    torch.manual_seed(7)
    loss = theirs.LeJEPALoss(0.05, gather_distributed=distributed(), sigreg_num_vectors=64)
    return Pair(ours, loss(local_proj=whole[2:], global_proj=whole[:2]), z)


def wmse() -> Pair:
    """All images in one group, of which there are more than features."""
    a, b = rows(0, 4), rows(1, 4)
    ours = wmse_loss(torch.stack([whiten(a, 0.0), whiten(b, 0.0)]))
    loss = theirs.WMSELoss(4, eps=0.0, track_running_stats=False, w_iter=1, w_size=len(a), num_samples=2)
    return Pair(ours, loss(torch.cat([a, b])), [a, b])


def swav() -> Pair:
    inputs = [rows(seed, 20) for seed in range(4)]
    scores = torch.tanh(torch.stack(inputs))
    loss = theirs.SwaVLoss(0.1, 3, 0.05, sinkhorn_gather_distributed=distributed())
    codes = torch.stack([sinkhorn(one.detach(), 0.05, 3) for one in scores[:2]])
    return Pair(swav_loss(scores, codes, 0.1), loss([*scores[:2]], [*scores[2:]]).squeeze(), inputs)


def swav_queue() -> Pair:
    """Codes that earlier embeddings share in."""
    inputs = [rows(seed, 20) for seed in range(2)]
    scores, stored = [torch.tanh(one) for one in inputs], [torch.tanh(rows(seed, 20)).detach() for seed in (2, 3)]
    loss = theirs.SwaVLoss(0.1, 3, 0.05, sinkhorn_gather_distributed=distributed())
    both = [torch.cat([one.detach(), old]) for one, old in zip(scores, stored, strict=True)]
    codes = torch.stack([sinkhorn(one, 0.05, 3)[: len(scores[0])] for one in both])
    return Pair(swav_loss(torch.stack(scores), codes, 0.1), loss(scores, [], stored).squeeze(), inputs)


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


FUNCTIONS = (
    simclr, dcl, dclw, moco, moco_symmetric, nnclr, byol, simsiam, fastsiam, dino, barlow_twins, vicreg, vicregl, tico,
    wmse, mmcr, ibot, koleo, lejepa, swav, swav_queue, smog, msn, pmsn,
)  # fmt: skip
LOSSES = {function.__name__: function for function in FUNCTIONS}
LOCAL_THERE = {"barlow_twins", "dclw", "koleo", "mmcr", "msn", "pmsn", "smog", "wmse"}
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
