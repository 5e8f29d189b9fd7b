"""Prepared files that are damaged: none gives other images or labels, each is named, and preparing again puts them right."""

import io
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from reading import pixels_of, same
from ssl_sweep.datasets import DataError, DatasetConfig, digits_source, store, verified
from ssl_sweep.datasets.batches import evaluation_batches, training_batches
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared, find_known, find_prepared
from ssl_sweep.datasets.sources import Item, Rows, Source
from ssl_sweep.methods.config import ViewConfig, ViewsConfig
from torch import Tensor

VIEWS = ViewsConfig(global_views=(ViewConfig(),))
DIGITS = DatasetConfig(name="digits", train_images=100, test_images=20)
IMAGES, SHARD = 40, 8


def encoded(seed: int, kind: str) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (8 + seed % 3, 9, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BATCH", SHARD // 2)
    monkeypatch.setattr(store, "SHARD", SHARD)


def images_of(path: Path, kind: str) -> DatasetConfig:
    """Images of three sizes and two classes, one of them unreadable: they are stored encoded."""
    for i in range(IMAGES):
        file = path / "train" / "ab"[i % 2] / f"{i:02}.{kind.lower()}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no image" if i == 6 else encoded(i, kind))
    return DatasetConfig(name="folder", path=str(path), image_size=8, damaged="skip")


