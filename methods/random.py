"""Random: an encoder as it is initialised, the floor under every method."""

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.random import RandomConfig
from .encoder import Encoder


class Random(Method[RandomConfig]):
    def __init__(self, config: RandomConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.encoder = encoder.requires_grad_(False)

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        raise AssertionError("the training loop skips methods whose configuration says `trains = False`")
