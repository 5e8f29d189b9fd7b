"""Evaluations on the labels of listed images: by name or number, wherever the list lies."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from in_process import carry
from PIL import Image
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.names import training_names
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.report.main_table import render_table
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.identity import evaluation_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.label_lists import LabelListStore
from ssl_sweep.orchestrator.sweep.label_lists import match_lists
from ssl_sweep.orchestrator.sweep.weights import expanded
from ssl_sweep.orchestrator.trial.journal import TrialFailed
from steered import Steered
from steered import no_tracking as no_tracking

SweepFile = Callable[..., Path]
CLASSES = ("n01", "n02", "n03")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty training and four test images of each class; the first of them cannot be read."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 20), ("val", 4)):
        for label, name in enumerate(CLASSES):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(60 * label, 60 * label + 90, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}_{i}.png")
    (tmp_path / "images/train/n01/n01_0.png").write_text("no image")
    return tmp_path / "images"


@pytest.fixture
def sweep(images: Path, sweep_file: SweepFile, tmp_path: Path) -> Callable[..., Path]:
    """A sweep that evaluates on the listed images, and on all."""

    def write(*lines: str, **changes: Any) -> Path:
        (tmp_path / "some.txt").write_text("\n".join(lines) + "\n")
        dataset = {"name": "folder", "path": str(images), "image_size": 16, "damaged": "skip"}
        knn = {"name": "knn", "k": 2}
        evaluate = [knn | {"as": "some", "labels": {"list": "some.txt"}}, knn]
        return sweep_file(**{"dataset": dataset, "methods": ["random"], "evaluate": evaluate} | changes)

    return write


def given(path: Path) -> TrialSpec:
    """The sweep's trial, its list in the store."""
    spec, document = load_spec(path)
    spec, (trial,) = expanded(spec, document, read=True)
    prepared = prepare(trial.dataset, data_root())
    match_lists([trial], {trial.dataset: prepared}, data_root(), Store(spec.storage))
    return trial


def rows(trial: TrialSpec, storage: Path) -> tuple[int, ...]:
    prepared, labels = prepare(trial.dataset, data_root()), trial.evaluate[0].labels
    assert labels is not None and not isinstance(labels, float) and labels.sha256 is not None
    return LabelListStore(Store(str(storage))).read(labels.sha256, prepared.fingerprint) or ()


def test_names_are_those_of_the_prepared_images(sweep: Callable[..., Path]) -> None:
    trial = given(sweep("n02_3.png"))
    prepared = prepare(trial.dataset, data_root())
    names = [Path(name).name for name in training_names(trial.dataset, prepared, data_root())]
    labels = ImageSet.open(prepared, "train").labels.tolist()
    assert [CLASSES[label] for label in labels] == [name[:3] for name in names]
    assert len(names) == 59 and names[:2] == ["n01_1.png", "n01_10.png"]


@pytest.mark.parametrize("lines", [("n03_19.png", "", "n01_10.png"), ("n03/n03_19.png", "n01/n01_10.png"), ("50", "1")])
def test_a_line_is_a_name_a_path_or_a_number(
    lines: tuple[str, ...], sweep: Callable[..., Path], tmp_path: Path
) -> None:
    assert rows(given(sweep(*lines)), tmp_path / "runs") == (1, 50)


def test_only_listed_images_are_used(sweep: Callable[..., Path], tmp_path: Path) -> None:
    """Between the epochs too."""
    lines = [f"{name}_{i}.png" for name in CLASSES[1:] for i in (3, 4)]
    pretrain = {"epochs": 1, "batch_size": 20, "knn_every": 1}
    trial = given(sweep(*lines, methods=["simclr"], pretrain=pretrain))
    folder = carry(trial, tmp_path / "runs")
    some, every = (folder.evaluation(config) for config in trial.evaluate)
    assert some is not None and every is not None
    assert some.metrics["top1"] <= 100 * 2 / 3 + 1e-6 and some.images == 12  # no image of the first class is known
    logs = folder.history()[0].logs
    assert (logs["some/top1"], logs["knn/top1"]) == (some.metrics["top1"], every.metrics["top1"])
    assert str(some.settings["labels"]).startswith("4 listed (")


