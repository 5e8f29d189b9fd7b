"""What `prepare` says of images that are there: how many, and what looks wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from making import encoded, folder_config, write_folder
from PIL import Image
from ssl_sweep.datasets.contents import CHECKSUM, META
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared, find_prepared
from ssl_sweep.datasets.remarks import remarks
from ssl_sweep.orchestrator.cli.main import main


def prepared(path: Path, **settings: object) -> Prepared:
    return prepare(folder_config(path, **{"image_size": 12, **settings}), path.parent / "store")


def with_test_set(tmp_path: Path) -> Path:
    write_folder(tmp_path / "images" / "train", 6)
    write_folder(tmp_path / "images" / "test", 1)
    for i, file in enumerate((tmp_path / "images" / "test").rglob("*.png")):
        file.write_bytes(encoded((9, 9, 9), seed=1000 + i))
    return tmp_path / "images"


def test_nothing_is_said_of_images_without_faults(tmp_path: Path) -> None:
    assert remarks(prepared(with_test_set(tmp_path))) == ()


@pytest.mark.parametrize("sizes", [((12, 10),), ((12, 10), (30, 20))])  # raw and encoded
def test_copies_across_train_and_test_are_counted(tmp_path: Path, sizes: tuple[tuple[int, int], ...]) -> None:
    path = write_folder(tmp_path / "images" / "train", 6, sizes).parent
    shutil.copytree(path / "train", path / "test")
    for file in (path / "test" / "red").iterdir():
        file.write_bytes(encoded((0, 0, 0), seed=1000 + int(file.stem)))
    found = prepared(path)
    assert found.copies is not None and found.copies.tested == 12 and found.copies.contradicting == 0
    text = "12 of 18 test images are training images too, byte by byte: scores are too high"
    assert text in remarks(found)


def test_images_in_several_classes_are_counted(tmp_path: Path) -> None:
    path = with_test_set(tmp_path)
    shutil.copy(path / "train" / "red" / "0.png", path / "train" / "blue" / "9.png")
    shutil.copy(path / "train" / "red" / "0.png", path / "train" / "red" / "9.png")
    assert remarks(prepared(path)) == ("3 images are in several classes, byte by byte",)


def test_a_class_with_most_images_is_named(tmp_path: Path) -> None:
    path = with_test_set(tmp_path)
    for i in range(40):
        (path / "train" / "red" / f"more-{i}.png").write_bytes(encoded((200, 9, 9), seed=2000 + i))
    assert remarks(prepared(path)) == ("class 'red' has 77 % of all images: so accurate is a constant answer",)


def test_one_class_alone_is_said(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "images", 10)
    shutil.rmtree(path / "red")
    shutil.rmtree(path / "blue")
    assert "all images are of one class, 'green': any answer is right" in remarks(prepared(path))


def test_images_much_smaller_than_the_resolution_are_said(tmp_path: Path) -> None:
    path = with_test_set(tmp_path)
    assert not remarks(prepared(path, image_size=20))
    assert remarks(prepared(path, image_size=21)) == (
        "half of the training images have a shorter side of 10 pixels or less, and are used at 21 (`image_size`)",
    )


def gray(path: Path, most: int, sizes: tuple[int, ...]) -> Path:
    """16-bit images of values up to `most`, in PNG and TIFF, of the given sides by turns."""
    generator = np.random.default_rng(0)
    for i in range(20):
        side = sizes[i % len(sizes)]
        values = generator.integers(0, most + 1, (side, side), dtype=np.uint16)
        values[0, :2] = 0, most
        file = path / "ab"[i % 2] / f"{i:02}.{('png', 'tif')[i % 4 // 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(file)
    return path


@pytest.mark.parametrize("sizes", [(10,), (10, 14)])  # raw and encoded
@pytest.mark.parametrize(("most", "bits"), [(4095, 12), (2040, 11), (200, 8), (65535, 16)])
def test_16_bit_images_are_scaled_by_the_bits_they_use(
    tmp_path: Path, most: int, bits: int, sizes: tuple[int, ...]
) -> None:
    found = prepared(gray(tmp_path / "images", most, sizes))
    assert found.gray_bits == bits
    images = ImageSet.open(found, "train")
    pixels = (
        list(images.whole(torch.arange(18)).pixels)
        if images.encoded is None
        else [images.encoded[i] for i in range(18)]
    )
    assert all(image.max() == most >> (bits - 8) and image.min() == 0 for image in pixels)
    text = f"16-bit gray images have values up to {2**bits - 1:,} ({bits} bits), which become 0 to 255"
    assert (text in remarks(found)) == (bits < 16)


def test_scaled_images_are_others(tmp_path: Path) -> None:
    """One image that uses all bits has the others read as they always were."""
    path = gray(tmp_path / "images", 4095, (10,))
    before = prepared(path)
    Image.fromarray(np.full((10, 10), 65535, np.uint16)).save(path / "a" / "00.png")
    after = prepared(path)
    assert after.gray_bits == 16 and after.fingerprint != before.fingerprint


def test_what_an_older_version_wrote_is_read(tmp_path: Path) -> None:
    found = prepared(with_test_set(tmp_path))
    values = json.loads((found.folder / META).read_text())
    for key in ("gray_bits", "copies", "skipped", "notes", CHECKSUM):
        del values[key]
    for split in ("train", "test"):
        del values[split]["shorter_side"]
    (found.folder / META).write_text(json.dumps(values))
    again = find_prepared(folder_config(tmp_path / "images", image_size=12), tmp_path / "store")
    assert again is not None and again.fingerprint == found.fingerprint and remarks(again) == ()


def test_the_command_prints_classes_and_what_looks_wrong(tmp_path: Path) -> None:
    path = with_test_set(tmp_path)
    (path / "train" / "white").mkdir()
    (path / "train" / "red" / "a.heic").write_bytes(b"...")
    done = CliRunner().invoke(
        main, ["prepare", "folder", "--path", str(path)], env={"SSL_SWEEP_DATA": str(tmp_path / "d")}
    )
    assert done.exit_code == 0
    assert done.stdout.splitlines()[2:7] == [
        "classes",
        "  blue           6 train        1 test",
        "  green          6 train        1 test",
        "  red            6 train        1 test",
        "  white          0 train        0 test",
    ]
    assert "images: no images in 1 class: white" in done.stderr and "images: skipped .heic files: 1 (" in done.stderr


def test_the_command_prints_json(tmp_path: Path) -> None:
    path = with_test_set(tmp_path)
    (path / "train" / "red" / "a.heic").write_bytes(b"...")
    arguments = ["prepare", "folder", "--path", str(path), "--verify", "--json"]
    done = CliRunner().invoke(main, arguments, env={"SSL_SWEEP_DATA": str(tmp_path / "d")})
    found = json.loads(done.stdout)
    assert found["classes"][0] == {"name": "blue", "train": 6, "test": 1}
    assert found["train"]["images"] == 18 and found["copies"] == {"tested": 0, "contradicting": 0}
    assert found["skipped"][0]["count"] == 1 and len(found["remarks"]) == 2 and found["checksums"] == "OK"
