"""MoCo v3: An Empirical Study of Training Self-Supervised Vision Transformers (arXiv:2104.02057)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.mocov3 import MoCoV3Config
from .encoder import Encoder
from .parts.collectives import gather, rank
from .parts.heads import Projected, mlp
from .parts.schedules import cosine
from .parts.teacher import Teacher


class MoCoV3(Method[MoCoV3Config]):
    def __init__(self, config: MoCoV3Config, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        if encoder.patch_size is not None:
            _initialise(encoder)
            encoder.model.patch_embed.requires_grad_(not config.freeze_patch_embed)
        hidden = [config.hidden_dim] * (config.projector_layers - 1)
        projector = mlp(encoder.dim, *hidden, config.output_dim, last_norm=True, last_affine=False)
        self.student = Projected(encoder, projector)
        self.predictor = mlp(
            config.output_dim,
            config.hidden_dim,
            config.output_dim,
            last_norm=config.predictor_norm,
            last_affine=False,
            last_bias=False,
        )
        self.teacher = Teacher(self.student)

    @property
    def backbone(self) -> Encoder:
        return self.student.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        queries = [self.predictor(self.student(view.image)) for view in batch.global_views]  # each (B, D)
        keys = [self.teacher(view.image) for view in batch.global_views]  # each (B, D)
        temperature = self.config.temperature
        loss = batch_contrast(queries[0], keys[1], temperature) + batch_contrast(queries[1], keys[0], temperature)
        return StepOutput(2 * temperature * loss, {"momentum": self._momentum(progress)})

    def after_optimizer_step(self, progress: Progress) -> None:
        self.teacher.update(self.student, self._momentum(progress))

    def _momentum(self, progress: Progress) -> float:
        return cosine(self.config.momentum, self.config.final_momentum, progress.fraction)


def batch_contrast(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Eq. 1, -log softmax of each query's key among the keys of all ranks; query, key: (B, D)."""
    query, key = F.normalize(query.float(), dim=1), F.normalize(key.float(), dim=1)
    with torch.autocast(query.device.type, enabled=False):
        logits = query @ gather(key).T / temperature  # (B, W * B)
    own = torch.arange(len(query), device=query.device) + rank() * len(query)
    return F.cross_entropy(logits, own)


@torch.no_grad()
def _initialise(vit: Encoder) -> None:
    """The paper's fixed positions, and its authors' weights: Xavier-uniform, also of the patch embedding; zero biases."""
    for name, module in vit.named_modules():
        if not isinstance(module, (nn.Linear, nn.Conv2d)):
            continue
        for weight in module.weight.flatten(1).chunk(3 if name.endswith(".qkv") else 1):  # q, k and v each by itself
            nn.init.xavier_uniform_(weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if vit.model.pos_embed is not None:
        vit.fix_positions()
