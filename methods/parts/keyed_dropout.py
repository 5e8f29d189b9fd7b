"""Drop path, dropout and their kin, as timm's networks have them, keyed by the images instead of a generator's state.

Networks draw in many ways: in modules, in functions, within fused attention. So their calls are what is replaced: of torch's
functions that draw, while a network makes a training pass. The number of the call within the pass is part of the key.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.drop import DropBlock2d, drop_block_2d
from timm.layers.mlp import Mlp
from timm.layers.patch_dropout import PatchDropout, PatchDropoutWithIndices
from timm.layers.pos_embed_sincos import (
    RotaryEmbeddingCat,
    RotaryEmbeddingDinoV3,
    RotaryEmbeddingMixed,
    RotaryEmbeddingMRope,
)
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, handle_torch_function

from .collectives import mean_over_ranks
from .draws import PassKeys, hash64, normals, uniforms

UNKEYED: tuple[Callable[..., Any], ...] = (
    torch.bernoulli,
    torch.dropout,
    torch.multinomial,
    torch.normal,
    torch.rand_like,
    torch.randint,
    torch.randn_like,
    torch.randperm,
    Tensor.bernoulli,
    Tensor.exponential_,
    Tensor.multinomial,
    Tensor.normal_,
    Tensor.random_,
    F.alpha_dropout,
    F.feature_alpha_dropout,
    F.gumbel_softmax,
    F.rrelu,
)
"""Functions that draw too, which no network of timm calls in a pass: refused, so that none draws from a generator unseen."""


class KeyedPass(TorchFunctionMode):
    """While it is entered, what a network draws for its n rows is a function of their keys.

    Tensors that are drawn or dropped from have n rows, or n * k with the k of one row next to each other (windows); but for
    a `SharedDropout` and how rotary positions are shifted and scaled, which all rows share.

    Raises:
        RuntimeError: the network draws by a function that cannot be keyed.
    """

    def __init__(self, keys: PassKeys):
        super().__init__()
        self.rows, self.shared = keys
        self.calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        if func is Tensor.bernoulli_:
            return self._bernoulli_(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        if func is F.dropout1d or func is F.dropout2d or func is F.dropout3d:
            return self._channel_dropout(*args, **kwargs)
        if func is Tensor.uniform_:
            return self._shared_uniform_(*args, **kwargs)
        if func is shared_dropout:
            return self._shared_dropout(*args)
        if func is torch.rand or func is torch.randn:
            return self._filled(uniforms if func is torch.rand else normals, *args, **kwargs)
        if func in UNKEYED or (func is F.multi_head_attention_forward and _drops(*args, **kwargs)):
            raise RuntimeError(
                f"the backbone calls `{func.__name__}`, whose draws would depend on the number of workers"
            )
        return func(*args, **kwargs)

    def _drawn(self, draw: Callable[[Tensor, int], Tensor], shape: torch.Size) -> Tensor:
        """What `draw` gives for each row, as a tensor of this shape, float32."""
        rows = len(self.rows)
        if not shape or shape[0] % rows:
            raise RuntimeError(
                f"the backbone draws a tensor of shape {tuple(shape)}, whose rows are not those of its {rows} images"
            )
        self.calls += 1
        return draw(hash64(self.calls, self.rows), shape.numel() // rows).view(shape)

    def _kept(self, x: Tensor, shape: torch.Size, p: float) -> Tensor:
        """1 / (1 - p) with probability 1 - p, else 0."""
        if p == 1:
            return x.new_zeros(shape)
        return (self._drawn(uniforms, shape) >= p).to(x.dtype).div_(1 - p)

    def _dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        kept = self._kept(input, input.shape, p)
        return input.mul_(kept) if inplace else input * kept

    def _channel_dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return input
        kept = self._kept(input, torch.Size([*input.shape[:2], *(1 for _ in input.shape[2:])]), p)
        return input.mul_(kept) if inplace else input * kept

    def _shared_dropout(self, x: Tensor, p: float) -> Tensor:
        self.calls += 1
        kept = uniforms(hash64(self.calls, self.shared), x.numel()).view(x.shape) >= p
        return x * kept.to(x.dtype).div_(1 - p)

    def _shared_uniform_(self, x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        """timm's networks draw so for rotary positions alone: a number for each axis, or one for both."""
        if x.ndim != 1 or len(x) > 2:
            raise RuntimeError(f"the backbone draws {list(x.shape)} uniform numbers, which cannot be keyed by image")
        self.calls += 1
        return x.copy_(low + (high - low) * uniforms(hash64(self.calls, self.shared), len(x))[0])

    def _bernoulli_(self, x: Tensor, p: float = 0.5) -> Tensor:
        return x.copy_(self._drawn(uniforms, x.shape) < p)

    def _filled(
        self,
        draw: Callable[[Tensor, int], Tensor],
        *size: Any,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> Tensor:
        shape = torch.Size(size[0] if len(size) == 1 and not isinstance(size[0], int) else size)
        return self._drawn(draw, shape).to(device or "cpu", dtype or torch.get_default_dtype())

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **others: Any,
    ) -> Tensor:
        """Fused kernels draw by themselves; with dropout it is softmax(q k^T / sqrt(d) + mask), dropped, times v."""
        if dropout_p == 0:
            return F.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, **others)
        scale = others.pop("scale", None) or query.shape[-1] ** -0.5
        if is_causal or any(others.values()):
            raise RuntimeError("dropout of causal or grouped attention cannot be keyed by image")
        scores = query * scale @ key.transpose(-2, -1)  # (n, heads, N, N)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, float("-inf"))
        elif attn_mask is not None:
            scores = scores + attn_mask
        return self._dropout(scores.softmax(dim=-1), dropout_p).to(value.dtype) @ value


