"""ViTs with rotary positions (timm's `eva`): tokens, kept patches, image sizes, training and weights as of other ViTs."""

import copy
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
import timm
import torch
from ssl_sweep.methods.backbones import draws, may_have_class_token
from ssl_sweep.methods.base import Method
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import Encoder, build_encoder, is_vit
from ssl_sweep.methods.parts.draws import Purpose, drawing
from ssl_sweep.methods.parts.teacher import Teacher
from ssl_sweep.methods.weight_files import tensors_in
from ssl_sweep.methods.weights import load_weights, match_weights
from timm.models.eva import checkpoint_filter_fn
from tiny import IMAGE_SIZE, LOCAL_SIZE, progress, tiny_batch, tiny_method
from torch import Tensor

SMALL = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


def rotary(name: str, **options: Any) -> BackboneConfig:
    return BackboneConfig(name=name, options=SMALL | options)


DINOV3 = rotary("vit_small_patch16_dinov3")  # four registers, and no positions but the angles
EVA02 = rotary("eva02_tiny_patch14_224")  # positions are added too; a norm after the pooling
BOTH = rotary("vit_small_patch16_rope_mixed_ape_224")  # angles that are learned, of each block and head, and added ones
BACKBONES = [
    DINOV3,
    EVA02,
    BOTH,
    rotary("vit_medium_patch16_rope_reg1_gap_256"),  # a register and no class token
    rotary("vit_small_patch16_rope_224"),
    rotary("vit_pe_core_tiny_patch16_384", attn_pool_num_heads=2),  # pools by attention
    rotary("vit_pe_spatial_tiny_patch16_512"),  # no norm at the end
    rotary("vit_base_patch16_sapiens2", num_kv_heads=1),  # fewer keys than queries, which have norms
    rotary("eva_giant_patch14_224"),  # no angles
]
every_backbone = pytest.mark.parametrize("config", BACKBONES, ids=lambda config: config.name)
three = pytest.mark.parametrize("config", [DINOV3, EVA02, BOTH], ids=lambda config: config.name)


def images(size: int = IMAGE_SIZE) -> Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


def encoder_of(config: BackboneConfig) -> Encoder:
    """With weights that leave no part without effect."""
    torch.manual_seed(0)
    encoder = build_encoder(config, IMAGE_SIZE).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return encoder


@every_backbone
@torch.no_grad()
def test_features_tokens_and_blocks_are_timms(config: BackboneConfig) -> None:
    encoder = encoder_of(config)
    recipe = json.loads(encoder.metadata["timm"])
    model: Any = timm.create_model(recipe["name"], num_classes=0, **recipe["kwargs"]).eval()
    model.load_state_dict(encoder.model.state_dict())
    for size in (IMAGE_SIZE, LOCAL_SIZE, 37):  # the last is padded
        features = model.forward_features(images(size))
        assert torch.equal(encoder(images(size)), model(images(size)))
        assert torch.equal(encoder.tokens(images(size)), features)
        everything = torch.arange(encoder.num_patches(size, size)).expand(3, -1)
        torch.testing.assert_close(encoder.tokens(images(size), keep=everything), features)
        found = encoder.tokens_of_blocks(images(size), 2)
        layers = model.forward_intermediates(images(size), norm=True, output_fmt="NLC", return_prefix_tokens=True)[1]
        for tokens, (patches, prefix) in zip(found, layers, strict=True):
            assert torch.equal(tokens, torch.cat([prefix, patches], dim=1))
        pooled, cells = encoder.pooled_and_map(images(size))
        assert torch.equal(pooled, encoder(images(size)))
        rows, columns = encoder.grid(size, size)
        assert cells.shape == (3, 48, rows, columns)
        assert torch.equal(cells[:, :, 1, 2], features[:, encoder.num_prefix_tokens + columns + 2])


@every_backbone
@torch.no_grad()
def test_kept_patches_keep_their_angles(config: BackboneConfig) -> None:
    """As when all patches are embedded, and tokens and angles of each image are taken out one by one."""
    encoder = encoder_of(config)
    keep = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i))[:5] for i in range(3)])
    found = encoder.tokens(images(), keep=keep)
    for image, places, tokens in zip(images(), keep, found, strict=True):
        torch.testing.assert_close(tokens, slow_tokens(encoder.model, image[None], places)[0], rtol=1e-4, atol=1e-5)


