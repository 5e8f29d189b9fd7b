"""Folders as people have them: with the files of their systems, links, other formats, and what is missing."""

import os
import shutil
from pathlib import Path

import pytest
from making import encoded, folder_config, write_folder
from ssl_sweep.datasets import DataError
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared, find_prepared
from ssl_sweep.datasets.remarks import remarks


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images", 4)


@pytest.fixture
def plain(tmp_path: Path) -> str:
    """The fingerprint of the same images alone."""
    return prepare(folder_config(write_folder(tmp_path / "plain", 4)), tmp_path / "store").fingerprint


def prepared(images: Path) -> Prepared:
    return prepare(folder_config(images, image_size=12), images.parent / "store")


def skipped(found: Prepared) -> dict[str, int]:
    return {one.kind: one.count for one in found.skipped}


def test_hidden_and_system_folders_are_left_out_at_any_depth(images: Path, plain: str) -> None:
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "deep/.thumbnails"):
        shutil.copytree(images / "green", images / "red" / name)
        shutil.copytree(images / "green", images / name.rsplit("/")[-1])
    found = prepared(images)
    assert found.fingerprint == plain and found.classes == ("blue", "green", "red")
    assert skipped(found) == {"folders": 4}


def test_files_of_a_mac_and_a_file_server_are_no_images(images: Path, plain: str) -> None:
    for folder in (images, images / "red"):
        for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"\0\5\x16\7")
    found = prepared(images)
    assert found.fingerprint == plain and not found.skipped


def test_other_hidden_files_are_counted(images: Path, plain: str) -> None:
    shutil.copy(images / "red" / "0.png", images / "red" / ".hidden.png")
    found = prepared(images)
    assert found.fingerprint == plain and skipped(found) == {"hidden files": 1}


def test_a_folder_without_labels_may_lie_beside_system_folders(tmp_path: Path) -> None:
    write_folder(tmp_path / "some", 5)
    images = (tmp_path / "some" / "red").rename(tmp_path / "images")
    (images / "@eaDir").mkdir()
    found = prepared(images)
    assert found.classes == () and found.train.count == 5


@pytest.mark.parametrize("target", ["..", ".", "../..", "../../images/red", "/"])
def test_a_link_to_a_folder_that_contains_it_is_not_followed(images: Path, plain: str, target: str) -> None:
    (images / "red" / "again").symlink_to(target)
    found = prepared(images)
    assert found.fingerprint == plain and skipped(found) == {"links": 1}


def test_links_of_classes_to_elsewhere_are_followed(images: Path, plain: str, tmp_path: Path) -> None:
    shutil.move(images / "red", tmp_path / "elsewhere")
    (images / "red").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(images)
    (tmp_path / "elsewhere" / "itself.png").symlink_to("itself.png")
    with pytest.raises(DataError, match=r"1 of \d+ images? cannot be read: .*itself\.png"):
        prepared(images)
    (tmp_path / "elsewhere" / "itself.png").unlink()
    assert prepared(images).fingerprint == plain


def test_a_folder_that_cannot_be_read_is_an_error(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def forbidden(path: str | Path) -> object:
        if Path(path).name == "red":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    for run in (prepare, find_prepared):
        with pytest.raises(DataError, match=r"images/red cannot be read \(Permission denied\); all folders"):
            run(folder_config(images), images.parent / "store")


def test_jfif_and_avif_are_read(images: Path) -> None:
    for name, kind in (("a.jfif", "JPEG"), ("b.JPE", "JPEG"), ("c.avif", "AVIF")):
        (images / "red" / name).write_bytes(encoded((230, 30, 10), kind=kind))
    found = prepared(images)
    assert found.train.count + found.test.count == 15 and not found.skipped


def test_files_that_are_not_read_are_counted_by_ending(images: Path) -> None:
    for name in ("a.HEIC", "b.heic", "notes.txt", "raw"):
        (images / "red" / name).write_bytes(b"...")
    found = prepared(images)
    assert skipped(found) == {".heic files": 2, ".txt files": 1, "files without an ending": 1}
    place = images / "red" / "a.HEIC"
    text = f"skipped .heic files: 2 (Pillow does not read HEIC; convert them, e.g. to JPEG; {place})"
    assert text in remarks(found)


def test_a_folder_of_such_files_alone_says_why_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.heic").write_bytes(b"...")
    with pytest.raises(DataError, match=r"neither images nor class folders; skipped: \.heic files: 1"):
        prepared(tmp_path / "images")
    (tmp_path / "images" / "red").mkdir()
    shutil.move(tmp_path / "images" / "a.heic", tmp_path / "images" / "red")
    with pytest.raises(DataError, match=r"holds no images; files may end in .*; skipped: .heic files: 1"):
        prepared(tmp_path / "images")


def test_images_beside_class_folders_are_counted(images: Path, plain: str) -> None:
    shutil.copy(images / "red" / "0.png", images)
    found = prepared(images)
    assert found.fingerprint == plain and skipped(found) == {"images": 1}


def test_a_test_folder_without_classes_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    write_folder(tmp_path / "images" / "train", 10)
    (tmp_path / "images" / "test").mkdir()
    shutil.copy(tmp_path / "images" / "train" / "red" / "0.png", tmp_path / "images" / "test")
    found = prepared(tmp_path / "images")
    assert found.test.count == 3
    assert [str(one) for one in found.skipped] == [
        f"images: 1 (a test set needs class folders; {tmp_path / 'images' / 'test' / '0.png'})"
    ]


def test_empty_class_folders_are_named(images: Path) -> None:
    for name in ("zz_empty", "another"):
        (images / name).mkdir()
    assert "no images in 2 classes: another, zz_empty" in remarks(prepared(images))


def test_what_an_older_version_prepared_stays_valid(tmp_path: Path) -> None:
    """Its identities are those of the images, which are read as before."""
    for label in range(2):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for i in range(6):
            pixels = bytes((40 * label + 7 * i + j) % 256 for j in range(4 * 4 * 3))
            (tmp_path / "images" / str(label) / f"{i}.ppm").write_bytes(b"P6 4 4 255\n" + pixels)
    assert prepare(folder_config(tmp_path / "images"), tmp_path / "store").fingerprint == "bfbb00fa26245fc0"


def test_other_forms_of_data_are_named(tmp_path: Path) -> None:
    for name, other in (("a.csv", "list"), ("a.parquet", "parquet")):
        (tmp_path / name).write_text("")
        with pytest.raises(DataError, match=f"is a file; write `name: {other}` to read it"):
            prepare(folder_config(tmp_path / name), tmp_path / "store")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "state.json").write_text("{}")
    with pytest.raises(DataError, match="saved by Hugging Face's library; write `name: huggingface`"):
        prepare(folder_config(tmp_path / "saved"), tmp_path / "store")
