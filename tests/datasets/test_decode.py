"""Encoded images to RGB pixels."""

import io

import numpy as np
import pytest
from PIL import Image, ImageFile
from ssl_sweep.datasets.decode import decode, plain_jpeg


def encoded(color: tuple[int, int, int], size: tuple[int, int], kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 20, (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def test_a_truncated_jpeg_is_damaged():
    for size in ((300, 200), (30, 20)):
        whole = encoded((9, 9, 9), size, "JPEG")
        with pytest.raises(OSError, match=r"(?i)truncated"):
            decode(whole[: len(whole) * 2 // 3])


def test_every_mode_becomes_rgb():
    def through(image: Image.Image, kind: str = "PNG") -> np.ndarray:
        stream = io.BytesIO()
        image.save(stream, kind)
        return decode(stream.getvalue())

    assert through(Image.new("L", (4, 3), 77)).tolist() == np.full((3, 4, 3), 77).tolist()
    assert (through(Image.new("1", (4, 3), 1)) == 255).all()
    assert through(Image.new("RGBA", (2, 2), (255, 0, 0, 0))).tolist() == [[[255] * 3] * 2] * 2  # over white
    assert through(Image.new("I;16", (2, 2), 513))[0, 0].tolist() == [2, 2, 2]
    palette = Image.new("RGB", (2, 2), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert through(palette)[0, 0].tolist() == [10, 20, 30]
    assert through(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")[0, 0].tolist() == pytest.approx(
        [255, 0, 0], abs=6
    )
    turned = Image.new("RGB", (6, 2))
    turned.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    stream = io.BytesIO()
    turned.save(stream, "PNG", exif=exif)
    pixels = decode(stream.getvalue())
    assert pixels.shape == (6, 2, 3) and pixels[0, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_huge_images_are_bounded(kind):
    assert decode(encoded((9, 99, 9), (900, 600), kind), 100).shape == (100, 150, 3)
    assert decode(encoded((9, 99, 9), (900, 40), kind), 100).shape == (18, 400, 3)
    assert decode(encoded((9, 99, 9), (120, 90), kind), 100).shape == (90, 120, 3)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
def test_a_plain_jpeg_has_pillows_pixels_bit_for_bit(subsampling, progressive, monkeypatch):
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 2**22)  # noise at a high quality is larger than Pillow expects
    rng = np.random.default_rng(0)
    for size in ((1, 1), (7, 9), (64, 48), (333, 251)):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(size)
        for image in (coarse, coarse.convert("L"), Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))):
            stream = io.BytesIO()
            colors = {} if image.mode == "L" else {"subsampling": subsampling}
            image.save(stream, "JPEG", quality=int(rng.integers(5, 100)), progressive=progressive, **colors)
            fast = plain_jpeg(stream.getvalue())
            assert fast is not None and fast.flags.writeable
            assert np.array_equal(fast, np.array(Image.open(stream).convert("RGB")))


def test_jpegs_that_are_not_plain_are_left_to_pillow():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8))

    def saved(image: Image.Image, **options: object) -> bytes:
        stream = io.BytesIO()
        image.save(stream, "JPEG", **options)
        return stream.getvalue()

    turned = Image.Exif()
    turned[0x0112] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for file in (saved(image, exif=turned), saved(image, xmp=xmp)):
        assert plain_jpeg(file) is None and decode(file).shape == (20, 40, 3)
    assert plain_jpeg(saved(image.convert("CMYK"))) is None
    assert plain_jpeg(saved(image), shorter_side=10) is None  # Pillow scales it
    assert plain_jpeg(saved(image)[:-200]) is None
    assert plain_jpeg(encoded((9, 9, 9), (8, 8), "PNG")) is None
