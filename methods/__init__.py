"""Self-supervised methods, one file each. Add a method: write its file, then list its configuration here.

Importing this package does not import torch: a sweep file is checked with the configurations alone.
"""

from .build import build_method, load_method_class, refusal
from .config import MethodConfig
from .registry import Registry

METHODS: Registry[type[MethodConfig]] = Registry(
    "methods",
    __name__,
    {
        "random": "configs.random:RandomConfig",
        "pretrained": "configs.pretrained:PretrainedConfig",
        "supervised": "configs.supervised:SupervisedConfig",
        "simclr": "configs.simclr:SimCLRConfig",
        "dcl": "configs.dcl:DCLConfig",
        "dclw": "configs.dclw:DCLWConfig",
        "supcon": "configs.supcon:SupConConfig",
        "moco": "configs.moco:MoCoConfig",
        "mocov3": "configs.mocov3:MoCoV3Config",
        "nnclr": "configs.nnclr:NNCLRConfig",
        "ressl": "configs.ressl:ReSSLConfig",
        "byol": "configs.byol:BYOLConfig",
        "simsiam": "configs.simsiam:SimSiamConfig",
        "fastsiam": "configs.fastsiam:FastSiamConfig",
        "dino": "configs.dino:DINOConfig",
        "dinov2": "configs.dinov2:DINOv2Config",
        "barlow_twins": "configs.barlow_twins:BarlowTwinsConfig",
        "vicreg": "configs.vicreg:VICRegConfig",
        "vicregl": "configs.vicregl:VICRegLConfig",
        "tico": "configs.tico:TiCoConfig",
        "wmse": "configs.wmse:WMSEConfig",
        "mmcr": "configs.mmcr:MMCRConfig",
        "swav": "configs.swav:SwAVConfig",
        "deepclusterv2": "configs.deepclusterv2:DeepClusterV2Config",
        "smog": "configs.smog:SMoGConfig",
        "msn": "configs.msn:MSNConfig",
        "pmsn": "configs.pmsn:PMSNConfig",
        "mae": "configs.mae:MAEConfig",
        "simmim": "configs.simmim:SimMIMConfig",
        "ibot": "configs.ibot:IBOTConfig",
        "ijepa": "configs.ijepa:IJEPAConfig",
        "lejepa": "configs.lejepa:LeJEPAConfig",
    },
    refusal,
)
"""The configuration of every method by name: our own, then those of other packages (entry points ``ssl_sweep.methods``)."""

__all__ = ["METHODS", "MethodConfig", "build_method", "load_method_class"]
