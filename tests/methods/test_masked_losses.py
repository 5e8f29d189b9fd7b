"""Losses of masked models, KoLeo and SIGReg against slow, obvious versions in float64; the masks that they draw."""

import math
from typing import Any

import pytest
import torch
from ranks import Ranks
from ssl_sweep.methods.base import Progress
from ssl_sweep.methods.dinov2 import koleo_loss, sinkhorn_center
from ssl_sweep.methods.ibot import masked_patch_loss, patch_weights
from ssl_sweep.methods.ijepa import ijepa_loss, rows_at
from ssl_sweep.methods.lejepa import invariance_loss, sigreg
from ssl_sweep.methods.parts.collectives import rank
from ssl_sweep.methods.parts.masks import block_patches, context_and_targets, unit_patches
from ssl_sweep.methods.parts.sinkhorn import sinkhorn
from ssl_sweep.methods.simmim import simmim_loss
from tiny import RESNET, VIT, progress, tiny_batch, tiny_method
from torch import Tensor

CPU = torch.device("cpu")
NOW = Progress(3, 10, 5, 1)
GRID = (14, 14)


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_simmim() -> None:
    prediction, target = randn(0, 2, 5, 3), randn(1, 2, 5, 3)
    mask = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0]], dtype=torch.bool)
    errors = [
        abs(float(prediction[i, n, p]) - float(target[i, n, p]))
        for i in range(2)
        for n in range(5)
        for p in range(3)
        if mask[i, n]
    ]
    torch.testing.assert_close(simmim_loss(prediction, target, mask).item(), sum(errors) / len(errors))


def test_patches_of_ibot() -> None:
    masks = torch.tensor([[[1, 1, 0], [0, 0, 0]], [[0, 1, 0], [1, 1, 1]]], dtype=torch.bool)  # two views of two images
    scores, targets, center = randn(0, 6, 7), randn(1, 6, 7), randn(2, 1, 7)
    total, row = 0.0, 0
    for image in masks.flatten(0, 1):
        for _ in range(int(image.sum())):
            p = ((targets[row] - center[0]).double() / 0.05).softmax(dim=0)
            q = (scores[row].double() / 0.1).softmax(dim=0)
            total -= float((p * q.log()).sum()) / int(image.sum()) / 4
            row += 1
    loss = masked_patch_loss(scores, targets, center, patch_weights(masks), 0.1, 0.05)
    torch.testing.assert_close(loss.item(), total, rtol=1e-5, atol=1e-6)


def test_ijepa() -> None:
    prediction, target = 2 * randn(0, 2, 3, 2, 5), randn(1, 2, 3, 2, 5)
    terms: list[float] = []
    for p, t in zip(prediction.double().view(12, 5), target.double().view(12, 5), strict=True):
        mean = sum(t.tolist()) / 5
        deviation = math.sqrt(sum((x - mean) ** 2 for x in t.tolist()) / 5 + 1e-5)
        for d in range(5):
            error = abs(float(p[d]) - (float(t[d]) - mean) / deviation)
            terms.append(error**2 / 2 if error < 1 else error - 0.5)
    assert min(terms) < 0.5 < max(terms)  # both branches
    torch.testing.assert_close(ijepa_loss(prediction, target).item(), sum(terms) / 60, rtol=1e-5, atol=0)


def test_koleo() -> None:
    features = randn(0, 7, 4).double()
    unit = features / features.norm(dim=1, keepdim=True)
    nearest = [min(float((unit[i] - unit[j]).norm()) for j in range(7) if j != i) for i in range(7)]
    expected = -sum(math.log(distance) for distance in nearest) / 7
    torch.testing.assert_close(koleo_loss(features).item(), expected, rtol=1e-4, atol=1e-5)


def test_invariance() -> None:
    z, large = randn(0, 3, 4, 2), randn(1, 2, 4, 2)
    errors = [
        (float(z[v, i, d]) - (float(large[0, i, d]) + float(large[1, i, d])) / 2) ** 2
        for v in range(3)
        for i in range(4)
        for d in range(2)
    ]
    torch.testing.assert_close(invariance_loss(z, large).item(), sum(errors) / 24)


def test_sigreg() -> None:
    z, directions = randn(0, 2, 6, 3), torch.nn.functional.normalize(randn(1, 3, 4), dim=0)
    knots = [3 * k / 4 for k in range(5)]
    values = []
    for v in range(2):
        for m in range(4):
            projections = [float(z[v, i].double() @ directions[:, m].double()) for i in range(6)]
            integral = 0.0
            for k, t in enumerate(knots):
                gaussian = math.exp(-t * t / 2)
                real = sum(math.cos(t * y) for y in projections) / 6
                imaginary = sum(math.sin(t * y) for y in projections) / 6
                width = 2 * 0.75 / (2 if k in (0, 4) else 1)
                integral += width * gaussian * ((real - gaussian) ** 2 + imaginary**2)
            values.append(6 * integral)
    torch.testing.assert_close(sigreg(z, directions, 5, 3.0).item(), sum(values) / 8, rtol=1e-4, atol=1e-5)


