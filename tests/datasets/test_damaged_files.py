"""Prepared files that are cut short, changed or lost: preparing again puts them right, once, whoever else does."""

import json
import logging
import re
from pathlib import Path

import pytest
from damaging import (
    DAMAGES,
    DIGITS,
    SHARD,
    everything,
    first_labels,
    first_pixels,
    flip,
    is_put_right,
    lines,
    overwrite,
    place_of,
)
from reading import pixels_of, same
from ssl_sweep.datasets import DataError, DatasetConfig, verified
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared, find_known, find_prepared


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
