"""A sweep file that names a CSV file of published numbers."""

from pathlib import Path

import pytest
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.published_file import own_published

SWEEP = "name: a\ndataset: digits\nbackbone: resnet18-cifar\nmethods: [random]\npublished: {}\n"
ROWS = "method,dataset,backbone,evaluation,value,source\nsimclr,digits,resnet18-cifar,knn,{},mine\n"


def write(folder: Path, value: str = "84.0", place: str = "mine.csv") -> Path:
    (folder / "mine.csv").write_text(ROWS.format(value))
    path = folder / "sweep.yaml"
    path.write_text(SWEEP.format(place))
    return path


def test_it_lies_beside_the_sweep_file(tmp_path: Path) -> None:
    spec, _ = load_spec(write(tmp_path))
    assert spec.published == str(tmp_path / "mine.csv")
    (row,) = own_published(spec)
    assert (row.method, row.value) == ("simclr", 84.0)


@pytest.mark.parametrize(
    ("value", "place", "said"),
    [
        ("84.0", "other.csv", "sweep.yaml:5:12: published: got '{folder}/other.csv'; cannot be read: No such file"),
        ("much", "mine.csv", "mine.csv:2:1: value: got 'much'; must be a number"),
        ("84.0", "s3://bucket/mine.csv", "published: got 's3://bucket/mine.csv'; must be a file on a disk"),
        ("84.0", "[mine.csv]", "sweep.yaml:5:12: published: got ['mine.csv']; must be text"),
    ],
)
def test_faults_have_their_place(value: str, place: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(write(tmp_path, value, place))
    assert said.format(folder=tmp_path) in str(error.value) and len(error.value.problems) == 1
