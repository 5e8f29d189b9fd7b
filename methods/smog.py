"""SMoG: Unsupervised Visual Representation Learning by Synchronous Momentum Grouping (arXiv:2207.06167)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.smog import SMoGConfig
from .encoder import Encoder
from .parts.collectives import mean_over_ranks, world_size
from .parts.heads import Projected, mlp
from .parts.kmeans import nearest, spherical_kmeans
from .parts.masks import step_generator
from .parts.queue import Queue
from .parts.teacher import Teacher


class SMoG(Method[SMoGConfig]):
    groups: Tensor  # (K, D)

    def __init__(self, config: SMoGConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        # the last norm is plain: groups and predictor have their own scale
        head = mlp(encoder.dim, config.hidden_dim, config.output_dim, last_norm=True, last_affine=False)
        self.student = Projected(encoder, head)
        self.predictor = mlp(config.output_dim, config.hidden_dim, config.output_dim)
        self.teacher = Teacher(self.student)
        self.queue = Queue(config.queue_size, config.output_dim)
        self.register_buffer("groups", F.normalize(torch.randn(config.num_groups, config.output_dim), dim=1))

    @property
    def backbone(self) -> Encoder:
        return self.student.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        views = [view.image for view in batch.global_views]
        if progress.step % 2:  # each of two unlike views is the student's at every other step
            views.reverse()
        z = self.student(views[0])  # (B, D)
        prediction = self.predictor(z)  # (B, D)
        target = assigned_groups(self.teacher(views[1]), self.groups)  # (B,)
        groups = updated_groups(z, self.groups, self.config.group_momentum)  # (K, D)
        loss = smog_loss(prediction, target, groups, self.config.temperature)
        self.groups.copy_(groups.detach())
        self.queue.push(z)
        return StepOutput(loss, {})

    def after_optimizer_step(self, progress: Progress) -> None:
        reset = (progress.step + 1) % self.config.reset_every == 0
        self.teacher.update(self.student, 0.0 if reset else self.config.momentum)
        if reset:
            rows, generator = self.queue.rows, step_generator(progress)
            self.groups.copy_(spherical_kmeans(rows, self.config.num_groups, self.config.kmeans_iterations, generator))


@torch.no_grad()
def assigned_groups(z: Tensor, groups: Tensor) -> Tensor:
    """The group (B,) of largest cosine for each of z (B, D); groups: (K, D)."""
    with torch.autocast(z.device.type, enabled=False):
        return nearest(z.float(), F.normalize(groups.float(), dim=1))


def updated_groups(z: Tensor, groups: Tensor, momentum: float) -> Tensor:
    """Groups (K, D) after g_c <- m g_c + (1 - m) mean of the z (B, D) of all ranks that are nearest to g_c.

    A group without members stays. The gradient flows through the mean, which is what makes the grouping synchronous.
    """
    z, groups = z.float(), groups.float()
    members = F.one_hot(assigned_groups(z, groups), len(groups)).to(z.dtype)  # (B, K)
    with torch.autocast(z.device.type, enabled=False):
        sums = mean_over_ranks(members.T @ z)  # (K, D), over W like the counts
    counts = mean_over_ranks(members.sum(dim=0))[:, None]  # (K, 1)
    means = sums / counts.clamp(min=1 / world_size())
    return torch.where(counts > 0, groups.lerp(means, 1 - momentum), groups)


def smog_loss(prediction: Tensor, target: Tensor, groups: Tensor, temperature: float) -> Tensor:
    """-log softmax(cos(p, g) / T) at the group of the other view; prediction: (B, D), target: (B,), groups: (K, D)."""
    with torch.autocast(prediction.device.type, enabled=False):
        cosines = F.normalize(prediction.float(), dim=1) @ F.normalize(groups.float(), dim=1).T  # (B, K)
    return F.cross_entropy(cosines / temperature, target)
