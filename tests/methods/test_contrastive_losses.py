"""Contrastive losses against slow, obvious versions in float64."""

import math
from typing import Any

import pytest
import torch
from ranks import Ranks
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.dcl import dcl_loss
from ssl_sweep.methods.dclw import positive_weights
from ssl_sweep.methods.moco import moco_loss
from ssl_sweep.methods.mocov3 import batch_contrast
from ssl_sweep.methods.nnclr import nearest_rows, neighbour_contrast
from ssl_sweep.methods.parts.collectives import mean_over_ranks, rank, world_size
from ssl_sweep.methods.parts.positions import sincos_positions
from ssl_sweep.methods.ressl import ressl_loss
from ssl_sweep.methods.simclr import nt_xent
from ssl_sweep.methods.supcon import supcon_loss
from tiny import RESNET, VIT, progress, rows, state, tiny_batch, tiny_method
from torch import Tensor, nn

SPLIT = BackboneConfig(name="resnet18-cifar", options={"split_batchnorm": 2})

B, D, T = 5, 4, 0.2


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def similarity(a: Tensor, b: Tensor) -> float:
    return float(a.double() @ b.double() / (a.double().norm() * b.double().norm())) / T


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)


def log_sum(values: list[float]) -> float:
    return math.log(sum(map(math.exp, values)))


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_dcl(separate: bool, weighted: bool) -> None:
    a, b = randn(0, B, D), randn(1, B, D)
    weights = randn(2, B).abs() if weighted else None
    total = 0.0
    for own, other in ((a, b), (b, a)):
        for i in range(B):
            same = [similarity(own[i], own[j]) for j in range(B) if j != i]
            cross = [similarity(own[i], other[j]) for j in range(B) if j != i]
            negatives = log_sum(same) + log_sum(cross) if separate else log_sum(same + cross)
            total += negatives - similarity(a[i], b[i]) * (float(weights[i]) if weighted else 1)
    torch.testing.assert_close(dcl_loss(a, b, T, separate, weights).item(), total / (2 * B), rtol=1e-5, atol=1e-6)


def test_weights_of_positives() -> None:
    a, b = randn(0, B, D), randn(1, B, D)
    shares = [math.exp(similarity(a[i], b[i]) * T / 0.5) for i in range(B)]
    expected = [2 - B * share / sum(shares) for share in shares]
    torch.testing.assert_close(positive_weights(a, b, 0.5).tolist(), expected, rtol=1e-5, atol=1e-6)
    assert positive_weights(a, b, 0.5).mean().item() == pytest.approx(1)


def test_moco() -> None:
    query, key, queue = unit(randn(0, B, D)), unit(randn(1, B, D)), unit(randn(2, 7, D))
    total = 0.0
    for i in range(B):
        positive = similarity(query[i], key[i])
        total += log_sum([positive, *(similarity(query[i], row) for row in queue)]) - positive
    torch.testing.assert_close(moco_loss(query, key, queue, T).item(), total / B, rtol=1e-5, atol=1e-6)


def test_mocov3_by_hand_and_against_a_loop() -> None:
    eye = torch.eye(2)
    assert batch_contrast(eye, eye, 1.0).item() == pytest.approx(-math.log(math.e / (math.e + 1)))
    query, key = randn(0, B, D), randn(1, B, D)
    rows = [[similarity(query[i], key[j]) for j in range(B)] for i in range(B)]
    total = sum(log_sum(row) - row[i] for i, row in enumerate(rows))
    torch.testing.assert_close(batch_contrast(query, key, T).item(), total / B, rtol=1e-5, atol=1e-6)


def test_nnclr() -> None:
    neighbour, prediction = randn(0, B, D), randn(1, B, D)
    rows = [[similarity(neighbour[i], prediction[j]) for j in range(B)] for i in range(B)]
    total = sum(log_sum(row) - row[i] for i, row in enumerate(rows))
    total += sum(log_sum([rows[i][j] for i in range(B)]) - rows[j][j] for j in range(B))
    torch.testing.assert_close(
        neighbour_contrast(neighbour, prediction, T).item(), total / (2 * B), rtol=1e-5, atol=1e-6
    )


