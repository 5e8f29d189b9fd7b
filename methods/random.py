"""Random: an encoder as it is initialised, the floor under every method."""

from typing import Literal

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, PretrainConfig, ViewConfig, ViewsConfig
from .encoder import Encoder


class RandomConfig(MethodConfig):
    title = "Random init"
    paper = "Baseline: the untrained encoder"
    family = "baseline"
    trains = False
    pretrain = PretrainConfig()

    name: Literal["random"] = "random"
    views: ViewsConfig = ViewsConfig(global_views=(ViewConfig(jitter=None, grayscale=0.0, blur=None),))


class Random(Method[RandomConfig]):
    def __init__(self, config: RandomConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.encoder = encoder.requires_grad_(False)

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        raise AssertionError("the training loop skips methods whose configuration says `trains = False`")