def test_sigreg_prefers_a_normal_distribution() -> None:
    directions = torch.nn.functional.normalize(randn(1, 8, 64), dim=0)
    normal = randn(0, 1, 512, 8)
    assert sigreg(normal, directions, 17, 3.0) < 2 < 10 < sigreg(0.1 * normal, directions, 17, 3.0)


def test_lejepa_over_local_views_alone() -> None:
    losses = []
    for over in ("all", "local"):
        method = tiny_method("lejepa", RESNET, over=over)
        losses.append(method(tiny_batch(method), progress(0)).loss.item())
    assert losses[0] != losses[1]


# ---- masks -----------------------------------------------------------------------------------------------------------


def test_squares_of_patches() -> None:
    mask = unit_patches(3, (6, 6), 2, 0.5, NOW, CPU).view(3, 3, 2, 3, 2)  # of 9 squares, 4 are whole
    squares = mask.transpose(2, 3).flatten(3)
    assert (squares.all(dim=3) == squares.any(dim=3)).all()
    assert squares.all(dim=3).flatten(1).sum(dim=1).tolist() == [5, 5, 5]
    assert unit_patches(2, (5, 7), 2, 0.5, NOW, CPU).shape == (2, 35)


def test_blocks() -> None:
    masks = block_patches(16, 2, GRID, 0.5, (0.1, 0.5), NOW)
    assert masks.shape == (2, 16, 196)
    counts = masks.sum(dim=2).flatten()
    assert (counts > 0).sum().item() == 16  # half of 32 images
    masked = counts[counts > 0].sort().values
    assert masked[0] >= 16 and masked[-1] <= 98
    wanted = [196 * (0.1 + 0.4 * (k + 0.5) / 16) for k in range(16)]
    assert sum(masked.tolist()) == pytest.approx(sum(wanted), rel=0.2)
    # blocks, not confetti: most masked patches have their right neighbour masked too
    image = masks.flatten(0, 1)[counts.argmax()].view(14, 14)
    assert (image[:, :-1] & image[:, 1:]).sum() > 0.6 * image.sum()


def test_blocks_depend_on_seed_and_step_alone() -> None:
    def draw(step: int, seed: int) -> Tensor:
        return block_patches(4, 2, GRID, 0.5, (0.1, 0.5), Progress(step, 10, 5, seed))

    assert torch.equal(draw(1, 0), draw(1, 0))
    assert not torch.equal(draw(1, 0), draw(2, 0)) and not torch.equal(draw(1, 0), draw(1, 1))


def jepa_masks(batch_size: int, now: Progress = NOW) -> Any:
    return context_and_targets(batch_size, GRID, 4, (0.15, 0.2), (0.75, 1.5), (0.85, 1.0), now, CPU)


def test_contexts_see_nothing_of_the_targets() -> None:
    context, targets = jepa_masks(8)
    assert targets.shape[:2] == (4, 8) and 0.1 * 196 < targets.shape[2] < 0.25 * 196
    for i in range(8):
        seen = set(context[i].tolist())
        assert len(seen) == context.shape[1] > 0
        assert not any(seen & set(targets[m, i].tolist()) for m in range(4))
        for m in range(4):
            rows, columns = targets[m, i] // 14, targets[m, i] % 14
            assert len(targets[m, i].unique()) == targets.shape[2]
            assert (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1) == targets.shape[2]
    assert jepa_masks(8, Progress(4, 10, 5, 1)).targets.tolist() != targets.tolist()


