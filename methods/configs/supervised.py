"""Configuration of the supervised baseline."""

from typing import Literal

from ..config import MethodConfig, OptimizerConfig, PretrainConfig, ViewConfig, ViewsConfig


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
