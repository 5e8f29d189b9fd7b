"""Self-supervised methods, one file each. Add a method: write its file, then list it here.

Importing this package does not import torch: a sweep file is checked with the configurations alone.
"""

from .catalog import build_method, load_config_class, load_method_class
from .config import MethodConfig

METHODS = (
    "random", "supervised",
    "simclr", "dcl", "dclw", "supcon", "moco", "mocov3", "nnclr", "ressl",
    "byol", "simsiam", "fastsiam", "dino", "dinov2",
    "barlow_twins", "vicreg", "vicregl", "tico", "wmse", "mmcr",
    "swav", "deepclusterv2", "smog", "msn", "pmsn",
    "mae", "simmim", "ibot", "ijepa", "lejepa",
)  # fmt: skip
"""Every method by name; `simclr` is the file `simclr.py`, with `SimCLRConfig` and the method in it."""

__all__ = ["METHODS", "MethodConfig", "build_method", "load_config_class", "load_method_class"]
