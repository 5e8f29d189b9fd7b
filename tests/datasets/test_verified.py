"""Prepared files with flipped bits: none gives other images or labels, and each is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from damaging import DIGITS, everything, first_labels, first_pixels, flip, is_put_right, overwrite, place_of, table_of
from reading import pixels_of, same
from ssl_sweep.datasets import DataError, DatasetConfig, digits_source
from ssl_sweep.datasets.batches import evaluation_batches, training_batches
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.sources import Item, Rows, Source
from ssl_sweep.methods.config import ViewConfig, ViewsConfig

VIEWS = ViewsConfig(global_views=(ViewConfig(),))


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("of", [first_pixels, first_labels])
def test_a_flipped_bit_in_a_raw_split(of: Callable[[Path], bytes], split: str, tmp_path: Path) -> None:
    prepared = prepare(DIGITS, tmp_path)
    content = everything(prepared)
    (file,) = prepared.arrow_files(split)
    flip(file, place_of(file, of(file)))
    with pytest.raises(DataError, match=f"^{file} changed since it was prepared: its checksum differs; the next "):
        ImageSet.open(prepared, split)
    is_put_right(DIGITS, tmp_path, prepared, content)


def train(images: ImageSet) -> None:
    for _ in training_batches(images, VIEWS, 8, seed=0, batch_size=4, total_steps=len(images) // 4):
        pass


def evaluate(images: ImageSet) -> None:
    for _ in evaluation_batches(images, 8, 4):
        pass


@pytest.mark.parametrize("decoders", [0, 2])
@pytest.mark.parametrize("use", [train, evaluate])
def test_a_flipped_bit_in_an_encoded_image(
    use: Callable[[ImageSet], None], decoders: int, folder: DatasetConfig, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    prepared = prepare(folder, root)
    content = everything(prepared)
    file = prepared.arrow_files("train")[1]
    image = table_of(file)["image"][3].as_py()
    flip(file, place_of(file, image))
    images = ImageSet.open(prepared, "train", decoders=decoders)
    with pytest.raises(DataError, match=f"^image 3 in {file} changed since it was prepared; the next ") as error:
        use(images)
    assert "\n" not in str(error.value)  # nor is a traceback of the decoding process in it
    is_put_right(folder, root, prepared, content)


def test_every_other_image_of_a_damaged_file_can_be_used(folder: DatasetConfig, tmp_path: Path) -> None:
    prepared = prepare(folder, tmp_path / "data")
    whole = pixels_of(ImageSet.open(prepared, "train"))
    file = prepared.arrow_files("train")[0]
    flip(file, place_of(file, first_pixels(file)))
    images = ImageSet.open(prepared, "train")
    assert same(pixels_of(images, torch.arange(1, len(images))), whole[1:])
    with pytest.raises(DataError, match="image 0 in"):
        pixels_of(images, torch.tensor([0]))


def test_a_flipped_bit_in_the_labels_of_encoded_images(folder: DatasetConfig, tmp_path: Path) -> None:
    root = tmp_path / "data"
    prepared = prepare(folder, root)
    content = everything(prepared)
    file = prepared.arrow_files("train")[2]  # with labels of both classes
    labels = first_labels(file)
    flip(file, file.read_bytes().index(labels))
    with pytest.raises(DataError, match=f"the labels in {prepared.folder}/train changed since they were prepared"):
        ImageSet.open(prepared, "train")
    is_put_right(folder, root, prepared, content)


def test_bits_anywhere_in_an_encoded_file(folder: DatasetConfig, tmp_path: Path) -> None:
    """Offsets, digests and the file's own structure: an error in the data, or nothing is changed by it."""
    prepared = prepare(folder, tmp_path / "data")
    content = everything(prepared)
    file = prepared.arrow_files("train")[1]
    whole = file.read_bytes()
    found = 0
    for position in range(0, len(whole), 13):
        flip(file, position, bit=position % 8)
        try:
            assert all(same(*parts) for parts in zip(everything(prepared), content, strict=True)), position
        except DataError as error:
            assert "as written now" not in str(error)
            found += 1
        overwrite(file, whole)
    assert found > len(whole) // 13 // 2


@pytest.mark.usefixtures("small_shards")
def test_pixels_that_were_stored_as_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source may give pixels of several sizes: their digests are of the pixels, not of the file."""
    arrays = [np.random.default_rng(i).integers(0, 256, (60 + i, 50, 3), dtype=np.uint8) for i in range(20)]

    def rows(first: int, count: int) -> Rows:
        labels = np.arange(count) % 2
        return Rows(labels, lambda chosen: (Item(f"image {i}", lambda i=i: arrays[first + i]) for i in chosen.tolist()))

    monkeypatch.setattr(digits_source, "digits", lambda _request: Source(("a", "b"), rows(0, 16), rows(16, 4)))
    for size in (16, 128):  # with and without a reduction
        prepared = prepare(DatasetConfig(name="digits", image_size=size), tmp_path)
        images = pixels_of(ImageSet.open(prepared, "train"))
        if size == 128:
            assert same(images, [torch.from_numpy(array).permute(2, 0, 1) for array in arrays[:16]])
        else:
            assert {min(image.shape[1:]) for image in images} == {32}
    file = prepared.arrow_files("train")[1]
    flip(file, place_of(file, first_pixels(file)))
    with pytest.raises(DataError, match=f"image 0 in {file} changed"):
        pixels_of(ImageSet.open(prepared, "train"))
