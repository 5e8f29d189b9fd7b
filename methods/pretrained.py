"""Pretrained: given weights, of whatever method and library, under the same protocols as all others."""

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.pretrained import PretrainedConfig
from .encoder import Encoder


class Pretrained(Method[PretrainedConfig]):
    """An encoder that begins with `backbone.weights`, and ends so."""

    def __init__(self, config: PretrainedConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.encoder = encoder  # not frozen: fine-tuning trains its positions too, unlike a method's fixed ones

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        raise AssertionError("the training loop skips methods whose configuration says `trains = False`")
