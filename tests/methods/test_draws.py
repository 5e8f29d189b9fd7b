"""Drop path and dropout are a function of (seed, step, image): no rank, no place in a batch and no part changes them."""

from typing import Any

import numpy as np
import pytest
import timm
import torch
from ssl_sweep.datasets import random_stream
from ssl_sweep.methods.backbones import draws
from ssl_sweep.methods.base import Progress
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import Encoder, build_encoder
from ssl_sweep.methods.parts.draws import (
    PassKeys,
    Purpose,
    StepDraws,
    drawing,
    hash64,
    normals,
    sample_keys,
    step_key,
    uniforms,
)
from ssl_sweep.methods.parts.keyed_dropout import KeyedPass, drops
from ssl_sweep.methods.parts.masks import block_patches, context_and_targets, random_patches
from ssl_sweep.methods.parts.teacher import Teacher
from timm.layers import DropPath
from tiny import VIT
from torch import Tensor, nn

CPU = torch.device("cpu")
SAMPLES = torch.tensor([7, 3, 90, 11, 25, 64])
RATES = {"drop_path_rate": 0.4, "proj_drop_rate": 0.2, "attn_drop_rate": 0.2, "pos_drop_rate": 0.2, "drop_rate": 0.2}


def vit(**options: Any) -> BackboneConfig:
    return BackboneConfig(name=VIT.name, options=VIT.options | options)


NETWORKS = [
    vit(**RATES),
    vit(patch_drop_rate=0.4),
    BackboneConfig(
        name="test_resnet", options={"drop_path_rate": 0.4, "drop_rate": 0.2}
    ),  # a function drops in its head
    BackboneConfig(name="densenet121", options={"drop_rate": 0.2, "block_config": (1, 1), "growth_rate": 8}),
    BackboneConfig(name="test_convnext", options={"drop_path_rate": 0.4, "drop_rate": 0.2}),
    BackboneConfig(  # windows: several rows of an image
        name="swin_tiny_patch4_window7_224",
        options={"window_size": 4, "embed_dim": 24, "depths": (2,), "num_heads": (2,), "attn_drop_rate": 0.2},
    ),
    BackboneConfig(name="test_vit_relpos", options={"img_size": 32}),  # drops, by default, from what all images share
]


def image(count: int) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def encoder_of(config: BackboneConfig) -> Encoder:
    """In train mode, but with norms that see each image alone."""
    torch.manual_seed(0)
    encoder = build_encoder(config, 32).train()
    for part in encoder.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    return encoder


def test_hash_is_that_of_the_views() -> None:
    samples = np.array([0, 1, -5, 2**62, 90], dtype=np.int64)
    expected = random_stream.hash64(3, 1, 7, samples).view(np.int64)
    assert sample_keys(3, Purpose.PRETRAIN, 7, torch.from_numpy(samples)).tolist() == expected.tolist()
    expected = random_stream.hash64(3, samples, -2).view(np.int64)
    assert hash64(3, torch.from_numpy(samples), -2).tolist() == expected.tolist()
    assert step_key(3, Purpose.MIXING, 4) == int(random_stream.hash64(3, int(Purpose.MIXING), 4)[0])


def test_uniforms_and_normals_are() -> None:
    keys = hash64(5, torch.arange(1000))
    u, z = uniforms(keys, 500), normals(keys, 500)
    assert u.min() >= 0 and u.max() < 1
    assert u.mean().item() == pytest.approx(0.5, abs=2e-3)
    assert u.var().item() == pytest.approx(1 / 12, abs=1e-3)
    assert z.isfinite().all()
    assert z.mean().item() == pytest.approx(0, abs=6e-3)
    assert z.std().item() == pytest.approx(1, abs=6e-3)