def drawn(batch_size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    blocks = block_patches(batch_size, 2, GRID, 0.5, (0.1, 0.5), NOW)
    return blocks, unit_patches(batch_size, GRID, 2, 0.6, NOW, CPU), *jepa_masks(batch_size)


def test_two_ranks_draw_the_masks_of_one(ranks: Ranks) -> None:
    whole = drawn(8)
    first, second = ranks.run(drawn, 4)
    for one, two, expected, dim in zip(first, second, whole, (1, 0, 0, 1), strict=True):
        assert torch.equal(torch.cat([one, two], dim=dim), expected)


def test_rows_at_places() -> None:
    rows = torch.arange(12.0).view(2, 3, 2)
    places = torch.tensor([[[2, 0], [1, 1]]])
    assert rows_at(rows, places).tolist() == [[[[4.0, 5.0], [0.0, 1.0]], [[8.0, 9.0], [8.0, 9.0]]]]


@pytest.mark.parametrize("name", ["simmim", "ibot", "dinov2", "ijepa", "msn", "pmsn"])
def test_methods_that_need_a_vit_say_so(name: str) -> None:
    with pytest.raises(ValueError, match=f"method '{name}' needs a ViT"):
        tiny_method(name, RESNET)


@pytest.mark.parametrize("name", ["ibot", "dinov2"])
def test_prototypes_are_frozen_and_centres_move(name: str) -> None:
    method: Any = tiny_method(name)
    for step, frozen in ((1, True), (2, False)):
        method(tiny_batch(method), progress(step)).loss.backward()
        method.before_optimizer_step(progress(step))
        assert (method.networks.student.head.prototypes.grad is None) == frozen
        method.zero_grad()
    assert method.networks.center.any() and method.networks.patch_center.any()


def test_branches_of_ijepas_predictor_start_narrower_the_deeper_they_lie() -> None:
    method: Any = tiny_method("ijepa", predictor_depth=8)
    first, last = (method.predictor.blocks[i].mlp.fc2.weight.std().item() for i in (0, 7))
    assert first / last == pytest.approx(8**0.5, rel=0.1) and first == pytest.approx(0.02 / 2**0.5, rel=0.1)


def codes(scores: Tensor, split: int) -> Tensor:
    own = scores[:split] if rank() == 0 else scores[split:]
    return ((own - sinkhorn_center(own, 0.06, 3)) / 0.06).softmax(dim=1)


def test_softmax_around_sinkhorns_centre_is_sinkhorn(ranks: Ranks) -> None:
    scores = randn(0, 9, 5)
    expected = sinkhorn(scores, 0.06, 3)
    torch.testing.assert_close(codes(scores, 9), expected)
    for split in (2, 0):  # ranks with unequal numbers of patches, or none
        torch.testing.assert_close(torch.cat(ranks.run(codes, scores, split)), expected)


def test_dinov2_with_sinkhorn() -> None:
    method: Any = tiny_method("dinov2", centering="sinkhorn")
    loss = method(tiny_batch(method), progress(0)).loss
    loss.backward()
    assert loss.isfinite() and loss != tiny_method("dinov2")(tiny_batch(method), progress(0)).loss
    assert not method.networks.center.any() and not method.networks.patch_center.any()
    unmasked = tiny_method("dinov2", centering="sinkhorn", masked_images=0.0)
    assert unmasked(tiny_batch(unmasked), progress(0)).loss.isfinite()


def test_without_a_masked_image_the_patch_centre_stays() -> None:
    method: Any = tiny_method("ibot", masked_images=0.0, patch_center="masked")
    output = method(tiny_batch(method), progress(0))
    assert output.logs["patch_loss"] == 0 and not method.networks.patch_center.any()


def test_ibots_patch_centre_is_over_all_patches() -> None:
    method: Any = tiny_method("ibot")
    batch = tiny_batch(method)
    teacher = method.networks.teacher.module
    with torch.no_grad():
        tokens = torch.cat([teacher.encoder.tokens(view.image)[:, 1:] for view in batch.global_views])
        mean = teacher.head(tokens.flatten(0, 1)).mean(dim=0)
    masked = tiny_method("ibot", patch_center="masked")
    assert method(batch, progress(0)).loss == masked(batch, progress(0)).loss  # the first step has no centre yet
    torch.testing.assert_close(method.networks.patch_center[0], 0.1 * mean)
    assert not torch.allclose(masked.networks.patch_center[0], 0.1 * mean)


def test_lower_blocks_of_dinov2_learn_more_slowly() -> None:
    method: Any = tiny_method("dinov2", VIT)
    scales = {id(p): group["lr_scale"] for group in method.param_groups() for p in group["params"]}
    model = method.networks.student.encoder.model
    assert scales[id(model.blocks[1].mlp.fc1.weight)] == pytest.approx(0.9)
    assert scales[id(model.blocks[0].mlp.fc1.weight)] == pytest.approx(0.9**2)
    assert scales[id(model.cls_token)] == pytest.approx(0.9**3)
    assert scales[id(model.patch_embed.proj.weight)] == pytest.approx(0.2 * 0.9**3)
    assert scales[id(method.networks.mask_token)] == pytest.approx(0.9**3)
    assert scales[id(model.norm.weight)] == scales[id(method.networks.student.head.prototypes)] == 1.0