def slow_tokens(model: Any, image: Tensor, places: Sequence[int] | Tensor) -> Tensor:
    x, angles = model._pos_embed(model.patch_embed(image))
    prefix = model.num_prefix_tokens
    x = model.norm_pre(x[:, [*range(prefix), *(prefix + int(place) for place in places)]])
    for index, block in enumerate(model.blocks):
        own = angles if angles is None or angles.ndim == 2 else angles[index]
        x = block(x, rope=None if own is None else own[..., [int(place) for place in places], :])
    return model.norm(x)


@three
@torch.no_grad()
def test_hidden_pixels_reach_no_token(config: BackboneConfig) -> None:
    encoder = encoder_of(config)
    changed = images()
    changed[:, :, 16:, 16:] = 7.0  # patches 10, 11, 14, 15
    mask = torch.zeros(3, 16, dtype=torch.bool)
    mask[:, [10, 11, 14, 15]] = True
    token = torch.randn(48)
    tokens = encoder.tokens(images(), mask=mask, mask_token=token)
    assert torch.equal(tokens, encoder.tokens(changed, mask=mask, mask_token=token))
    assert not torch.equal(tokens, encoder.tokens(images(), mask=mask, mask_token=token + 1))
    keep = torch.tensor([[0, 5]]).expand(3, -1)
    assert torch.equal(encoder.tokens(images(), keep=keep), encoder.tokens(changed, keep=keep))


@torch.no_grad()
def test_places_matter_although_nothing_is_added_for_them() -> None:
    encoder = encoder_of(DINOV3)
    there = images()[:, :, :, [*range(16, 32), *range(16)]]  # halves exchanged
    assert not torch.allclose(encoder(there), encoder(images()), atol=1e-3)


METHODS = [
    (name, config)
    for name in ("mae", "simmim", "ibot", "ijepa", "msn", "dinov2", "simclr", "dino", "mocov3", "vicregl")
    for config in (DINOV3, EVA02, BOTH)
    if name in ("mae", "simclr") or config is DINOV3
]


@pytest.mark.parametrize(("name", "config"), METHODS, ids=lambda value: getattr(value, "name", value))
def test_methods_train_every_parameter(name: str, config: BackboneConfig) -> None:
    method: Method[Any] = tiny_method(name, config).train()
    optimizer = torch.optim.SGD(method.param_groups(), lr=0.05)
    before = {key: value.clone() for key, value in method.named_parameters() if value.requires_grad}
    for step in range(4, 6):
        loss = method(tiny_batch(method, seed=step), progress(step)).loss
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        assert not [key for key, p in method.named_parameters() if p.requires_grad and p.grad is None]
        optimizer.step()
        method.after_optimizer_step(progress(step))
    assert all(value.isfinite().all() for value in method.state_dict().values())
    assert any(not torch.equal(before[key], value) for key, value in method.named_parameters() if key in before)


def test_fixed_positions() -> None:
    alone, both = build_encoder(DINOV3, IMAGE_SIZE), build_encoder(EVA02, IMAGE_SIZE)
    alone.fix_positions()
    both.fix_positions()
    assert not both.model.pos_embed.requires_grad and not both.model.pos_embed[0, 0].any()
    none = build_encoder(rotary("eva_giant_patch14_224", use_abs_pos_emb=False), IMAGE_SIZE)
    with pytest.raises(ValueError, match="no absolute position embedding"):
        none.fix_positions()


SAMPLES = torch.tensor([7, 3, 90, 11])
MOVED = {"rope_shift_coords": 0.2, "rope_jitter_coords": 1.5, "rope_rescale_coords": 2.0}
RANDOM = [
    rotary("vit_small_patch16_dinov3", **MOVED),
    rotary("eva02_tiny_patch14_224", rope_shift_coords=1.0, drop_path_rate=0.3, attn_drop_rate=0.1, proj_drop_rate=0.1),
    rotary("vit_small_patch16_rope_mixed_224", rope_rescale_coords=2.0, patch_drop_rate=0.4),
    rotary("vit_base_patch16_sapiens2", num_kv_heads=3),  # by default
]


