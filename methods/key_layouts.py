"""The names that other libraries have for a backbone's tensors: how each of them calls what timm calls ``layer1.0.conv1.weight``.

Whatever stands before such names in a file, as ``state_dict.module.encoder_q``, is found by `weights.py`: many libraries differ in
that alone. Those of MoCo, DINO, MAE and solo-learn have timm's names.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

COUNTER = "num_batches_tracked"
"""The end of a buffer's name that old files lack, and that no network reads unless it averages without momentum."""

Rename = tuple[str, str]
"""A pattern of timm's names, and what takes its place."""

BLOCK = r"^blocks\.(\d+)\."
TORCHVISION_VIT: tuple[Rename, ...] = (
    (r"^cls_token$", "class_token"),
    (r"^pos_embed$", "encoder.pos_embedding"),
    (r"^patch_embed\.proj\.", "conv_proj."),
    (r"^norm\.", "encoder.ln."),
    (rf"{BLOCK}norm([12])\.", r"encoder.layers.encoder_layer_\1.ln_\2."),
    (rf"{BLOCK}attn\.qkv\.", r"encoder.layers.encoder_layer_\1.self_attention.in_proj_"),
    (rf"{BLOCK}attn\.proj\.", r"encoder.layers.encoder_layer_\1.self_attention.out_proj."),
    (rf"{BLOCK}mlp\.fc1\.", r"encoder.layers.encoder_layer_\1.mlp.0."),
    (rf"{BLOCK}mlp\.fc2\.", r"encoder.layers.encoder_layer_\1.mlp.3."),
)
OLD_TORCHVISION_VIT: tuple[Rename, ...] = (
    *TORCHVISION_VIT[:-2],
    (rf"{BLOCK}mlp\.fc1\.", r"encoder.layers.encoder_layer_\1.mlp.linear_1."),
    (rf"{BLOCK}mlp\.fc2\.", r"encoder.layers.encoder_layer_\1.mlp.linear_2."),
)
DINOV2: tuple[Rename, ...] = (
    (r"^reg_token$", "register_tokens"),
    (rf"{BLOCK}mlp\.fc1\.", r"blocks.\1.mlp.w12."),
    (rf"{BLOCK}mlp\.fc2\.", r"blocks.\1.mlp.w3."),
)
DINOV2_REGISTERS = DINOV2[:1]
DINOV3: tuple[Rename, ...] = ((r"^reg_token$", "storage_tokens"), (rf"{BLOCK}gamma_([12])$", r"blocks.\1.ls\2.gamma"))
DINOV3_SWIGLU: tuple[Rename, ...] = (
    *DINOV3,
    (rf"{BLOCK}mlp\.fc1_g\.", r"blocks.\1.mlp.w1."),
    (rf"{BLOCK}mlp\.fc1_x\.", r"blocks.\1.mlp.w2."),
    (rf"{BLOCK}mlp\.fc2\.", r"blocks.\1.mlp.w3."),
)
SEQUENTIAL: tuple[Rename, ...] = ((r"^conv1\.", "0."), (r"^bn1\.", "1."))
"""Of ``nn.Sequential(*resnet.children())``, whose third child is the ReLU, and the fourth the pooling."""
SHORTCUT: tuple[Rename, ...] = ((r"\.downsample\.", ".shortcut."),)


def _stages(first: int) -> tuple[Rename, ...]:
    return tuple((rf"^layer{i}\.", f"{first + i - 1}.") for i in range(1, 5))


VITS: Mapping[str, tuple[Rename, ...]] = {
    "torchvision": TORCHVISION_VIT,
    "torchvision, before 0.13": OLD_TORCHVISION_VIT,
    "DINOv2": DINOV2,
    "DINOv2 with registers": DINOV2_REGISTERS,
    "DINOv3": DINOV3,
    "DINOv3 with SwiGLU": DINOV3_SWIGLU,
}
RESNETS: Mapping[str, tuple[Rename, ...]] = {
    "nn.Sequential": (*SEQUENTIAL, *_stages(4)),
    "Lightly's ResNet": SHORTCUT,
    "nn.Sequential of Lightly's ResNet": (*SEQUENTIAL, *_stages(2), *SHORTCUT),
}


class Layout(NamedTuple):
    """A way to name a backbone's tensors."""

    name: str
    keys: Mapping[str, str]
    """A tensor's name there, and its own."""


def layouts(own: Iterable[str]) -> list[Layout]:
    """All ways that are known for a backbone whose own names these are; its own comes first."""
    names = list(own)
    known = VITS if any(name.startswith("blocks.") for name in names) else RESNETS
    known = known if known is VITS or "layer1.0.conv1.weight" in names else {}
    found = [Layout("timm", {name: name for name in names})]
    for layout, renames in known.items():
        keys = {_renamed(name, renames): name for name in names}
        if all(keys != other.keys for other in found):
            found.append(Layout(layout, keys))
    return found


def _renamed(name: str, renames: Iterable[Rename]) -> str:
    for pattern, there in renames:
        name = re.sub(pattern, there, name)
    return name
