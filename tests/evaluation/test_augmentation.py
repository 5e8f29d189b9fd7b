"""Fine-tuning's augmentation: as timm's, and a function of (seed, step, image)."""

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ssl_sweep.datasets.views import normalised
from ssl_sweep.evaluation.augmentation import Augmentation, Mixing, drawn_mixing, erased, mixed, next_of
from ssl_sweep.evaluation.classifier import Labelled
from ssl_sweep.evaluation.finetune import FinetuneConfig
from ssl_sweep.evaluation.randaugment import randaugment
from ssl_sweep.evaluation.task import Task
from ssl_sweep.methods.parts.draws import Purpose, hash64, sample_keys, step_key
from timm.data.mixup import Mixup, cutmix_bbox_and_lam
from timm.data.random_erasing import RandomErasing
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn

MakeTask = Callable[..., Task]
SAMPLES = torch.tensor([7, 3, 90, 11, 25])


class Seen(nn.Module):
    """Keeps what it is given; logits are means of the image's colours."""

    def forward(self, image: Tensor) -> Tensor:
        self.image = image
        return F.pad(image.mean(dim=(2, 3)), (0, 7))


def batch_of(chosen: list[int]) -> Labelled:
    images = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Labelled(images[chosen], torch.arange(5)[chosen], SAMPLES[chosen])


@pytest.mark.parametrize(
    "settings",
    [
        {"erasing": 0.6},
        {"randaugment": True},
        {"randaugment": True, "randaugment_policy": "rand-m9-mstd0.5-inc1", "interpolation": "bicubic"},
    ],
    ids=str,
)
def test_an_image_is_changed_alike_in_any_batch(settings: dict[str, Any], task: MakeTask) -> None:
    augmentation, model = Augmentation(FinetuneConfig(**settings), task()), Seen()

    def seen(chosen: list[int], step: int) -> Tensor:
        augmentation.loss(model, batch_of(chosen), step)
        return model.image

    before, numpys = torch.get_rng_state(), np.random.get_state()[2]
    for step in range(8):
        torch.testing.assert_close(seen([4, 1], step), seen([0, 1, 2, 3, 4], step)[[4, 1]], rtol=0, atol=0)
    assert not torch.equal(seen([0, 1, 2, 3, 4], 0), seen([0, 1, 2, 3, 4], 1))
    assert torch.equal(torch.get_rng_state(), before) and np.random.get_state()[2] == numpys