@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: f"{config.name}-{'-'.join(config.options)}"[:60])
def test_an_image_has_its_draws_in_any_batch(config: BackboneConfig) -> None:
    """Two views of each; the features differ by the rounding of other batch sizes alone."""
    encoder, views = encoder_of(config), image(12)
    assert encoder.draws and draws(config)
    before = torch.get_rng_state()

    def features(chosen: list[int], step: int = 4) -> Tensor:
        rows = torch.tensor(chosen + [6 + i for i in chosen])
        with drawing(1, Purpose.PRETRAIN, step, SAMPLES[chosen]):
            return encoder(views[rows])

    whole = features([0, 1, 2, 3, 4, 5])
    torch.testing.assert_close(features([4, 1]), whole[[4, 1, 10, 7]], rtol=1e-4, atol=1e-5)
    assert torch.equal(features([4, 1]), features([4, 1]))
    assert not torch.equal(features([4, 1], step=5), features([4, 1]))
    assert torch.equal(torch.get_rng_state(), before), "something drew from torch's own generator"


def test_views_and_passes_of_an_image_have_draws_of_their_own() -> None:
    encoder, one = encoder_of(vit(drop_path_rate=0.5)), image(1).expand(12, -1, -1, -1)
    with drawing(1, Purpose.PRETRAIN, 4, SAMPLES):
        first, second = encoder(one), encoder(one)
    assert not torch.allclose(first[:6], first[6:])
    assert not torch.allclose(first, second)


def test_tokens_and_both_features_drop_as_well() -> None:
    encoder, views = encoder_of(vit(**RATES)), image(6)
    for part in (encoder.tokens, lambda x: encoder.pooled_and_map(x)[0], lambda x: encoder.pool(encoder.tokens(x))):
        with drawing(1, Purpose.PRETRAIN, 4, SAMPLES):
            whole = part(views)
        with drawing(1, Purpose.PRETRAIN, 4, SAMPLES[3:]):
            torch.testing.assert_close(part(views[3:]), whole[3:], rtol=1e-4, atol=1e-5)


def kept(draw: nn.Module, rows: int, width: int, step: int = 0) -> Tensor:
    """Which of `rows` x `width` ones are kept."""
    with KeyedPass(drawn_keys(rows, step)):
        return (draw.train()(torch.ones(rows, width)) > 0).float()


def drawn_keys(rows: int, step: int) -> PassKeys:
    return StepDraws(0, Purpose.PRETRAIN, step, torch.arange(rows)).next_pass(rows)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_rate_is_the_one_asked_for(p: float) -> None:
    assert kept(nn.Dropout(p), 500, 400).mean().item() == pytest.approx(1 - p, abs=0.005)
    assert kept(DropPath(p), 20_000, 1).mean().item() == pytest.approx(1 - p, abs=0.015)
    with KeyedPass(drawn_keys(500, 0)):
        assert nn.Dropout(p)(torch.ones(500, 400)).mean().item() == pytest.approx(1, abs=0.03)


def test_modules_steps_and_samples_are_not_correlated() -> None:
    drop = nn.Dropout(0.5)
    with KeyedPass(drawn_keys(400, 0)):
        modules = [(drop(torch.ones(400, 100)) > 0).float() for _ in range(2)]
    steps = [kept(drop, 400, 100, step) for step in range(2)]
    samples = steps[0][:200], steps[0][200:]
    places = steps[0][:, :50], steps[0][:, 50:]
    for a, b in (modules, steps, samples, places):
        correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()
        assert abs(correlation) < 0.04  # four standard deviations of 10,000 pairs


def test_a_network_that_draws_outside_of_a_step_is_a_mistake() -> None:
    encoder = encoder_of(vit(drop_path_rate=0.5))
    with pytest.raises(AssertionError, match="outside of `drawing`"):
        encoder(image(2))
    encoder.eval()(image(2))
    encoder_of(vit())(image(2))


