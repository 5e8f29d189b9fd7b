"""Teachers, heads, positions and masks."""

from typing import Any

import pytest
import torch
from ssl_sweep.methods.base import Progress
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.parts.heads import PrototypeHead, mlp
from ssl_sweep.methods.parts.masks import random_patches
from ssl_sweep.methods.parts.positions import sincos_positions
from ssl_sweep.methods.parts.teacher import Teacher
from tiny import IMAGE_SIZE, RESNET
from torch import nn

CPU = torch.device("cpu")


def test_teacher_follows_parameters_and_keeps_its_own_statistics() -> None:
    student = build_encoder(RESNET, IMAGE_SIZE)
    teacher = Teacher(student)
    start = [p.clone() for p in teacher.module.parameters()]
    student(torch.randn(4, 3, 32, 32))
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1.0)
    teacher.update(student, 0.75)
    for before, after in zip(start, teacher.module.parameters(), strict=True):
        torch.testing.assert_close(after, before + 0.25)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert all(not b.any() for key, b in teacher.named_buffers() if key.endswith("num_batches_tracked"))
    assert not teacher(torch.randn(2, 3, 32, 32)).requires_grad


def test_mlp_drops_the_bias_where_a_norm_follows() -> None:
    head = mlp(8, 6, 4, 2)
    kinds = [type(layer) for layer in head]
    assert kinds == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [layer.bias is not None for layer in head if isinstance(layer, nn.Linear)] == [False, False, True]
    assert [type(layer) for layer in mlp(8, 4, last_norm=True)] == [nn.Linear, nn.BatchNorm1d]
    assert [type(layer) for layer in mlp(8, 6, 4, norm=False)] == [nn.Linear, nn.ReLU, nn.Linear]
    assert not mlp(8, 6, 4, last_norm=True, last_affine=False)[-1].affine
    assert [mlp(8, 6, 4, last_bias=bias)[-1].bias is not None for bias in (True, False)] == [True, False]


@pytest.mark.parametrize("unit", [True, False])
def test_prototype_head_scores_are_cosines_times_gains(unit: bool) -> None:
    head = PrototypeHead(8, 16, 4, 10, norm=False, unit_prototypes=unit)
    scores = head(torch.randn(5, 8))
    assert scores.shape == (5, 10) and scores.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        head.gains.fill_(3.0)
        head.prototypes.mul_(7.0)
    assert head.gains.requires_grad is not unit
    assert head(torch.randn(5, 8)).abs().max() > 1


def test_sincos_positions_by_hand() -> None:
    table = sincos_positions(8, 2, 3)  # per axis: sin(x), sin(x / 100), cos(x), cos(x / 100)
    assert table.shape == (6, 8)
    x, y = torch.tensor(2.0), torch.tensor(1.0)  # patch 5 lies in row 1, column 2
    axes = [torch.stack([a.sin(), (a / 100).sin(), a.cos(), (a / 100).cos()]) for a in (x, y)]
    torch.testing.assert_close(table[5], torch.cat(axes))
    with pytest.raises(ValueError, match="multiple of 4"):
        sincos_positions(6, 2, 2)


def test_masks_depend_on_seed_and_step_alone() -> None:
    def draw(step: int, seed: int) -> Any:
        return random_patches(3, 16, 0.75, Progress(step, 10, 5, seed), CPU)

    mask = draw(1, 0)
    assert mask.keep.shape == (3, 4) and mask.masked.sum(dim=1).tolist() == [12, 12, 12]
    assert not mask.masked.gather(1, mask.keep).any()
    assert torch.equal(mask.keep, draw(1, 0).keep)
    assert not torch.equal(mask.keep, draw(2, 0).keep)
    assert not torch.equal(mask.keep, draw(1, 1).keep)


def test_mask_sizes() -> None:
    assert random_patches(2, 10, 0.9, Progress(0, 1, 1), CPU).keep.shape == (2, 1)
    with pytest.raises(ValueError, match="leaves 0 of 1 visible"):
        random_patches(2, 1, 0.75, Progress(0, 1, 1), CPU)
