"""Parquet files with damaged pages and with columns of other names, and what Hugging Face's `save_to_disk` writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from making import encoded
from ssl_sweep.datasets import DataError, DatasetConfig
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.datasets.remarks import remarks

IMAGES = [encoded((8 * i, 50, 200 - 8 * i), seed=i) for i in range(20)]
NESTED = [{"bytes": image, "path": None} for image in IMAGES]
LABELS = [i % 2 for i in range(20)]


def prepared(path: Path, name: str = "parquet", **settings: object) -> Prepared:
    root = path.parent / "store"
    return prepare(DatasetConfig.model_validate({"name": name, "path": str(path), **settings}), root)


def damaged(file: Path, group: int, **options: Any) -> Path:
    """A Parquet file of two row groups whose test and training images are apart, with zeros in a page of one group."""
    pq.write_table(pa.table({"image": NESTED, "label": LABELS}), file, row_group_size=10, **options)
    chunk = pq.ParquetFile(file).metadata.row_group(group).column(0)
    content = bytearray(file.read_bytes())
    end = chunk.data_page_offset + chunk.total_compressed_size
    content[end - 700 : end - 100] = bytes(600)
    file.write_bytes(bytes(content))
    return file


def test_a_damaged_page_is_named_with_its_rows(tmp_path: Path) -> None:
    file = damaged(tmp_path / "all.parquet", 1, use_dictionary=False)
    with pytest.raises(DataError) as error:
        prepared(file)
    assert f"{file}, row 10 (rows 10 to 19 are lost: " in str(error.value)
    assert "row 11 (lost with row 10)" in str(error.value) and "`damaged: skip`" in str(error.value)


@pytest.mark.parametrize("group", [0, 1])
def test_the_rest_of_a_damaged_file_is_used(tmp_path: Path, group: int) -> None:
    found = prepared(damaged(tmp_path / "all.parquet", group, use_dictionary=False), damaged="skip")
    assert found.train.count + found.test.count == 10 and len(found.damaged) == 10


def test_rows_before_a_damaged_page_are_read(tmp_path: Path) -> None:
    """A page has a few images here, and only its group's last ones are hit."""
    file = damaged(tmp_path / "all.parquet", 0, use_dictionary=False, data_page_size=800, write_batch_size=1)
    found = prepared(file, damaged="skip")
    assert 10 < found.train.count + found.test.count < 20


def test_checksums_of_pages_are_compared_where_there_are_some(tmp_path: Path) -> None:
    file = damaged(tmp_path / "a.parquet", 0, use_dictionary=False, compression="none", write_page_checksum=True)
    assert len(prepared(file, damaged="skip").damaged) == 10


def test_a_file_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "all.parquet"
    pq.write_table(pa.table({"image": NESTED, "label": LABELS}), file)
    content = bytearray(file.read_bytes())
    content[200:3000] = bytes(2800)
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"all\.parquet, row 0 \(rows 0 to 19 are lost: .*so none is left"):
        prepared(file, damaged="skip")


@pytest.fixture
def fine(tmp_path: Path) -> Path:
    pq.write_table(pa.table({"image": NESTED, "fine_label": LABELS}), tmp_path / "fine.parquet")
    return tmp_path / "fine.parquet"


def test_a_file_without_label_lists_its_columns(fine: Path) -> None:
    found = prepared(fine)
    assert found.classes == () and found.train.count == 20
    assert remarks(found)[0] == (
        f"no labels found: evaluations will be skipped; {fine} has no column `label`; its columns are image, fine_label;"
        " `columns: {label: NAME}` names the one of the classes"
    )


def test_columns_select_images_and_labels(fine: Path, tmp_path: Path) -> None:
    found = prepared(fine, columns={"label": "fine_label"})
    assert found.classes == ("0", "1") and not found.notes
    pq.write_table(pa.table({"photo": NESTED, "label": LABELS}), tmp_path / "photo.parquet")
    with pytest.raises(DataError, match=r"has the columns photo, label; .* `columns: \{image: NAME, label: NAME\}`"):
        prepared(tmp_path / "photo.parquet")
    assert prepared(tmp_path / "photo.parquet", columns={"image": "photo"}).fingerprint == found.fingerprint


@pytest.mark.parametrize("key", ["image", "label"])
def test_a_column_that_is_not_there_is_an_error(fine: Path, key: str) -> None:
    with pytest.raises(
        DataError, match=f"no column 'x', which `columns.{key}` names; its columns are image, fine_label"
    ):
        prepared(fine, columns={key: "x"})


