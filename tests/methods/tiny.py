"""Methods, backbones and batches that are small enough for one core."""

from typing import Any

import torch
from ssl_sweep.methods import METHODS, build_method
from ssl_sweep.methods.base import Batch, Method, Progress, TrainingSet, View
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder, is_vit
from torch import Tensor

IMAGE_SIZE = 32
LOCAL_SIZE = 24  # at 16, oneDNN's bfloat16 gradient of the last strided convolution, of one pixel, is garbage
DATA = TrainingSet(num_samples=40, num_classes=5)
VIT = BackboneConfig(
    name="vit_tiny_patch16_224", options={"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
)
RESNET = BackboneConfig(name="test_resnet")  # timm's own small one
CIFAR = BackboneConfig(name="resnet18-cifar")

SMALL: dict[str, dict[str, Any]] = {
    "simclr": {"hidden_dim": 32, "output_dim": 16},
    "dcl": {"hidden_dim": 32, "output_dim": 16},
    "dclw": {"hidden_dim": 32, "output_dim": 16},
    "supcon": {"hidden_dim": 32, "output_dim": 16},
    "moco": {"hidden_dim": 32, "output_dim": 16, "queue_size": 20},
    "mocov3": {"hidden_dim": 32, "output_dim": 16},
    "nnclr": {"hidden_dim": 32, "output_dim": 16, "predictor_dim": 24, "queue_size": 20, "temperature": 0.5},
    "ressl": {"hidden_dim": 32, "output_dim": 16, "queue_size": 20},
    "simsiam": {"hidden_dim": 32, "output_dim": 32, "predictor_dim": 16},
    "fastsiam": {"hidden_dim": 32, "output_dim": 32, "predictor_dim": 16},
    "barlow_twins": {"hidden_dim": 32, "output_dim": 32},
    "vicreg": {"hidden_dim": 32, "output_dim": 32},
    "vicregl": {"hidden_dim": 32, "output_dim": 32, "local_dim": 8, "matches": 3},
    "wmse": {"hidden_dim": 16, "output_dim": 2, "whitening_size": 4},
    "mmcr": {"hidden_dim": 32, "output_dim": 8},
    "tico": {"hidden_dim": 32, "output_dim": 16},
    "byol": {"hidden_dim": 32, "output_dim": 16},
    "dino": {"hidden_dim": 32, "bottleneck_dim": 16, "output_dim": 64, "freeze_last_layer_epochs": 1},
    "swav": {"hidden_dim": 32, "output_dim": 16, "num_prototypes": 12, "queue_size": 128, "queue_start_epoch": 1},
    "deepclusterv2": {"hidden_dim": 32, "output_dim": 16, "num_prototypes": 5},
    "smog": {
        "hidden_dim": 32,
        "output_dim": 16,
        "num_groups": 6,
        "group_momentum": 0.999,
        "queue_size": 16,
        "reset_every": 3,
    },
    "msn": {"hidden_dim": 32, "output_dim": 16, "num_prototypes": 12},
    "pmsn": {"hidden_dim": 32, "output_dim": 16, "num_prototypes": 12},
    "ibot": {"hidden_dim": 32, "bottleneck_dim": 16, "output_dim": 64},
    "ijepa": {"predictor_dim": 32, "predictor_depth": 1, "predictor_heads": 2},
    "dinov2": {"hidden_dim": 32, "bottleneck_dim": 16, "output_dim": 64},
    "lejepa": {"hidden_dim": 32, "output_dim": 8, "directions": 32},
    "mae": {"decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2},
}
TRAINED = tuple(name for name in METHODS if METHODS[name].trains)
FITTING = [
    (name, backbone)
    for name in TRAINED
    for backbone in (VIT, RESNET)
    if is_vit(backbone) or not METHODS[name].needs_vit
]
IDS = [f"{name}-{backbone.name}" for name, backbone in FITTING]


def tiny_method(name: str, backbone: BackboneConfig = VIT, **settings: Any) -> Method[Any]:
    torch.manual_seed(0)
    config = METHODS[name](**(SMALL.get(name, {}) | settings))
    return build_method(config, build_encoder(backbone, IMAGE_SIZE), DATA)


def progress(step: int) -> Progress:
    return Progress(step, total_steps=8, steps_per_epoch=2, seed=3)


def tiny_batch(method: Method[Any], batch_size: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    views = method.config.views

    def view(size: int) -> View:
        image = torch.randn(batch_size, 3, size, size, generator=generator).to(dtype)
        return View(image, torch.rand(batch_size, 4, generator=generator).to(dtype))

    return Batch(
        [view(IMAGE_SIZE) for one in views.global_views for _ in range(one.count)],
        [view(LOCAL_SIZE) for one in views.local_views for _ in range(min(2, one.count))],
        torch.randint(DATA.num_classes, (batch_size,), generator=generator),
        torch.arange(batch_size) + batch_size * (seed % 2),  # as `progress` has them: an epoch is two batches
    )


def rows(batch: Batch, start: int, stop: int) -> Batch:
    def part(views: list[View]) -> list[View]:
        return [View(view.image[start:stop], view.box[start:stop]) for view in views]

    chosen = slice(start, stop)
    return Batch(part(batch.global_views), part(batch.local_views), batch.labels[chosen], batch.samples[chosen])


def state(method: Method[Any]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in method.state_dict().items()}
