"""Supervised: cross-entropy on the labels, the mark that self-supervised features are held against."""

from typing import Literal

import torch.nn.functional as F
from torch import nn

from .base import Batch, Method, Progress, StepOutput, TrainingSet
from .config import MethodConfig, OptimizerConfig, PretrainConfig, ViewConfig, ViewsConfig
from .encoder import Encoder


class SupervisedConfig(MethodConfig):
    title = "Supervised"
    paper = "Baseline: Deep Residual Learning for Image Recognition, arXiv:1512.03385"
    family = "baseline"
    needs_labels = True
    pretrain = PretrainConfig(
        optimizer=OptimizerConfig(name="sgd", lr=0.1, weight_decay=1e-4, exclude_norm_and_bias=False)
    )

    name: Literal["supervised"] = "supervised"
    views: ViewsConfig = ViewsConfig(global_views=(ViewConfig(jitter=None, grayscale=0.0, blur=None),))


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
