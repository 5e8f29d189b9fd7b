"""A sheet of thumbnails: in each row an image and those that are nearest to it, with a mark on each for its class."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .batches import evaluation_batches
from .image_set import ImageSet
from .picture import GAP, SIDE, cut, pixels_of

TILE, FRAME = 44, 3
RIGHT, WRONG = "#1a7f37", "#c62828"
MOST_BYTES = 55_000
QUALITIES = (80, 65, 50, 35)


class SheetRow(NamedTuple):
    """An image, and those beside it, as numbers in their sets."""

    name: str
    """Of the image's class."""
    image: int
    neighbours: Sequence[int]
    right: Sequence[bool]
    """Whether each neighbour is of the image's class."""


def neighbour_sheet(rows: Sequence[SheetRow], images: ImageSet, bank: ImageSet, image_size: int) -> bytes:
    """A JPEG of at most about 55 kB. images: those of `SheetRow.image`; bank: those of the neighbours.

    Raises:
        DataError: an image differs from what was prepared.
    """
    own = _tiles(images, [row.image for row in rows], image_size)
    others = iter(_tiles(bank, [number for row in rows for number in row.neighbours], image_size))
    step = TILE + 2 * FRAME + GAP
    width = SIDE + GAP + (1 + max(len(row.neighbours) for row in rows)) * step
    sheet = Image.new("RGB", (width, len(rows) * step + GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for i, (row, tile) in enumerate(zip(rows, own, strict=True)):
        top = GAP + i * step
        draw.text((GAP, top + TILE // 2 - 4), cut(row.name, font), "black", font)
        sheet.paste(tile, (SIDE + FRAME, top + FRAME))
        for j, (right, neighbour) in enumerate(zip(row.right, others, strict=False), start=1):
            _framed(sheet, draw, neighbour, (SIDE + GAP + j * step, top), right=right)
    return _jpeg(sheet)


def _tiles(images: ImageSet, numbers: Sequence[int], image_size: int) -> list[Image.Image]:
    """The images as evaluation sees them, in the size of a tile."""
    chosen = torch.tensor(numbers)
    tiles: list[Tensor] = []
    for _, view in evaluation_batches(images, image_size, len(numbers), chosen=chosen):
        tiles += list(pixels_of(view))
    smooth = Image.Resampling.NEAREST if image_size < TILE else Image.Resampling.BICUBIC
    return [Image.fromarray(tile.permute(1, 2, 0).numpy()).resize((TILE, TILE), smooth) for tile in tiles]


def _framed(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Image.Image, corner: tuple[int, int], *, right: bool
) -> None:
    """The tile in a frame of its colour; a wrong one also has a cross, for who does not tell the colours apart."""
    left, top = corner
    end = TILE + 2 * FRAME - 1
    draw.rectangle((left, top, left + end, top + end), fill=RIGHT if right else WRONG)
    sheet.paste(tile, (left + FRAME, top + FRAME))
    if not right:
        size = 10
        box = (left + end - size, top, left + end, top + size)
        draw.rectangle(box, fill=WRONG)
        draw.line((box[0] + 2, box[1] + 2, box[2] - 2, box[3] - 2), "white", 2)
        draw.line((box[0] + 2, box[3] - 2, box[2] - 2, box[1] + 2), "white", 2)


def _jpeg(sheet: Image.Image) -> bytes:
    """In the best quality that keeps it small."""
    content = b""
    for quality in QUALITIES:
        out = io.BytesIO()
        sheet.save(out, "JPEG", quality=quality, optimize=True)
        content = out.getvalue()
        if len(content) <= MOST_BYTES:
            break
    return content
