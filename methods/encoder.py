"""Backbones: any ResNet, ConvNeXt or ViT of timm by its name, and `resnet18-cifar`. Nothing is ever downloaded."""

import difflib
import inspect
import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import timm
import torch
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn

from . import backbones
from .config import BackboneConfig
from .parts.draws import current_draws
from .parts.keyed_dropout import KeyedPass, drops, make_keyable, switch_off
from .parts.positions import sincos_positions
from .parts.split_batchnorm import split_batchnorm
from .parts.vit_families import has_rotary_positions, remember_angles, start_of

CIFAR_RESNET = "resnet18-cifar"


class Encoder(nn.Module):
    """A timm model without its classifier; `forward` is bit for bit the one of ``timm.create_model(num_classes=0)``.

    With drop path or dropout, training passes must be made within a `drawing`, which says for which samples and step.
    """

    def __init__(self, model: nn.Module, patch_size: int | None, metadata: dict[str, str]):
        """`patch_size` is None for what is not a ViT; `metadata` says how timm makes the model."""
        super().__init__()
        make_keyable(model)
        remember_angles(model)
        self.draws = drops(model)
        self.model: Any = model  # timm's models share no typed base class
        self.dim = int(self.model.head_hidden_size)
        self.patch_size = patch_size
        self.metadata = metadata
        self._start = start_of(model)
        self.frozen: list[str] = []
        self.still: list[str] = []
        """Parameters without gradient, and norms that train by running statistics, see `freezing.py`."""

    def forward(self, image: Tensor) -> Tensor:
        """Pooled features (B, dim) of images (B, 3, H, W): class token, mean of the tokens, or mean of the map."""
        with self._drawing(len(image)):
            return self.model(image)

    def pool(self, unpooled: Tensor) -> Tensor:
        """Pooled features (B, dim), as `forward` has them, of `tokens` (B, L, dim), or of a CNN's map (B, dim, h, w)."""
        with self._drawing(len(unpooled)):
            return self.model.forward_head(unpooled)

    def tokens(
        self,
        image: Tensor,
        keep: Tensor | None = None,
        mask: Tensor | None = None,
        mask_token: Tensor | None = None,
    ) -> Tensor:
        """Tokens (B, prefix + K, dim) of a ViT after its final norm.

        Only patches `keep` (B, K) enter the blocks; patches with `mask` (B, N) are replaced by `mask_token` (dim,).
        """
        assert self.patch_size is not None, "only a ViT has tokens"
        with self._drawing(len(image)):
            return self._tokens(image, keep, mask, mask_token)

    def _tokens(self, image: Tensor, keep: Tensor | None, mask: Tensor | None, mask_token: Tensor | None) -> Tensor:
        x = self.model.patch_embed(image)  # (B, h, w, D)
        if mask is not None:
            assert mask_token is not None
            x = torch.where(mask.view(*x.shape[:3], 1), mask_token.to(x.dtype), x)
        x, blocks = self._start(self.model, x, keep)
        return self.model.norm(blocks(x))

    def tokens_of_blocks(self, image: Tensor, count: int) -> list[Tensor]:
        """Tokens (B, prefix + N, dim) of a ViT after each of its last `count` blocks and its final norm; the last are `tokens`."""
        assert self.patch_size is not None, "only a ViT has tokens"
        model = self.model
        found: list[Tensor] = []
        with self._drawing(len(image)):
            x, blocks = self._start(model, model.patch_embed(image), None)
            for left, block in zip(range(len(model.blocks) - 1, -1, -1), blocks, strict=True):
                x = block(x)
                if left < count:
                    found.append(model.norm(x))
        return found

    def feature_map(self, image: Tensor) -> Tensor:
        """Unpooled features (B, D, h, w)."""
        return self.pooled_and_map(image)[1]

    def pooled_and_map(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (B, dim), as `forward` has them, and unpooled ones (B, D, h, w), of one pass."""
        if self.patch_size is None:
            with self._drawing(len(image)):
                feature_map = self.model.forward_features(image)
            return self.pool(feature_map), feature_map
        tokens = self.tokens(image)
        patches = tokens[:, self.num_prefix_tokens :].transpose(1, 2)  # (B, D, h * w)
        return self.pool(tokens), patches.unflatten(2, self.grid(*image.shape[-2:]))

    def train(self, mode: bool = True) -> "Encoder":
        """As of any module, but for norms that are frozen."""
        super().train(mode)
        for name in self.still:
            self.model.get_submodule(name).eval()
        return self

    @contextmanager
    def _drawing(self, rows: int) -> Generator[None]:
        if not (self.draws and self.training):
            yield
            return
        with KeyedPass(current_draws().next_pass(rows)):
            yield

    def switch_off_dropout(self) -> None:
        """Set all rates of drop path and dropout to zero, for good."""
        switch_off(self.model)
        self.draws = False

    @property
    def depth(self) -> int:
        """Blocks of a ViT."""
        return len(self.model.blocks)

    @property
    def has_class_token(self) -> bool:
        """Whether it is a ViT with a class token, which is then the first of its tokens."""
        return self.patch_size is not None and self.model.cls_token is not None

    @property
    def num_prefix_tokens(self) -> int:
        """Class and register tokens of a ViT."""
        return self.model.num_prefix_tokens

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches; images are padded at the right and the bottom to whole patches."""
        assert self.patch_size is not None, "only a ViT has patches"
        return -(-height // self.patch_size), -(-width // self.patch_size)

    def num_patches(self, height: int, width: int) -> int:
        """Number N of patches of an image."""
        rows, columns = self.grid(height, width)
        return rows * columns

    @torch.no_grad()
    def fix_positions(self) -> None:
        """Replace a ViT's learned position embedding by the fixed sine-cosine table, zero for prefix tokens.

        A ViT with rotary positions alone keeps them.

        Raises:
            ValueError: it has no positions.
        """
        table = self.model.pos_embed  # (1, [prefix +] N, D)
        if table is None and has_rotary_positions(self.model):
            return
        if table is None:
            raise ValueError(f"backbone '{self.metadata['timm']}' has no absolute position embedding to fix")
        rows, columns = self.model.patch_embed.grid_size
        table.zero_()
        table[0, table.shape[1] - rows * columns :] = sincos_positions(self.dim, rows, columns, table.device)
        table.requires_grad_(False)

    def compile_blocks(self) -> None:
        """Have torch compile what takes the time, in place: a ViT's blocks, which every kind of pass runs, or all of a CNN.

        Blocks with rotary positions are compiled one by one, all at once if they are alike. With drop path or dropout they are
        not, and stay as they are: where a block's draws begin would compile each anew.
        """
        network: nn.Module = self.model if self.patch_size is None else self.model.blocks
        if not isinstance(network, nn.ModuleList):
            network.compile()
        elif not self.draws:
            for block in network:
                block.compile()

    def pooling_parameters(self) -> list[nn.Parameter]:
        """Parameters of a ViT that `forward` uses and `tokens` does not."""
        pooling: list[nn.Module | None] = [self.model.attn_pool, self.model.fc_norm]
        return [p for module in pooling if module is not None for p in module.parameters()]


def is_vit(config: BackboneConfig) -> bool:
    """Whether the backbone is a ViT whose tokens a masked method can drop; nothing is built."""
    return backbones.is_vit(config.name)


def gives_class_token(encoder: Encoder) -> bool:
    """Whether the pooled features are a ViT's class token, and could be the mean of its patches (not of a distilled DeiT)."""
    model = encoder.model
    return (
        encoder.patch_size is not None
        and model.global_pool == "token"
        and not isinstance(model, VisionTransformerDistilled)
    )


def check_backbone(config: BackboneConfig) -> None:
    """Raise ValueError for a name that is not known, with the nearest ones; nothing is built."""
    known = backbones.backbone_modules()
    if config.name.split(".")[0] not in known:
        nearest = difflib.get_close_matches(config.name, known, n=3)
        raise ValueError(f"backbone '{config.name}' is neither '{CIFAR_RESNET}' nor a timm model{_hint(nearest)}")


def build_encoder(config: BackboneConfig, image_size: int) -> Encoder:
    """A freshly initialised encoder whose ViT positions fit images of `image_size` pixels; other sizes work too."""
    check_backbone(config)
    if config.name == CIFAR_RESNET:
        return _cifar_resnet(config)
    options: dict[str, Any] = dict(config.options)
    vit = is_vit(config)
    if vit:
        options = {"img_size": image_size, **options, "dynamic_img_size": True, "dynamic_img_pad": True}
    elif _has_fixed_size(config.name):
        options = {"img_size": image_size, **options}
    model = _create(config.name, options)
    patch_size = int(model.patch_embed.patch_size[0]) if vit else None
    return Encoder(model, patch_size, _metadata(config.name, options))


def export(encoder: Encoder) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights under timm's own keys and the metadata for a safetensors file.

    ``timm.create_model(name, num_classes=0, **kwargs)``, both from ``json.loads(metadata["timm"])``, loads the weights;
    for `resnet18-cifar`, ``metadata["changes"]`` says what to replace in the model first.
    """
    weights: dict[str, Tensor] = encoder.model.state_dict()
    return {key: value.detach().cpu().contiguous() for key, value in weights.items()}, dict(encoder.metadata)


def _cifar_resnet(config: BackboneConfig) -> Encoder:
    # every gain at 1, as in Lightly's and solo-learn's; timm would start each block's last norm at zero
    options: dict[str, Any] = {"zero_init_last": False, **config.options}
    stem_relu = bool(options.pop("stem_relu", True))
    splits = int(options.pop("split_batchnorm", 1))
    torch_init = bool(options.pop("torch_init", False))
    model = _create("resnet18", options, also=("stem_relu", "split_batchnorm", "torch_init"))
    model.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")  # as timm's other convolutions
    model.maxpool = nn.Identity()
    changes = "conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False); maxpool = nn.Identity()"
    if not stem_relu:
        model.act1 = nn.Identity()
        changes += "; act1 = nn.Identity()"
    if torch_init:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
    if splits > 1:  # matters in training alone: who takes the weights away needs no such norm
        split_batchnorm(model, splits)
    return Encoder(model, None, _metadata("resnet18", options) | {"changes": changes})


def _metadata(name: str, options: dict[str, Any]) -> dict[str, str]:
    return {"format": "pt", "timm": json.dumps({"name": name, "kwargs": options}, sort_keys=True)}


def _has_fixed_size(name: str) -> bool:
    config = timm.get_pretrained_cfg(name)
    return config is not None and config.fixed_input_size


def _create(name: str, options: dict[str, Any], also: tuple[str, ...] = ()) -> Any:
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ValueError(
            f"backbone '{name}' with options {options}: {error}{_option_hint(name, options, also)}"
        ) from error


def _option_hint(name: str, options: dict[str, Any], also: tuple[str, ...]) -> str:
    with torch.device("meta"):
        plain = timm.create_model(name.split(".")[0], pretrained=False, num_classes=0)
    known = [*inspect.signature(type(plain)).parameters, *also]
    nearest = [match for key in options if key not in known for match in difflib.get_close_matches(key, known, n=2)]
    return _hint(nearest)


def _hint(nearest: list[str]) -> str:
    return f"; did you mean {' or '.join(repr(name) for name in nearest)}?" if nearest else ""
