"""Preparing a data set: from its source to the store and back."""

import shutil

import numpy as np
import pytest
import torch
from making import digits_config, encoded, folder_config, write_folder
from PIL import Image
from reading import pixels_of, same
from ssl_sweep.datasets import DataError
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import find_known, find_prepared
from ssl_sweep.datasets.views import evaluation_view


def test_digits(tmp_path):
    prepared = prepare(digits_config(), tmp_path)
    assert (prepared.train.count, prepared.test.count, prepared.image_size) == (1437, 360, 16)
    assert (prepared.train.encoding, prepared.train.height, prepared.train.width) == ("raw", 8, 8)
    assert prepared.fingerprint == "d20691e91c08cda3"
    images = ImageSet.open(prepared, "train")
    pixels = images.whole(torch.arange(len(images))).pixels
    assert pixels.shape == (1437, 3, 8, 8) and pixels.min() == 0 and pixels.max() == 255
    assert evaluation_view(images.whole(torch.tensor([3, 5])), prepared.image_size).shape == (2, 3, 16, 16)


def test_preparing_again_reads_nothing(tmp_path):
    seen: list[tuple[int, int]] = []
    config = digits_config()
    assert find_prepared(config, tmp_path) is None
    first = prepare(config, tmp_path, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (1797, 1797) and seen == sorted(seen)
    assert prepare(config, tmp_path, lambda *_: pytest.fail("prepared twice")) == first
    assert find_prepared(config, tmp_path) == first
    assert [entry.name for entry in tmp_path.iterdir()] == [first.folder.name]  # no temporary folders
    assert find_prepared(digits_config(holdout=0.3, image_size=24), tmp_path).folder == first.folder


def test_a_killed_prepare_leaves_nothing_that_looks_complete(tmp_path):
    class KilledError(BaseException):
        pass

    def kill(_done: int, _total: int) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        prepare(digits_config(), tmp_path, kill)
    assert find_prepared(digits_config(), tmp_path) is None


def test_of_two_at_the_same_time_the_first_wins(tmp_path):
    config, others = digits_config(), []
    first = prepare(config, tmp_path, lambda *_: others or others.append(prepare(config, tmp_path)))
    assert others == [first]
    assert [entry.name for entry in tmp_path.iterdir()] == [first.folder.name]


def test_fingerprint_is_of_the_content(tmp_path):
    a = prepare(folder_config(write_folder(tmp_path / "a")), tmp_path / "store")
    b = prepare(folder_config(write_folder(tmp_path / "b")), tmp_path / "store")
    c = prepare(folder_config(tmp_path / "a", train_images=9), tmp_path / "store")
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert len({a.folder, b.folder, c.folder}) == 3
    (tmp_path / "b" / "red" / "0.png").write_bytes(encoded((1, 2, 3)))
    changed = prepare(folder_config(tmp_path / "b"), tmp_path / "store")
    assert changed.folder != b.folder and changed.fingerprint != b.fingerprint


def test_what_is_known_is_found_without_its_source(tmp_path):
    config = folder_config(write_folder(tmp_path / "images", 10), image_size=20)
    prepared = prepare(config, tmp_path / "store")
    prepare(folder_config(write_folder(tmp_path / "others", 4)), tmp_path / "store")
    (tmp_path / "store" / "folder-of-an-older-layout").mkdir()
    (tmp_path / "store" / "folder-of-an-older-layout" / "meta.json").write_text("{}")
    shutil.rmtree(tmp_path / "images")
    assert find_known(config, prepared.fingerprint, tmp_path / "store") == prepared
    assert find_known(config, "0123456789abcdef", tmp_path / "store") is None


def test_class_folders_alone_give_a_tenth_to_the_test_set(tmp_path):
    prepared = prepare(folder_config(write_folder(tmp_path / "images", 20)), tmp_path / "store")
    assert prepared.classes == ("blue", "green", "red")
    assert prepared.train.class_counts == (18, 18, 18) and prepared.test.class_counts == (2, 2, 2)
    assert (prepared.train.height, prepared.train.width) == (10, 12)
    images = ImageSet.open(prepared, "test")
    channel = images.whole(torch.arange(6)).pixels.float().mean((2, 3)).argmax(1)
    assert torch.equal(channel, 2 - images.labels)  # blue is channel 2


@pytest.mark.parametrize("name", ["val", "test"])
def test_train_and_test_folders(tmp_path, name):
    write_folder(tmp_path / "images" / "train", 6)
    write_folder(tmp_path / "images" / name, 3)
    prepared = prepare(folder_config(tmp_path / "images"), tmp_path / "store")
    assert (prepared.train.count, prepared.test.count) == (18, 9)


def test_encoded_images_equal_their_pixels(tmp_path):
    """Images of several sizes are stored encoded; each equals what Pillow reads."""
    path = write_folder(tmp_path / "images", 10, sizes=((12, 10), (9, 16), (20, 20)))
    prepared = prepare(folder_config(path, image_size=16), tmp_path / "store")
    assert prepared.train.encoding == "encoded" and prepared.train.height is None
    images = ImageSet.open(prepared, "train")
    truth = {np.asarray(Image.open(file)).tobytes() for file in path.rglob("*.png")}
    assert all(pixels.permute(1, 2, 0).numpy().tobytes() in truth for pixels in pixels_of(images))


def test_subset_and_holdout(tmp_path):
    prepared = prepare(digits_config(train_images=200, test_images=50, holdout=0.25), tmp_path)
    assert sum(prepared.train.class_counts) == 200 and set(prepared.train.class_counts) <= {19, 20, 21}
    assert sum(prepared.test.class_counts) == 50
    fit, holdout = (ImageSet.open(prepared, "train", part) for part in ("fit", "holdout"))
    assert (len(fit), len(holdout)) == (150, 50)
    assert sorted([*fit.samples.tolist(), *holdout.samples.tolist()]) == list(range(200))
    assert set(torch.bincount(holdout.labels).tolist()) <= {4, 5, 6}
    every = ImageSet.open(prepared, "train")
    assert same(pixels_of(holdout, torch.tensor([7])), pixels_of(every, holdout.samples[7:8]))
    with pytest.raises(DataError, match="train_images is 2000, but the data set has 1437 images"):
        prepare(digits_config(train_images=2000), tmp_path)


@pytest.mark.parametrize("sizes", [((12, 10),), ((12, 10), (30, 20))])  # raw and encoded
def test_damaged_images_are_named_and_counted(tmp_path, sizes):
    path = write_folder(tmp_path / "images", 10, sizes)
    whole = (path / "red" / "4.png").read_bytes()
    (path / "red" / "4.png").write_bytes(whole[: len(whole) // 2])
    (path / "blue" / "7.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 2[67] images cannot be read: .*blue/7\.png \(.*red/4\.png \("):
        prepare(folder_config(path), tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []


@pytest.mark.parametrize("sizes", [((12, 10),), ((12, 10), (30, 20))])
def test_damaged_images_are_left_out_where_that_is_asked_for(tmp_path, sizes):
    whole, holed = (write_folder(tmp_path / name / "train", 10, sizes).parent for name in ("whole", "holed"))
    for path in (whole, holed):
        write_folder(path / "test", 4, sizes)
    (holed / "train" / "red" / "4.png").write_bytes(b"not an image")
    (holed / "test" / "blue" / "0.png").write_bytes(b"")
    left = prepare(folder_config(holed, damaged="skip"), tmp_path / "store")
    assert left.train.class_counts == (10, 10, 9) and left.test.class_counts == (3, 4, 4)
    assert left.damaged == (
        f"{holed / 'train' / 'red' / '4.png'} (no image format that is known)",
        f"{holed / 'test' / 'blue' / '0.png'} (no image format that is known)",
    )
    images = ImageSet.open(left, "train")
    every = ImageSet.open(prepare(folder_config(whole), tmp_path / "store"), "train")
    kept = torch.tensor([i for i in range(30) if i != 24])
    assert torch.equal(images.labels, every.labels[kept])
    assert same(pixels_of(images), pixels_of(every, kept))
    with pytest.raises(DataError, match=r"1 of 30 images cannot be read: .*red/4\.png .*`damaged: skip`"):
        find_prepared(folder_config(holed), tmp_path / "store")  # also where it has been prepared without them
    unharmed = prepare(folder_config(whole, damaged="skip"), tmp_path / "store")
    assert not unharmed.damaged and unharmed.fingerprint != left.fingerprint
    assert unharmed.folder == find_prepared(folder_config(whole), tmp_path / "store").folder


def test_a_set_without_a_readable_image_is_refused(tmp_path):
    path = write_folder(tmp_path / "images", 2)
    for file in path.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="images cannot be read"):
        prepare(folder_config(path, damaged="skip"), tmp_path / "store")
