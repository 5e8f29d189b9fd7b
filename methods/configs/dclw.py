"""Configuration of DCLW (arXiv:2110.06848)."""

from typing import Literal

from pydantic import Field, PositiveFloat

from .dcl import DCLConfig


class DCLWConfig(DCLConfig):
    title = "DCLW"

    name: Literal["dclw"] = "dclw"
    sigma: PositiveFloat = Field(default=0.5, description="temperature of the positives' weights")
