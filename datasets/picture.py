"""A picture of what a method sees: a row for each image, first the image itself, then its views."""

import io

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..methods.config import ViewsConfig
from .batches import epoch_order, evaluation_batches, training_batches
from .color import MEAN, STD, constants
from .image_set import ImageSet

IMAGES = 8
TILE = 96
"""Pixels of the image itself in the picture; views have the share of it that they have of the image."""
GAP, HEAD, SIDE = 6, 18, 110


def views_picture(images: ImageSet, views: ViewsConfig, image_size: int, *, seed: int, count: int = IMAGES) -> bytes:
    """A PNG of the first `count` images of the first epoch, as evaluation sees them, and of their views in that epoch."""
    rows = epoch_order(seed, 0, len(images))[:count]
    batch = next(training_batches(images, views, image_size, seed=seed, batch_size=len(rows), total_steps=1))
    _, seen = next(evaluation_batches(images, image_size, len(rows), chosen=rows))
    columns = [("image", seen)]
    columns += [(f"global {i}", view.image) for i, view in enumerate(batch.global_views, start=1)]
    columns += [(f"local {i}", view.image) for i, view in enumerate(batch.local_views, start=1)]
    names = [images.classes[label] if label >= 0 else "" for label in images.labels[rows].tolist()]
    out = io.BytesIO()
    _grid(columns, names, image_size).save(out, "PNG", optimize=True)
    return out.getvalue()


def _grid(columns: list[tuple[str, Tensor]], names: list[str], image_size: int) -> Image.Image:
    """columns: a heading and normalised images (N, 3, S, S) each; names: what stands before each of the N rows."""
    widths = [max(1, round(TILE * images.shape[-1] / image_size)) for _, images in columns]
    width = SIDE + sum(max(size, 52) + GAP for size in widths)
    picture = Image.new("RGB", (width, HEAD + len(names) * (TILE + GAP)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=11)
    for row, name in enumerate(names):
        draw.text((GAP, HEAD + row * (TILE + GAP)), cut(name, font), "black", font)
    left = SIDE
    for (heading, images), size in zip(columns, widths, strict=True):
        draw.text((left, 2), heading, "black", font)
        for row, pixels in enumerate(pixels_of(images)):
            # to the nearest pixel: what is blurred here is blurred in training
            tile = Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.NEAREST)
            picture.paste(tile, (left, HEAD + row * (TILE + GAP)))
        left += max(size, 52) + GAP
    return picture


def pixels_of(images: Tensor) -> Tensor:
    """Grey levels (N, 3, S, S) of normalised images."""
    mean, std = constants(images.device, MEAN, STD)
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).cpu()


def cut(name: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of `name` as fits before a row."""
    while font.getlength(name) > SIDE - 2 * GAP:
        name = name.removesuffix("…")[:-1] + "…"
    return name