@pytest.mark.parametrize("config", RANDOM, ids=lambda config: config.name)
def test_what_is_drawn_depends_on_step_and_image_alone(config: BackboneConfig) -> None:
    torch.manual_seed(0)
    encoder = encoder_of(config).train()
    assert encoder.draws and draws(config)
    views, before = images()[[0, 1, 2, 0]], torch.get_rng_state()

    def features(chosen: list[int], step: int = 4) -> Tensor:
        with drawing(1, Purpose.PRETRAIN, step, SAMPLES[chosen]):
            return encoder(views[chosen])

    whole = features([0, 1, 2, 3])
    torch.testing.assert_close(features([3, 1]), whole[[3, 1]], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(features([3, 1], step=5), whole[[3, 1]], atol=1e-4)
    teacher = Teacher(encoder)
    assert not teacher.module.draws
    assert torch.allclose(teacher(views), encoder.eval()(views), atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


def test_tokens_never_drop_patches_by_themselves() -> None:
    encoder = encoder_of(rotary("vit_small_patch16_dinov3", patch_drop_rate=0.5)).train()
    with drawing(1, Purpose.PRETRAIN, 0, SAMPLES[:3]):
        assert encoder.tokens(images()).shape == (3, 5 + 16, 48)
        assert encoder.tokens(images(), keep=torch.tensor([[3, 1]]).expand(3, -1)).shape == (3, 5 + 2, 48)


def test_a_copy_remembers_angles_of_its_own() -> None:
    encoder = encoder_of(DINOV3)
    expected = encoder(images())
    double = copy.deepcopy(encoder).double()
    assert double(images().double()).dtype == torch.float64
    assert torch.equal(encoder(images()), expected)


@pytest.mark.parametrize("name", ["vit_small_patch16_dinov3", "vit_small_plus_patch16_dinov3_qkvb"])
@torch.no_grad()
def test_dinov3_s_own_checkpoints_have_timm_s_features(name: str) -> None:
    """Its names differ, its biases of queries, keys and values are one tensor, and those of keys are masked."""
    config = rotary(name)
    encoder = encoder_of(config)
    file = io.BytesIO()
    torch.save({"teacher": {f"backbone.{key}": value for key, value in as_meta_has_it(encoder.model).items()}}, file)
    found = build_encoder(config, IMAGE_SIZE).eval()
    match = match_weights(tensors_in(file.getvalue()), found)
    assert match.is_whole and match.layout.startswith("DINOv3") and match.place == "teacher.backbone"
    load_weights(found, match)
    model: Any = timm.create_model(name, num_classes=0, **config.options).eval()
    model.load_state_dict(checkpoint_filter_fn(as_meta_has_it(encoder.model), model))
    assert torch.equal(found(images()), model(images()))
    assert torch.equal(found(images()), encoder(images()))


def as_meta_has_it(model: Any) -> dict[str, Tensor]:
    state = {"mask_token": torch.zeros(1, 48), "rope_embed.periods": torch.ones(4)}
    swiglu = "blocks.0.mlp.fc1_g.weight" in model.state_dict()
    for name, tensor in model.state_dict().items():
        name = re.sub(r"gamma_(\d)", r"ls\1.gamma", name.replace("reg_token", "storage_tokens"))
        if swiglu:
            name = name.replace("fc1_g", "w1").replace("fc1_x", "w2").replace("mlp.fc2", "mlp.w3")
        if name.endswith("q_bias"):
            values = model.get_parameter(name.replace("q_bias", "v_bias"))
            bias = torch.cat([tensor, torch.full_like(tensor, 7.0), values])
            state |= {name.replace("q_bias", "qkv.bias"): bias, name.replace("q_bias", "qkv.bias_mask"): bias}
        elif not name.endswith("v_bias"):
            state[name] = tensor
    return state


def test_positions_of_another_grid_are_resampled() -> None:
    small, large = encoder_of(EVA02), build_encoder(EVA02, 48)
    match = match_weights(small.model.state_dict(), large)
    assert match.is_whole and match.resampled == "4 x 4 to 6 x 6 patches"


def test_which_have_a_class_token_is_known_without_building_them() -> None:
    for config in [*BACKBONES, *(rotary(name) for name in ("vit_base_patch16_siglip_224", "vit_tiny_patch16_224"))]:
        assert is_vit(config)
        assert may_have_class_token(config) == build_encoder(config, IMAGE_SIZE).has_class_token
    assert not may_have_class_token(BackboneConfig(name="resnet18"))
    assert not may_have_class_token(rotary("eva02_tiny_patch14_224", class_token=False))
