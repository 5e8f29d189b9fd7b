"""RandAugment in batches: each operation is Pillow's, and what is drawn is distributed as timm draws it."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from ssl_sweep.evaluation.geometry import Interpolation
from ssl_sweep.evaluation.pillow import posterize
from ssl_sweep.evaluation.randaugment import (
    FILL,
    OPERATIONS,
    POLICY,
    Drawn,
    changed,
    drawn_operations,
    randaugment,
)
from ssl_sweep.methods.parts.draws import hash64
from timm.data import auto_augment
from torch import Tensor

PILLOWS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
GEOMETRY = ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")


def pictures(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """Smooth colours with noise; some are dull, some have plain parts. (N, H, W, 3)"""
    generator = np.random.default_rng(0)
    made = list[NDArray[np.uint8]]()
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
        picture = smooth + generator.integers(-12, 13, (height, width, 3))
        if number % 3 == 0:
            picture = picture // 3 + 60
        if number % 4 == 1:
            picture[: height // 3] = 255
            picture[-3:, :5] = 0
        made.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack([*made, np.full((height, width, 3), 77, dtype=np.uint8)])


def batch(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def hparams(interpolation: Interpolation) -> dict[str, Any]:
    """As timm's `transforms_imagenet_train` sets them."""
    return {"img_mean": FILL, "interpolation": PILLOWS[interpolation]}


@pytest.mark.parametrize(
    ("name", "interpolation"), [(name, "bicubic") for name in OPERATIONS] + [(name, "bilinear") for name in GEOMETRY]
)
def test_an_operation_is_that_of_pillow(
    name: str, interpolation: Interpolation, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(8, 33, 40)
    for magnitude in (0.0, 3.3, 9.0, 9.7):
        for sign in (1.0, -1.0):
            monkeypatch.setattr(auto_augment, "_randomly_negate", lambda value, sign=sign: sign * value)
            operation = auto_augment.AugmentOp(name, prob=1.0, magnitude=magnitude, hparams=hparams(interpolation))  # pyright: ignore
            wanted = np.stack([np.asarray(operation(Image.fromarray(image))) for image in images])
            every = torch.full((len(images), 1), 1.0, dtype=torch.float64)
            drawn = Drawn((every * list(OPERATIONS).index(name)).long(), every * magnitude, every * sign)
            found = changed(batch(images), drawn, interpolation).permute(0, 2, 3, 1).numpy()
            off = np.abs(found.astype(int) - wanted)
            if name in GEOMETRY:  # a level where Pillow's float64 ends on the other side of a whole number
                assert off.max() <= 1 and off.mean() < 0.05
            else:
                assert off.max() == 0, f"{magnitude=}, {sign=}"


def test_no_bits_are_black() -> None:
    """As Pillow had it before version 13, which refuses it, so that timm fails at magnitude 10."""
    images = batch(pictures(2, 8, 8))
    assert posterize(images, torch.tensor([0, 8, 0])).flatten(1).sum(dim=1).tolist() == [0, int(images[1].sum()), 0]


def test_the_fill_is_the_mean_colour() -> None:
    assert FILL == (124, 116, 104)


def timms_draws(count: int) -> tuple[list[list[str]], list[float], list[float]]:
    """What timm applies to each of `count` images, all magnitudes, and degrees of rotation."""
    policy = auto_augment.rand_augment_transform(POLICY, hparams("bicubic"))
    applied = list[str]()
    magnitudes, degrees = list[float](), list[float]()
    for operation in policy.ops:

        def level(magnitude: float, options: Any, own: Any = operation.level_fn, name: str = operation.name) -> Any:
            applied.append(name)
            magnitudes.append(magnitude)
            if name == "Rotate":
                degrees.extend(own(magnitude, options))
            return ()

        operation.level_fn = level
        operation.aug_fn = lambda image, **_: image
    of_images = list[list[str]]()
    for _ in range(count):
        policy(None)  # pyright: ignore[reportArgumentType]
        of_images.append(applied.copy())
        applied.clear()
    return of_images, magnitudes, degrees


def test_draws_are_distributed_as_timms() -> None:
    count = 20_000
    auto_augment.random.seed(0)
    np.random.seed(0)
    of_images, magnitudes, degrees = timms_draws(count)
    drawn = drawn_operations(hash64(1, torch.arange(count)))
    applied = drawn.operation < len(OPERATIONS)
    for number in (0, 1, 2):
        share = sum(len(names) == number for names in of_images) / count
        assert (applied.sum(dim=1) == number).double().mean().item() == pytest.approx(share, abs=0.015)
    for place, name in enumerate(OPERATIONS):
        share = sum(names.count(name) for names in of_images) / count
        assert (drawn.operation == place).double().sum().item() / count == pytest.approx(share, abs=0.01)
    ours = np.sort(drawn.magnitude[applied].numpy())
    points = np.linspace(0, 1, 201)[1:-1]
    assert np.abs(np.quantile(ours, points) - np.quantile(magnitudes, points)).max() < 0.04
    assert ours.mean() == pytest.approx(np.mean(magnitudes), abs=0.02)
    assert ours.std() == pytest.approx(np.std(magnitudes), abs=0.02)
    rotations = drawn.operation == list(OPERATIONS).index("Rotate")
    found = (30 * drawn.sign * drawn.magnitude / 10)[rotations]
    assert (found > 0).double().mean().item() == pytest.approx(np.mean(np.array(degrees) > 0), abs=0.06)
    assert found.abs().mean().item() == pytest.approx(np.abs(degrees).mean(), abs=0.3)
    # both layers, and what is drawn in them, are independent
    first, second = drawn.operation.double().unbind(1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03 and abs(np.corrcoef(drawn.sign.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(drawn.magnitude.T)[0, 1]) < 0.03


def test_layers_follow_one_another() -> None:
    images = batch(pictures(3, 16, 16))
    names = list(OPERATIONS)
    none, invert, solarize = len(names), names.index("Invert"), names.index("SolarizeIncreasing")
    operation = torch.tensor([[invert, solarize], [solarize, invert], [none, none], [none, invert]])
    magnitude = torch.full((4, 2), 5.0, dtype=torch.float64)  # a threshold of 128
    found = changed(images, Drawn(operation, magnitude, torch.ones_like(magnitude)), "bicubic")
    flipped = 255 - images
    assert torch.equal(found[0], torch.where(flipped[0] < 128, flipped[0], 255 - flipped[0]))
    assert torch.equal(found[1], 255 - torch.where(images[1] < 128, images[1], flipped[1]))
    assert torch.equal(found[2], images[2]) and torch.equal(found[3], flipped[3])


def test_an_image_is_changed_alike_in_any_batch() -> None:
    images, keys = batch(pictures(40, 24, 24)), hash64(2, torch.arange(41))
    given = images.clone()
    whole = randaugment(images, keys, "bicubic")
    assert torch.equal(images, given)
    for chosen in ([7], [40, 3, 11], list(range(0, 41, 2))):
        assert torch.equal(randaugment(images[chosen], keys[chosen], "bicubic"), whole[chosen])
