"""Damaged images of every kind: each is named, and nothing else is lost."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import NAMED


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def kinds() -> dict[str, bytes]:
    """An image of each mode and format, by file name."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    rgb = Image.fromarray(noise).resize((64, 48), Image.Resampling.BICUBIC)
    gray, cmyk, rgba = (rgb.convert(mode) for mode in ("L", "CMYK", "RGBA"))
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    gray16 = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "rgb.jpg": encoded(rgb, "JPEG"),
        "rgb.jfif": encoded(rgb, "JPEG"),
        "gray.jpg": encoded(gray, "JPEG"),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": encoded(cmyk, "JPEG"),
        "turned.jpg": encoded(rgb, "JPEG", exif=turned),
        "rgb.png": encoded(rgb, "PNG"),
        "gray.png": encoded(gray, "PNG"),
        "palette.png": encoded(palette, "PNG"),
        "alpha.png": encoded(rgba, "PNG"),
        "gray_alpha.png": encoded(rgb.convert("LA"), "PNG"),
        "gray16.png": encoded(gray16, "PNG"),
        "turned.png": encoded(rgb, "PNG", exif=turned),
        "palette.gif": encoded(palette, "GIF"),
        "rgb.webp": encoded(rgb, "WEBP"),
        "alpha.webp": encoded(rgba, "WEBP"),
        "rgb.avif": encoded(rgb, "AVIF"),
        "rgb.bmp": encoded(rgb, "BMP"),
        "rgb.ppm": encoded(rgb, "PPM"),
        "gray.pgm": encoded(gray, "PPM"),
        "rgb.tiff": encoded(rgb, "TIFF"),
        "packed.tiff": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "gray16.tiff": encoded(gray16, "TIFF"),
        "cmyk.tiff": encoded(cmyk, "TIFF"),
    }


def damages(name: str, whole: bytes) -> Iterator[bytes]:
    n = len(whole)
    yield b""
    yield b"<html><body>404 Not Found</body></html>"
    yield bytes(n)
    yield bytes(16) + whole[16:]
    yield np.random.default_rng(n).integers(0, 256, 16, dtype=np.uint8).tobytes() + whole[16:]
    for share in (0.02, 0.1, 0.2, 0.3, 0.5, 0.6, 0.75, 0.9):
        yield whole[: int(share * n)]
    if name.endswith((".jpg", ".png")):  # of what is overwritten, only these two can tell
        for share in (0.5, 0.8):
            yield whole[: int(share * n)] + bytes(n - int(share * n))


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, list[Path]]:
    """Two classes with a whole image of each kind, and the damaged ones among them."""
    damaged: list[Path] = []
    for name, whole in kinds().items():
        for split, label in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
            file = tmp_path / "images" / split / label / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(whole)
        for number, content in enumerate(damages(name, whole)):
            split, label = ("test" if number % 5 == 0 else "train"), "ab"[number % 2]
            file = tmp_path / "images" / split / label / f"damaged-{number}-{name}"
            file.write_bytes(content)
            damaged.append(file)
    return tmp_path / "images", damaged


def test_every_damaged_image_is_named_and_no_other_is_lost(folder: tuple[Path, list[Path]], tmp_path: Path) -> None:
    images, damaged = folder
    assert len(damaged) >= 300
    config = DatasetConfig(name="folder", path=str(images), damaged="skip")
    prepared = prepare(config, tmp_path / "data")
    reported = [line.split(" (")[0] for line in prepared.damaged]
    assert sorted(reported) == sorted(map(str, damaged))
    assert prepared.train.class_counts == prepared.test.class_counts == (len(kinds()),) * 2


def test_without_leave_the_first_of_them_are_an_error(folder: tuple[Path, list[Path]], tmp_path: Path) -> None:
    images, _ = folder
    with pytest.raises(
        DataError, match=r"\d+ of \d+ images cannot be read: .*; \.\.\. \(with `damaged: skip`"
    ) as error:
        prepare(DatasetConfig(name="folder", path=str(images)), tmp_path / "data")
    assert str(error.value).count("damaged-") == NAMED
    assert not list((tmp_path / "data").iterdir())