def test_what_cannot_be_keyed_is_refused() -> None:
    attention = nn.MultiheadAttention(8, 2, dropout=0.1)
    x = torch.randn(3, 4, 8)
    with KeyedPass(drawn_keys(4, 0)):
        with pytest.raises(RuntimeError, match="`rand_like`, whose draws would depend on the number of workers"):
            torch.rand_like(x)
        with pytest.raises(RuntimeError, match="whose rows are not those of its 4 images"):
            nn.Dropout(0.5)(x)
        with pytest.raises(RuntimeError, match="multi_head_attention_forward"):
            attention(x, x, x)
        attention.eval()(x, x, x)


def test_keyed_attention_without_its_dropout_is_the_fused_one() -> None:
    """At a rate so small that nothing is dropped."""
    q, k, v = (torch.randn(6, 2, 5, 4, dtype=torch.float64) for _ in range(3))
    mask = torch.rand(5, 5) > 0.3
    mask[:, 0] = True
    for attn_mask in (None, mask, torch.randn(5, 5, dtype=torch.float64)):
        expected = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask)
        with KeyedPass(drawn_keys(6, 0)):
            found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p=1e-12)
        torch.testing.assert_close(found, expected)


def test_drop_block_keeps_the_mean() -> None:
    config = BackboneConfig(name="resnet10t", options={"drop_block_rate": 0.3})
    encoder = encoder_of(config)
    assert encoder.draws and draws(config)
    with drawing(1, Purpose.PRETRAIN, 4, SAMPLES):
        first = encoder(image(6))
    with drawing(1, Purpose.PRETRAIN, 4, SAMPLES):
        torch.testing.assert_close(encoder(image(6)), first, rtol=0, atol=0)


@pytest.mark.parametrize("config", NETWORKS[:4], ids=lambda config: f"{config.name}-{'-'.join(config.options)}"[:60])
def test_a_teacher_draws_nothing(config: BackboneConfig) -> None:
    student = encoder_of(config)
    teacher = Teacher(student).train()
    for part in teacher.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    assert student.draws and not teacher.module.draws
    torch.testing.assert_close(teacher(image(4)), student.eval()(image(4)))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("resnet18-cifar", {}, False),
        ("vit_small_patch16_224", {"drop_path_rate": 0.1}, True),
        ("vit_small_patch16_224", {"drop_path_rate": 0.0, "img_size": 32}, False),
        ("swin_tiny_patch4_window7_224.ms_in1k", {}, True),
        ("swin_tiny_patch4_window7_224", {"drop_path_rate": 0.0}, False),
        ("ghostnet_100", {}, True),
        ("fasternet_t0", {}, False),
    ],
)
def test_who_draws_is_known_without_torch(name: str, options: dict[str, float], expected: bool) -> None:
    config = BackboneConfig(name=name, options=options)  # pyright: ignore[reportArgumentType]
    assert draws(config) == expected
    if name != "resnet18-cifar":
        with torch.device("meta"):
            assert drops(timm.create_model(name, num_classes=0, **options)) == expected


def test_masks_of_an_image_are_the_same_in_any_number_of_parts() -> None:
    def now(part: int, parts: int) -> Progress:
        return Progress(3, 10, 5, seed=1, part=part, parts=parts)

    def patches(parts: int) -> Tensor:
        return torch.cat([random_patches(8 // parts, 16, 0.75, now(i, parts), CPU).keep for i in range(parts)])

    def blocks(parts: int) -> Tensor:
        masks = [block_patches(8 // parts, 2, (6, 6), 0.5, (0.1, 0.5), now(i, parts)) for i in range(parts)]
        return torch.cat(masks, dim=1)

    def targets(parts: int) -> tuple[Tensor, Tensor]:
        scales = (4, (0.15, 0.2), (0.75, 1.5), (0.85, 1.0))
        found = [context_and_targets(8 // parts, (6, 6), *scales, now(i, parts), CPU) for i in range(parts)]
        return torch.cat([one.context for one in found]), torch.cat([one.targets for one in found], dim=1)

    for parts in (2, 4):
        assert torch.equal(patches(parts), patches(1))
        assert torch.equal(blocks(parts), blocks(1))
        assert all(map(torch.equal, targets(parts), targets(1)))