def test_columns_are_refused_where_there_are_none() -> None:
    with pytest.raises(ValueError, match="`columns` is for the data sets parquet, list, huggingface alone"):
        DatasetConfig.model_validate({"name": "digits", "columns": {"label": "x"}})


def save(folder: Path, rows: slice, names: list[str] | None = None, files: int = 2) -> None:
    """As `Dataset.save_to_disk`: Arrow streams, `state.json` and `dataset_info.json`."""
    folder.mkdir(parents=True)
    images, labels = NESTED[rows], LABELS[rows]
    entries: list[dict[str, str]] = []
    for i in range(files):
        entries.append({"filename": f"data-{i:05}-of-{files:05}.arrow"})
        storage = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table(
            {"image": pa.array(images[i::files], storage), "label": pa.array(labels[i::files], pa.int64())}
        )
        with (
            pa.OSFile(str(folder / entries[-1]["filename"]), "wb") as out,
            pa.ipc.new_stream(out, table.schema) as stream,
        ):
            stream.write_table(table, max_chunksize=4)
    (folder / "state.json").write_text(json.dumps({"_data_files": entries, "_split": None}))
    label = {"names": names, "_type": "ClassLabel"} if names else {"dtype": "int64", "_type": "Value"}
    info = {"features": {"image": {"_type": "Image"}, "label": label}}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_a_saved_data_set(tmp_path: Path) -> None:
    save(tmp_path / "saved", slice(20), ["cat", "dog"])
    found = prepared(tmp_path / "saved", "huggingface")
    assert found.classes == ("cat", "dog")
    assert found.train.class_counts == (9, 9) and found.test.class_counts == (1, 1)


@pytest.mark.parametrize("test", ["test", "validation"])
def test_saved_splits(tmp_path: Path, test: str) -> None:
    save(tmp_path / "saved" / "train", slice(0, 14))
    save(tmp_path / "saved" / test, slice(14, 20), files=1)
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", test]}))
    found = prepared(tmp_path / "saved", "huggingface")
    assert (found.classes, found.train.count, found.test.count) == (("0", "1"), 14, 6)


def test_saved_images_are_those_of_parquet(tmp_path: Path) -> None:
    save(tmp_path / "saved", slice(20), files=1)
    pq.write_table(pa.table({"image": NESTED, "label": LABELS}), tmp_path / "all.parquet")
    assert prepared(tmp_path / "saved", "huggingface").fingerprint == prepared(tmp_path / "all.parquet").fingerprint


def test_a_saved_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    save(tmp_path / "saved", slice(20))
    file = tmp_path / "saved" / "data-00001-of-00002.arrow"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow cannot be read as an Arrow stream"):
        prepared(tmp_path / "saved", "huggingface")


def test_damaged_offsets_in_a_saved_file_are_noticed(tmp_path: Path) -> None:
    save(tmp_path / "saved", slice(20), files=1)
    file = tmp_path / "saved" / "data-00000-of-00001.arrow"
    offsets = np.cumsum([0, *map(len, IMAGES[4:8])], dtype="<i4").tobytes()
    content = file.read_bytes()
    assert content.count(offsets) == 1
    file.write_bytes(content.replace(offsets, bytes([0, 0, 0, 0] + [255, 255, 255, 100] * 4)))
    found = prepared(tmp_path / "saved", "huggingface", damaged="skip")
    assert len(found.damaged) == 4 and found.train.count + found.test.count == 16


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has neither dataset_dict.json nor state.json, which `save_to_disk`"),
        ({"state.json": "{"}, "state.json is not JSON"),
        ({"state.json": "[]"}, "state.json must hold a JSON object"),
        ({"state.json": "{}"}, "state.json names no Arrow files"),
        ({"dataset_dict.json": '{"splits": ["a", "b"]}'}, "has the splits a, b; `train` is needed"),
        ({"dataset_dict.json": '{"splits": ["train"]}'}, "train/state.json cannot be read (No such file or directory)"),
    ],
)
def test_what_is_no_saved_data_set(tmp_path: Path, files: dict[str, str], message: str) -> None:
    (tmp_path / "saved").mkdir()
    for name, text in files.items():
        (tmp_path / "saved" / name).write_text(text)
    with pytest.raises(DataError) as error:
        prepared(tmp_path / "saved", "huggingface")
    assert message in str(error.value)
