"""DeepCluster-v2: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (arXiv:2006.09882)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.deepclusterv2 import DeepClusterV2Config
from .dino import by_size
from .encoder import Encoder
from .parts.collectives import gather, mean_over_ranks, world_size
from .parts.heads import Projected, mlp
from .parts.kmeans import nearest, spherical_kmeans
from .parts.masks import step_generator

UNKNOWN = -1
"""The assignment of a sample that no clustering has seen."""


class DeepClusterV2(Method[DeepClusterV2Config]):
    """Predicts, from each crop, the cluster that k-means gave the image after the epoch before.

    The paper clusters once before the first step. A method does not see the images, so here the first epoch only fills
    the memory: its loss is zero.
    """

    memory: Tensor  # (N, 2, D), the newest embeddings of every sample's global crops
    seen: Tensor  # (N,), bool: which samples have embeddings
    prototypes: Tensor  # (H, K, D), the centroids of the last clusterings
    assignments: Tensor  # (H, N), int64

    def __init__(self, config: DeepClusterV2Config, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if data.num_samples < config.num_prototypes:
            raise ValueError(
                f"k-means needs a sample for each of the {config.num_prototypes} prototypes, but the data set has"
                f" {data.num_samples}"
            )
        self.model = Projected(encoder, mlp(encoder.dim, config.hidden_dim, config.output_dim))
        clusterings, samples = config.num_clusterings, data.num_samples
        self.register_buffer("memory", torch.zeros(samples, 2, config.output_dim))
        self.register_buffer("seen", torch.zeros(samples, dtype=torch.bool))
        self.register_buffer("prototypes", torch.zeros(clusterings, config.num_prototypes, config.output_dim))
        self.register_buffer("assignments", torch.full((clusterings, samples), UNKNOWN))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        crops = [view.image for view in batch.global_views + batch.local_views]
        features = torch.cat([self.model.encoder(same) for same in by_size(crops)])  # (V * B, dim)
        z = F.normalize(self.model.head(features).float(), dim=1).unflatten(0, (len(crops), -1))  # (V, B, D)
        with torch.autocast(z.device.type, enabled=False):
            scores = torch.einsum("vbd,hkd->hvbk", z, self.prototypes.float())
        loss = deepcluster_loss(scores, self.assignments[:, batch.samples], self.config.temperature)
        self._remember(z[:2], batch.samples)
        return StepOutput(loss, {})

    def after_optimizer_step(self, progress: Progress) -> None:
        if (progress.step + 1) % progress.steps_per_epoch == 0:
            self._cluster(progress)

    @torch.no_grad()
    def _remember(self, z: Tensor, samples: Tensor) -> None:
        """Write the embeddings z (2, B, D) of this and the other ranks' samples (B,)."""
        samples = gather(samples)  # (W * B,)
        self.memory[samples] = gather(z.transpose(0, 1)).to(self.memory.dtype)
        self.seen[samples] = True

    @torch.no_grad()
    def _cluster(self, progress: Progress) -> None:
        """Cluster the memory; the clusterings take the embeddings of the two crops by turns."""
        seen = self.seen.nonzero().squeeze(1)  # (n,)
        generator = step_generator(progress)
        for i in range(self.config.num_clusterings):
            rows = self.memory[seen, i % 2].float()  # (n, D)
            centroids = spherical_kmeans(rows, self.config.num_prototypes, self.config.kmeans_iterations, generator)
            self.prototypes[i] = centroids
            self.assignments[i, seen] = nearest(rows, centroids)


def deepcluster_loss(scores: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """-log softmax(z c / T) at the sample's cluster, mean over clusterings, crops and the known samples of all ranks.

    scores: (H, V, B, K), targets: (H, B), -1 where there is none. Without a known sample the loss is zero.
    """
    crops = scores.shape[1]
    known = mean_over_ranks((targets != UNKNOWN).sum().to(scores.dtype))
    total = F.cross_entropy(
        (scores.float() / temperature).flatten(0, 2),
        targets[:, None].expand(-1, crops, -1).flatten(),
        ignore_index=UNKNOWN,
        reduction="sum",
    )
    return total / (crops * known.clamp(min=1 / world_size()))
