"""From an encoded image to RGB pixels.

Orientation follows the EXIF tag; transparency is laid over white; palettes, gray and CMYK become RGB as Pillow converts
them; of 16-bit gray, the upper eight of the bits that a data set uses are kept.

Plain JPEGs are decoded by libjpeg-turbo without Pillow, to the same pixels bit for bit in less than half the time.
"""

import io
import struct
import warnings
import zlib
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""What Pillow raises on damaged files, besides its own `UnidentifiedImageError` (an OSError)."""

warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # about metadata that is of no use here

LONGEST = 4
"""Of the limit on the shorter side, how many times the longer may be: a panorama would take memory that no view of it needs."""

MARKS = (b"Exif\0", b"tiff:Orientation", b"exif:Orientation")
"""A JPEG with one of these may have to be turned."""

FINEST_SCALE = 2
"""The least factor by which JPEGs are scaled while they are decoded."""


class Look(NamedTuple):
    """What is known of an image besides its pixels."""

    shorter_side: int
    """In pixels."""
    gray16: int
    """The greatest value of a 16-bit gray image; 0 of any other."""


def look(encoded: bytes) -> Look:
    """Reads the pixels of 16-bit gray images alone. Raises one of `UNREADABLE` where the image is damaged."""
    with Image.open(io.BytesIO(encoded)) as image:
        gray16 = int(_values(image).max()) if _is_gray16(image) else 0
        return Look(min(image.size), gray16)


def decode(encoded: bytes, shorter_side: int | None = None, gray_bits: int = 16) -> Pixels:
    """RGB pixels (H, W, 3) of an image. Raises one of `UNREADABLE` where it is damaged.

    Values of 16-bit gray are below ``2 ** gray_bits`` and scaled to 8 bits.

    With `shorter_side`, an image larger than this is reduced to it (the longer side to at most four times as much),
    which bounds memory: JPEGs by their own scaling while that stays larger, and the rest by an antialiased resize.
    """
    if (pixels := plain_jpeg(encoded, shorter_side)) is not None:
        return pixels if shorter_side is None else reduced(pixels, shorter_side)
    with Image.open(io.BytesIO(encoded)) as image:
        if shorter_side is not None:
            image.draft(None, (shorter_side, shorter_side))  # never smaller than asked for
        rgb = _to_rgb(ImageOps.exif_transpose(image), gray_bits)
    return np.array(rgb if shorter_side is None else _reduced(rgb, shorter_side))  # writable, as tensors have to be


def plain_jpeg(encoded: bytes, shorter_side: int | None = None) -> Pixels | None:
    """RGB pixels (H, W, 3) of a JPEG of colours or gray, neither turned nor, for `shorter_side`, scaled; None of any other image.

    They are Pillow's bit for bit. None of a damaged one too: Pillow says what is wrong, or reads it none the less.
    """
    if not encoded.startswith(b"\xff\xd8\xff") or any(mark in encoded for mark in MARKS):
        return None
    try:
        *sides, colors, _ = simplejpeg.decode_jpeg_header(encoded)
        height, width = (int(side) for side in sides)
        scaled = shorter_side is not None and min(height, width) >= FINEST_SCALE * shorter_side
        huge = height * width > (Image.MAX_IMAGE_PIXELS or height * width)  # about which Pillow warns
        if scaled or huge or colors not in ("YCbCr", "Gray"):
            return None
        return simplejpeg.decode_jpeg(encoded, "RGB", fastdct=False, fastupsample=False)
    except ValueError:
        return None


def reduced(pixels: Pixels, shorter_side: int) -> Pixels:
    """What `decode` makes with `shorter_side` of an image without loss, of its pixels (H, W, 3)."""
    if _scale(pixels.shape[:2], shorter_side) == 1:
        return pixels
    return np.array(_reduced(Image.fromarray(pixels), shorter_side))


def verify(encoded: bytes) -> None:
    """Read an image through to its end, JPEGs at an eighth of their size. Raises one of `UNREADABLE`."""
    verify_checksums(encoded)
    with Image.open(io.BytesIO(encoded)) as image:
        image.draft(None, (1, 1))
        _to_rgb(image)


def verify_checksums(encoded: bytes) -> None:
    """Raise one of `UNREADABLE` where a PNG is not what was written; Pillow decodes what it can and leaves the rest black.

    The other formats here have no checksum of their pixels.
    """
    with Image.open(io.BytesIO(encoded)) as image:
        if image.format == "PNG":
            image.verify()


def _reduced(image: Image.Image, shorter_side: int) -> Image.Image:
    scale = _scale(image.size, shorter_side)
    if scale == 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _scale(sides: tuple[int, ...], shorter_side: int) -> float:
    return min(1.0, shorter_side / min(sides), LONGEST * shorter_side / max(sides))


def _is_gray16(image: Image.Image) -> bool:
    return image.mode.startswith("I;16")


def _values(gray16: Image.Image) -> NDArray[np.uint16]:
    return np.asarray(gray16).astype(np.uint16)  # of any byte order


def _to_rgb(image: Image.Image, gray_bits: int = 16) -> Image.Image:
    if _is_gray16(image):
        image = Image.fromarray((_values(image) >> (gray_bits - 8)).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode} have no fixed range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