@pytest.fixture(params=["PNG", "JPEG"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, small_shards: None) -> DatasetConfig:
    return images_of(tmp_path / "images", request.param)


@pytest.fixture(params=["raw", "encoded"])
def config(request: pytest.FixtureRequest, tmp_path: Path, small_shards: None) -> DatasetConfig:
    """Stored in one file a split, or in several."""
    return DIGITS if request.param == "raw" else images_of(tmp_path / "images", "PNG")


def overwrite(file: Path, content: bytes) -> None:
    """Another file of the same name: whoever has mapped the old one still sees that."""
    file.with_suffix(".new").write_bytes(content)
    file.with_suffix(".new").replace(file)


def flip(file: Path, position: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    overwrite(file, bytes(content))


def place_of(file: Path, content: bytes) -> int:
    place = file.read_bytes().index(content)
    return place + len(content) // 2


def first_pixels(file: Path) -> bytes:
    return table_of(file)["image"][0].as_py()


def first_labels(file: Path) -> bytes:
    labels = table_of(file)["label"].to_numpy()
    return labels.astype("<i8").tobytes()


def table_of(file: Path) -> pa.Table:
    return pa.ipc.open_file(file.read_bytes()).read_all()


def everything(prepared: Prepared) -> tuple[list[Tensor], list[Tensor]]:
    sets = [ImageSet.open(prepared, split) for split in ("train", "test")]
    return [pixel for images in sets for pixel in pixels_of(images)], [images.labels for images in sets]


def is_put_right(
    config: DatasetConfig, root: Path, whole: Prepared, content: tuple[list[Tensor], list[Tensor]]
) -> None:
    """What was found to be damaged is not used again, and preparing gives what there was."""
    assert find_prepared(config, root) is None
    assert find_known(config, whole.fingerprint, root) is None
    again = prepare(config, root)
    assert again.fingerprint == whole.fingerprint
    assert [entry.name for entry in root.iterdir()] == [again.folder.name]
    assert all(same(*parts) for parts in zip(everything(again), content, strict=True))


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


def lines(prepared: Prepared) -> list[Path]:
    return [prepared.folder / "meta.json", *prepared.checksums]


def cut(share: float) -> Callable[[Path], None]:
    return lambda file: overwrite(file, file.read_bytes()[: int(share * file.stat().st_size)])


def zero_end(file: Path) -> None:
    content = file.read_bytes()
    overwrite(file, content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": lambda file: file.unlink(),
    "empty": cut(0),
    "cut in half": cut(0.5),
    "cut at the end": cut(0.999),
    "zeros after a power cut": zero_end,
    "a list": lambda file: overwrite(file, b"[1, 2]"),
    "no text": lambda file: overwrite(file, b"\xff\xfe" * 40),
}


@pytest.mark.parametrize("number", [0, 1, -1])  # meta.json, the first file, the last one
@pytest.mark.parametrize("damage", DAMAGES)
def test_files_that_are_cut_short(
    damage: str, number: int, config: DatasetConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    prepared = prepare(config, root)
    content = everything(prepared)
    file = lines(prepared)[number]
    DAMAGES[damage](file)
    with caplog.at_level(logging.WARNING):
        assert find_prepared(config, root) is None
    (message,) = caplog.messages
    assert message.startswith(str(file)) and message.endswith(f"; {prepared.folder} counts as not prepared")
    if number:  # a process that found it before
        with pytest.raises(DataError, match=str(file)):
            everything(prepared)
    is_put_right(config, root, prepared, content)
    assert len(caplog.messages) <= 2  # once for each reason


def test_bits_of_the_description(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """None changes what is read, nor is any of another identity."""
    prepared = prepare(DIGITS, tmp_path)
    file = prepared.folder / "meta.json"
    whole = file.read_bytes()
    for position in range(len(whole)):
        flip(file, position, bit=position % 8)
        assert find_prepared(DIGITS, tmp_path) is None, whole[position - 9 : position + 9]
        assert find_known(DIGITS, prepared.fingerprint, tmp_path) is None
        overwrite(file, whole)
    assert find_prepared(DIGITS, tmp_path) == prepared


def test_descriptions_of_earlier_versions_are_read(config: DatasetConfig, tmp_path: Path) -> None:
    """They have no checksum of themselves: what contradicts the files or itself is found all the same."""
    root = tmp_path / "data"
    prepared = prepare(config, root)
    content = everything(prepared)
    file = prepared.folder / "meta.json"
    values = json.loads(file.read_text())
    del values["sha256"]
    earlier = json.dumps(values, indent=2)
    file.write_text(earlier)
    assert find_prepared(config, root) == prepared
    for key in ("count", "height", "class_counts", "checksums"):
        for number in re.finditer(rf'"{key}": \[?\s*"?([0-9]+)', earlier):
            changed = earlier[: number.start(1)] + str(int(number[1][0]) ^ 1) + earlier[number.start(1) + 1 :]
            file.write_text(changed)
            found = find_prepared(config, root)
            if found is not None:
                with pytest.raises(DataError, match=r"prepare"):
                    everything(found)
                    verified.verify(found)  # of encoded files, all checksums are compared only here
                assert find_prepared(config, root) is None
                (found.folder / "damaged.txt").unlink()
    file.write_text(earlier)
    verified.mark_damaged(prepared.folder, "it is")
    is_put_right(config, root, prepared, content)


def test_what_cannot_be_marked_is_refused_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "mark_damaged", lambda _folder, _found: False)  # as in a folder of somebody else
    prepared = prepare(DIGITS, tmp_path)
    file = prepared.arrow_files("train")[0]
    flip(file, place_of(file, first_pixels(file)))
    for _ in range(2):
        with pytest.raises(DataError, match=f"differs; delete {prepared.folder} and prepare the data set again"):
            ImageSet.open(prepare(DIGITS, tmp_path), "train")


def test_a_file_is_read_once_in_each_of_its_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    checksum = verified._checksum  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(verified, "_checksum", lambda file: (read.append(file), checksum(file))[1])
    prepared = prepare(DIGITS, tmp_path)
    read.clear()
    for _ in range(3):
        for part in ("all", "fit", "holdout"):
            ImageSet.open(prepared, "train", part)
    (file,) = prepared.arrow_files("train")
    assert read == [file]
    overwrite(file, file.read_bytes())
    ImageSet.open(prepared, "train")
    assert read == [file, file]


def test_a_folder_that_was_replaced_meanwhile_is_kept(folder: DatasetConfig, tmp_path: Path) -> None:
    prepared = prepare(folder, tmp_path / "data")
    file = prepared.arrow_files("train")[0]
    whole = file.read_bytes()
    flip(file, place_of(file, first_pixels(file)))
    images = ImageSet.open(prepared, "train")
    overwrite(file, whole)
    with pytest.raises(DataError, match=r"image 0 in .* changed since it was prepared; it is as written now"):
        pixels_of(images)
    assert find_prepared(folder, tmp_path / "data") == prepared


def test_of_two_that_replace_a_damaged_folder_the_first_wins(tmp_path: Path) -> None:
    prepared = prepare(DIGITS, tmp_path)
    prepared.arrow_files("train")[0].unlink()
    others: list[Prepared] = []
    first = prepare(DIGITS, tmp_path, lambda *_: others or others.append(prepare(DIGITS, tmp_path)))
    assert others == [first] and first.fingerprint == prepared.fingerprint
    assert [entry.name for entry in tmp_path.iterdir()] == [first.folder.name]


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("damage", ["image", "label", *DAMAGES])
def test_what_a_killed_preparation_left_is_verified(damage: str, folder: DatasetConfig, tmp_path: Path) -> None:
    def stop(done: int, _total: int) -> None:
        if done >= 4 * SHARD:
            raise Stopped

    whole = prepare(folder, tmp_path / "whole")
    with pytest.raises(Stopped):
        prepare(folder, tmp_path / "data", stop)
    file = sorted((tmp_path / "data").rglob("*.arrow"))[2]  # with labels of both classes
    if damage in DAMAGES:
        DAMAGES[damage](file)
    elif damage == "image":
        flip(file, place_of(file, first_pixels(file)))
    else:
        flip(file, file.read_bytes().index(first_labels(file)))
    again = prepare(folder, tmp_path / "data")
    assert again.fingerprint == whole.fingerprint and again.train == whole.train
    assert all(same(*parts) for parts in zip(everything(again), everything(whole), strict=True))
