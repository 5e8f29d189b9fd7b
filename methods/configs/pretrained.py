"""Configuration of backbones that are evaluated as they are given."""

from typing import Literal

from ..config import MethodConfig, PretrainConfig, ViewConfig, ViewsConfig


class PretrainedConfig(MethodConfig):
    title = "Pretrained"
    paper = "No method: given weights, evaluated as they are"
    family = "baseline"
    trains = False
    weights = "needed"
    pretrain = PretrainConfig()

    name: Literal["pretrained"] = "pretrained"
    views: ViewsConfig = ViewsConfig(global_views=(ViewConfig(jitter=None, grayscale=0.0, blur=None),))
