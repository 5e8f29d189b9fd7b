"""How timm's two families of ViTs go from embedded patches to their blocks: `VisionTransformer`, and `Eva` with rotary positions.

`Eva` is the class of EVA-02 (arXiv:2303.11331), RoPE-ViT (arXiv:2403.13298), DINOv3 (arXiv:2508.10104) and others. Its blocks
rotate queries and keys by angles that depend on the place of the patch (arXiv:2104.09864): a patch that is kept keeps its angles.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from timm.models.eva import Eva
from torch import Tensor, nn


class Blocks(Protocol):
    """The blocks of a ViT: called as one, or one after the other."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Tokens (B, L, dim) after the last block."""
        ...

    def __iter__(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """Each block, from tokens to tokens."""
        ...


Start = Callable[[Any, Tensor, Tensor | None], tuple[Tensor, Blocks]]
"""Of a model, its embedded patches (B, h, w, dim) and those to keep (B, K), or None: what enters the blocks, and the blocks."""


def start_of(model: nn.Module) -> Start:
    """The one of the model's family."""
    return rotary_start if isinstance(model, Eva) else plain_start


def plain_start(model: Any, patches: Tensor, keep: Tensor | None) -> tuple[Tensor, Blocks]:
    """Of a `VisionTransformer`, whose positions are all added to its tokens."""
    x = model._pos_embed(patches)  # (B, prefix + N, D)
    if keep is not None:
        x = kept(x, keep, model.num_prefix_tokens)
    return model.norm_pre(x), model.blocks


def rotary_start(model: Any, patches: Tensor, keep: Tensor | None) -> tuple[Tensor, Blocks]:
    """Of an `Eva`: timm's patch dropout takes the angles of the patches that it keeps; here it is told which."""
    with _patch_drop(model, Keep(keep, model.num_prefix_tokens)):
        x, angles = model._pos_embed(patches)
    of_blocks = angles if model.rope_mixed else [angles] * len(model.blocks)
    return model.norm_pre(x), RotaryBlocks(model.blocks, of_blocks)


def kept(x: Tensor, keep: Tensor, prefix: int) -> Tensor:
    """Tokens (B, prefix + K, D) of x (B, prefix + N, D), with the patches keep (B, K) alone."""
    patches = x[:, prefix:].gather(1, keep[..., None].expand(-1, -1, x.shape[2]))  # (B, K, D)
    return torch.cat([x[:, :prefix], patches], dim=1)


class RotaryBlocks:
    """The blocks of an `Eva` with the angles of one pass."""

    def __init__(self, blocks: nn.ModuleList, angles: Sequence[Tensor | None] | Tensor):
        """`angles`: of each block, ([[B,] heads,] K, 2 * head_dim); None if it has none."""
        self.blocks, self.angles = blocks, angles

    def __iter__(self) -> Iterator[Callable[[Tensor], Tensor]]:
        """Each block, from tokens to tokens."""
        for block, angles in zip(self.blocks, self.angles, strict=True):
            yield partial(block, rope=angles)

    def __call__(self, x: Tensor, /) -> Tensor:
        """Tokens (B, L, dim) after the last block."""
        for block in self:
            x = block(x)
        return x


class Keep(nn.Module):
    """A `PatchDropoutWithIndices` that keeps what it is told to."""

    def __init__(self, keep: Tensor | None, prefix: int):
        """keep: (B, K); None keeps all."""
        super().__init__()
        self.keep, self.prefix = keep, prefix

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The tokens that are kept, and `keep`."""
        return (x if self.keep is None else kept(x, self.keep, self.prefix)), self.keep


@contextmanager
def _patch_drop(model: Any, dropout: nn.Module) -> Generator[None]:
    own, model.patch_drop = model.patch_drop, dropout
    try:
        yield
    finally:
        model.patch_drop = own


class RememberedAngles(nn.Module):
    """DINOv3's rotary positions, computed once for a grid: timm starts on the CPU, and a GPU waits for the copy in each pass."""

    def __init__(self, rope: RotaryEmbeddingDinoV3):
        """Takes the place of `rope`."""
        super().__init__()
        self.rope = rope
        self._found: dict[object, Tensor] = {}

    def get_embed(self, shape: Sequence[int]) -> Tensor:
        """Angles (h * w, 2 * head_dim) of a grid of patches (h, w), as timm's."""
        if self.training and self.rope.aug_active:
            return self.rope.get_embed(list(shape))
        key = (*shape, self.rope.periods.device, self.rope.periods.dtype)
        if key not in self._found:
            self._found[key] = self.rope.get_embed(list(shape))
        return self._found[key]


def remember_angles(model: nn.Module) -> None:
    """Replace, in place, rotary positions that would make a GPU wait."""
    if isinstance(model, Eva) and isinstance(model.rope, RotaryEmbeddingDinoV3):
        model.rope = RememberedAngles(model.rope)


def has_rotary_positions(model: nn.Module) -> bool:
    """Whether blocks rotate queries and keys, whatever else is added to the tokens."""
    return isinstance(model, Eva) and model.rope is not None
