"""What of a backbone a classifier sees: its pooled features, or tokens of a ViT's last blocks, as in DINOv2 (arXiv:2304.07193).

Free of torch until it is used.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from ..methods.backbones import is_vit, may_have_class_token
from ..methods.config import BackboneConfig

if TYPE_CHECKING:
    from torch import Tensor

    from ..methods.encoder import Encoder

Feature = Literal["pooled", "cls", "cls+mean", "cls4", "cls4+mean"]
"""``cls``: the class token; ``cls4``: those of the last four blocks; ``+mean``: and the last block's mean over the patches."""

BLOCKS: dict[Feature, int] = {"pooled": 0, "cls": 1, "cls+mean": 1, "cls4": 4, "cls4+mean": 4}
"""Whose class tokens a feature has."""


def feature_problem(features: Sequence[Feature], backbone: BackboneConfig) -> str | None:
    """Why a backbone does not have one of the features, as far as its configuration says it; None if it may have all."""
    if not is_vit(backbone.name):
        return _problem(features, "is no vision transformer", 0)
    if not may_have_class_token(backbone):
        return _problem(features, "has no class token", 0)
    depth = backbone.options.get("depth")
    return _problem(features, f"has {depth} blocks", depth) if isinstance(depth, int) else None


def _problem(features: Sequence[Feature], why: str, blocks: int) -> str | None:
    """What is wrong with the first of the features that needs more class tokens than the `blocks` that there are."""
    bad = next((name for name in features if BLOCKS[name] > blocks), None)
    if bad is None:
        return None
    *most, last = (f"'{name}'" for name in get_args(Feature) if BLOCKS[name] <= blocks)
    allowed = f"{', '.join(most)} or {last}" if most else last
    return f"got '{bad}'; must be {allowed}, as the backbone {why}"


class Readout:
    """Several features of one pass of an encoder, side by side."""

    def __init__(self, encoder: "Encoder", features: Sequence[Feature] = ("pooled",)):
        """Raises Refused for features that the encoder does not have."""
        self.encoder = encoder
        self.pooled = "pooled" in features
        self.mean = any(name.endswith("+mean") for name in features)
        self.blocks = max(BLOCKS[name] for name in features)
        self._refuse_absent(features)
        dim = encoder.dim
        first = dim * self.pooled
        last = first + dim * self.blocks
        self.width = last + dim * self.mean
        self.features = tuple(features)
        self.columns: dict[Feature, slice] = {}
        """Of the features, where each lies in what a call returns."""
        for name in features:
            end = last + dim * name.endswith("+mean")
            self.columns[name] = slice(0, dim) if name == "pooled" else slice(last - dim * BLOCKS[name], end)

    def _refuse_absent(self, features: Sequence[Feature]) -> None:
        if not self.blocks:
            return
        if self.encoder.has_class_token:
            problem = _problem(features, f"has {self.encoder.depth} blocks", self.encoder.depth)
        else:
            problem = _problem(features, "has no class token", 0)
        if problem is not None:
            from .task import Refused

            raise Refused(f"features: {problem}")

    def __call__(self, image: "Tensor") -> "Tensor":
        """Features (B, width) of images (B, 3, H, W); the pooled ones alone are what the encoder returns."""
        import torch

        if not self.blocks:
            return self.encoder(image)
        tokens = self.encoder.tokens_of_blocks(image, self.blocks)  # each (B, prefix + N, D)
        parts = [self.encoder.pool(tokens[-1])] if self.pooled else []
        parts += [block[:, 0] for block in tokens]
        if self.mean:
            parts.append(tokens[-1][:, self.encoder.num_prefix_tokens :].float().mean(dim=1))
        return torch.cat([part.float() for part in parts], dim=1)

    def width_of(self, feature: Feature) -> int:
        """Columns of one of the features."""
        columns = self.columns[feature]
        return columns.stop - columns.start
