"""CSV and JSON lines files of paths and labels."""

import json
from pathlib import Path

import pytest
from making import COLORS, encoded
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared, find_prepared

Lines = list[tuple[str, ...]]


@pytest.fixture
def paths(tmp_path: Path) -> Lines:
    """Path and label of ten images of each of three colours."""
    (tmp_path / "some images").mkdir()
    lines: Lines = []
    for label, (name, color) in enumerate(COLORS.items()):
        for i in range(10):
            path = f"some images/{name}, {i}.png"
            (tmp_path / path).write_bytes(encoded(color, seed=100 * label + i))
            lines.append((path, name))
    return lines


def csv(tmp_path: Path, header: str, lines: Lines, name: str = "images.csv") -> Path:
    text = [header, *(",".join(f'"{value}"' for value in line) for line in lines)]
    (tmp_path / name).write_text("\n".join(text) + "\n")
    return tmp_path / name


def prepared(file: Path, **settings: object) -> Prepared:
    config = DatasetConfig.model_validate({"name": "list", "path": str(file), **settings})
    return prepare(config, file.parent / "store")


def test_paths_are_relative_to_the_file(tmp_path: Path, paths: Lines) -> None:
    found = prepared(csv(tmp_path, "path,label", paths))
    assert found.classes == ("blue", "green", "red")
    assert found.train.class_counts == (9, 9, 9) and found.test.class_counts == (1, 1, 1)


def test_json_lines_and_tabs_are_the_same(tmp_path: Path, paths: Lines) -> None:
    first = prepared(csv(tmp_path, "path,label", paths))
    lines = (json.dumps({"path": path, "label": label}) for path, label in paths)
    (tmp_path / "images.jsonl").write_text("\n".join(lines))
    (tmp_path / "images.tsv").write_text("".join(f"{path}\t{label}\n" for path, label in [("path", "label"), *paths]))
    assert prepared(tmp_path / "images.jsonl").fingerprint == first.fingerprint
    assert prepared(tmp_path / "images.tsv").fingerprint == first.fingerprint


def test_splits_are_those_of_the_file(tmp_path: Path, paths: Lines) -> None:
    split = ["train"] * 6 + ["test"] * 3 + ["valid"]
    lines = [(*line, split[i % 10]) for i, line in enumerate(paths)]
    found = prepared(csv(tmp_path, "path,label,split", lines))
    assert (found.train.count, found.test.count) == (18, 9)
    assert [(one.count, one.reason) for one in found.skipped] == [(3, "another part is the test set")]
    only = [line for line in lines if line[2] != "test"]
    assert prepared(csv(tmp_path, "path,label,split", only, "val.csv")).test.count == 3


def test_numbers_are_labels_in_their_order(tmp_path: Path, paths: Lines) -> None:
    numbers = {"blue": "10", "green": "9", "red": "2"}
    lines = [(path, numbers[label]) for path, label in paths]
    assert prepared(csv(tmp_path, "path,label", lines)).classes == ("2", "9", "10")


def test_columns_may_have_other_names(tmp_path: Path, paths: Lines) -> None:
    file = csv(tmp_path, "file,colour", paths)
    assert prepared(file, columns={"image": "file", "label": "colour"}).classes == ("blue", "green", "red")
    assert prepared(file, columns={"image": "file"}).classes == ()  # and so no labels


def test_it_is_prepared_again_when_an_image_changes(tmp_path: Path, paths: Lines) -> None:
    file = csv(tmp_path, "path,label", paths)
    before = prepared(file)
    config = DatasetConfig(name="list", path=str(file))
    assert find_prepared(config, tmp_path / "store") == before
    (tmp_path / paths[0][0]).write_bytes(encoded((1, 2, 3), seed=9))
    assert find_prepared(config, tmp_path / "store") is None
    assert prepared(file).fingerprint != before.fingerprint


def test_missing_images_are_named_with_their_lines(tmp_path: Path, paths: Lines) -> None:
    file = csv(tmp_path, "path,label", [("nowhere.png", "red"), *paths])
    with pytest.raises(DataError, match=r"1 of 2\d images cannot be read: .*images\.csv, line 2: .*/nowhere\.png \("):
        prepared(file)
    assert prepared(file, damaged="skip").train.count == 27


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no images"),
        ("path,label\n", "lists no images"),
        ("file,label\na.png,cat\n", "line 2: there is no 'path'; the columns are file, label; `columns: {image: NAME}`"),
        ("path,label\na.png\n", "line 2: got 1 values; the header has path, label"),
        ("path,label\n,cat\n", "line 2: path: got null; must be the path of an image"),
        ("path,path\na,b\n", "line 1: a column is named twice: path, path"),
        ("path,label\na.png,cat\nb.png,\n", "line 3: no label; all images of a split need one"),
        ("path,label,split\na.png,cat,training\n", "line 2: split: got \"training\"; must be one of train, test, val"),
        ("path,label,split\na.png,cat,test\n", "lists no images of the split `train`"),
        ("path,label\na.png,-1\nb.png,2\n", "has the label -1; labels start at 0"),
        ('path,label\n"a.png,cat\n', "line 2: not CSV"),
        ("path,label\na\0.png,cat\n", "line 2: path: got "),
        ("path,label\n\xff\xfe", "is not UTF-8 text: byte 11 is 0xff"),
    ],
)  # fmt: skip
def test_errors_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "images.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError) as error:
        prepared(tmp_path / "images.csv")
    assert f"{tmp_path / 'images.csv'}" in str(error.value) and message in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: must be an object with `path`, `label`"),
        ('{"path": 3, "label": 1}', "line 2: path: got 3; must be the path of an image"),
        ('{"path": "b.png", "label": 1.5}', "line 2: label: got 1.5; must be text or a whole number"),
        ('{"path": "b.png", "label": "cat"}', "the column `label` must hold integers or strings"),
    ],
)
def test_errors_in_json_lines_name_the_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "images.jsonl").write_text('{"path": "a.png", "label": 0}\n' + line)
    with pytest.raises(DataError) as error:
        prepared(tmp_path / "images.jsonl")
    assert message in str(error.value)


def test_a_path_alone_is_a_list_by_its_ending() -> None:
    config = DatasetConfig.model_validate("../images.csv")
    assert (config.name, config.path) == ("list", "../images.csv")


def test_a_remote_list_is_refused() -> None:
    with pytest.raises(ValueError, match="a `list` and its images must be files of this machine"):
        DatasetConfig(name="list", path="s3://bucket/images.csv")


def test_a_folder_or_another_file_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder; a CSV or JSON lines file is needed"):
        prepared(tmp_path)
    (tmp_path / "images.xlsx").write_text("")
    with pytest.raises(DataError, match=r"its name must end in \.csv, \.tsv, \.jsonl, \.ndjson"):
        prepared(tmp_path / "images.xlsx")
