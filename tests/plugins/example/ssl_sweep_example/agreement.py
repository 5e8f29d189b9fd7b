"""Agreement, an example: the distance of two views, and a hinge on the deviation of each feature."""

from ssl_sweep.methods.base import Batch, Method, Progress, StepOutput, TrainingSet
from ssl_sweep.methods.encoder import Encoder
from ssl_sweep.methods.parts.collectives import gather
from ssl_sweep.methods.parts.heads import Projected, mlp
from torch import Tensor

from .configs.agreement import AgreementConfig


class Agreement(Method[AgreementConfig]):
    def __init__(self, config: AgreementConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.model = Projected(encoder, mlp(encoder.dim, encoder.dim, config.output_dim))

    @property
    def backbone(self) -> Encoder:
        return self.model.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        a, b = (self.model(view.image).float() for view in batch.global_views)  # each (B, D)
        spread = (missing_deviation(a) + missing_deviation(b)) / 2
        return StepOutput((a - b).square().mean() + self.config.variance * spread, {"spread": spread.detach()})


def missing_deviation(z: Tensor) -> Tensor:
    """What the features' standard deviations over all ranks lack of 1, on average; z: (B, D)."""
    return (1 - (gather(z).var(dim=0) + 1e-4).sqrt()).relu().mean()
