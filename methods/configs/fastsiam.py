"""Configuration of FastSiam (doi:10.1007/978-3-031-16788-1_4)."""

from typing import Literal

from ..config import ViewsConfig
from ..view_presets import moco_views
from .simsiam import SimSiamConfig


class FastSiamConfig(SimSiamConfig):
    title = "FastSiam"
    paper = "FastSiam: Resource-Efficient Self-supervised Learning on a Single GPU, doi:10.1007/978-3-031-16788-1_4"
    num_global_views = None

    name: Literal["fastsiam"] = "fastsiam"
    views: ViewsConfig = moco_views(count=4)
