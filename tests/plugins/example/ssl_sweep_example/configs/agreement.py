"""Configuration of Agreement."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt
from ssl_sweep.methods.config import MethodConfig, OptimizerConfig, PretrainConfig, ViewsConfig
from ssl_sweep.methods.view_presets import simclr_views


class AgreementConfig(MethodConfig):
    title = "Agreement"
    paper = "An example: two views agree, and features keep their variance"
    family = "redundancy reduction"
    num_global_views = 2
    pretrain = PretrainConfig(optimizer=OptimizerConfig(name="sgd", lr=0.05, weight_decay=1e-4))

    name: Literal["agreement"] = "agreement"
    variance: PositiveFloat = 1.0
    output_dim: PositiveInt = 32
    views: ViewsConfig = simclr_views()
