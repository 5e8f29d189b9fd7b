"""Supervised: cross-entropy on the labels, the mark that self-supervised features are held against."""

import torch.nn.functional as F
from torch import nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .configs.supervised import SupervisedConfig
from .encoder import Encoder


class Supervised(Method[SupervisedConfig]):
    def __init__(self, config: SupervisedConfig, encoder: Encoder, data: TrainingSet):
        super().__init__(config, encoder, data)
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.dim, data.num_classes)

    @property
    def backbone(self) -> Encoder:
        return self.encoder

    def training_step(self, batch: Batch, progress: Progress) -> StepOutput:
        logits = self.classifier(self.encoder(batch.global_views[0].image)).float()  # (B, classes)
        top1 = (logits.detach().argmax(dim=1) == batch.labels).float().mean()
        return StepOutput(F.cross_entropy(logits, batch.labels), {"top1": top1})
