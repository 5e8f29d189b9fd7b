"""A backbone from its `backbone.safetensors`, by what the file itself says: the way back from `encoder.export`."""

import json
from typing import Any

import safetensors
import safetensors.torch

from .config import BackboneConfig
from .encoder import CIFAR_RESNET, Encoder, build_encoder

NOT_OURS = "has no entry 'timm' in its metadata, as backbone.safetensors of a trial has"


def exported_encoder(content: bytes) -> Encoder:
    """The encoder with the weights of the file, on the CPU, in evaluation mode.

    Args:
        content: of a `backbone.safetensors`.

    Raises:
        ValueError: it is no such file; the message follows the file's name.
    """
    try:
        made: dict[str, Any] = json.loads(_metadata(content)["timm"])
        weights = safetensors.torch.load(content)
    except KeyError:
        raise ValueError(NOT_OURS) from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"cannot be read as safetensors: {error}") from None
    name, options, changes = str(made["name"]), dict(made["kwargs"]), _metadata(content).get("changes", "")
    if changes:  # of all backbones, only this one is changed after timm has made it
        name = CIFAR_RESNET
        options |= {} if "act1" not in changes else {"stem_relu": False}
    encoder = build_encoder(BackboneConfig.model_construct(name=name, options=options), 224)  # options has `img_size`
    try:
        encoder.model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"does not have the tensors of '{name}': {error}") from None
    return encoder.eval()


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file: a JSON object behind its length in eight bytes."""
    length = int.from_bytes(content[:8], "little")
    found = json.loads(content[8 : 8 + length])
    return found.get("__metadata__", {}) if isinstance(found, dict) else {}
