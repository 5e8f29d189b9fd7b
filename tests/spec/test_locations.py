"""Places in a sweep file: relative to it, with variables and home folders, or an error at their place."""

from pathlib import Path

import pytest
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.locate import locate, relative_files
from ssl_sweep.orchestrator.spec.yaml_document import parse_document

HEAD = "name: good\nbackbone: resnet18-cifar\nmethods: [random]\n"


def storage(text: str, path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{HEAD}dataset: digits\n{text}\n")
    return load_spec(path)[0].storage


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "/project/runs"),
        ("storage: my runs", "/project/my runs"),
        ("storage: ../runs", "/runs"),
        ("storage: $STORE/runs", "/elsewhere/runs"),
        ("storage: ${STORE}s/a$", "/elsewheres/a$"),
        ("storage: $RELATIVE/runs", "/project/some/runs"),
        ("storage: ~/runs", "/home/runs"),
    ],
)
def test_storage_is_relative_to_the_file(
    text: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", f"{tmp_path}/elsewhere")
    monkeypatch.setenv("RELATIVE", "some")
    monkeypatch.setenv("HOME", f"{tmp_path}/home")
    path = tmp_path / "project" / "sweep.yaml"
    assert storage(text, path) == f"{tmp_path}{place}"
    monkeypatch.chdir(path.parent)
    assert load_spec(Path("sweep.yaml"))[0].storage == f"{tmp_path}{place}"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("file:///data/runs", "/data/runs"),
        ("file:///data/my%20runs", "/data/my runs"),
        ("s3://$BUCKET/runs", "s3://mine/runs"),
        ("gs://bucket/a/../b", "gs://bucket/a/../b"),
        ("az://container/runs", "az://container/runs"),
    ],
)
def test_addresses(text: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "mine")
    assert storage(f"storage: {text}", tmp_path / "sweep.yaml") == place


@pytest.mark.parametrize(("name", "dataset"), [("images.csv", "list"), ("b.jsonl", "list"), ("c.parquet", "parquet")])
def test_a_file_of_images_is_beside_the_sweep_file(name: str, dataset: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(f"{HEAD}dataset: {name}\n")
    config = load_spec(tmp_path / "sweep.yaml")[0].dataset
    assert (config.name, config.path) == (dataset, f"{tmp_path}/{name}")


def test_a_folder_of_images_is_beside_the_sweep_file(tmp_path: Path) -> None:
    """A data set's name is never a folder."""
    for name in ("my pets", "digits"):
        (tmp_path / name).mkdir()
    path = tmp_path / "sweep.yaml"
    path.write_text(f"{HEAD}dataset: my pets\n")
    dataset = load_spec(path)[0].dataset
    assert (dataset.name, dataset.path) == ("folder", str(tmp_path / "my pets"))
    path.write_text(f"{HEAD}dataset: digits\n")
    assert load_spec(path)[0].dataset.path is None


def test_what_cannot_be_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, each where it is, and with the errors of other keys."""
    monkeypatch.delenv("NOWHERE", raising=False)
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"{HEAD}dataset: {{name: folder, path: $NOWHERE/images}}\n"
        "storage: file://runs\n"
        "grid: {dataset.path: [a, '${NOWHERE}']}\n"
        "seeds: [-1]\n"
    )
    with pytest.raises(SpecError) as error:
        load_spec(path)
    assert str(error.value).splitlines() == [
        f"{path}:4:31: dataset.path: got '$NOWHERE/images'; the environment variable 'NOWHERE' is not set",
        f"{path}:5:10: storage: got 'file://runs'; a file address takes an absolute path, as in file:///home/me/runs",
        f"{path}:6:26: grid.dataset.path[1]: got '${{NOWHERE}}'; the environment variable 'NOWHERE' is not set",
        f"{path}:7:9: seeds[0]: got -1; must be at least 0",
        f"4 errors in {path}",
    ]


@pytest.mark.parametrize(
    ("dataset", "place"),
    [
        ("{name: folder, path: images}", "/project/images"),
        ("./images", "/project/images"),
        ("$IMAGES/small", "/all/small"),
        ("$IMAGES", "/all"),
        ("{name: folder, path: ../images}", "/images"),
    ],
)
def test_images_are_relative_to_the_file(
    dataset: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGES", f"{tmp_path}/all")
    path = tmp_path / "project" / "sweep.yaml"
    path.parent.mkdir()
    path.write_text(f"{HEAD}dataset: {dataset}\n")
    (trial,) = expand(*load_spec(path))
    assert trial.dataset.path == f"{tmp_path}{place}"
    path.write_text(f"{HEAD}dataset: digits\ngrid: {{dataset: [{dataset}, digits]}}\n")
    trials = expand(*load_spec(path))
    assert [trial.dataset.path for trial in trials] == [f"{tmp_path}{place}", None]


def test_remote_images_keep_their_address(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"{HEAD}dataset: {{name: folder, path: s3://bucket/images}}\n")
    assert load_spec(path)[0].dataset.path == "s3://bucket/images"


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("sweeps/*.yaml"), *ROOT.glob("benchmarks/*.yaml")]), ids=lambda path: path.name
)
def test_ready_made_sweeps_write_beside_the_readme(path: Path) -> None:
    spec, _ = load_spec(path)
    assert spec.storage == str(ROOT / "runs")
    assert spec.dataset.path is None or Path(spec.dataset.path).parent == ROOT / "data"


WEIGHTS = """
backbone: {name: resnet18, weights: a.pth}
methods:
  - random
  - {name: byol, weights: {path: sub/b.pth, partial: true}}
  - {name: dino, backbone: {name: vit, weights: "trial:dino seed 0"}}
grid: {backbone.weights: [c.pth, /d.pth, ~/e.pth], backbone: [vit, {name: vit, weights: f.pth}]}
"""


def test_weights_are_relative_to_the_file(tmp_path: Path) -> None:
    document = parse_document(WEIGHTS, "sweep.yaml")
    assert list(relative_files(document.data)) == ["sub/b.pth", "a.pth", "f.pth", "c.pth"]
    assert locate(document, tmp_path) == []
    assert document.data["backbone"]["weights"] == f"{tmp_path}/a.pth"
    assert document.data["methods"][1]["weights"] == {"path": f"{tmp_path}/sub/b.pth", "partial": True}
    assert document.data["methods"][2]["backbone"]["weights"] == "trial:dino seed 0"
    assert document.data["grid"]["backbone.weights"][:2] == (f"{tmp_path}/c.pth", "/d.pth")
    assert document.data["grid"]["backbone"][1]["weights"] == f"{tmp_path}/f.pth"
    assert list(relative_files(document.data)) == []