def _drops(*arguments: Any, training: bool = True, **_named: Any) -> bool:
    """Of the arguments with which ``F.multi_head_attention_forward`` comes to a mode."""
    return training and arguments[10] > 0


class SharedDropout(nn.Dropout):
    """Dropout of what a network makes for all images at once, such as a bias by relative positions."""

    def forward(self, input: Tensor) -> Tensor:
        """Any shape."""
        return shared_dropout(input, self.p) if self.training and self.p else input


def shared_dropout(x: Tensor, p: float) -> Tensor:
    """`x` with the share `p` dropped, alike on all ranks. Only a `KeyedPass` knows how."""
    return handle_torch_function(shared_dropout, (x,), x, p)


class DropBlock(nn.Module):
    """timm's DropBlock (arXiv:1810.12890), scaled by what is kept of the images of all ranks instead of one's."""

    def __init__(self, block: DropBlock2d):
        """Takes the place of `block`."""
        super().__init__()
        assert not block.with_noise, "no network of timm sets it"
        self.drop_prob, self.size, self.gamma_scale = block.drop_prob, block.block_size, block.gamma_scale
        self.couple_channels, self.scale_by_keep = block.couple_channels, block.scale_by_keep

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, C, H, W)."""
        if not self.training or not self.drop_prob:
            return x
        whole = torch.ones_like(x[:, :1] if self.couple_channels else x)
        kept = drop_block_2d(whole, self.drop_prob, self.size, self.gamma_scale, scale_by_keep=False)
        if self.scale_by_keep:
            kept = kept / mean_over_ranks(kept.float().mean()).clamp(min=1e-7).to(kept.dtype)
        return x * kept


def make_keyable(network: nn.Module) -> None:
    """Replace, in place, what of timm's `network` draws or scales by more than its own row."""
    for part in list(network.modules()):
        for name, child in part.named_children():
            if isinstance(child, DropBlock2d):
                setattr(part, name, DropBlock(child))
        if isinstance(part, Mlp) and part.fc1.weight.shape[1] == 2:  # its input is coordinates
            part.drop1 = SharedDropout(part.drop1.p)


def drops(network: nn.Module) -> bool:
    """Whether a training pass of `network` draws."""
    return any(_rates(part) or (isinstance(part, ROPES) and part.aug_active) for part in network.modules())


def switch_off(network: nn.Module) -> None:
    """Set all rates of drop path and dropout to zero, and leave rotary positions in their places."""
    for part in network.modules():
        if isinstance(part, ROPES):
            part.aug_active = False
        for name in _rates(part):
            setattr(part, name, 0.0)


ROPES = (RotaryEmbeddingCat, RotaryEmbeddingDinoV3, RotaryEmbeddingMixed, RotaryEmbeddingMRope)
DROPOUTS = (nn.modules.dropout._DropoutNd, PatchDropout, PatchDropoutWithIndices)  # pyright: ignore[reportPrivateUsage]


def _rates(part: nn.Module) -> list[str]:
    """Names of the attributes that are a rate above zero: `p` and `prob` of dropouts, others have 'drop' in their names."""
    own = ("p", "prob") if isinstance(part, DROPOUTS) else ()
    return [
        name
        for name, value in vars(part).items()
        if ("drop" in name or name in own) and isinstance(value, (int, float)) and value is not True and value > 0
    ]