def test_the_nearest_row() -> None:
    queue = unit(randn(3, 9, D))
    z = 3 * queue[[4, 0, 7]] + 0.01 * randn(4, 3, D)
    assert torch.equal(nearest_rows(z, queue), queue[[4, 0, 7]])


def test_ressl() -> None:
    query, key, queue = unit(randn(0, B, D)), unit(randn(1, B, D)), unit(randn(2, 7, D))
    total = 0.0
    for i in range(B):
        p = torch.tensor([similarity(key[i], row) * T / 0.04 for row in queue], dtype=torch.float64).softmax(dim=0)
        q = torch.tensor([similarity(query[i], row) * T / 0.1 for row in queue], dtype=torch.float64).softmax(dim=0)
        total -= float((p * q.log()).sum())
    torch.testing.assert_close(ressl_loss(query, key, queue, 0.1, 0.04).item(), total / B, rtol=1e-5, atol=1e-6)


def test_supcon() -> None:
    a, b = randn(0, B, D), randn(1, B, D)
    labels = torch.tensor([0, 1, 0, 2, 1])
    views, twice = torch.cat([a, b]), labels.tolist() * 2
    total = 0.0
    for i in range(2 * B):
        others = {j: similarity(views[i], views[j]) for j in range(2 * B) if j != i}
        positives = [j for j in others if twice[j] == twice[i]]
        total -= sum(others[j] - log_sum(list(others.values())) for j in positives) / len(positives)
    torch.testing.assert_close(supcon_loss(a, b, labels, T).item(), total / (2 * B), rtol=1e-5, atol=1e-6)


def test_supcon_without_equal_labels_is_simclr() -> None:
    a, b = randn(0, B, D), randn(1, B, D)
    torch.testing.assert_close(supcon_loss(a, b, torch.arange(B), T), nt_xent(a, b, T))


# ---- mechanisms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "pushed"), [({}, 4), ({"symmetric": True}, 8)])
def test_moco_pushes_the_keys_of_each_direction(settings: dict[str, Any], pushed: int) -> None:
    method: Any = tiny_method("moco", **settings)
    before = method.queue.rows.clone()
    method(tiny_batch(method), progress(0))
    assert (before != method.queue.rows).any(dim=1).sum().item() == pushed


def test_moco_and_ressl_compare_with_the_queue_as_it_was() -> None:
    for name, loss in (("moco", moco_loss), ("ressl", ressl_loss)):
        method: Any = tiny_method(name, RESNET)
        batch = tiny_batch(method)
        first, second = (view.image for view in batch.global_views)
        before = method.queue.rows.clone()
        query, key = unit(method.student(first)), unit(method.teacher(second))
        temperatures = (0.2,) if name == "moco" else (0.1, 0.04)
        expected = loss(query, key, before, *temperatures)
        torch.testing.assert_close(method(batch, progress(0)).loss, expected)
        torch.testing.assert_close(method.queue.rows[:4], key)


def keys(backbone: BackboneConfig, shuffle: bool) -> Tensor:
    method: Any = tiny_method("moco", backbone, shuffle_keys=shuffle).double()
    return method._keys(tiny_batch(method, 8, dtype=torch.float64).global_views[1].image, progress(1))


def test_moco_shuffles_images_and_puts_the_keys_back() -> None:
    torch.testing.assert_close(keys(RESNET, True), keys(RESNET, False))
    changed = (keys(SPLIT, True) - keys(SPLIT, False)).abs().amax(dim=1)
    assert (changed > 1e-3).all()  # normalised in other company


