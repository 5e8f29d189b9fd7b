"""SimCLR: A Simple Framework for Contrastive Learning of Visual Representations (arXiv:2002.05709)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from .encoder import Encoder
from .parts.collectives import gather, rank
from .parts.heads import Projected, mlp
from .view_presets import simclr_views


class SimCLRConfig(MethodConfig):
    title = "SimCLR"
    paper = "A Simple Framework for Contrastive Learning of Visual Representations, arXiv:2002.05709"
    family = "contrastive"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="lars", lr=0.3, weight_decay=1e-6),
        schedule=ScheduleConfig(warmup_epochs=10),
    )

    name: Literal["simclr"] = "simclr"
    temperature: PositiveFloat = 0.1
    hidden_dim: PositiveInt | None = Field(
        default=None, description="width of the head; unset: the encoder's, as in the paper"
    )
    output_dim: PositiveInt = 128
    views: ViewsConfig = simclr_views()


class SimCLR(Method[SimCLRConfig]):
    def __init__(self, config: SimCLRConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        head = mlp(encoder.dim, config.hidden_dim or encoder.dim, config.output_dim, last_norm=True)
        self.model = Projected(encoder, head)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image) for view in batch.global_views)  # each (B, D)
        return StepOutput(nt_xent(a, b, self.config.temperature), {})


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """NT-Xent (eq. 1), -log softmax of each row's other view among all other rows of all ranks; a, b: (B, D)."""
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    all_a, all_b = gather(a), gather(b)  # (W * B, D)
    with torch.autocast(a.device.type, enabled=False):
        logits = torch.cat([a, b]) @ torch.cat([all_a, all_b]).T / temperature  # (2 * B, 2 * W * B)
    own = torch.arange(len(a), device=a.device) + rank() * len(a)
    itself, other = torch.cat([own, own + len(all_a)]), torch.cat([own + len(all_a), own])
    logits = logits.scatter(1, itself[:, None], float("-inf"))
    return F.cross_entropy(logits, other)
