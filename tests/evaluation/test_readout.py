"""What classifiers see of a backbone: as timm gives it, and the same whether alone or beside others."""

from typing import Any, get_args

import pytest
import torch
from ssl_sweep.evaluation.readout import Feature, Readout, feature_problem
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from torch import Tensor

FEATURES: tuple[Feature, ...] = get_args(Feature)


def vit(name: str = "vit_tiny_patch16_224", **options: Any) -> BackboneConfig:
    return BackboneConfig(name=name, options={"patch_size": 8, "embed_dim": 32, "depth": 5, "num_heads": 2} | options)


BACKBONES = [vit(), vit("vit_small_patch14_reg4_dinov2"), vit(global_pool="avg"), vit("vit_small_patch16_dinov3")]


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("config", BACKBONES, ids=str)
@torch.no_grad()
def test_features_are_those_of_timms_blocks(config: BackboneConfig, images: Tensor) -> None:
    encoder = build_encoder(config, 16).eval()
    layers = encoder.model.forward_intermediates(
        images, indices=4, norm=True, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    classes = [prefix[:, 0] for _, prefix in layers]
    mean = layers[-1][0].mean(dim=1)
    expected = {
        "pooled": encoder(images),
        "cls": classes[-1],
        "cls+mean": torch.cat([classes[-1], mean], dim=1),
        "cls4": torch.cat(classes, dim=1),
        "cls4+mean": torch.cat([*classes, mean], dim=1),
    }
    for name in FEATURES:
        torch.testing.assert_close(Readout(encoder, [name])(images), expected[name], rtol=0, atol=0)


@torch.no_grad()
def test_several_features_are_what_each_is_alone(images: Tensor) -> None:
    encoder = build_encoder(vit(), 16).eval()
    for names in (FEATURES, FEATURES[::-1], ("cls", "cls+mean"), ("cls4", "pooled")):
        readout = Readout(encoder, names)
        found = readout(images)
        assert found.shape == (3, readout.width)
        for name in names:
            alone = Readout(encoder, [name])
            assert torch.equal(found[:, readout.columns[name]], alone(images))
            assert alone.width == readout.width_of(name)


def test_a_backbone_without_the_features_is_refused() -> None:
    cases = [
        (
            BackboneConfig(name="resnet18-cifar"),
            "got 'cls'; must be 'pooled', as the backbone is no vision transformer",
        ),
        (vit(depth=3), "got 'cls4'; must be 'pooled', 'cls' or 'cls+mean', as the backbone has 3 blocks"),
        (vit(class_token=False, global_pool="avg"), "got 'cls'; must be 'pooled', as the backbone has no class token"),
    ]
    for config, message in cases:
        assert feature_problem(FEATURES, config) == message
        assert feature_problem(("pooled",), config) is None
    assert feature_problem(FEATURES, vit()) is None
    without = vit("vit_medium_patch16_reg4_gap_256")
    assert feature_problem(FEATURES, without) == cases[-1][1]
    with pytest.raises(ValueError, match="features: got 'cls'; must be 'pooled', as the backbone has no class token"):
        Readout(build_encoder(without, 16), FEATURES)
    with pytest.raises(ValueError, match="as the backbone has 2 blocks"):
        Readout(build_encoder(vit(depth=2), 16), ("cls4",))
