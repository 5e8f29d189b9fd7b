"""DCLW: Decoupled Contrastive Learning with its weighted positives (arXiv:2110.06848)."""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, OptimizerConfig, PretrainConfig, ScheduleConfig, ViewsConfig
from .dcl import dcl_loss
from .encoder import Encoder
from .parts.collectives import gather, own_rows
from .parts.heads import Projected, mlp
from .view_presets import simclr_views


class DCLWConfig(MethodConfig):
    title = "DCLW"
    paper = "Decoupled Contrastive Learning, arXiv:2110.06848"
    family = "contrastive"
    num_global_views = 2
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="sgd", lr=0.03, weight_decay=1e-4), schedule=ScheduleConfig(warmup_epochs=10)
    )

    name: Literal["dclw"] = "dclw"
    temperature: PositiveFloat = 0.1
    sigma: PositiveFloat = Field(default=0.5, description="temperature of the positives' weights")
    hidden_dim: PositiveInt | None = Field(default=None, description="width of the head; unset: the encoder's")
    output_dim: PositiveInt = 128
    separate_views: bool = Field(
        default=False,
        description="logarithms of the two views' negatives are summed, not their similarities: Lightly's published rows",
    )
    views: ViewsConfig = simclr_views()


class DCLW(Method[DCLWConfig]):
    """DCL that heeds those pairs most whose views are unlike."""

    def __init__(self, config: DCLWConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        head = mlp(encoder.dim, config.hidden_dim or encoder.dim, config.output_dim, last_norm=True)
        self.model = Projected(encoder, head)

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image) for view in batch.global_views)  # each (B, D)
        weights = positive_weights(a, b, self.config.sigma)
        return StepOutput(dcl_loss(a, b, self.config.temperature, self.config.separate_views, weights), {})


@torch.no_grad()
def positive_weights(a: Tensor, b: Tensor, sigma: float) -> Tensor:
    """Weights (B,) of the positives, 2 - N softmax(cos(a_i, b_i) / sigma) over the N images of all ranks (sec. 3.3)."""
    cosine = F.cosine_similarity(a.float(), b.float(), dim=1)  # (B,)
    everyone = gather(cosine)  # (N,)
    return 2 - len(everyone) * own_rows((everyone / sigma).softmax(dim=0))