def split_loss() -> tuple[Tensor, Tensor]:
    """Of the global batch, over batch norm in two parts; and the queue after it."""
    method: Any = tiny_method("moco", SPLIT, shuffle_keys=True, symmetric=True, push_between=True).double()
    own = 8 // world_size()
    batch = rows(tiny_batch(method, 8, dtype=torch.float64), rank() * own, (rank() + 1) * own)
    return mean_over_ranks(method(batch, progress(1)).loss.detach()), method.queue.rows


def test_moco_shuffles_over_ranks_as_one_would(ranks: Ranks) -> None:
    for answer in ranks.run(split_loss):
        torch.testing.assert_close(answer, split_loss(), rtol=1e-5, atol=1e-6)


def test_moco_pushes_between_the_directions_if_asked() -> None:
    losses = []
    for push_between in (False, True):
        method = tiny_method("moco", symmetric=True, push_between=push_between)
        losses.append(method(tiny_batch(method), progress(0)).loss.item())
    assert losses[0] != losses[1]


def test_nnclr_looks_up_before_it_pushes_the_first_views() -> None:
    method: Any = tiny_method("nnclr", RESNET)
    batch = tiny_batch(method)
    before = method.queue.rows.clone()
    z = [method.model(view.image) for view in batch.global_views]
    p = [method.predictor(one) for one in z]
    pairs = ((nearest_rows(z[0], before), p[1]), (nearest_rows(z[1], before), p[0]))
    expected = sum(neighbour_contrast(neighbour, prediction, 0.5) for neighbour, prediction in pairs) / 2
    torch.testing.assert_close(method(batch, progress(0)).loss, expected)
    torch.testing.assert_close(method.queue.rows[:4], unit(z[0]))
    assert torch.equal(method.queue.rows[4:], before[4:])


def test_nnclr_takes_lightlys_negatives_if_asked() -> None:
    losses = []
    for negatives in ("predictions", "all"):
        method = tiny_method("nnclr", negatives=negatives)
        losses.append(method(tiny_batch(method), progress(0)).loss.item())
    assert losses[0] < losses[1]


def test_mocov3_freezes_the_patch_embedding_of_a_vit() -> None:
    frozen: Any = tiny_method("mocov3", VIT)
    assert not any(p.requires_grad for p in frozen.backbone.model.patch_embed.parameters())
    assert not any("patch_embed" in key for key, p in frozen.named_parameters() if p.requires_grad)
    free: Any = tiny_method("mocov3", VIT, freeze_patch_embed=False)
    assert all(p.requires_grad for p in free.backbone.model.patch_embed.parameters())
    assert all(p.requires_grad for p in tiny_method("mocov3", RESNET).backbone.parameters())
    assert state(frozen).keys() == state(free).keys()


def test_mocov3_starts_a_vit_as_its_authors_do() -> None:
    encoder: Any = tiny_method("mocov3", VIT).backbone
    table = encoder.model.pos_embed
    assert not table.requires_grad and not table[0, 0].any()
    torch.testing.assert_close(table[0, 1:].detach(), sincos_positions(48, 4, 4))
    block = encoder.model.blocks[0]
    patches = encoder.model.patch_embed.proj
    for weight, fan_in, fan_out in (
        (block.attn.qkv.weight, 48, 48),
        (block.mlp.fc1.weight, 48, 192),
        (patches.weight, 192, 48),
    ):
        bound = math.sqrt(6 / (fan_in + fan_out))
        assert 0.99 * bound < weight.abs().max() <= bound
    assert not any(module.bias.any() for module in (block.attn.qkv, block.mlp.fc1, patches))


def test_mocov3_predictor_of_a_resnet_ends_without_a_norm() -> None:
    ends: Any = [tiny_method("mocov3", RESNET, predictor_norm=norm).predictor[-1] for norm in (True, False)]
    assert isinstance(ends[0], nn.BatchNorm1d) and not ends[0].affine
    assert isinstance(ends[1], nn.Linear) and ends[1].bias is None