def test_the_content_of_the_list_is_the_identity(sweep: Callable[..., Path], tmp_path: Path) -> None:
    path = sweep("1", "2")
    first = evaluation_id(given(path).evaluate[0])
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "some.txt").rename(tmp_path / "elsewhere" / "list")
    path.write_text(path.read_text().replace("some.txt", str(moved)))
    assert evaluation_id(given(path).evaluate[0]) == first
    assert evaluation_id(given(sweep("1", "3")).evaluate[0]) != first


def test_a_trial_without_its_list_in_the_store_fails(sweep: Callable[..., Path], tmp_path: Path) -> None:
    spec, document = load_spec(sweep("1", "2"))
    (trial,) = expanded(spec, document, read=True)[1]
    with pytest.raises(
        TrialFailed, match=r"some: the store has no copy of the list '.*some\.txt': submit the sweep again"
    ):
        carry(trial, tmp_path / "runs")


@pytest.mark.usefixtures("no_tracking")
def test_a_sweep_with_a_list(sweep: Callable[..., Path], tmp_path: Path) -> None:
    outcome = Steered(sweep("n01_3.png", "n02_3.png", "n03_3.png"), InProcessEngine).outcome
    assert outcome.exit_status == 0
    (table,) = render_table(outcome.result)
    assert any("labels = 3 listed (" in note.changed for note in table.notes)
    assert len(Store(str(tmp_path / "runs")).names("labels")) == 1


@pytest.mark.usefixtures("no_tracking")
def test_results_are_shown_without_the_images_and_the_list(
    images: Path, sweep: Callable[..., Path], tmp_path: Path
) -> None:
    path = sweep("n01_3.png", "n02_3.png", "n03_3.png")
    assert Steered(path, InProcessEngine).outcome.exit_status == 0
    shutil.rmtree(images)
    done = CliRunner().invoke(main, ["plan", str(path)])
    assert done.exit_code == 0 and "1 trial, 1 done" in done.stdout
    (tmp_path / "some.txt").unlink()
    done = CliRunner().invoke(main, ["status", str(path)])
    assert done.exit_code == 0 and "1 of 1 trial finished" in done.stdout


BAD: dict[str, tuple[list[str], str]] = {
    "unknown names": (
        ["n01_1.png", "a.png", "b.png", "c.png", "d.png"],
        "4 of 5 lines (a.png, b.png, c.png, ...) are no training image of data set 'images', which has 59",
    ),
    "of the test set": (["n01_0.png"], "1 of 1 lines (n01_0.png) is no training image"),
    "too great a number": (["58", "59"], "1 of 2 lines (59) is no training image"),
    "twice": (["n02/n02_1.png", "n02_1.png"], "1 of 2 lines (n02/n02_1.png) is listed more than once"),
}


@pytest.mark.parametrize("case", BAD)
def test_lines_of_no_image_are_refused(case: str, sweep: Callable[..., Path], tmp_path: Path) -> None:
    lines, message = BAD[case]
    with pytest.raises(UserError) as error:
        given(sweep(*lines))
    assert f"evaluate: some: labels.list: '{tmp_path}/some.txt': {message}" in str(error.value)


def test_a_data_set_without_names_takes_numbers(sweep: Callable[..., Path], tmp_path: Path) -> None:
    digits = {"name": "digits", "train_images": 60, "test_images": 20}
    assert rows(given(sweep("7", "3", dataset=digits)), tmp_path / "runs") == (3, 7)
    with pytest.raises(
        UserError, match="data set 'digits' has no files of single images, so that none has a name; a list of"
    ):
        given(sweep("seven", dataset=digits))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"list": "absent.txt"}, "evaluate[0].labels.list: '{folder}/absent.txt' cannot be read: No such file"),
        ({"list": "empty.txt"}, "evaluate[0].labels.list: '{folder}/empty.txt' lists no image"),
        ({"lst": "a.txt"}, "evaluate[0].labels: unknown key 'lst'; did you mean 'list'?"),
        ("two", "evaluate[0].labels: got 'two'; must be a share, as 1% or 0.01, or a mapping with `list`"),
        (2.0, "evaluate[0].labels: got 2.0; must be at most 1"),
    ],
    ids=str,
)
def test_validate_says_what_is_wrong(labels: Any, message: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    path = sweep_file(evaluate=[{"name": "linear", "labels": labels}])
    result = CliRunner().invoke(main, ["validate", str(path)])
    assert result.exit_code == 2 and message.format(folder=tmp_path) in result.stderr
