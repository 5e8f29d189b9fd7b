"""Configuration of the untrained baseline."""

from typing import Literal

from ..config import MethodConfig, PretrainConfig, ViewConfig, ViewsConfig


class RandomConfig(MethodConfig):
    title = "Random init"
    paper = "Baseline: the untrained encoder"
    family = "baseline"
    trains = False
    weights = "refused"
    pretrain = PretrainConfig()

    name: Literal["random"] = "random"
    views: ViewsConfig = ViewsConfig(global_views=(ViewConfig(jitter=None, grayscale=0.0, blur=None),))
