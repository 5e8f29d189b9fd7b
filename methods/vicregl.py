"""VICRegL: Self-Supervised Learning of Local Visual Features (arXiv:2210.01571)."""

from itertools import combinations, pairwise, permutations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet, View
from .configs.vicregl import VICRegLConfig
from .encoder import Encoder
from .parts.collectives import gather
from .parts.heads import mlp
from .vicreg import covariance_term, invariance_term, variance_term


class Local(NamedTuple):
    """The positions of one view's feature map."""

    z: Tensor  # (B, P, D), projected
    place: Tensor  # (B, P, 2), x and y in the source image


class VICRegL(Method[VICRegLConfig]):
    def __init__(self, config: VICRegLConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.encoder = encoder
        self.projector = mlp(encoder.dim, config.hidden_dim, config.hidden_dim, config.output_dim, last_bias=False)
        self.local_projector = local_projector(encoder.dim, config.local_dim, config.local_norm)

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        features = [self.encoder.pooled_and_map(view.image) for view in batch.global_views]
        pooled = [self.projector(one).float() for one, _ in features]  # each (B, D)
        places = [self._local(one, view) for (_, one), view in zip(features, batch.global_views, strict=True)]
        whole, local = global_loss(pooled, self.config), local_loss(places, self.config)
        loss = self.config.alpha * whole + (1 - self.config.alpha) * local
        return StepOutput(loss, {"global": whole.detach(), "local": local.detach()})

    def _local(self, feature_map: Tensor, view: View) -> Local:
        rows = feature_map.flatten(2).transpose(1, 2)  # (B, P, dim)
        z = self.local_projector(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        return Local(z.float(), cell_centres(view.box, feature_map.shape[2], feature_map.shape[3]))


def global_loss(pooled: list[Tensor], config: VICRegLConfig) -> Tensor:
    """VICReg's loss, mean over the pairs of views; each (B, D)."""
    everyone = [gather(one) for one in pooled]  # each (W * B, D)
    return torch.stack([_vicreg(a, b, config) for a, b in combinations(everyone, 2)]).mean()


def local_loss(views: list[Local], config: VICRegLConfig) -> Tensor:
    """VICReg's loss over matched positions (sec. 3.2), mean over the pairs of views."""
    # each view is the first of a pair once, which makes a difference only where the numbers of matches differ
    pairs = combinations(views, 2) if config.reverse_matches is None else permutations(views, 2)
    return torch.stack([matched_loss(a, b, config) for a, b in pairs]).mean()


def matched_loss(a: Local, b: Local, config: VICRegLConfig) -> Tensor:
    """Over positions that are near in features, and over those that are near in the image, both ways."""
    forward, backward = config.matches, config.reverse_matches or config.matches
    terms: list[Tensor] = []
    for near in ("features", "places"):
        for one, other, count in ((a, b, forward), (b, a, backward)):
            x, y = matched(one, other, near, count)  # each (B, M, D)
            x, y = gather(x).transpose(0, 1), gather(y).transpose(0, 1)  # each (M, W * B, D)
            terms.append(torch.stack([_vicreg(p, q, config) for p, q in zip(x, y, strict=True)]).mean())
    return torch.stack(terms).view(2, 2).mean(dim=1).sum()


def _vicreg(a: Tensor, b: Tensor, config: VICRegLConfig) -> Tensor:
    covariance = (covariance_term(a) + covariance_term(b)) / 2
    spread = config.variance * variance_term(a, b) + config.covariance * covariance
    return config.invariance * invariance_term(a, b) + spread


def local_projector(dim: int, width: int, norm: str) -> nn.Sequential:
    """Three layers for each position of a feature map."""
    if norm == "batch":
        return mlp(dim, width, width, width, last_bias=False)
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise((dim, width, width)):
        layers += [nn.Linear(width_in, width_out), nn.LayerNorm(width_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, width, bias=False))


def cell_centres(box: Tensor, rows: int, columns: int) -> Tensor:
    """Places (B, rows * columns, 2) of a map's cells in the source image; box: (B, 4), flipped crops have x0 > x1."""
    x0, y0, x1, y1 = box[:, :, None].unbind(1)  # each (B, 1)
    x = x0 + (x1 - x0) * (torch.arange(columns, device=box.device) + 0.5) / columns  # (B, columns)
    y = y0 + (y1 - y0) * (torch.arange(rows, device=box.device) + 0.5) / rows  # (B, rows)
    grid = torch.stack([x[:, None].expand(-1, rows, -1), y[:, :, None].expand(-1, -1, columns)], dim=3)
    return grid.flatten(1, 2)


def matched(a: Local, b: Local, near: str, count: int) -> tuple[Tensor, Tensor]:
    """The `count` positions of `a` that lie nearest to one of `b`, with that one (sec. 3.2): each (B, count, D)."""
    with torch.no_grad(), torch.autocast(a.z.device.type, enabled=False):
        distance = torch.cdist(a.z, b.z) if near == "features" else torch.cdist(a.place, b.place)  # (B, P, Q)
        least, partner = distance.min(dim=2)  # (B, P)
        chosen = least.topk(min(count, least.shape[1]), dim=1, largest=False).indices  # (B, M)
        partner = partner.gather(1, chosen)
    width = a.z.shape[2]
    x = a.z.gather(1, chosen[..., None].expand(-1, -1, width))
    return x, b.z.gather(1, partner[..., None].expand(-1, -1, width))