def test_randaugment_gets_the_grey_levels(task: MakeTask) -> None:
    """What it changes is exactly what the crops were before they were normalised."""
    policy = "rand-m9-mstd0.5-inc1"
    config = FinetuneConfig(randaugment=True, randaugment_policy=policy, interpolation="bicubic")
    levels = torch.randint(256, (5, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model = Seen()
    Augmentation(config, task(seed=3)).loss(model, Labelled(normalised(levels), torch.arange(5), SAMPLES), 2)
    keys = sample_keys(3, Purpose.RANDAUGMENT, 2, SAMPLES)
    torch.testing.assert_close(model.image, normalised(randaugment(levels, keys, "bicubic")), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [2, 5])
@pytest.mark.parametrize("cut", [True, False])
def test_images_are_mixed_as_timms(size: int, cut: bool, task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm pairs the first image with the last one, and so on; so it is asked for each pair of the ring, in an odd batch too."""
    augmentation = Augmentation(FinetuneConfig(mixup=0.8, cutmix=1.0, label_smoothing=0.1), task(seed=4))
    step = next(
        step
        for step in range(20)
        if (found := drawn_mixing(augmentation.config, step_key(4, Purpose.MIXING, step), 16, 16)) is not None
        and (found.box is not None) == cut
    )
    mixing = drawn_mixing(augmentation.config, step_key(4, Purpose.MIXING, step), 16, 16)
    assert mixing is not None
    monkeypatch.setattr(Mixup, "_params_per_batch", lambda _: (mixing.share, cut))
    monkeypatch.setattr("timm.data.mixup.cutmix_bbox_and_lam", lambda *_, **__: (mixing.box, mixing.share))
    model, batch, timm = Seen(), batch_of(list(range(size))), Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=10)
    loss = augmentation.loss(model, batch, step)
    losses = list[Tensor]()
    for row in range(size):
        pair = [row, (row + 1) % size]
        images, targets = timm(batch.inputs[pair].clone(), batch.labels[pair])
        torch.testing.assert_close(model.image[row], images[0])
        losses.append(SoftTargetCrossEntropy()(model(images[:1]), targets[:1]))
        augmentation.loss(model, batch, step)
    torch.testing.assert_close(loss, torch.stack(losses).mean())


def test_boxes_are_timms() -> None:
    """From the same state of the generator, and the same share."""
    config = FinetuneConfig(cutmix=1.0)
    for step in range(50):
        key = step_key(1, Purpose.MIXING, step)
        ours = drawn_mixing(config, key, 17, 32)
        np.random.seed([key >> 32, key % 2**32])
        box, share = cutmix_bbox_and_lam((2, 3, 17, 32), np.random.beta(1.0, 1.0))
        assert ours == Mixing(pytest.approx(share), tuple(int(side) for side in box))


def test_every_image_of_an_odd_batch_is_mixed(task: MakeTask) -> None:
    augmentation, model = Augmentation(FinetuneConfig(mixup=0.8, label_smoothing=0.1), task(seed=4)), Seen()
    batch = batch_of([0, 1, 2, 3, 4])
    loss = augmentation.loss(model, batch, 3)
    mixing = drawn_mixing(augmentation.config, step_key(4, Purpose.MIXING, 3), 16, 16)
    assert mixing is not None and 0 < mixing.share < 1 and mixing.box is None
    partners = batch.inputs.roll(-1, 0)
    torch.testing.assert_close(model.image, batch.inputs * mixing.share + partners * (1 - mixing.share))
    soft = 0.9 * F.one_hot(batch.labels, 10) + 0.01  # as timm smooths
    soft = soft * mixing.share + soft.roll(-1, 0) * (1 - mixing.share)
    expected = -(soft * model(model.image).log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)


def test_a_box_is_the_partners() -> None:
    ones = torch.ones(3, 3, 8, 8)
    images = mixed(torch.zeros_like(ones), ones, Mixing(1 - 12 / 64, (1, 4, 2, 6)))
    assert images[:, :, 1:4, 2:6].eq(1).all() and images.sum() == 3 * 3 * 12


def test_partners_are_a_ring() -> None:
    assert next_of(torch.arange(5)).tolist() == [1, 2, 3, 4, 0]


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_shares_are_distributed_as_timms(mixup: float, cutmix: float) -> None:
    config = FinetuneConfig(mixup=mixup, cutmix=cutmix)
    found = [drawn_mixing(config, step_key(1, Purpose.MIXING, step), 16, 16) for step in range(4000)]
    mixings = [one for one in found if one is not None]
    assert len(mixings) == 4000
    cut = [one for one in mixings if one.box is not None]
    assert len(cut) / 4000 == pytest.approx(0.5 if mixup and cutmix else float(cutmix > 0), abs=0.04)
    for one in cut:
        top, bottom, left, right = one.box or (0, 0, 0, 0)
        assert 0 <= top <= bottom <= 16 and 0 <= left <= right <= 16
        assert one.share == pytest.approx(1 - (bottom - top) * (right - left) / 256)
    np.random.seed(0)
    timm = Mixup(mixup, cutmix, num_classes=10)
    wanted = sorted(float(timm._mix_batch(torch.zeros(2, 3, 16, 16))) for _ in range(4000))  # pyright: ignore
    shares = sorted(one.share for one in mixings)
    assert np.abs(np.subtract(shares, wanted)).mean() < 0.02  # quantile by quantile; 0.008 is one standard deviation


def boxes(inside: Tensor) -> dict[str, Tensor]:
    """Of the erased boxes (n, H, W): their places and sizes, each sorted."""
    rows, columns = inside.any(dim=2), inside.any(dim=1)
    places = {"top": rows.int().argmax(dim=1), "left": columns.int().argmax(dim=1)}
    sizes = {"height": rows.sum(dim=1), "width": columns.sum(dim=1)}
    return {name: values.sort().values.double() for name, values in (places | sizes).items()}


def test_boxes_are_erased_as_timms() -> None:
    images = torch.full((3000, 3, 32, 24), 9.0)
    ours = (erased(images, hash64(5, torch.arange(3000)), 1.0) != 9).any(dim=1)
    random.seed(0)
    theirs = (RandomErasing(1.0, mode="pixel", device="cpu")(images.clone()) != 9).any(dim=1)
    assert ours.flatten(1).any(dim=1).all() and theirs.flatten(1).any(dim=1).all()
    found, wanted = boxes(ours), boxes(theirs)
    for name, values in found.items():  # quantile by quantile; a tenth of a pixel is one standard deviation
        assert (values - wanted[name]).abs().mean() < 0.4, name


def test_erasing_has_its_probability_area_and_noise() -> None:
    images = torch.full((2000, 3, 32, 32), 9.0)
    changed = erased(images, hash64(1, torch.arange(2000)), 0.25)
    inside = (changed != 9).any(dim=1)  # (B, H, W)
    hit = inside.flatten(1).any(dim=1)
    assert hit.float().mean().item() == pytest.approx(0.25, abs=0.04)
    shares = inside[hit].float().mean(dim=(1, 2))
    assert shares.min() > 0.015 and shares.max() < 0.36
    assert shares.mean().item() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.03)
    noise = changed[:, :][inside[:, None].expand_as(changed)]
    assert noise.mean().item() == pytest.approx(0, abs=0.02) and noise.std().item() == pytest.approx(1, abs=0.02)
    for one in inside[hit][:50]:  # one box
        rows, columns = one.any(dim=1), one.any(dim=0)
        assert torch.equal(one, rows[:, None] & columns[None])
        assert math.isclose(one.sum().item(), rows.sum().item() * columns.sum().item())
    assert torch.equal(erased(images, hash64(1, torch.arange(2000)), 0.0), images)
