"""ReSSL: Relational Self-Supervised Learning with Weak Augmentation (arXiv:2107.09282)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.ressl import ReSSLConfig
from .encoder import Encoder
from .parts.heads import Projected, mlp
from .parts.queue import Queue
from .parts.teacher import Teacher


class ReSSL(Method[ReSSLConfig]):
    def __init__(self, config: ReSSLConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.student = Projected(encoder, mlp(encoder.dim, config.hidden_dim, config.output_dim, norm=False))
        self.teacher = Teacher(self.student)
        self.queue = Queue(config.queue_size, config.output_dim)

    @property
    def backbone(self) -> Encoder:
        return self.student.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        strong, weak = (view.image for view in batch.global_views)
        query = F.normalize(self.student(strong).float(), dim=1)  # (B, D)
        key = F.normalize(self.teacher(weak).float(), dim=1)  # (B, D)
        rows = self.queue.rows.float().clone()  # the gradient needs them as they are now
        loss = ressl_loss(query, key, rows, self.config.student_temperature, self.config.teacher_temperature)
        self.queue.push(key)
        return StepOutput(loss, {})

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self.config.momentum)


def ressl_loss(
    query: Tensor, key: Tensor, rows: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Eq. 6, cross-entropy of the relations softmax(k . rows / T_t) and softmax(q . rows / T_s); (B, D) and (K, D)."""
    with torch.autocast(query.device.type, enabled=False):
        target = (key @ rows.T / teacher_temperature).softmax(dim=1)  # (B, K)
        log_p = (query @ rows.T / student_temperature).log_softmax(dim=1)
    return -(target * log_p).sum(dim=1).mean()
