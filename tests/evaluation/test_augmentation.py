"""Fine-tuning's augmentation: as timm's, and a function of (seed, step, image)."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ssl_sweep.evaluation.augmentation import Augmentation, Mixing, drawn_mixing, erased, mixed, next_of
from ssl_sweep.evaluation.classifier import Labelled
from ssl_sweep.evaluation.finetune import FinetuneConfig
from ssl_sweep.evaluation.task import Task
from ssl_sweep.methods.parts.draws import Purpose, hash64, step_key
from timm.data.mixup import Mixup
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


@pytest.mark.parametrize("settings", [{"erasing": 0.6}, {"randaugment": True}], ids=str)
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
