"""Encoders against timm's own models, and what users take away."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from ssl_sweep.methods.backbones import backbone_modules
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder, check_backbone, export, is_vit
from tiny import CIFAR, IMAGE_SIZE, RESNET, VIT
from torch import nn

GAP_VIT = BackboneConfig(
    name="vit_medium_patch16_reg4_gap_256", options={"patch_size": 8, "embed_dim": 48, "depth": 1, "num_heads": 3}
)
BACKBONES = [VIT, GAP_VIT, RESNET, CIFAR, BackboneConfig(name="test_convnext")]


def images(size: int = IMAGE_SIZE) -> torch.Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", BACKBONES, ids=lambda config: config.name)
def test_exported_weights_give_timm_the_same_features(config: BackboneConfig, tmp_path: Path) -> None:
    encoder = build_encoder(config, IMAGE_SIZE)
    encoder(images())  # moves the running statistics
    encoder.eval()
    weights, metadata = export(encoder)
    save_file(weights, tmp_path / "backbone.safetensors", metadata)

    recipe = json.loads(metadata["timm"])
    model: Any = timm.create_model(recipe["name"], num_classes=0, **recipe["kwargs"])
    if config.name == "resnet18-cifar":
        model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    model.load_state_dict(load_file(tmp_path / "backbone.safetensors"))
    with torch.no_grad():
        features = encoder(images())
        assert features.shape == (3, encoder.dim)
        assert torch.equal(features, model.eval()(images()))


@pytest.mark.parametrize("config", BACKBONES, ids=lambda config: config.name)
@pytest.mark.parametrize("size", [40, 48])
def test_other_image_sizes(config: BackboneConfig, size: int) -> None:
    encoder = build_encoder(config, IMAGE_SIZE).eval()
    assert encoder(images(size)).shape == (3, encoder.dim)
    feature_map = encoder.feature_map(images(size))
    assert feature_map.ndim == 4 and feature_map.shape[0] == 3
    torch.testing.assert_close(encoder.pooled_and_map(images(size))[0], encoder(images(size)))
    if encoder.patch_size is not None:
        assert feature_map.shape[2:] == encoder.grid(size, size)
        assert encoder.num_patches(size, size) == (size // 8) ** 2


def test_image_sides_that_are_no_multiple_of_the_patch_are_padded() -> None:
    encoder = build_encoder(VIT, IMAGE_SIZE)
    assert encoder.grid(20, 32) == (3, 4)
    assert encoder.feature_map(images()[:, :, :20]).shape == (3, 48, 3, 4)


def test_tokens_of_all_patches_are_timms_features() -> None:
    encoder = build_encoder(VIT, IMAGE_SIZE).eval()
    everything = torch.arange(16).expand(3, -1)
    features = encoder.model.forward_features(images())
    assert torch.equal(encoder.tokens(images()), features)
    assert torch.equal(encoder.tokens(images(), keep=everything), features)
    torch.testing.assert_close(encoder(images()), features[:, 0])


def test_dropped_patches_do_not_reach_the_kept_ones() -> None:
    encoder = build_encoder(VIT, IMAGE_SIZE).eval()
    keep = torch.tensor([[0, 5]]).expand(3, -1)
    changed = images()
    changed[:, :, 16:, 16:] = 7.0  # patches 10, 11, 14, 15
    tokens = encoder.tokens(images(), keep=keep)
    assert tokens.shape == (3, 3, 48)
    assert torch.equal(tokens, encoder.tokens(changed, keep=keep))


def test_masked_patches_hide_their_pixels() -> None:
    encoder = build_encoder(VIT, IMAGE_SIZE).eval()
    mask = torch.zeros(3, 16, dtype=torch.bool)
    mask[:, [10, 11, 14, 15]] = True
    changed = images()
    changed[:, :, 16:, 16:] = 7.0
    token = torch.randn(48)
    tokens = encoder.tokens(images(), mask=mask, mask_token=token)
    assert torch.equal(tokens, encoder.tokens(changed, mask=mask, mask_token=token))
    assert not torch.equal(tokens, encoder.tokens(images(), mask=mask, mask_token=token + 1))


def test_cifar_stem() -> None:
    with_relu = build_encoder(CIFAR, IMAGE_SIZE)
    without = build_encoder(BackboneConfig(name="resnet18-cifar", options={"stem_relu": False}), IMAGE_SIZE)
    assert sum(p.numel() for p in with_relu.parameters()) == 11_168_832  # Lightly's count
    assert with_relu.feature_map(images()).shape == (3, 512, 4, 4)
    without.load_state_dict(with_relu.state_dict())
    assert not torch.equal(with_relu(images()), without(images()))
    assert "act1" in export(without)[1]["changes"] and "act1" not in export(with_relu)[1]["changes"]


def test_positions_can_be_fixed() -> None:
    encoder = build_encoder(VIT, IMAGE_SIZE)
    encoder.fix_positions()
    table = encoder.model.pos_embed
    assert not table.requires_grad and not table[0, 0].any() and table[0, 1:].any(dim=1).all()


def test_a_misspelt_backbone_is_told_the_nearest_names() -> None:
    with pytest.raises(ValueError, match=r"resnet81.*did you mean .*'resnet18'"):
        check_backbone(BackboneConfig(name="resnet81"))


def test_a_misspelt_option_is_told_the_nearest_names() -> None:
    with pytest.raises(ValueError, match="did you mean 'drop_path_rate'"):
        build_encoder(BackboneConfig(name="vit_tiny_patch16_224", options={"droppath_rate": 0.1}), IMAGE_SIZE)
    with pytest.raises(ValueError, match="did you mean 'stem_relu'"):
        build_encoder(BackboneConfig(name="resnet18-cifar", options={"stemrelu": True}), IMAGE_SIZE)


def test_a_value_that_does_not_fit_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="vit_tiny_patch16_224"):
        build_encoder(BackboneConfig(name="vit_tiny_patch16_224", options={"num_heads": 5}), IMAGE_SIZE)


def test_the_list_without_torch_is_timms() -> None:
    assert set(backbone_modules()) == {*timm.list_models(), "resnet18-cifar"}
    assert is_vit(VIT) and is_vit(GAP_VIT) and not is_vit(RESNET) and not is_vit(CIFAR)
