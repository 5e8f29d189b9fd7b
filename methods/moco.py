"""MoCo v2: Improved Baselines with Momentum Contrastive Learning (arXiv:2003.04297)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.moco import MoCoConfig
from .encoder import Encoder
from .parts.collectives import gather, own_rows
from .parts.device import to_device
from .parts.heads import Projected, mlp
from .parts.masks import step_generator
from .parts.queue import Queue
from .parts.teacher import Teacher


class MoCo(Method[MoCoConfig]):
    """The paper shuffles images between GPUs: a query and its key, normalised with the same few images, know each other.

    Batch norm over all ranks has one set of statistics, which tells no image from another, so nothing is shuffled by default.
    """

    def __init__(self, config: MoCoConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        head = mlp(encoder.dim, config.hidden_dim or encoder.dim, config.output_dim, norm=False)
        self.student = Projected(encoder, head)
        self.teacher = Teacher(self.student)
        self.queue = Queue(config.queue_size, config.output_dim)

    @property
    def backbone(self) -> Encoder:
        return self.student.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        first, second = (view.image for view in batch.global_views)
        directions = [(first, second), (second, first)] if self.config.symmetric else [(first, second)]
        queries = [F.normalize(self.student(query).float(), dim=1) for query, _ in directions]  # each (B, D)
        keys = [F.normalize(self._keys(key, progress).float(), dim=1) for _, key in directions]
        return StepOutput(queued_loss(queries, keys, self.queue, self.config.temperature, self.config.push_between), {})

    def _keys(self, image: Tensor, progress: Progress) -> Tensor:
        """The teacher's embeddings (B, D), without gradient."""
        if not self.config.shuffle_keys:
            return self.teacher(image)
        everyone = gather(image.contiguous())  # (W * B, 3, H, W)
        order = to_device(torch.randperm(len(everyone), generator=step_generator(progress)), image.device)
        shuffled = gather(self.teacher(own_rows(everyone[order])))  # (W * B, D)
        return own_rows(shuffled[order.argsort()])

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self.config.momentum)


def queued_loss(
    queries: list[Tensor], keys: list[Tensor], queue: Queue, temperature: float, push_between: bool
) -> Tensor:
    """Mean of `moco_loss` over the directions; their keys enter the queue at the end, or each before the next direction."""
    losses: list[Tensor] = []
    for query, key in zip(queries, keys, strict=True):
        negatives = queue.rows.float().clone()  # the gradient needs them as they are now
        losses.append(moco_loss(query, key, negatives, temperature))
        if push_between:
            queue.push(key)
    if not push_between:
        for key in keys:
            queue.push(key)
    return torch.stack(losses).mean()


def moco_loss(query: Tensor, key: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE (MoCo, arXiv:1911.05722, eq. 1); query, key: (B, D), negatives: (K, D), all of length 1."""
    with torch.autocast(query.device.type, enabled=False):
        positive = (query * key).sum(dim=1, keepdim=True)  # (B, 1)
        logits = torch.cat([positive, query @ negatives.T], dim=1) / temperature  # (B, 1 + K)
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64))
